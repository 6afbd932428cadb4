"""What a person does with a mail that is there: once more, elsewhere, never again (S70, S72).

A file of its own because a mail may belong to an order or not, and each of these begins with one.
Never commits.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Final

from sqlalchemy import select

from server.db import db
from server.letters.models import Letter
from server.mail import service as mails
from server.mail import suppression
from server.mail.kinds import KINDS
from server.mail.languages import money
from server.mail.models import Mail
from server.merchants.service import lock_merchant, settings_of
from server.orders.brakes import CUSTOMER_KINDS
from server.orders.charges import follow_resent, reminders_of
from server.orders.ledger import ZERO, Ledger, NotPossible, note, order_now
from server.orders.lifecycle import actions_of, check_email, edit_order
from server.orders.links import unsubscribe_url
from server.orders.models import Order
from server.orders.service import no_longer_asked

GONE: Final = ("done", "failed")
"""What waits is not repeated, and what was withheld had its reason; an edit of the order, and the
next run, write what is true then."""
TO_THE_SAME: Final = frozenset({"resend", "send_again"})


def mail_of(merchant_id: int, mail_id: int) -> Mail | None:
    """None if the merchant has none, or if it is about an account: that is the reader's alone."""
    mail = db.session.scalar(
        select(Mail).where(Mail.merchant_id == merchant_id, Mail.id == mail_id)
    )
    is_shown = mail is not None and mail.kind in KINDS and KINDS[mail.kind].footer != "account"
    return mail if is_shown else None


def actions_of_mail(mail: Mail, at: datetime) -> set[str]:
    """What fits: ``resend``, ``readdress``, ``send_again``, ``let_rest``, ``opt_out``, ``opt_in``.

    ``readdress`` is to another address. What is blocked is not offered (``hindrance_of``); what is
    refused only when it is tried says why then.
    """
    fits = _fitting(mail, at)
    return fits - TO_THE_SAME if hindrance_of(mail, at) else fits


def hindrance_of(mail: Mail, at: datetime) -> str | None:
    """Why it cannot go to the same address again, as the word of a refusal; None if it can."""
    block = suppression.blocked([mail], at).get(mail.id)
    return _refusal(block) if block is not None and _fitting(mail, at) & TO_THE_SAME else None


def _refusal(block: suppression.Block) -> str:
    return "mail_opted_out" if block.is_opt_out else f"mail_blocked_{block.reason}"


def _fitting(mail: Mail, at: datetime) -> set[str]:
    fits: set[str] = set()
    if mail.is_test:
        return fits
    if mail.status == "unknown":
        fits |= {"send_again", "let_rest"}
    elif mail.facts and (mail.status in GONE or mail.error == mails.LEFT_TO_REST):
        fits.add("resend")
    is_to_customer = mail.kind in CUSTOMER_KINDS and bool(mail.recipient)
    if is_to_customer and mail.order_id is not None and fits:
        fits.add("readdress")
    if is_to_customer and suppression.is_optional(mail.kind):
        out = suppression.has_opted_out(mail.merchant_id, mail.recipient, mail.kind, at)
        fits.add("opt_in" if out else "opt_out")
    return fits


def resend_mail(merchant_id: int, mail_id: int, *, actor: str, at: datetime) -> Mail:
    """The same words as a new mail (S70). Raises NotPossible where it would not go out, or would
    ask for what is not owed any more."""
    lock_merchant(merchant_id)
    mail = _checked(merchant_id, mail_id, "resend", at)
    return _sent_once_more(mail, mail.recipient, actor, at)


def readdress_mail(merchant_id: int, mail_id: int, email: str, *, actor: str, at: datetime) -> Mail:
    """The same words to another address, which is the order's from then on while it is open.

    The edit of an open order asks the new address for the money by itself (S36), so that mail is
    not sent twice. Raises NotPossible.
    """
    email = email.strip()
    check_email(email)
    lock_merchant(merchant_id)
    mail = _checked(merchant_id, mail_id, "readdress", at, email)
    assert mail.order_id is not None, "asked for by the action"
    order = order_now(merchant_id, mail.order_id)
    if "edit" in actions_of(order):
        edit_order(merchant_id, order.id, email=email, total=order.total, actor=actor, at=at)
        written = _written_instead(mail, email)
        if written is not None:
            return written
    return _sent_once_more(mail, email, actor, at)


def use_address(merchant_id: int, order_id: int, email: str, *, actor: str, at: datetime) -> None:
    """An open order gets another address, and the last mail to its customer goes there (N13).

    Raises NotPossible if the order cannot be edited; a mail that would not go out is left.
    """
    order = db.session.scalar(
        select(Order).where(Order.merchant_id == merchant_id, Order.id == order_id)
    )
    last = _last_to_customer(order) if order is not None else None
    total = order.total if order is not None else ZERO
    edit_order(merchant_id, order_id, email=email, total=total, actor=actor, at=at)
    if last is None or _written_instead(last, email.strip()) is not None:
        return
    try:
        _check_goes_out(last, email.strip(), at)
    except NotPossible:
        return
    _sent_once_more(last, email.strip(), actor, at)


def _last_to_customer(order: Order) -> Mail | None:
    """The newest that went to the address that the order has, or failed to."""
    mails_there = select(Mail).where(
        Mail.order_id == order.id,
        Mail.kind.in_(CUSTOMER_KINDS),
        Mail.recipient == order.customer_email,
        Mail.status.in_(("done", "failed", "unknown")),
    )
    return db.session.scalar(mails_there.order_by(Mail.id.desc()).limit(1))


def decide_mail(merchant_id: int, mail_id: int, *, again: bool, actor: str, at: datetime) -> Mail:
    """Nobody knows whether it arrived: send the very same once more, or let it rest."""
    mail = _checked(merchant_id, mail_id, "send_again" if again else "let_rest", at)
    if again:
        mails.send_again(mail, at)
    else:
        mails.let_rest(mail, at)
    _note(mail, "mail_sent_again" if again else "mail_let_rest", actor, at)
    return mail


def opt_out_of(merchant_id: int, mail_id: int, *, actor: str, at: datetime) -> None:
    """The customer of this mail gets no more of its kind, which must be optional (S72)."""
    mail = _checked(merchant_id, mail_id, "opt_out", at)
    suppression.opt_out(merchant_id, mail.recipient, mail.kind, at=at, by=actor, mail_id=mail.id)
    _note(mail, "mail_opted_out", actor, at)


def opt_in_to(merchant_id: int, mail_id: int, *, actor: str, at: datetime) -> None:
    """Takes that back."""
    mail = _checked(merchant_id, mail_id, "opt_in", at)
    suppression.opt_in(merchant_id, mail.recipient, mail.kind, at=at, by=actor)
    _note(mail, "mail_opted_in", actor, at)


# --- what all of them ask -----------------------------------------------------------------------


def _checked(merchant_id: int, mail_id: int, action: str, at: datetime, email: str = "") -> Mail:
    """The mail as it is now, locked. Raises NotPossible if the action does not fit it.

    ``email`` is where it is to go, if not where it went.
    """
    mail = mail_of(merchant_id, mail_id)
    if mail is None:
        raise NotPossible("mail_unknown")
    db.session.refresh(mail, with_for_update=True)
    if not mail.facts:
        raise NotPossible("mail_erased")
    if action not in _fitting(mail, at):
        raise NotPossible("mail_action_gone")
    if action == "readdress" or action in TO_THE_SAME:
        _check_goes_out(mail, email or mail.recipient, at)
    return mail


def _check_goes_out(mail: Mail, recipient: str, at: datetime) -> None:
    """The worker would withhold it or let it fail: better said now."""
    if mail.kind in CUSTOMER_KINDS:
        if not settings_of(mail.merchant_id, mail.shop_id).sends(mail.kind):
            raise NotPossible("mail_switched_off")
        check_asks_what_is_owed(mail)
    if recipient.lower() == mail.recipient.lower():
        block = suppression.blocked([mail], at).get(mail.id)
    else:
        block = suppression.block_of(mail.merchant_id, recipient, mail.kind, at)
    if block is not None:
        raise NotPossible(_refusal(block))


def check_asks_what_is_owed(mail: Mail) -> None:
    """Whoever reads it pays what it names: nothing else than is owed now, by the order or by that
    reminder."""
    if no_longer_asked([mail]):
        raise NotPossible("mail_moot")
    check_amount(mail)


def check_amount(mail: Mail | Letter) -> None:
    """The amount alone, of a mail or a letter. Raises NotPossible."""
    order = db.session.get(Order, mail.order_id) if mail.order_id is not None else None
    asked = mail.facts.get("amount_due")
    if order is None or not asked:
        return
    is_reminder = mail.kind in ("reminder", "dunning_notice")
    due = _due_by_reminder(mail, order) if is_reminder else Ledger([order.id]).rest(order)
    if due <= ZERO:
        raise NotPossible("mail_moot")
    if asked != money(due, order.currency, mail.language):
        raise NotPossible("mail_other_amount")


def _due_by_reminder(mail: Mail | Letter, order: Order) -> Decimal:
    """What it asks for when it counts: its charges, those of the other levels, and the order."""
    level = int(mail.facts.get("level", "0")) + 1
    charged = reminders_of(order.id).when_told(level)
    paid = Ledger([order.id]).paid(order.id)
    return max(order.total, ZERO) + charged.fees + charged.interest - paid


def _written_instead(mail: Mail, email: str) -> Mail | None:
    """What the edit of the order has just written of this kind, if anything."""
    newer = select(Mail).where(
        Mail.order_id == mail.order_id,
        Mail.kind == mail.kind,
        Mail.recipient == email,
        Mail.status == "queued",
    )
    return db.session.scalar(newer.order_by(Mail.id.desc()).limit(1))


def _sent_once_more(mail: Mail, recipient: str, actor: str, at: datetime) -> Mail:
    links = {}
    if "unsubscribe_url" in mail.facts and mail.order_id is not None:
        url = unsubscribe_url(mail.order_id, recipient, mail.kind)  # of this address, not the other
        links["unsubscribe_url"] = url
    new, is_new = mails.resend(mail, recipient=recipient, links=links, actor=actor, at=at)
    if is_new:
        follow_resent(mail, new)
        _note(mail, "mail_resent", actor, at)
    return new


def _note(mail: Mail, event: str, actor: str, at: datetime) -> None:
    """A line of the order's history, if it is about one; else the row says enough."""
    order = db.session.get(Order, mail.order_id) if mail.order_id is not None else None
    if order is not None:
        note(order, event, actor, at, mail=mail.kind)
