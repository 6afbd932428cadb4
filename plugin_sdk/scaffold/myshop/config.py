"""What a merchant enters: the form in the dashboard, and the names in kontor.toml."""

from __future__ import annotations

from dataclasses import dataclass

from plugin_sdk.connector import setting


@dataclass(frozen=True, slots=True)
class MyShopConfig:
    """The settings of one shop."""

    shop_url: str = setting(
        "Address of the shop",
        help="https://shop.example.org",
        de=("Adresse des Shops", "https://shop.example.org"),
    )
    access_key: str = setting("Access key", secret=True, de=("Zugangsschlüssel", ""))
    webhook_secret: str = setting(
        "Secret of the webhooks",
        secret=True,
        help="Without it webhooks are refused",
        de=("Geheimnis der Webhooks", "Ohne dieses werden Webhooks abgelehnt"),
        default="",
    )
