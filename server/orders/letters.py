"""Letters of an order: to whom, in which look, and when one goes beside a mail (S47, K60).

A file of its own because mails, reminders and people all write letters; what people ask for is in
``letter_actions``. A letter is written in the transaction of its reason and waits for the day's
cut-off, so whatever makes it moot withholds it as it does with mails. Never commits.
"""

from __future__ import annotations

import base64
import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from marshmallow import EXCLUDE
from sqlalchemy import ColumnElement, and_, or_, select, update

from plugin_sdk import types as wire
from plugin_sdk.schemas import AddressSchema
from server.banking.rules.accounts import Payee
from server.banking.service import payees
from server.db import db
from server.letters import kinds as letter_kinds
from server.letters import service as letters
from server.letters.compose import MAX_RECIPIENT_LINES, ComposeError, check_look
from server.letters.look import (
    MAX_LEGAL_COLUMNS,
    MAX_LEGAL_LINES,
    MAX_LINE_LENGTH,
    MAX_RETURN_ADDRESS_LENGTH,
    MAX_SENDER_LENGTH,
    Look,
    LookError,
)
from server.letters.models import Letter
from server.letters.pdfs import PdfRefused
from server.letters.rules import next_cutoff
from server.mail.languages import money
from server.mail.models import Picture
from server.mail.pictures import PATH, picture_of
from server.mail.theme import palette
from server.merchants.service import settings_of
from server.merchants.settings import MerchantSettings
from server.orders.brakes import STOPPED
from server.orders.identity import Sender, identity_of
from server.orders.ledger import ZERO, Ledger, NotPossible, note
from server.orders.models import OWING_STATUSES, Order, OrderEvent
from server.orders.notices import payee_for
from server.orders.told import told_order, zone_of

OF_MAILS: Final = ("payment_information", "reminder", "dunning_notice")
"""Kinds that a mail and a letter have in common: the same words, the same once."""
ASKING_LETTERS: Final = frozenset({*OF_MAILS, "transfer_form"})
TEST_MODE: Final = "the shop is in test mode, which prints nothing"
NOT_OWED: Final = "the order is not open any more"
ERASED: Final = "the personal data of the order was removed"
NO_ADDRESS: Final = "the order has no such postal address any more"
HOME: Final = "DE"
"""Where a letter goes whose address names no country."""
DOUBLE_CLICK: Final = timedelta(minutes=1)
PICTURES_KNOWN: Final = 16
"""Of so many it is remembered whether they can be drawn, as drawing takes longer than the rest."""
LETTER: Final = ":letter"
COPY: Final = ":delivery"
"""Ends of keys: behind that of the mail that says the same, and of the copy of such a letter that
goes to the delivery address."""

_ADDRESS: Final = AddressSchema(unknown=EXCLUDE)


# --- to whom -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Recipient:
    """The lines of an address window in the order of DIN 5008, without that of the country."""

    lines: tuple[str, ...]
    country: str


def recipient_of(address: wire.Address | None) -> Recipient | None:
    """None where something is missing that the post needs: a name, street, postcode or city."""
    if address is None:
        return None
    person = " ".join(part for part in (address.first_name, address.last_name) if part)
    names = [line for line in (_lines(address.company), _lines(person)) if line]
    street, city = _lines(address.street), _lines(address.city)
    postcode = " ".join(_lines(address.postcode))
    if not (names and street and city and postcode):
        return None
    place = f"{postcode} {' '.join(city)}"[:MAX_LINE_LENGTH]
    who = [line for name in dict.fromkeys(map(tuple, names)) for line in name]
    room = MAX_RECIPIENT_LINES - 1 - len(street[: MAX_RECIPIENT_LINES - 2])
    lines = (*who[:room], *street[: MAX_RECIPIENT_LINES - 2], place)
    return Recipient(lines, (address.country or HOME).upper())


def _lines(typed: str | None) -> list[str]:
    """Without control characters, cut where a window ends."""
    printable = ("".join(c for c in line if c.isprintable()) for line in (typed or "").splitlines())
    return [" ".join(line.split())[:MAX_LINE_LENGTH] for line in printable if line.strip()]


def billed_to(order: wire.Order) -> Recipient | None:
    """The billing address, else where the goods go."""
    return recipient_of(order.billing_address) or recipient_of(order.shipping_address)


def delivered_to(order: wire.Order) -> Recipient | None:
    """Where the goods go, if that is another address than the letter's own."""
    recipient, billed = recipient_of(order.shipping_address), billed_to(order)
    return None if recipient is None or _same(recipient, billed) else recipient


def addresses_differ(order: wire.Order) -> bool:
    """Do the goods go elsewhere than the invoice?"""
    return delivered_to(order) is not None


def _same(one: Recipient, other: Recipient | None) -> bool:
    if other is None:
        return False
    lines = tuple(line.casefold() for line in one.lines)
    return (lines, one.country) == (
        tuple(line.casefold() for line in other.lines),
        other.country,
    )


def has_address(raw: Mapping[str, Any]) -> bool:
    """Could a letter go to whom an order as it is stored belongs?"""
    return any(
        recipient_of(_ADDRESS.load(raw[part])) is not None
        for part in ("billing_address", "shipping_address")
        if raw.get(part)
    )


def check_address(order: Order) -> None:
    """Raises NotPossible where a letter has nowhere to go, and in the shadow, where Kontor writes
    to nobody (N3)."""
    if settings_of(order.merchant_id, order.shop_id).assignment == "shadow":
        raise NotPossible("reminder_shadow")
    if order.erased_at is not None or billed_to(told_order(order)) is None:
        raise NotPossible("letter_no_address", number=order.number)


# --- whether -----------------------------------------------------------------------------------


def goes_by_letter(when: str, *, has_email: bool, differs: bool) -> bool:
    """Does a letter go at once, by the setting ``letter_`` of its kind?

    Who has no e-mail gets a letter wherever one may go at all: a mail cannot arrive.
    """
    if when == "never":
        return False
    if not has_email or when == "always":
        return True
    return when == "addresses_differ" and differs


def wants_letter(order: Order, kind: str, settings: MerchantSettings) -> bool:
    """The same for a stored order that can get letters. Not in the shadow (N3)."""
    when = when_of(kind, settings)
    if when == "never" or settings.assignment == "shadow" or order.erased_at is not None:
        return False
    told = told_order(order)
    has_email = bool(order.customer_email)
    return billed_to(told) is not None and goes_by_letter(
        when, has_email=has_email, differs=addresses_differ(told)
    )


def when_of(kind: str, settings: MerchantSettings) -> str:
    """The setting of a kind; ``never`` for those that only a person sends."""
    return str(getattr(settings, f"letter_{kind}", "never"))


def sent_without_email(raw: Mapping[str, Any], settings: MerchantSettings) -> frozenset[str]:
    """Kinds that whoever has no e-mail gets as a letter; ``raw`` is the order as it is stored."""
    if settings.assignment == "shadow" or not has_address(raw):
        return frozenset()
    return frozenset(kind for kind in OF_MAILS if when_of(kind, settings) != "never")


# --- writing one -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Draft:
    """What a letter is made of, beside the order. ``facts`` may hold more than the kind knows.

    ``once`` as of the mail that says the same, so that neither comes twice. ``enclosed`` is the
    shop's own PDF; ``slip``: a payment slip is enclosed with it. ``is_again``: also after a person
    cancelled the one before.
    """

    kind: str
    language: str
    facts: Mapping[str, Any]
    once: str
    is_registered: bool = False
    mail_id: int | None = None
    enclosed: bytes | None = None
    slip: bool = False
    is_again: bool = False


def write_letter(
    order: Order,
    draft: Draft,
    shop: Sender,
    account: Payee | None,
    settings: MerchantSettings,
    *,
    actor: str,
    at: datetime,
) -> int | None:
    """Queue the letter, and its copy to the delivery address if the merchant wants one.

    The id of the first; None without a postal address or if this ``once`` was there. What was
    withheld, but not by a person, makes room. Raises NotPossible for an address or an enclosed
    PDF that cannot be printed.
    """
    told = told_order(order)
    billed = billed_to(told)
    if billed is None:
        return None
    copy = delivered_to(told) if settings.letter_to_delivery else None
    look, due_at = look_of(shop, account), due_of(order.merchant_id, settings, account, at)
    first = _queue(order, draft, billed, draft.once + LETTER, look, due_at, actor=actor, at=at)
    if first is not None:
        note(order, "letter_written", actor, at, letter=draft.kind)
    if first is not None and copy is not None:
        once = draft.once + LETTER + COPY
        _queue(order, draft, copy, once, look, due_at, actor=actor, at=at)
    return first


def _queue(
    order: Order,
    draft: Draft,
    recipient: Recipient,
    once: str,
    look: Look,
    due_at: datetime,
    *,
    actor: str,
    at: datetime,
) -> int | None:
    _make_room(once, is_again=draft.is_again)
    try:
        return letters.queue_letter(
            draft.kind,
            merchant_id=order.merchant_id,
            shop_id=order.shop_id,
            order_id=order.id,
            language=draft.language,
            recipient=recipient.lines,
            country=recipient.country,
            once=once,
            facts=facts_for(draft.kind, draft.facts),
            look=look,
            is_registered=draft.is_registered,
            mail_id=draft.mail_id,
            enclosed=draft.enclosed,
            slip=draft.slip,
            actor=actor,
            at=at,
            due_at=due_at,
        )
    except ComposeError:
        raise NotPossible("letter_unprintable", number=order.number) from None
    except PdfRefused as refused:
        raise NotPossible(f"letter_pdf_{refused.args[0]}", number=order.number) from None


def try_letter(
    order: Order,
    draft: Draft,
    shop: Sender,
    account: Payee | None,
    settings: MerchantSettings,
    *,
    actor: str,
    at: datetime,
) -> int | None:
    """As ``write_letter``, where nobody is there to hear why not: the order's history says it."""
    try:
        return write_letter(order, draft, shop, account, settings, actor=actor, at=at)
    except NotPossible as problem:
        _note_unwritten(order, draft.kind, str(problem.args[0]), actor, at)
        return None


def _note_unwritten(order: Order, kind: str, reason: str, actor: str, at: datetime) -> None:
    """Once: it is tried again every day."""
    known = select(OrderEvent.id).where(
        OrderEvent.order_id == order.id,
        OrderEvent.kind == "letter_not_written",
        OrderEvent.facts["letter"].as_string() == kind,
        OrderEvent.facts["reason"].as_string() == reason,
    )
    if db.session.scalar(known.limit(1)) is None:
        note(order, "letter_not_written", actor, at, letter=kind, reason=reason)


def _make_room(once: str, *, is_again: bool) -> None:
    """A letter that was withheld and never printed makes room for the one that is true now; what
    a person has cancelled stays cancelled, unless it is wanted again. What is only stopped still
    comes, so it stays the only one."""
    gone = select(Letter).where(Letter.once == once, Letter.status == "withheld", ~_is_stopped())
    letter = db.session.scalar(gone)
    if letter is not None and (is_again or letter.cancelled_by is None):
        letter.once = f"{once}:{letter.id}"
        db.session.flush()


def facts_for(kind: str, facts: Mapping[str, Any]) -> dict[str, str]:
    """Those that a letter of this kind knows."""
    known = letter_kinds.KINDS[kind].facts
    return {name: str(text) for name, text in facts.items() if name in known}


def due_of(
    merchant_id: int, settings: MerchantSettings, account: Payee | None, at: datetime
) -> datetime:
    """The next cut-off: until then it can be cancelled (S73)."""
    country = account.iban[:2].upper() if account is not None else HOME
    return next_cutoff(at, zone_of(merchant_id), settings.letter_cutoff_hour, country)


def account_of(order: Order) -> Payee | None:
    """Where the order is to be paid to (K17)."""
    return payee_for(told_order(order), order.shop_id, payees(order.merchant_id))


def look_of(shop: Sender, account: Payee | None) -> Look:
    """The sender and the colours of the shop's mails, with the picture that they show if a letter
    can show it."""
    identity = identity_of(shop)
    colours = palette(identity.theme)
    legal = [part for line in identity.legal_line.splitlines() for part in _cut(line)]
    sender = identity.sender_name.strip()[:MAX_SENDER_LENGTH].strip() or "–"
    plain = Look(
        sender=sender,
        return_address=_return_address(sender, legal, account)[:MAX_RETURN_ADDRESS_LENGTH],
        ink=colours["text"],
        accent=colours["link"],
        legal=_columns(legal),
        contact=(("", identity.reply_to[:MAX_LINE_LENGTH]),) if identity.reply_to else (),
        country=account.iban[:2].upper() if account is not None else HOME,
    )
    picture = _picture(identity.theme.header_image)
    if picture is None:
        return plain
    content = base64.b64encode(picture.content).decode()
    if not _is_drawable(content, picture.content_type):
        return plain
    return replace(plain, header=content, header_type=picture.content_type)


@lru_cache(maxsize=PICTURES_KNOWN)
def _is_drawable(header: str, header_type: str) -> bool:
    """Not one that is too large for a letter, of a kind that paper does not know, or broken behind
    its first bytes: mails show it as they can, and every letter would fail by it."""
    try:
        check_look(Look(sender="-", return_address="-", header=header, header_type=header_type))
    except LookError:
        return False
    return True


def _picture(address: str) -> Picture | None:
    return picture_of(address.rpartition(PATH)[2]) if PATH in address else None


def _cut(line: str) -> list[str]:
    return textwrap.wrap(line, MAX_LINE_LENGTH)


def _columns(lines: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Side by side at the foot, each as high as the others."""
    kept = list(lines)[: MAX_LEGAL_COLUMNS * MAX_LEGAL_LINES]
    height = max(-(-len(kept) // MAX_LEGAL_COLUMNS), min(len(kept), 3))
    return tuple(tuple(kept[at : at + height]) for at in range(0, len(kept), height or 1))


def _return_address(sender: str, legal: Sequence[str], account: Payee | None) -> str:
    """One line above the window: where the account's owner lives, if that is known, else what the
    shop states first of itself."""
    if account is not None and account.address is not None:
        place = account.address
        street = f"{place.street} {place.building_number}".strip()
        town = f"{place.postcode} {place.city}".strip()
        return " · ".join(part for part in (sender, street, town) if part)
    first = legal[0] if legal else sender
    return first if sender in first else f"{sender} · {first}"


def written_just_now(
    order: Order, kind: str, at: datetime, *, about: str | None = None
) -> Letter | None:
    """Who asks for the same again within a minute has clicked twice; ``about`` is what the keys of
    the same begin with, where an order has several of a kind."""
    query = select(Letter).where(
        Letter.order_id == order.id,
        Letter.kind == kind,
        Letter.once.startswith(about or "", autoescape=True),
        Letter.created_at > at - DOUBLE_CLICK,
        Letter.cancelled_by.is_(None),
    )
    return db.session.scalar(query.order_by(Letter.id.desc()).limit(1))


def readdress_letters(order: Order) -> None:
    """Those that still wait go where the order's addresses are now; a copy whose address is none
    any more goes nowhere."""
    waiting = select(Letter).where(Letter.order_id == order.id, is_waiting())
    found = db.session.scalars(waiting.with_for_update(skip_locked=True)).all()
    if not found:
        return
    told = told_order(order)
    billed, copy = billed_to(told), delivered_to(told)
    for letter in found:
        recipient = copy if LETTER + COPY in letter.once else billed
        if recipient is None:
            letter.withhold(NO_ADDRESS)
        else:
            letter.recipient, letter.country = list(recipient.lines), recipient.country


# --- holding back ------------------------------------------------------------------------------


def is_waiting() -> ColumnElement[bool]:
    """Of ``Letter``: may still be printed, now or when letters are no longer stopped."""
    return or_(Letter.status == "queued", _is_stopped())


def _is_stopped() -> ColumnElement[bool]:
    return and_(Letter.status == "withheld", Letter.error == STOPPED)


def withhold_letters(order: Order, kinds: Collection[str], why: str) -> int:
    """In the transaction of its reason, as with mails: whoever is not asked for money by mail is
    not sent its form either. Returns how many."""
    wanted = [*kinds, "transfer_form"] if "payment_information" in kinds else list(kinds)
    waiting = select(Letter.id).where(
        Letter.order_id == order.id, Letter.kind.in_(wanted), is_waiting()
    )
    if db.session.scalar(waiting.limit(1)) is None:
        return 0
    stopped = (
        update(Letter)
        .where(Letter.order_id == order.id, Letter.kind.in_(wanted), _is_stopped())
        .values(error=why)
    )
    ended: Any = db.session.execute(stopped)
    return letters.withhold_letters(order.id, wanted, why) + int(ended.rowcount)


def hold_back(rows: Sequence[Letter]) -> list[Letter]:
    """Withhold what must not be printed now; returns what was withheld. For the worker, right
    before it hands them over: a stopped merchant, a shop in test mode, an order that owes nothing
    any more or whose customer was erased."""
    held: list[Letter] = []
    for letter in rows:
        why = None if letter.is_test else _why_held(letter)
        if why is not None:
            letter.withhold(why)
            held.append(letter)
    return held


def _why_held(letter: Letter) -> str | None:
    settings = settings_of(letter.merchant_id, letter.shop_id)
    if settings.stop_mails:
        return STOPPED
    if settings.mode == "test":
        return TEST_MODE
    order = None
    if letter.order_id is not None:
        order = db.session.get(Order, letter.order_id, populate_existing=True)  # as it is now
    if order is None:
        return None  # of no order, so nothing is owed or erased
    if order.erased_at is not None:
        return ERASED
    _drop_wrong_slip(letter, order)
    is_moot = letter.kind in ASKING_LETTERS and order.payment_status not in OWING_STATUSES
    return NOT_OWED if is_moot else None


def _drop_wrong_slip(letter: Letter, order: Order) -> None:
    """The invoice goes all the same; a slip that asks for what is not owed any more does not."""
    asked = letter.facts.get("amount_due")
    if not letter_kinds.KINDS[letter.kind].encloses or not asked:
        return
    rest = Ledger([order.id]).rest(order)
    owes = order.payment_status in OWING_STATUSES and rest > ZERO
    if not owes or asked != money(rest, order.currency, letter.language):
        letter.facts = {
            name: text for name, text in letter.facts.items() if name not in letter_kinds.TRANSFER
        }
