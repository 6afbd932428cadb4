"""What may go back and to whom, before anybody has decided: read for a person and for a decision.

A file of its own beside ``service`` because it only reads: the same case is looked at when a form
is shown, when a repayment is arranged, and whenever its bank details change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

from schwifty import BIC, IBAN
from schwifty.exceptions import SchwiftyException
from sqlalchemy import func, or_, select

from server.banking.models import BankAccount, Posting
from server.banking.payments.pain001 import MAX_NAME_LENGTH
from server.banking.payments.sepa_text import sepa_name
from server.db import db, now
from server.merchants.service import settings_of
from server.orders.ledger import ZERO, Ledger, NotPossible, order_now, posting_now
from server.orders.models import Order, Refund
from server.orders.rules import REFUND_ARRANGED
from server.orders.told import zone_of
from server.refunds.rules import (
    DUPLICATE_DAYS,
    PATTERN_DAYS,
    BankDetails,
    Facts,
    Hold,
    Unusable,
    add_bank_days,
    holds_of,
    most_refundable,
    unusable_because,
)

NO_MONEY: Final = ("duplicate", "double")
"""Why a posting was ignored whose money is another posting's."""


@dataclass(frozen=True, slots=True)
class Payment:
    """A posting that brought the money, and whether it can be paid back to where it came from."""

    posting: Posting
    details: BankDetails | None
    unusable: Unusable | None


@dataclass(frozen=True, slots=True)
class Case:
    """What a repayment is of: an order, or a posting that pays none.

    ``payments`` brought the money, the newest first. ``received`` is what came on accounts,
    ``left_over`` what of it is still on the order's postings, ``surplus`` all that came too much.
    ``largest`` may still be arranged; all in ``currency``. ``refused``: the message key why
    nothing can go back.
    """

    merchant_id: int
    order: Order | None
    posting: Posting | None
    ledger: Ledger
    payments: Sequence[Payment]
    currency: str
    paid: Decimal
    received: Decimal
    left_over: Decimal
    surplus: Decimal
    largest: Decimal
    refused: str | None = None

    @property
    def source(self) -> Payment | None:
        """The payment that a repayment is paid back to: the newest that can be."""
        usable = (one for one in self.payments if one.details is not None)
        return next(usable, self.payments[0] if self.payments else None)

    @property
    def usual(self) -> Decimal:
        """What came too much, else everything."""
        return min(self.surplus or self.received or self.paid, self.largest)


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a person is shown before he arranges a repayment.

    Amounts in ``currency``: ``usual`` is proposed, ``largest`` allowed (K57), ``received`` came on
    accounts, ``surplus`` came too much. ``details`` are the payer's, None with the reason in
    ``unusable`` where nobody can be paid there (K56). ``holds`` of the usual amount to these
    details. ``refused`` is the message key why nothing can go back. ``waits_until``: the customer
    is written to and may change the details until then (K33).
    """

    order_id: int | None
    posting_id: int | None
    currency: str
    usual: Decimal
    largest: Decimal
    received: Decimal
    surplus: Decimal
    details: BankDetails | None
    unusable: Unusable | None
    holds: tuple[Hold, ...]
    refused: str | None
    waits_until: date | None


def proposal(
    merchant_id: int,
    *,
    order_id: int | None = None,
    posting_id: int | None = None,
    at: datetime | None = None,
) -> Proposal:
    """Of an order, or of a posting that pays none. Raises NotPossible if there is no such one."""
    case = case_of(merchant_id, order_id, posting_id)
    source = case.source
    details = source.details if source else None
    holds: Sequence[Hold] = ()
    if details is not None and case.refused is None:
        holds = holds_of(facts_of(case, case.usual, details, "bank", at=at or now()))
    return Proposal(
        order_id=case.order.id if case.order else None,
        posting_id=source.posting.id if source else posting_id,
        currency=case.currency,
        usual=case.usual if case.refused is None else ZERO,
        largest=case.largest if case.refused is None else ZERO,
        received=case.received,
        surplus=case.surplus,
        details=details,
        unusable=source.unusable if source else "no_iban",
        holds=tuple(holds),
        refused=case.refused,
        waits_until=waiting_ends(case, at or now()) if details is not None else None,
    )


# --- the case ----------------------------------------------------------------------------------


def case_of(merchant_id: int, order_id: int | None, posting_id: int | None) -> Case:
    """Everything about it as it is now. Raises NotPossible if there is no such order or posting."""
    if order_id is None:
        if posting_id is None:
            raise NotPossible("posting_unknown")
        return _case_of_posting(merchant_id, posting_now(merchant_id, posting_id))
    return _case_of_order(merchant_id, order_now(merchant_id, order_id), posting_id)


def _case_of_order(merchant_id: int, order: Order, posting_id: int | None) -> Case:
    standing = Ledger([order.id]).standing(order.id)
    ids = sorted({row.posting_id for row in standing if row.posting_id is not None})
    postings = {one: posting_now(merchant_id, one) for one in ids}
    if posting_id is not None and posting_id not in postings:
        raise NotPossible("refund_of_another_order", number=order.number)
    ledger = Ledger([order.id], postings)
    rows = [row for row in ledger.standing(order.id) if row.posting_id is not None]
    left_over = sum(
        (one.amount - ledger.taken(one.id) for one in postings.values() if one.is_open), ZERO
    )
    paid, arranged = ledger.paid(order.id) + left_over, ledger.arranged(order.id)
    own = own_ibans(merchant_id)
    wanted = [postings[posting_id]] if posting_id is not None else list(postings.values())[::-1]
    refused = None
    if paid <= ZERO:
        refused = "refund_nothing_paid"
    largest = most_refundable(max(order.total, ZERO), paid, arranged)
    if refused is None and largest <= ZERO:
        refused = "refund_all_arranged"
    return Case(
        merchant_id=merchant_id,
        order=order,
        posting=postings[posting_id] if posting_id is not None else None,
        ledger=ledger,
        payments=[_payment(one, own) for one in wanted],
        currency=order.currency,
        paid=paid,
        received=max(sum((row.amount for row in rows), left_over) - arranged, ZERO),
        left_over=left_over,
        surplus=ledger.surplus(order) + left_over,
        largest=largest,
        refused=refused,
    )


def _case_of_posting(merchant_id: int, posting: Posting) -> Case:
    ledger = Ledger([], [posting.id])
    left = max(posting.amount - ledger.taken(posting.id), ZERO)
    return Case(
        merchant_id=merchant_id,
        order=None,
        posting=posting,
        ledger=ledger,
        payments=[_payment(posting, own_ibans(merchant_id))],
        currency=posting.currency,
        paid=left,
        received=left,
        left_over=left,
        surplus=left,
        largest=left,
        refused=_refused(posting, left),
    )


def _refused(posting: Posting, left: Decimal) -> str | None:
    if posting.amount <= ZERO:
        return "refund_not_incoming"
    if posting.is_pending or posting.is_replaced or posting.is_passed_on:
        return "assign_posting_not_final"
    if posting.is_returned:
        return "posting_is_returned"
    if posting.ignored_because in NO_MONEY:
        return "refund_is_duplicate"
    return "refund_nothing_left" if left <= ZERO else None


def _payment(posting: Posting, own: frozenset[str]) -> Payment:
    iban = _sepa_iban(posting.counterparty_iban)
    why = unusable_because(
        posting.counterparty_name,
        iban,
        posting.remittance_information,
        posting.transaction_code,
        own,
    )
    if why is not None or iban is None:
        return Payment(posting, None, why)
    name = " ".join((posting.counterparty_name or "").split())
    return Payment(posting, BankDetails(name, iban, _bic(posting.counterparty_bic)), None)


# --- bank details ------------------------------------------------------------------------------


def own_ibans(merchant_id: int) -> frozenset[str]:
    """The merchant's own accounts, which no customer has."""
    query = select(BankAccount.iban).where(BankAccount.merchant_id == merchant_id)
    return frozenset(db.session.scalars(query))


def checked_details(merchant_id: int, details: BankDetails) -> BankDetails:
    """As they are stored and as a transfer can carry them. Raises NotPossible.

    Keys: ``iban_invalid`` ``refund_iban_not_sepa`` ``refund_own_account`` ``refund_name_missing``
    ``refund_name_too_long`` ``refund_name_not_latin``.
    """
    try:
        found = IBAN(details.iban)
    except SchwiftyException:
        raise NotPossible("iban_invalid") from None
    if not found.in_sepa_zone:
        raise NotPossible("refund_iban_not_sepa")
    iban: str = found.compact
    if iban in own_ibans(merchant_id):
        raise NotPossible("refund_own_account")
    name = " ".join(details.name.replace("\x00", "").split())
    if len(name) > MAX_NAME_LENGTH:
        raise NotPossible("refund_name_too_long", longest=str(MAX_NAME_LENGTH))
    try:
        written = sepa_name(name)
    except ValueError:
        raise NotPossible("refund_name_not_latin") from None
    if not any(character.isalnum() for character in written):
        raise NotPossible("refund_name_missing")
    return BankDetails(name, iban, _bic(details.bic))


def _sepa_iban(text: str | None) -> str | None:
    try:
        found = IBAN(text or "")
    except SchwiftyException:
        return None
    compact: str = found.compact
    return compact if found.in_sepa_zone else None


def _bic(text: str | None) -> str:
    """Empty for none and for a wrong one: SEPA routes by the IBAN."""
    if not text:
        return ""
    try:
        compact: str = BIC(text).compact
    except SchwiftyException:
        return ""
    return compact


# --- what is known of it -----------------------------------------------------------------------


def facts_of(
    case: Case,
    amount: Decimal,
    details: BankDetails,
    details_by: str,
    *,
    at: datetime,
    refund: Refund | None = None,
    iban_before: str | None = None,
) -> Facts:
    """What ``rules.holds_of`` looks at. ``refund`` is the row itself once it is arranged."""
    usable = [one.details for one in case.payments if one.details is not None]
    names = [one.name for one in usable]
    if not names and case.order is not None and case.order.customer_name:
        names = [case.order.customer_name]
    ibans = [one.iban for one in usable]
    own = refund.amount if refund is not None else ZERO
    second = settings_of(case.merchant_id).refund_second_from
    return Facts(
        amount=amount,
        received=case.received + own,
        payee=details,
        details_by=details_by,
        total=max(case.order.total, ZERO) if case.order else None,
        paid=case.paid,
        payer_names=tuple(names),
        payer_iban=details.iban if details.iban in ibans else next(iter(ibans), None),
        iban_before=iban_before,
        is_possible_duplicate=any(may_be_duplicate(one.posting) for one in case.payments),
        earlier_repayments=_earlier(case, details.iban, refund, at),
        second_from=Decimal(second) if second else None,
    )


def may_be_duplicate(posting: Posting) -> bool:
    """The bank may have told one payment twice (K46): another like it, near to it."""
    if posting.duplicate_of_id is not None:
        return True
    day = posting.booking_date or posting.value_date
    near = timedelta(days=DUPLICATE_DAYS)
    same_payer = [Posting.duplicate_of_id == posting.id]
    if posting.counterparty_iban and day is not None:
        same_payer.append(
            (Posting.counterparty_iban == posting.counterparty_iban)
            & Posting.booking_date.between(day - near, day + near)
        )
    others = select(Posting.id).where(
        Posting.merchant_id == posting.merchant_id,
        Posting.id != posting.id,
        Posting.amount == posting.amount,
        Posting.currency == posting.currency,
        or_(Posting.ignored_because.is_(None), Posting.ignored_because.not_in(NO_MONEY)),
        ~Posting.is_replaced,
        ~Posting.is_pending,
        or_(*same_payer),
    )
    return bool(db.session.scalar(select(others.exists())))


def _earlier(case: Case, iban: str, refund: Refund | None, at: datetime) -> int:
    """How often a surplus went to this account lately."""
    query = (
        select(func.count())
        .select_from(Refund)
        .outerjoin(Order, Order.id == Refund.order_id)
        .where(
            Refund.merchant_id == case.merchant_id,
            Refund.payee_iban == iban,
            Refund.requested_at > at - timedelta(days=PATTERN_DAYS),
            Refund.status.in_(REFUND_ARRANGED),
            or_(Refund.order_id.is_(None), Order.payment_status == "paid"),
        )
    )
    if refund is not None and refund.id is not None:
        query = query.where(Refund.id != refund.id)
    return db.session.scalar(query) or 0


def waiting_ends(case: Case, at: datetime) -> date | None:
    """Until when the customer may change the details (K33); None if he is not asked."""
    if case.order is None or not case.order.customer_email:
        return None
    settings = settings_of(case.merchant_id, case.order.shop_id)
    if not settings.refund_wait_days or not settings.sends("refund_announced"):
        return None
    return add_bank_days(local_day(case.merchant_id, at), settings.refund_wait_days)


def local_day(merchant_id: int, at: datetime) -> date:
    """The merchant's day."""
    return at.astimezone(UTC).astimezone(zone_of(merchant_id)).date()
