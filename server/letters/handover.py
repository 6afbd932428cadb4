"""Letters leave the house, and what is heard of them afterwards. Never commits.

A file of its own because it is the one place that draws a letter and speaks to its printer. A
worker calls it for one row at a time and commits after each.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, func, select, update

from plugin_sdk.errors import ConnectorError, Misconfigured, Rejected, Temporary
from server.db import db
from server.letters.adapters import HandoverInDoubt, Parcel, PrintAdapter, Receipt
from server.letters.compose import ComposeError
from server.letters.kinds import FactError
from server.letters.look import LookError
from server.letters.models import Letter, PrintService
from server.letters.pdfs import PdfRefused
from server.letters.rules import DELIVERIES
from server.letters.service import Print, composed
from server.letters.services import ADAPTERS, adapter_of, service_of
from server.vault import VaultLocked

NO_SERVICE: Final = "nobody is named who prints the letters"
NO_SERVICE_PAUSE: Final = timedelta(hours=1)
TROUBLE: Final = "waits, because the print service had trouble with the letter before it: {why}"
TROUBLE_PAUSE: Final = timedelta(minutes=5)
ASK_EVERY: Final = timedelta(hours=6)
ASK_FOR: Final = timedelta(days=30)
"""A service that has not said `sent` by then never will."""
MAX_WORDS: Final = 500


class Printers:
    """The adapters of one round of work: one a merchant, closed at its end.

        with Printers(db.session.commit) as printers:
            hand_over(letter, at, printers)

    ``commit`` is called before a printer is spoken to, so that nothing stays open meanwhile.
    """

    def __init__(self, commit: Callable[[], None]) -> None:
        self.commit = commit
        self._open: dict[int, PrintAdapter] = {}
        self._troubles: dict[int, str] = {}

    def __enter__(self) -> Printers:
        return self

    def __exit__(self, *_: object) -> None:
        for adapter in self._open.values():
            adapter.close()

    def of(self, service: PrintService) -> PrintAdapter:
        """Raises VaultLocked and ConnectorError."""
        if service.merchant_id not in self._open:
            self._open[service.merchant_id] = adapter_of(service)
        return self._open[service.merchant_id]

    def rest(self, merchant_id: int, why: str) -> None:
        """This merchant's printer takes nothing more in this round: it would fail for each of his
        letters, each for as long as a time limit, and the others' letters would wait for it."""
        self._troubles[merchant_id] = why

    def trouble_of(self, merchant_id: int) -> str | None:
        """Why his letters wait for the next round."""
        return self._troubles.get(merchant_id)

    def finish(self) -> None:
        """After the last letter: put together what belongs together, everybody's. Raises
        Temporary if one could not."""
        trouble: Temporary | None = None
        for adapter in self._open.values():
            try:
                adapter.finish()
            except Temporary as error:
                trouble = error
        if trouble is not None:
            raise trouble


def waits_for_service(letter: Letter, at: datetime, printers: Printers) -> bool:
    """Put the letter back where nobody prints, or has just had trouble: it waits, and no attempt
    is counted."""
    if letter.is_test:
        return False
    why, pause = NO_SERVICE, NO_SERVICE_PAUSE
    if service_of(letter.merchant_id) is not None:
        trouble = printers.trouble_of(letter.merchant_id)
        if trouble is None:
            return False
        why, pause = TROUBLE.format(why=trouble), TROUBLE_PAUSE
    letter.put_back(at + pause)
    letter.error = why
    return True


def hand_over(letter: Letter, at: datetime, printers: Printers) -> None:
    """Draw the letter and give it to its printer; a test letter is only drawn.

    What was handed over stays with the row. Raises Rejected where no letter can be made of it,
    HandoverInDoubt where nobody knows, otherwise as the adapter does.
    """
    drawn = _drawn(letter, at)
    if letter.is_test:
        letter.pdf, letter.pages = drawn.pdf, drawn.pages
        return
    service = service_of(letter.merchant_id)
    if service is None:
        raise Misconfigured(NO_SERVICE)
    merchant_id, name = letter.merchant_id, service.adapter
    try:
        receipt = _taken(letter, drawn, service, at, printers)
    except Misconfigured as error:
        printers.rest(merchant_id, str(error))
        note_trouble(merchant_id, str(error), at)
        raise
    except Temporary as error:
        printers.rest(merchant_id, str(error))
        raise
    note_trouble(merchant_id, None, at)
    _note(letter, drawn, name, receipt, at)


def note_trouble(merchant_id: int, why: str | None, at: datetime) -> None:
    """Whether a person must act. By a statement: somebody may have forgotten the service by now,
    and after a letter has gone nothing may fail, or it would go a second time.
    """
    since = func.coalesce(PrintService.error_since, at) if why is not None else None
    db.session.execute(
        update(PrintService)
        .where(PrintService.merchant_id == merchant_id)
        .values(error=why, error_since=since)
        .execution_options(synchronize_session=False)
    )


def _drawn(letter: Letter, at: datetime) -> Print:
    try:
        return composed(letter, at)
    except (FactError, ComposeError, LookError) as problem:
        raise Rejected(f"No letter can be made of this: {problem}") from problem
    except PdfRefused as refused:
        raise Rejected(f"The enclosed PDF cannot be printed: {refused}") from refused


def _taken(
    letter: Letter, drawn: Print, service: PrintService, at: datetime, printers: Printers
) -> Receipt:
    parcel = Parcel(
        letter_id=letter.id,
        pdf=drawn.pdf,
        pages=drawn.pages,
        recipient=tuple(letter.recipient),
        country=letter.country,
        is_registered=letter.is_registered,
        kind=letter.kind,
        at=at,
    )
    try:
        adapter = printers.of(service)
    except VaultLocked as locked:
        raise Misconfigured(str(locked)) from locked
    printers.commit()
    try:
        return adapter.hand_over(parcel)
    except ConnectorError:
        raise
    except Exception as error:  # somewhere between here and there: never a second letter by itself
        raise HandoverInDoubt(f"Handing over broke off: {error!r}"[:MAX_WORDS]) from error


def _note(letter: Letter, drawn: Print, service: str, receipt: Receipt, at: datetime) -> None:
    letter.pdf, letter.pages = drawn.pdf, drawn.pages
    letter.cost, letter.cost_currency = receipt.cost, receipt.currency
    letter.service, letter.service_reference = service, receipt.reference[:64]
    letter.delivery, letter.delivery_words = "accepted", receipt.words or None
    letter.due_at = at + ASK_EVERY


# --- how they fare ------------------------------------------------------------------------------


def has_letters_to_ask(at: datetime) -> bool:
    """Whether a service should be asked about letters under way; for the clock."""
    return bool(db.session.scalar(select(select(Letter.id).where(*_to_ask(at)).exists())))


def letters_to_ask(at: datetime, limit: int) -> list[Letter]:
    """Letters under way whose service can be asked again, the longest unasked first."""
    query = select(Letter).where(*_to_ask(at)).order_by(Letter.due_at).limit(limit)
    return list(db.session.scalars(query))


def _to_ask(at: datetime) -> tuple[ColumnElement[bool], ...]:
    telling = [name for name, known in ADAPTERS.items() if known.tells]
    return (
        Letter.status == "done",
        Letter.delivery == "accepted",
        Letter.service.in_(telling),
        Letter.due_at <= at,
        Letter.finished_at > at - ASK_FOR,
    )


def refresh(letter: Letter, at: datetime, printers: Printers) -> bool:
    """Ask the service how a letter fares; whether that is news.

    It is asked again after ASK_EVERY, also where the service does not answer: nothing is lost.
    """
    letter.due_at = at + ASK_EVERY
    service = service_of(letter.merchant_id)
    if service is None or service.adapter != letter.service or not letter.service_reference:
        return False
    reference = letter.service_reference
    try:
        adapter = printers.of(service)
        printers.commit()
        status = adapter.status(reference)
    except (ConnectorError, VaultLocked):
        return False
    if status is None:
        return False
    assert status.delivery in DELIVERIES, "adapters know no others"
    is_news = status.delivery != letter.delivery
    letter.delivery, letter.delivery_words = status.delivery, status.words or None
    if is_news:
        letter.delivered_at = at
    return is_news
