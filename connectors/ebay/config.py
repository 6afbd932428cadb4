"""The settings of one seller's account at eBay, and where eBay lives."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from connectors.ebay.trading import SITES
from plugin_sdk.connector import setting
from plugin_sdk.errors import Misconfigured

MAX_HISTORY_DAYS = 729
"""eBay knows no order for longer than two years."""

MARKETPLACES = tuple(sorted(SITES))


@dataclass(frozen=True, slots=True)
class EbayConfig:
    """The settings of one seller's account at eBay."""

    client_id: str = setting(
        "App ID (client ID)",
        help="developer.ebay.com, Application Keys, of the keyset for production",
        de=("App ID (Client ID)", "developer.ebay.com, Application Keys, Keyset für Production"),
    )
    client_secret: str = setting(
        "Cert ID (client secret)",
        secret=True,
        help="Beside the App ID",
        de=("Cert ID (Client Secret)", "Neben der App ID"),
    )
    refresh_token: str = setting(
        "Refresh token",
        secret=True,
        help="Comes with the log-in at eBay",
        de=("Refresh Token", "Entsteht bei der Anmeldung bei eBay"),
        from_login=True,
    )
    ru_name: str = setting(
        "RuName (redirect URL name)",
        help="developer.ebay.com, User Tokens; needed to log in in the browser",
        de=("RuName", "developer.ebay.com, User Tokens; für die Anmeldung im Browser nötig"),
        default="",
    )
    account_id: str = setting(
        "Account at eBay",
        help="eBay's id of the seller's account; comes with the log-in",
        de=("eBay-Konto", "Kennung des Verkäuferkontos bei eBay; entsteht bei der Anmeldung"),
        from_login=True,
        default="",
    )
    login_until: str = setting(
        "Log-in valid until",
        help="A date; comes with the log-in",
        de=("Anmeldung gültig bis", "Ein Datum; entsteht bei der Anmeldung"),
        from_login=True,
        default="",
    )
    signing_key: str = setting(
        "Private signing key",
        secret=True,
        help="For payouts to sellers in the EU and the UK; comes with the log-in",
        de=(
            "Privater Signaturschlüssel",
            "Für Auszahlungen an Verkäufer in EU und UK; entsteht bei der Anmeldung",
        ),
        from_login=True,
        default="",
    )
    signing_jwe: str = setting(
        "Public signing key (JWE)",
        help="Belongs to the private one",
        de=("Öffentlicher Signaturschlüssel (JWE)", "Gehört zum privaten"),
        from_login=True,
        default="",
    )
    verification_token: str = setting(
        "Verification token",
        help="32 to 80 letters, digits, _ and -, made up by you; enter the same at eBay under "
        "Marketplace Account Deletion",
        de=(
            "Verification token",
            "32 bis 80 Buchstaben, Ziffern, _ und -; dasselbe bei eBay eintragen",
        ),
        default="",
    )
    marketplace: str = setting(
        "Marketplace",
        help="Where the account is at home",
        de=("Marktplatz", "Wo das Konto zu Hause ist"),
        choices=MARKETPLACES,
        default="EBAY_DE",
    )
    environment: str = setting(
        "Environment",
        help="sandbox is eBay's test system, with accounts and keys of its own",
        de=("Umgebung", "sandbox ist eBays Testsystem mit eigenen Konten und Schlüsseln"),
        choices=("production", "sandbox"),
        default="production",
    )
    history_days: int = setting(
        "Days to look back at the first comparison",
        help=f"1 to {MAX_HISTORY_DAYS}",
        de=("Rückblick des ersten Abgleichs in Tagen", f"1 bis {MAX_HISTORY_DAYS}"),
        default=90,
    )
    base_url: str = setting(
        "Address of a stand-in for eBay",
        help="For tests only",
        de=("Adresse eines eBay-Nachbaus", "Nur für Tests"),
        hidden=True,
        default="",
    )


@dataclass(frozen=True, slots=True)
class Hosts:
    """Where eBay's parts live; no slash at the end."""

    api: str
    apiz: str
    auth: str


def hosts_of(config: EbayConfig) -> Hosts:
    """The hosts of an environment. Raises Misconfigured for a stand-in without an address."""
    if config.base_url:
        parts = urlsplit(config.base_url)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query:
            raise Misconfigured("Settings: base_url is no http or https address.")
        base = config.base_url.rstrip("/")
        return Hosts(base, base, base)
    middle = ".sandbox" if config.environment == "sandbox" else ""
    return Hosts(*(f"https://{name}{middle}.ebay.com" for name in ("api", "apiz", "auth")))
