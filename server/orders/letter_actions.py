"""What a person, a bounced mail and a new invoice do with letters (S71, S73, S75, S77, K35, K60).

A file of its own beside ``letters``, which writes them. The functions take the merchant's lock.
Never commits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Select, and_, func, or_, select, update
from sqlalchemy.orm import aliased

from server.db import db
from server.letters import service as letters
from server.letters.models import Letter
from server.mail.models import Mail
from server.merchants.service import lock_merchant, settings_of
from server.orders.asking import REMINDERS, request_for
from server.orders.charges import count_charges, follow_lettered, went_lost
from server.orders.failed_mails import STILL_UNDER_WAY, did_get_lost, is_settled
from server.orders.identity import country_of, edition_for
from server.orders.ledger import ZERO, Ledger, NotPossible, note, order_now
from server.orders.letters import (
    ASKING_LETTERS,
    LETTER,
    OF_MAILS,
    Draft,
    account_of,
    check_address,
    due_of,
    readdress_letters,
    try_letter,
    when_of,
    write_letter,
    written_just_now,
)
from server.orders.mail_actions import check_amount, check_asks_what_is_owed, mail_of
from server.orders.models import OWING_STATUSES, Order, Reminder
from server.orders.notices import facts_of_request
from server.orders.settlement import settle
from server.orders.told import zone_of
from server.shops.models import Shop

FOLLOWED_AT_ONCE: Final = 500
OWN_FAULTS: Final = ("misconfigured", "not_writable", "unreachable")
"""Why a mail failed that would have arrived from elsewhere: no reason to pay for paper."""


# --- by a person -------------------------------------------------------------------------------


def _letter_now(merchant_id: int, letter_id: int) -> Letter | None:
    """As it is now, locked: the page that asks has seen it before. None if the merchant has none
    of this id."""
    letter = letters.letter_of(merchant_id, letter_id)
    if letter is not None:
        db.session.refresh(letter, with_for_update=True)
    return letter


def cancel(merchant_id: int, letter_id: int, *, actor: str, at: datetime) -> Letter:
    """Not printed (S73); what a reminder charged goes with it. Raises NotPossible
    `letter_is_gone` once it was handed over."""
    lock_merchant(merchant_id)
    letter = letters.letter_of(merchant_id, letter_id)
    if letter is None:
        raise NotPossible("letter_unknown")
    try:
        letters.cancel_letter(merchant_id, letter_id, actor=actor, at=at)
    except letters.NotCancellable:
        raise NotPossible("letter_is_gone") from None
    _follow(letter, "letter_cancelled", actor, at)
    return letter


def decide(merchant_id: int, letter_id: int, *, again: bool, actor: str, at: datetime) -> Letter:
    """Nobody knows whether it was taken: hand it over once more, or let it rest.

    Raises NotPossible, once more also where it is not true any more.
    """
    lock_merchant(merchant_id)
    letter = _letter_now(merchant_id, letter_id)
    if letter is None or letter.status != "unknown":
        raise NotPossible("letter_is_gone")
    if again:
        _check_true_still(letter)
    letters.decide_unknown(letter, again, actor=actor, at=at)
    _follow(letter, "letter_sent_again" if again else "letter_let_rest", actor, at)
    return letter


def send_again(merchant_id: int, letter_id: int, *, actor: str, at: datetime) -> Letter:
    """One that came back or was not taken: the same once more, at the next cut-off, to where its
    reader lives now; what waits.

    Raises NotPossible, also where it asks for what is not owed any more.
    """
    lock_merchant(merchant_id)
    letter = _letter_now(merchant_id, letter_id)
    if letter is None:
        raise NotPossible("letter_unknown")
    if not can_go_again(letter):
        raise NotPossible("letter_not_again")
    order = _check_true_still(letter)
    settings = settings_of(merchant_id, letter.shop_id)
    due_at = due_of(merchant_id, settings, account_of(order), at)
    try:
        new_id = letters.send_again(letter, actor=actor, at=at, due_at=due_at)
    except letters.NotRepeatable:
        raise NotPossible("letter_not_again") from None
    same = letters.same_as(letter)
    db.session.execute(
        update(Reminder).where(Reminder.letter_id.in_(same)).values(letter_id=new_id)
    )
    readdress_letters(order)
    new = letters.letter_of(merchant_id, new_id)
    assert new is not None, "just written"
    if new.status != "queued":
        raise NotPossible("letter_no_address", number=order.number)
    _follow(letter, "letter_sent_again", actor, at)
    return new


def _check_true_still(letter: Letter) -> Order:
    """The order of a letter that is to go once more. Raises NotPossible where the worker would
    withhold it, or where it asks for another amount than is owed now."""
    assert letter.order_id is not None, "only a test is about none, and none is handed over"
    order = order_now(letter.merchant_id, letter.order_id)
    check_address(order)
    if letter.kind in ASKING_LETTERS:
        if order.payment_status not in OWING_STATUSES:
            raise NotPossible("letter_not_owing", number=order.number)
        check_amount(letter)
    return order


def can_go_again(letter: Letter) -> bool:
    """Is ``send_again`` offered? Not for what is on its way or was called off, and not while one
    that was sent for it is."""
    is_lost = went_lost(letter.status, letter.delivery)
    return is_lost and not letter.is_test and bool(letter.facts) and not letters.has_gone(letter)


def _follow(letter: Letter, event: str, actor: str, at: datetime) -> None:
    """The order's history, and what it owes if the letter was a reminder."""
    order = order_now(letter.merchant_id, letter.order_id) if letter.order_id is not None else None
    if order is None:
        return
    note(order, event, actor, at, letter=letter.kind)
    db.session.flush()
    count_charges(order)
    settle(order, at)


def send_transfer_form(merchant_id: int, order_id: int, *, actor: str, at: datetime) -> int:
    """What is owed, as the form that the customer's country knows (S77); the id of the letter.

    A double click is one letter. Raises NotPossible: nothing is owed, no postal address, no
    account for it.
    """
    lock_merchant(merchant_id)
    order = order_now(merchant_id, order_id)
    before = written_just_now(order, "transfer_form", at)
    if before is not None:
        return before.id
    rest = Ledger([order.id]).rest(order)
    if order.payment_status not in OWING_STATUSES or rest <= ZERO:
        raise NotPossible("letter_not_owing", number=order.number)
    check_address(order)
    settings = settings_of(merchant_id, order.shop_id)
    asked = request_for(order, settings, rest)
    if asked is None:
        raise NotPossible("cannot_ask", number=order.number)
    shop = db.session.get_one(Shop, order.shop_id)
    language = edition_for(order.language, country_of(asked.order), shop, settings)
    facts = facts_of_request(asked.made(at), shop, language)
    once = f"order:{order.id}:transfer_form:{at:%Y%m%d%H%M%S%f}"
    draft = Draft("transfer_form", language, facts, once)
    written = write_letter(order, draft, shop, asked.account, settings, actor=actor, at=at)
    assert written is not None, "the address is there and the key is new"
    return written


def mail_as_letter(merchant_id: int, mail_id: int, *, actor: str, at: datetime) -> int:
    """The same words on paper, because the mail did not arrive (S71); the level stays.

    Raises NotPossible: it did arrive or may yet, it is of another kind, it asks for what is not
    owed any more, there is no postal address, or such a letter is on its way.
    """
    lock_merchant(merchant_id)
    mail = mail_of(merchant_id, mail_id)
    if mail is None:
        raise NotPossible("mail_unknown")
    if mail.kind not in OF_MAILS or mail.order_id is None:
        raise NotPossible("letter_not_this_kind")
    if not did_not_arrive(mail):
        raise NotPossible("letter_mail_arrived")
    if not mail.facts:
        raise NotPossible("mail_erased")
    order = order_now(merchant_id, mail.order_id)
    check_address(order)
    check_asks_what_is_owed(mail)
    written = _write_for_mail(order, mail, actor, at, is_again=True)
    if written is None:
        raise NotPossible("letter_exists")
    return written


def did_not_arrive(mail: Mail) -> bool:
    """No server took it, or it came back. Of one that nobody knows of, a person decides first."""
    return not mail.is_test and went_lost(mail.status, mail.delivery)


def can_be_letter(mail: Mail) -> bool:
    """Is ``mail_as_letter`` offered?"""
    return mail.kind in OF_MAILS and mail.order_id is not None and did_not_arrive(mail)


def _write_for_mail(
    order: Order, mail: Mail, actor: str, at: datetime, *, is_again: bool = False
) -> int | None:
    settings = settings_of(order.merchant_id, order.shop_id)
    shop = db.session.get_one(Shop, order.shop_id)
    draft = Draft(
        mail.kind,
        mail.language,
        mail.facts,
        mail.once,
        is_registered=settings.letter_registered and mail.facts.get("is_last") == "yes",
        mail_id=mail.id,
        is_again=is_again,
    )
    account = account_of(order)
    write = write_letter if is_again else try_letter
    written = write(order, draft, shop, account, settings, actor=actor, at=at)
    if written is not None:
        follow_lettered(mail, written)
        settle(order, at)
    return written


# --- by themselves -----------------------------------------------------------------------------


def follow_failed_mails(merchant_id: int, at: datetime) -> int:
    """Letters for mails that did not arrive, of the kinds that go by letter at all (K35, K60):
    one a mail. Returns how many.

    Part of what is done once a day and after each look at the bank: a letter waits for the day's
    cut-off anyway.
    """
    wanted = _followed(merchant_id)
    if not wanted:
        return 0
    lost = _lost_mails(merchant_id, wanted, at)
    if db.session.scalar(lost.with_only_columns(Mail.id).limit(1)) is None:
        return 0
    lock_merchant(merchant_id)  # and asked again: somebody may have sent one once more meanwhile
    return sum(_follow_lost(mail, at) for mail in db.session.scalars(lost).all())


def _followed(merchant_id: int) -> dict[int, list[str]]:
    """Shop to the kinds of which what got lost goes by letter. Not the shops that are deregistered:
    only a person asks for their money (K12)."""
    found: dict[int, list[str]] = {}
    shops = select(Shop.id).where(Shop.merchant_id == merchant_id, Shop.status != "deregistered")
    for shop_id in db.session.scalars(shops):
        settings = settings_of(merchant_id, shop_id)
        kinds = [kind for kind in OF_MAILS if when_of(kind, settings) != "never"]
        if kinds and settings.assignment != "shadow":
            found[shop_id] = kinds
    return found


def _lost_mails(
    merchant_id: int, wanted: Mapping[int, Sequence[str]], at: datetime
) -> Select[Mail]:
    """That nothing has replaced, by mail or by letter. The newest first, because one to whom no
    letter can go stays among them and must not keep the others waiting."""
    theirs = aliased(Letter)
    lettered = select(theirs.id).where(
        theirs.order_id == Mail.order_id,
        (theirs.mail_id == Mail.id) | (theirs.once == Mail.once + LETTER),
    )
    of_kinds = [
        and_(Mail.shop_id == shop_id, Mail.kind.in_(kinds)) for shop_id, kinds in wanted.items()
    ]
    query = select(Mail).where(
        Mail.merchant_id == merchant_id,
        Mail.created_at > at - STILL_UNDER_WAY,
        did_get_lost(),
        or_(*of_kinds),
        Mail.order_id.is_not(None),
        func.coalesce(Mail.failure.not_in(OWN_FAULTS), True),
        ~lettered.exists(),
        ~is_settled(),
    )
    return query.order_by(Mail.id.desc()).limit(FOLLOWED_AT_ONCE)


def _follow_lost(mail: Mail, at: datetime) -> bool:
    if mail.is_test or not mail.facts:
        return False
    assert mail.order_id is not None, "asked for"
    order = order_now(mail.merchant_id, mail.order_id)
    if mail.kind in REMINDERS and _do_reminders_rest(order, at):
        return False
    try:
        check_address(order)
        check_asks_what_is_owed(mail)
    except NotPossible:
        return False
    return _write_for_mail(order, mail, "", at) is not None


def _do_reminders_rest(order: Order, at: datetime) -> bool:
    """Blocked, or paused because its customer says that he has paid or asks for time."""
    today = at.astimezone(zone_of(order.merchant_id)).date()
    is_paused = order.paused_until is not None and order.paused_until >= today
    return is_paused or order.reminders_blocked_at is not None
