"""What a seller's log-in at eBay in the browser gives."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.ebay.config import EbayConfig, Hosts, hosts_of
from connectors.ebay.oauth import SCOPE, Keyset, grant
from plugin_sdk.connector import config_from
from plugin_sdk.errors import ConnectorError, LoginNeeded, Rejected, Temporary
from plugin_sdk.http import HttpSession
from plugin_sdk.reading import read_object, read_text

USER = "/commerce/identity/v1/user/"
SIGNING_KEY = "/developer/key_management/v1/signing_key"


def keyset_of(config: EbayConfig) -> Keyset:
    return Keyset(config.client_id, config.client_secret, hosts_of(config).api)


def config_before_login(settings: Mapping[str, Any]) -> EbayConfig:
    """Before the first log-in there is no refresh token yet."""
    return config_from(EbayConfig, {**settings, "refresh_token": "none yet"})


def log_in(http: HttpSession, config: EbayConfig, code: str) -> dict[str, Any]:
    hosts, keyset = hosts_of(config), keyset_of(config)
    try:
        granted = grant(
            http, keyset, grant_type="authorization_code", code=code, redirect_uri=config.ru_name
        )
    except LoginNeeded as error:
        raise Rejected(f"The log-in took too long or was used before. {error}") from None
    if not granted.refresh_token:
        raise Rejected("eBay gave no lasting log-in.")
    bearer = {"Authorization": f"Bearer {granted.access_token}"}
    user = read_object(http.request("GET", f"{hosts.apiz}{USER}", headers=bearer).body)
    account_id = read_text(user.get("userId"), 64)
    if account_id is None:
        raise Temporary("eBay did not say whose log-in this is.")
    if config.account_id and config.account_id != account_id:
        # Every order of the old account would look deleted.
        name = read_text(user.get("username"), 64) or "?"
        raise Rejected(f"{name} is another account at eBay than before; add a shop of its own.")
    known = {"refresh_token": granted.refresh_token, "account_id": account_id}
    if granted.refresh_life_seconds:
        until = datetime.now(UTC) + timedelta(seconds=granted.refresh_life_seconds)
        known["login_until"] = until.date().isoformat()
    return known if config.signing_key else known | _signing_keys(http, keyset, hosts)


def _signing_keys(http: HttpSession, keyset: Keyset, hosts: Hosts) -> dict[str, str]:
    """A new pair; none where eBay gives none, for payouts can be had later."""
    try:
        granted = grant(http, keyset, grant_type="client_credentials", scope=SCOPE)
        answer = http.request(
            "POST",
            f"{hosts.apiz}{SIGNING_KEY}",
            json={"signingKeyCipher": "ED25519"},
            headers={"Authorization": f"Bearer {granted.access_token}"},
        )
    except ConnectorError:
        return {}
    made = read_object(answer.body)
    private, jwe = read_text(made.get("privateKey"), 4096), read_text(made.get("jwe"), 4096)
    return {"signing_key": private, "signing_jwe": jwe} if private and jwe else {}
