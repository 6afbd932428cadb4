"""Who prints a merchant's letters: one of the adapters, with its settings sealed. Never commits.

A file of its own because adapters are looked up by name here and nowhere else: a new one is one
file in ``adapters`` and one line below.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import delete, select

from server import vault
from server.config import installed
from server.db import db
from server.letters.adapters import PrintAdapter
from server.letters.adapters.folder import Folder
from server.letters.adapters.letterxpress import LetterXpress
from server.letters.adapters.smtp import SmtpService
from server.letters.models import PrintService
from server.letters.rules import checked_prices

MAX_SETTING_LENGTH: Final = 500
CURRENCIES: Final = ("EUR", "CHF", "GBP", "USD", "PLN", "CZK", "SEK", "DKK")


class ServiceError(ValueError):
    """Settings that no adapter can work with; ``args`` are the message key and the setting."""


@dataclass(frozen=True, slots=True)
class Known:
    """``required`` and ``optional`` are the names of its settings, ``secret`` those never shown.

    ``tells``: it can be asked how a letter fared.
    """

    make: Callable[[int, Mapping[str, str]], PrintAdapter]
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    secret: frozenset[str] = frozenset()
    tells: bool = False


ADAPTERS: Final[Mapping[str, Known]] = {
    "folder": Known(lambda merchant_id, _: Folder(installed().var, merchant_id)),
    "smtp": Known(
        lambda _, settings: SmtpService(settings, installed()),
        required=("address",),
        optional=("subject",),
    ),
    "letterxpress": Known(
        lambda _, settings: LetterXpress(settings, installed()),
        required=("username", "apikey"),
        optional=("mode", "color", "url"),
        secret=frozenset({"apikey"}),
        tells=True,
    ),
}


def save_service(
    merchant_id: int,
    adapter: str,
    settings: Mapping[str, str],
    prices: Mapping[str, str],
    currency: str,
    *,
    actor: str,
    at: datetime,
) -> PrintService:
    """The service that prints from now on. A secret that is left empty stays as it was, as long as
    it goes to the same address.

    Raises ServiceError `adapter_unknown` `setting_missing` `setting_invalid` `currency_unknown`,
    PriceError, and AddressRefused for a URL that must not be called.
    """
    known = ADAPTERS.get(adapter)
    if known is None:
        raise ServiceError("adapter_unknown", adapter)
    if currency not in CURRENCIES:
        raise ServiceError("currency_unknown", currency)
    row = service_of(merchant_id)
    before = _opened(row) if row is not None and row.adapter == adapter else {}
    if before.get("url", "") != settings.get("url", "").strip():
        before = {}
    wanted = _checked(known, settings, before)
    known.make(merchant_id, wanted)  # says what is wrong with them
    if row is None:
        row = PrintService(merchant_id=merchant_id)
        db.session.add(row)
    row.adapter, row.currency = adapter, currency
    row.settings = vault.installed().seal(json.dumps(wanted))
    row.prices = checked_prices(prices)
    row.changed_at, row.changed_by = at, actor
    row.error = row.error_since = None
    db.session.flush()
    return row


def _opened(row: PrintService) -> dict[str, str]:
    """Empty where no key opens them any more: then every secret is entered anew."""
    try:
        return settings_of(row)
    except vault.VaultLocked:
        return {}


def _checked(
    known: Known, settings: Mapping[str, str], before: Mapping[str, str]
) -> dict[str, str]:
    found = {}
    for name in (*known.required, *known.optional):
        value = settings.get(name, "").strip()
        if not value and name in known.secret:
            value = before.get(name, "")
        if not value and name in known.required:
            raise ServiceError("setting_missing", name)
        if len(value) > MAX_SETTING_LENGTH or not value.isprintable():
            raise ServiceError("setting_invalid", name)
        if value:
            found[name] = value
    return found


def service_of(merchant_id: int) -> PrintService | None:
    """Who prints this merchant's letters, if anybody."""
    return db.session.get(PrintService, merchant_id)


def forget_service(merchant_id: int) -> bool:
    """Nobody prints any more: letters wait. False if there was none."""
    gone = db.session.execute(delete(PrintService).where(PrintService.merchant_id == merchant_id))
    return bool(gone.rowcount)  # type: ignore[attr-defined]


def settings_of(row: PrintService) -> dict[str, str]:
    """Its settings, opened. Raises VaultLocked."""
    found: dict[str, str] = json.loads(vault.installed().open(row.settings))
    return found


def reseal_all(with_vault: vault.Vault) -> int:
    """Every service's settings under the newest key; how many there were. Raises VaultLocked."""
    rows = list(db.session.scalars(select(PrintService).with_for_update()))
    for row in rows:
        row.settings = with_vault.reseal(row.settings)
    return len(rows)


def shown_settings(row: PrintService) -> dict[str, str]:
    """What a page may show of them: no secret. Raises VaultLocked."""
    secret = ADAPTERS[row.adapter].secret
    return {name: value for name, value in settings_of(row).items() if name not in secret}


def adapter_of(row: PrintService) -> PrintAdapter:
    """Ready to be spoken to; close it afterwards. Raises VaultLocked."""
    return ADAPTERS[row.adapter].make(row.merchant_id, settings_of(row))


def check_service(row: PrintService, commit: Callable[[], None]) -> str:
    """What the service says when it is asked, in plain words.

    ``commit`` is called before, so that nothing stays open meanwhile. Raises VaultLocked and
    ConnectorError.
    """
    adapter = adapter_of(row)
    commit()
    try:
        return adapter.check()
    finally:
        adapter.close()
