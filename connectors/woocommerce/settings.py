"""The settings of one WooCommerce shop: typed by the merchant, or brought by the log-in."""

from __future__ import annotations

from dataclasses import dataclass

from plugin_sdk.connector import setting
from plugin_sdk.errors import Misconfigured

MAX_HISTORY_DAYS = 3650


@dataclass(frozen=True, slots=True)
class WooCommerceConfig:
    """The settings of one WooCommerce shop."""

    shop_url: str = setting(
        "Address of the shop",
        help="https://shop.example.org",
        de=("Adresse des Shops", "https://shop.example.org"),
    )
    consumer_key: str = setting(
        "Consumer key",
        help="WooCommerce, Settings, Advanced, REST API; permission read/write",
        de=(
            "Consumer Key",
            "WooCommerce, Einstellungen, Erweitert, REST-API; Berechtigung Lesen/Schreiben",
        ),
        from_login=True,
    )
    consumer_secret: str = setting(
        "Consumer secret", secret=True, de=("Consumer Secret", ""), from_login=True
    )
    webhook_secret: str = setting(
        "Secret of the webhooks",
        secret=True,
        help="The same in all webhooks; without it webhooks are refused",
        de=("Geheimnis der Webhooks", "In allen Webhooks dasselbe; ohne es gilt keiner"),
        from_host=True,
        default="",
    )
    webhook_url: str = setting(
        "Public address of the webhook receiver",
        help="If set, missing webhooks are created and switched-off ones switched on again",
        de=(
            "Öffentliche Adresse für Webhooks",
            "Fehlende werden angelegt, abgeschaltete wieder eingeschaltet",
        ),
        from_host=True,
        default="",
    )
    auth: str = setting(
        "How to log in",
        help="auto, basic, oauth1, or query (https only, for servers that drop Authorization)",
        de=(
            "Art der Anmeldung",
            "query: nur mit https, wenn der Server den Authorization-Kopf verwirft",
        ),
        choices=("auto", "basic", "oauth1", "query"),
        default="auto",
    )
    history_days: int = setting(
        "Days to look back at the first comparison",
        help="1 to 3650",
        de=("Tage, die der erste Abgleich zurückschaut", "1 bis 3650"),
        default=400,
    )


def checked_days(days: int) -> int:
    """Raises Misconfigured naming the setting."""
    if not 1 <= days <= MAX_HISTORY_DAYS:
        raise Misconfigured(f"Settings: history_days is not within 1 and {MAX_HISTORY_DAYS}.")
    return days
