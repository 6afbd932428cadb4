"""What grew old is forgotten: a slice a merchant and step, night after night (S86, N20).

A file of its own because time decides here, and nobody asked. How long each kind is kept is the
merchant's setting; what is still open is never touched: orders that wait for money, repayments
that are not through, debts in a partner's hands, credits, and mails on their way. Doing it twice
leaves the same behind. Never commits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, String, cast, delete, func, or_, select, update

from server.banking.models import Posting, Statement
from server.db import db
from server.forgetting import files, rows
from server.forgetting.rules import months_before
from server.forgetting.service import SETTLED_REFUNDS, asked_orders, erase_personal_data
from server.forgetting.traces import NOBODY, ON_ITS_WAY, empty_relayed
from server.letters.models import Letter
from server.mail.models import Mail, Suppression
from server.merchants.models import ApiKey, IdempotencyKey, Merchant, SettingChange
from server.merchants.service import lock_merchant, settings_of
from server.merchants.settings import MerchantSettings
from server.orders.ledger import NotPossible
from server.orders.models import (
    OWING_STATUSES,
    Assignment,
    CollectionCase,
    Credit,
    DeferralRequest,
    Order,
    PaymentClaim,
    Proof,
    Refund,
)
from server.refunds.models import RefundBatch
from server.relay.models import RelayDelivery

AT_ONCE: Final = 500
FILES_AT_ONCE: Final = 20
ORDERS_AT_ONCE: Final = 20
ANSWERS_KEPT: Final = timedelta(days=2)
"""Answers to requests with an Idempotency-Key count for 24 h; a key that is used no more leaves
its last ones lying."""
LOG_NAME: Final = "forgotten"
"""How the lines of the settings' log are called that say what went."""


class Forgetting:
    """One merchant's turn: ``step`` after ``step`` until nothing is left that is old enough.

    What cannot be erased now is passed over and looked at again on the next day.
    """

    def __init__(self, merchant_id: int) -> None:
        self.merchant_id = merchant_id
        self._asked: list[int] | None = None
        self._after_order_id = 0

    def step(self, at: datetime) -> bool:
        """One slice of each kind. True while more may be to come."""
        merchant = db.session.get(Merchant, self.merchant_id)
        if merchant is None:
            return False
        lock_merchant(self.merchant_id)
        settings = settings_of(self.merchant_id)
        went: Counter[str] = Counter()
        is_more = self._erase_asked(at, went)
        for kind, forget in _KINDS.items():
            months = getattr(settings, f"keep_{kind}")
            if months:
                before = months_before(at, months, merchant.timezone)
                is_more |= forget(self.merchant_id, before, went)
        is_more |= self._erase_old(settings, merchant.timezone, at, went)
        _drop_answers(self.merchant_id, at - ANSWERS_KEPT)
        log_what_went(merchant, went, actor="", at=at)
        db.session.flush()
        return is_more

    def _erase_asked(self, at: datetime, went: Counter[str]) -> bool:
        """What somebody wanted erased when it could not be (``service.erase_orders``)."""
        if self._asked is None:
            self._asked = asked_orders(self.merchant_id)
        turn, self._asked = self._asked[:ORDERS_AT_ONCE], self._asked[ORDERS_AT_ONCE:]
        went["orders"] += self._erase(turn, at)
        return bool(self._asked)

    def _erase_old(
        self, settings: MerchantSettings, zone: str, at: datetime, went: Counter[str]
    ) -> bool:
        if not settings.keep_customers:
            return False
        before = months_before(at, settings.keep_customers, zone)
        old = select(Order.id).where(
            Order.merchant_id == self.merchant_id,
            Order.ordered_at < before,
            Order.changed_at < before,
            Order.erased_at.is_(None),
            Order.id > self._after_order_id,
            ~is_open(),
            ~_has_credit(),
        )
        turn = list(db.session.scalars(old.order_by(Order.id).limit(ORDERS_AT_ONCE)))
        if turn:
            self._after_order_id = turn[-1]
        went["orders"] += self._erase(turn, at)
        is_more = _forget_payers(self.merchant_id, before, went)
        rows.clear_suppressions(
            (Suppression.merchant_id == self.merchant_id)
            & (Suppression.created_at < before)
            & (Suppression.address != "")
        )
        return is_more or len(turn) == ORDERS_AT_ONCE

    def _erase(self, order_ids: list[int], at: datetime) -> int:
        erased = 0
        for order_id in order_ids:
            try:
                with db.session.begin_nested():
                    erase_personal_data(self.merchant_id, order_id, actor="", at=at)
                erased += 1
            except NotPossible:  # something of it is under way; it comes again
                continue
        return erased


# --- what is not touched -------------------------------------------------------------------------


def is_open() -> ColumnElement[bool]:
    """Of ``Order``: somebody still waits for money."""
    refund = select(Refund.id).where(
        Refund.order_id == Order.id, Refund.status.not_in(SETTLED_REFUNDS)
    )
    case = select(CollectionCase.id).where(
        CollectionCase.order_id == Order.id, CollectionCase.ended_at.is_(None)
    )
    waits = Order.payment_status.in_((*OWING_STATUSES, "collection"))
    return waits | refund.exists() | case.exists()


def _has_credit() -> ColumnElement[bool]:
    """Of ``Order``: money of it is kept for the customer."""
    paid_by = select(Assignment.id).where(
        Assignment.order_id == Order.id, Assignment.posting_id == Credit.posting_id
    )
    return select(Credit.id).where((Credit.from_order_id == Order.id) | paid_by.exists()).exists()


def _is_of_open_order(column: Any) -> ColumnElement[bool]:
    return select(Order.id).where(Order.id == column, is_open()).exists()


# --- kind by kind --------------------------------------------------------------------------------


def _forget_mails(merchant_id: int, before: datetime, went: Counter[str]) -> bool:
    old = select(Mail.id).where(
        Mail.merchant_id == merchant_id,
        Mail.created_at < before,
        Mail.recipient != "",
        Mail.status.not_in(ON_ITS_WAY),
        ~_is_of_open_order(Mail.order_id),
    )
    ids = db.session.scalars(old.order_by(Mail.created_at).limit(AT_ONCE)).all()
    went["mails"] += rows.empty_mails(Mail.id.in_(ids), recipient="")
    relayed = select(RelayDelivery.id).where(
        RelayDelivery.merchant_id == merchant_id,
        RelayDelivery.created_at < before,
        ~RelayDelivery.recipient.startswith(NOBODY),
        RelayDelivery.status.not_in(ON_ITS_WAY),
    )
    relayed_ids = db.session.scalars(relayed.order_by(RelayDelivery.id).limit(AT_ONCE)).all()
    empty_relayed(relayed_ids)
    went["mails"] += len(relayed_ids)
    return AT_ONCE in (len(ids), len(relayed_ids))


def _forget_letters(merchant_id: int, before: datetime, went: Counter[str]) -> bool:
    old = select(Letter.id).where(
        Letter.merchant_id == merchant_id,
        Letter.created_at < before,
        cast(Letter.recipient, String) != "[]",
        Letter.status.not_in(ON_ITS_WAY),
        ~_is_of_open_order(Letter.order_id),
    )
    ids = db.session.scalars(old.order_by(Letter.created_at).limit(AT_ONCE)).all()
    went["letters"] += rows.empty_letters(Letter.id.in_(ids))
    removed = files.remove_old_letters(merchant_id, before, FILES_AT_ONCE)
    return len(ids) == AT_ONCE or removed == FILES_AT_ONCE


def _forget_proofs(merchant_id: int, before: datetime, went: Counter[str]) -> bool:
    """Files that customers uploaded, and what they wrote beside them."""
    old = select(Proof.id).where(
        Proof.merchant_id == merchant_id,
        Proof.received_at < before,
        ~_is_of_open_order(Proof.order_id),
    )
    ids = db.session.scalars(old.order_by(Proof.id).limit(FILES_AT_ONCE)).all()
    db.session.execute(delete(Proof).where(Proof.id.in_(ids)))
    went["proofs"] += len(ids)
    for table, moment in (
        (PaymentClaim, PaymentClaim.claimed_at),
        (DeferralRequest, DeferralRequest.asked_at),
    ):
        said = (table.merchant_id == merchant_id) & (moment < before) & (table.message != "")
        db.session.execute(
            update(table)
            .where(said, ~_is_of_open_order(table.order_id))
            .values(message="")
            .execution_options(synchronize_session=False)
        )
    return len(ids) == FILES_AT_ONCE


def _forget_bank_files(merchant_id: int, before: datetime, went: Counter[str]) -> bool:
    """What was read from them stays, and so does the hash by which they are known."""
    old = select(Statement.id).where(
        Statement.merchant_id == merchant_id,
        Statement.created_at < before,
        func.octet_length(Statement.content) > 0,
        Statement.status.not_in(ON_ITS_WAY),
        ~Statement.asks_columns,
        ~Statement.asks_account,
    )
    ids = db.session.scalars(old.order_by(Statement.created_at).limit(FILES_AT_ONCE)).all()
    went["bank_files"] += rows.empty_statements(ids)
    ours = (RefundBatch.merchant_id == merchant_id) & (RefundBatch.created_at < before)
    went["bank_files"] += rows.empty_batches(ours)
    removed = files.remove_old_statements(merchant_id, before, FILES_AT_ONCE)
    return FILES_AT_ONCE in (len(ids), removed)


def _forget_payers(merchant_id: int, before: datetime, went: Counter[str]) -> bool:
    """Who paid or was paid, where no order tells: postings of nothing, or of erased orders."""
    of_order = (
        select(Assignment.id)
        .join(Order, Order.id == Assignment.order_id)
        .where(Assignment.posting_id == Posting.id, Order.erased_at.is_(None))
    )
    of_refund = select(Refund.id).where(
        Refund.posting_id == Posting.id, Refund.status.not_in(SETTLED_REFUNDS)
    )
    is_printed = or_(*(getattr(Posting, name).is_not(None) for name in rows.PRINTED_FIELDS))
    old = select(Posting).where(
        Posting.merchant_id == merchant_id,
        Posting.booking_date < before.date(),
        is_printed,
        ~Posting.is_open,
        ~Posting.is_kept,
        ~Posting.is_pending,
        ~of_order.exists(),
        ~of_refund.exists(),
    )
    found = db.session.scalars(old.order_by(Posting.booking_date).limit(AT_ONCE)).all()
    for posting in found:
        rows.empty_posting(posting)
    rows.empty_conclusions(None, [posting.id for posting in found])
    went["postings"] += len(found)
    return len(found) == AT_ONCE


def _drop_answers(merchant_id: int, before: datetime) -> None:
    keys = select(ApiKey.id).where(ApiKey.merchant_id == merchant_id)
    db.session.execute(
        delete(IdempotencyKey)
        .where(IdempotencyKey.api_key_id.in_(keys), IdempotencyKey.created_at < before)
        .execution_options(synchronize_session=False)
    )


_KINDS: Final = {
    "mails": _forget_mails,
    "letters": _forget_letters,
    "proofs": _forget_proofs,
    "bank_files": _forget_bank_files,
}
"""By the setting ``keep_`` of this name."""


# --- the log -------------------------------------------------------------------------------------


def log_what_went(merchant: Merchant, went: Mapping[str, int], *, actor: str, at: datetime) -> None:
    """A line in the merchant's log of how many of which kind went; one a day and person.

    The only line of that log whose value grows: a first night may take a thousand slices.
    """
    counts = {kind: count for kind, count in went.items() if count}
    if not counts:
        return
    zone = ZoneInfo(merchant.timezone)
    midnight = datetime.combine(at.astimezone(zone).date(), time.min, zone)
    of_today = select(SettingChange).where(
        SettingChange.merchant_id == merchant.id,
        SettingChange.shop_id.is_(None),
        SettingChange.name == LOG_NAME,
        SettingChange.changed_by == actor,
        SettingChange.changed_at >= midnight,
    )
    row = db.session.scalar(of_today.order_by(SettingChange.id.desc()).limit(1))
    if row is None:
        row = SettingChange(
            merchant_id=merchant.id, name=LOG_NAME, value={}, changed_at=at, changed_by=actor
        )
        db.session.add(row)
    row.value = dict(Counter(row.value) + Counter(counts))
