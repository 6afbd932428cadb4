"""Letters: queued, cancelled, looked at, sent again. Never commits.

What a letter says is a snapshot that it carries itself; it is drawn when it is handed over
(``handover``), and whenever somebody wants to see it before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from server.db import db, now
from server.letters.compose import compose, compose_slip, pages_of, window_lines
from server.letters.kinds import KINDS, TRANSFER, FactError, check_fact_names
from server.letters.look import Look
from server.letters.models import Letter
from server.letters.pdfs import checked_pdf, is_addressed_to, merge
from server.letters.rules import price_of
from server.letters.services import service_of
from server.letters.wording import EDITIONS
from server.merchants.models import Merchant
from server.work import announce

CANCELLED: Final = "cancelled"
LEFT_TO_REST: Final = "left to rest after nobody knew whether it had been handed over"
REPEATABLE: Final = frozenset({"done", "failed", "withheld", "unknown"})
AGAIN: Final = ":again:"
MAX_AGAIN: Final = 20
"""So often one letter can be sent once more; further copies would hide a wrong address."""


class NotCancellable(ValueError):
    """The letter was handed over already, or it is none that waits."""


class NotRepeatable(ValueError):
    """The letter waits already, or it was sent too often."""


def queue_letter(  # noqa: PLR0913  a name for each thing that a letter carries
    kind: str,
    *,
    merchant_id: int,
    shop_id: int | None,
    order_id: int | None,
    language: str,
    recipient: Sequence[str],
    country: str,
    once: str,
    facts: Mapping[str, str],
    look: Look,
    is_registered: bool = False,
    mail_id: int | None = None,
    enclosed: bytes | None = None,
    slip: bool = False,
    actor: str = "",
    at: datetime,
    due_at: datetime,
    is_test: bool = False,
) -> int | None:
    """A letter that is handed over at ``due_at``; its id, or None if ``once`` was there already.

    ``language`` is an edition (``de-CH-du``), ``recipient`` are the lines of the address without
    the country (ISO 3166). An ``invoice`` needs the shop's PDF in ``enclosed`` and gets a payment
    slip if ``slip`` is true and the facts hold a transfer. Raises FactError, ComposeError for an
    address that cannot be printed and PdfRefused for an enclosed file that is not.
    """
    facts = dict(facts)
    if KINDS.get(kind) and KINDS[kind].encloses and not (slip and facts.get("iban")):
        facts = {name: text for name, text in facts.items() if name not in TRANSFER}
    check_fact_names(kind, facts)
    if language not in EDITIONS:
        raise FactError(f"there are letters in {', '.join(EDITIONS)}, not in {language!r}")
    if KINDS[kind].encloses is not (enclosed is not None):
        raise FactError(f"{kind} {'needs' if enclosed is None else 'takes no'} enclosed PDF")
    window_lines(recipient, country, look.country)
    if enclosed is not None:
        checked_pdf(enclosed)
    values: dict[str, Any] = {
        "merchant_id": merchant_id,
        "shop_id": shop_id,
        "order_id": order_id,
        "mail_id": mail_id,
        "kind": kind,
        "language": language,
        "recipient": list(recipient),
        "country": country.upper(),
        "once": once,
        "facts": facts,
        "look": look.as_json(),
        "is_registered": is_registered,
        "is_test": is_test,
        "enclosed": enclosed,
        "actor": actor,
        "created_at": at,
        "due_at": due_at,
    }
    return _insert(values)


def _insert(values: Mapping[str, Any]) -> int | None:
    stored = insert(Letter).values(values).on_conflict_do_nothing(index_elements=["once"])
    found = db.session.execute(stored.returning(Letter.id)).scalar()
    if found is not None:
        announce(Letter)
    return found


# --- before it is handed over -------------------------------------------------------------------


def cancel_letter(merchant_id: int, letter_id: int, *, actor: str, at: datetime) -> Letter:
    """Not sent any more (S73). Raises NotCancellable, and KeyError for no letter of theirs.

    One conditional UPDATE: either this comes first or the worker that hands it over.
    """
    letter = letter_of(merchant_id, letter_id)
    if letter is None:
        raise KeyError(letter_id)
    changed = db.session.execute(
        update(Letter)
        .where(Letter.id == letter_id, Letter.status == "queued")
        .values(status="withheld", error=CANCELLED, cancelled_by=actor, finished_at=at)
        .execution_options(synchronize_session=False)
    )
    if changed.rowcount != 1:  # type: ignore[attr-defined]
        raise NotCancellable(letter_id)
    db.session.refresh(letter)
    return letter


def withhold_letters(order_id: int, kinds: Collection[str], why: str) -> int:
    """What of an order still waits is not sent any more; how many there were."""
    held = db.session.execute(
        update(Letter)
        .where(
            Letter.order_id == order_id,
            Letter.kind.in_(kinds),
            Letter.status == "queued",
            Letter.is_test.is_(False),
        )
        .values(status="withheld", error=why, finished_at=now())
        .execution_options(synchronize_session=False)
    )
    return int(held.rowcount)  # type: ignore[attr-defined]


# --- looking at letters -------------------------------------------------------------------------


def letter_of(merchant_id: int, letter_id: int) -> Letter | None:
    """One of this merchant's letters."""
    query = select(Letter).where(Letter.merchant_id == merchant_id, Letter.id == letter_id)
    return db.session.scalar(query)


@dataclass(frozen=True, slots=True)
class Print:
    """A finished letter: its bytes and its ``pages``, each on a sheet of its own."""

    pdf: bytes
    pages: int


def pdf_of(letter: Letter) -> bytes:
    """What was handed over, else the letter as it would be today.

    Raises FactError, ComposeError, LookError or PdfRefused if none can be made of it.
    """
    return letter.pdf if letter.pdf is not None else composed(letter, now()).pdf


def composed(letter: Letter, at: datetime) -> Print:
    """The letter as it is printed. Raises as ``pdf_of``.

    The shop's PDF goes first and as it is, if the window shows whom it is for; otherwise a cover
    of ours is put before it, on which the slip has its place too.
    """
    look, dated = Look.from_json(letter.look), local_day(letter.merchant_id, at)
    if letter.enclosed is None:
        pdf = _composed_by_us(letter, look, dated)
        return Print(pdf, pages_of(pdf))
    invoice = checked_pdf(letter.enclosed)
    parts = [letter.enclosed]
    if not is_addressed_to(letter.enclosed, letter.recipient):
        parts.insert(0, _composed_by_us(letter, look, dated))
    elif letter.facts.get("iban"):
        parts.append(compose_slip(letter.language, letter.facts, look, dated=dated))
    ours = sum(pages_of(part) for part in parts if part is not letter.enclosed)
    pdf = merge(parts) if len(parts) > 1 else letter.enclosed
    return Print(pdf, invoice.pages + ours)


def _composed_by_us(letter: Letter, look: Look, dated: date) -> bytes:
    return compose(
        letter.kind,
        letter.language,
        letter.facts,
        look,
        recipient=letter.recipient,
        country=letter.country,
        dated=dated,
        is_registered=letter.is_registered,
    )


def local_day(merchant_id: int, at: datetime) -> date:
    """The day of a moment where the merchant lives."""
    zone = db.session.scalar(select(Merchant.timezone).where(Merchant.id == merchant_id))
    return at.astimezone(ZoneInfo(zone or "UTC")).date()


def estimate(merchant_id: int, pages: int, is_registered: bool) -> tuple[Decimal, str] | None:
    """What a letter of so many pages costs and in which currency; None where that is unknown."""
    service = service_of(merchant_id)
    if service is None:
        return None
    price = price_of(service.prices, pages, is_registered=is_registered)
    return (price, service.currency) if price is not None else None


# --- after it was handed over -------------------------------------------------------------------


def decide_unknown(letter: Letter, again: bool, *, actor: str = "", at: datetime) -> None:
    """A person decides about a letter of which nobody knows whether it was handed over.

    ``again`` hands it over at the next drain; otherwise it counts as handed over. Raises
    NotRepeatable unless it is ``unknown``.
    """
    if letter.status != "unknown":
        raise NotRepeatable(letter.status)
    letter.actor = actor or letter.actor
    if again:
        _queue_again(letter, at)
    else:
        letter.status, letter.error, letter.finished_at = "done", None, at
        letter.delivery_words = LEFT_TO_REST


def send_again(letter: Letter, *, actor: str, at: datetime, due_at: datetime) -> int:
    """The same letter once more; the id of the row that carries it. Raises NotRepeatable.

    What never left goes on as it is; what was handed over, such as a letter that came back, gets
    a row of its own, so that both stay visible.
    """
    if letter.status not in REPEATABLE:
        raise NotRepeatable(letter.status)
    if letter.status != "done":
        letter.actor = actor
        _queue_again(letter, due_at)
        return letter.id
    for number in range(1, MAX_AGAIN + 1):
        copy = _insert(_copied(letter, f"{_copies_of(letter)}{number}", actor, at, due_at))
        if copy is not None:
            return copy
    raise NotRepeatable("too_often")


def has_gone(letter: Letter) -> bool:
    """Whether a copy that ``send_again`` made later waits, is on its way or arrived."""
    fared_well = func.coalesce(Letter.delivery, "accepted").not_in(("failed", "returned"))
    copies = select(Letter.id).where(
        Letter.once.startswith(_copies_of(letter), autoescape=True),
        Letter.merchant_id == letter.merchant_id,
        Letter.order_id == letter.order_id,
        Letter.id > letter.id,
        Letter.status.in_(("queued", "running", "done", "unknown")) & fared_well,
    )
    return db.session.scalar(copies.limit(1)) is not None


def same_as(letter: Letter) -> list[int]:
    """The ids of the first of its copies and of all others, which is itself among them."""
    first = Letter.once == letter.once.partition(AGAIN)[0]
    query = select(Letter.id).where(
        first | Letter.once.startswith(_copies_of(letter), autoescape=True),
        Letter.merchant_id == letter.merchant_id,
        Letter.order_id == letter.order_id,
    )
    return list(db.session.scalars(query))


def _copies_of(letter: Letter) -> str:
    """What the keys of a letter's copies begin with."""
    return f"{letter.once.partition(AGAIN)[0]}{AGAIN}"


_COPIED: Final = (
    "merchant_id shop_id order_id mail_id kind language recipient country facts look "
    "is_registered is_test enclosed"
).split()


def _copied(
    letter: Letter, once: str, actor: str, at: datetime, due_at: datetime
) -> dict[str, Any]:
    same = {name: getattr(letter, name) for name in _COPIED}
    return same | {"once": once, "actor": actor, "created_at": at, "due_at": due_at}


def _queue_again(letter: Letter, due_at: datetime) -> None:
    letter.status, letter.error, letter.finished_at = "queued", None, None
    letter.attempts, letter.due_at, letter.cancelled_by = 0, due_at, None
    announce(Letter)
