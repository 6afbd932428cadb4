"""What a Shopware does with an app: registers it, gives it a key, and signs what it tells it."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import requests

from plugin_sdk.testing.shopware_login import Integration
from plugin_sdk.testing.shopware_webhooks import Webhook

TIMEOUT_SECONDS = 5.0
KEY_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
SHORTEST_SECRET, LONGEST_SECRET = 64, 255


class Refused(Exception):
    """The app did not answer as an app must; the text is what the merchant reads."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest.xml says."""

    name: str
    register_url: str
    secret: str
    rights: frozenset[str]
    webhooks: tuple[tuple[str, str, bool], ...]


@dataclass(frozen=True, slots=True)
class Installed:
    """An app in the shop: its own key and the secret agreed on."""

    manifest: Manifest
    client_id: str
    integration: Integration
    secret: str

    def webhooks(self) -> list[Webhook]:
        """Those of its manifest, signed."""
        return [
            Webhook(event, url, self.secret, only_live)
            for event, url, only_live in self.manifest.webhooks
        ]


def read_manifest(text: str) -> Manifest:
    """From the text of a manifest.xml."""
    root = ElementTree.fromstring(text)  # noqa: S314 - the test's own file
    rights = {
        f"{entity.text}:{right}"
        for right in ("read", "create", "update", "delete")
        for entity in root.findall(f"permissions/{right}")
    }
    return Manifest(
        name=root.findtext("meta/name", ""),
        register_url=root.findtext("setup/registrationUrl", ""),
        secret=root.findtext("setup/secret", ""),
        rights=frozenset(rights),
        webhooks=tuple(
            (
                each.get("event", ""),
                each.get("url", ""),
                each.get("onlyLiveVersion") == "true",
            )
            for each in root.findall("webhooks/webhook")
        ),
    )


def install(
    manifest: Manifest, shop_id: str, shop_url: str, now: int, before: Installed | None = None
) -> Installed:
    """The handshake. ``before``: the app is registered again (the shop has moved, say), and signs
    with the last secret as well. Raises Refused.
    """
    asked = {"shop-id": shop_id, "shop-url": shop_url, "timestamp": str(now)}
    query = urlencode(asked)
    headers = {"shopware-app-signature": _sign(query, manifest.secret), "sw-version": "6.6.7.0"}
    if before is not None:
        headers["shopware-shop-signature"] = _sign(query, before.secret)
    given = _ask("GET", f"{manifest.register_url}?{query}", headers)
    proof = _sign(f"{shop_id}{shop_url}{manifest.name}", manifest.secret)
    if not hmac.compare_digest(str(given.get("proof")), proof):
        raise Refused(str(given.get("error", "The app provided an invalid proof.")))
    secret = str(given.get("secret"))
    if not SHORTEST_SECRET <= len(secret) <= LONGEST_SECRET:
        raise Refused("The app provided a secret that is too short or too long.")
    client_id = "SWIA" + "".join(secrets.choice(KEY_LETTERS) for _ in range(22))
    integration = Integration(secrets.token_urlsafe(40), manifest.rights)
    confirmation = {
        "apiKey": client_id,
        "secretKey": integration.secret,
        "timestamp": str(now),
        "shopUrl": shop_url,
        "shopId": shop_id,
    }
    body = json.dumps(confirmation, separators=(",", ":"))
    headers = {"Content-Type": "application/json", "shopware-shop-signature": _sign(body, secret)}
    if before is not None:
        headers["shopware-shop-signature-previous"] = _sign(body, before.secret)
    _ask("POST", str(given.get("confirmation_url")), headers, body)
    return Installed(manifest, client_id, integration, secret)


def _ask(method: str, url: str, headers: dict[str, str], body: str | None = None) -> dict[str, Any]:
    try:
        answer = requests.request(
            method, url, data=body, headers=headers, timeout=TIMEOUT_SECONDS, allow_redirects=False
        )
        content = answer.json()
    except requests.RequestException as error:
        raise Refused(f"The app cannot be reached ({type(error).__name__}).") from None
    given = content if isinstance(content, dict) else {}
    if not answer.ok:
        raise Refused(str(given.get("error", f"The app answered {answer.status_code}.")))
    return given


def _sign(text: str, secret: str) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
