"""What a merchant enters."""

from __future__ import annotations

from dataclasses import dataclass

from plugin_sdk.connector import setting


@dataclass(frozen=True, slots=True)
class EasybillConfig:
    """The settings of one easybill account."""

    easybill_key: str = setting(
        "API key",
        secret=True,
        help="In easybill's settings, REST API",
        de=("API-Schlüssel", "In den Einstellungen von easybill, REST-API"),
    )
    history_days: int = setting(
        "Days to look back",
        help="Older unpaid invoices are left alone; 1 to 3650",
        de=("Tage zurück", "Ältere unbezahlte Rechnungen bleiben unberührt; 1 bis 3650"),
        default=400,
    )
    easybill_url: str = setting(
        "Address of the API",
        de=("Adresse der API", ""),
        default="https://api.easybill.de/rest/v1",
    )
