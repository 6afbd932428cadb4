"""The settings of one Shopware shop: typed by the merchant, or brought by the app."""

from __future__ import annotations

from dataclasses import dataclass

from plugin_sdk.connector import setting
from plugin_sdk.errors import Misconfigured

MAX_HISTORY_DAYS = 3650


@dataclass(frozen=True, slots=True)
class ShopwareConfig:
    """The settings of one Shopware shop."""

    shop_url: str = setting(
        "Address of the shop",
        help="https://shop.example.org",
        de=("Adresse des Shops", "https://shop.example.org"),
    )
    client_id: str = setting(
        "Access key ID",
        help="Settings, System, Integrations; it begins with SWIA",
        de=("Zugangs-ID", "Einstellungen, System, Integrationen; beginnt mit SWIA"),
        from_login=True,
    )
    client_secret: str = setting(
        "Secret access key",
        secret=True,
        help="Shown once, when the integration is made",
        de=("Sicherheitsschlüssel", "Wird nur einmal gezeigt, beim Anlegen der Integration"),
        from_login=True,
    )
    sales_channels: tuple[str, ...] = setting(
        "Sales channels",
        help="Names or ids, separated by commas; empty: all",
        de=("Verkaufskanäle", "Namen oder IDs, mit Kommas getrennt; leer: alle"),
        default=(),
    )
    cancel_orders: bool = setting(
        "Cancel the order too",
        help="When Kontor cancels: the order with its payment, so that its stock is free again",
        de=(
            "Auch die Bestellung stornieren",
            "Wenn Kontor storniert: auch die Bestellung, damit ihr Bestand frei wird",
        ),
        default=True,
    )
    history_days: int = setting(
        "Days to look back at the first comparison",
        help="1 to 3650",
        de=("Tage, die der erste Abgleich zurückblickt", "1 bis 3650"),
        default=400,
    )
    webhook_secret: str = setting(
        "Secret of the shop",
        secret=True,
        help="Only with the app: the shop signs with it what it tells",
        de=("Geheimnis des Shops", "Nur mit der App: damit unterschreibt der Shop, was er meldet"),
        hidden=True,
        default="",
    )
    app_secret: str = setting(
        "Secret of the app",
        secret=True,
        help="In the app's file; the shop registers with it",
        de=("Geheimnis der App", "Steht in der Datei der App; der Shop meldet sich damit an"),
        hidden=True,
        default="",
    )
    shop_id: str = setting(
        "Id of the shop",
        help="As the app learned it",
        de=("Kennung des Shops", "Wie die App sie erfahren hat"),
        hidden=True,
        default="",
    )
    pending: str = setting(
        "Registration under way",
        secret=True,
        help="Until the shop confirms it",
        de=("Laufende Anmeldung", "Bis der Shop sie bestätigt"),
        hidden=True,
        default="",
    )
    previous_secret: str = setting(
        "Last secret of the shop",
        secret=True,
        help="Taken for a minute longer",
        de=("Letztes Geheimnis des Shops", "Gilt noch eine Minute"),
        hidden=True,
        default="",
    )
    previous_until: int = setting(
        "End of the last secret",
        help="Seconds since 1970",
        de=("Ende des letzten Geheimnisses", "Sekunden seit 1970"),
        hidden=True,
        default=0,
    )


def checked_days(days: int) -> int:
    """Raises Misconfigured naming the setting."""
    if not 1 <= days <= MAX_HISTORY_DAYS:
        raise Misconfigured(f"Settings: history_days is not within 1 and {MAX_HISTORY_DAYS}.")
    return days
