"""The CandidateStore over the tables ``order_key`` and ``order``, for one batch.

A file of its own beside ``service``: it only reads, and tests hold it against ``MemoryStore``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from datetime import date
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import (
    Numeric,
    Select,
    String,
    any_,
    bindparam,
    cast,
    column,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY

from plugin_sdk.types import PaymentCode
from server.db import db
from server.matching.payers import memory_of
from server.matching.rules import Crowd, Discount, KeyHit, OpenOrder, PaidFor, Payer, Policy
from server.matching.rules.facts import MOST_OF_A_NAME, MOST_OF_AN_AMOUNT
from server.matching.rules.memory import customer_names
from server.merchants.service import settings_of
from server.merchants.settings import CodeSettings, MerchantSettings
from server.orders.ledger import is_any
from server.orders.models import OWING_STATUSES, Order, OrderKey
from server.orders.rules import name_words, normalise_reference
from server.orders.service import paid_totals
from server.orders.told import zone_of

KEYS_ASKED_AT_ONCE = 50_000  # the neighbours of a number with a slip are hundreds
LONGEST_KEY = 64
IS_OWING = Order.payment_status.in_([literal_column(f"'{each}'") for each in OWING_STATUSES])
"""Written out, not as parameters: else no plan may use the index of orders that owe."""
MAIL, NUMBER = "mail:", "number:"


class DatabaseStore:
    """See ``rules.CandidateStore``.

    Of one merchant; of all that share an account only to tell whose money it is.
    """

    def __init__(self, merchant_ids: Sequence[int]) -> None:
        self.merchant_ids = merchant_ids
        self._memory: Mapping[str, Sequence[PaidFor]] | None = None
        self._policies: dict[int, Policy] = {}
        self._zones: dict[int, ZoneInfo] = {}

    def find(self, keys: Set[str]) -> Mapping[str, Sequence[KeyHit]]:
        """See CandidateStore."""
        found: dict[str, list[KeyHit]] = {}
        wanted = sorted(key for key in keys if len(key) <= LONGEST_KEY)
        for start in range(0, len(wanted), KEYS_ASKED_AT_ONCE):
            part = wanted[start : start + KEYS_ASKED_AT_ONCE]
            query = (
                select(OrderKey.key, OrderKey.kind, OrderKey.order_id)
                .where(OrderKey.merchant_id.in_(self.merchant_ids), OrderKey.kind != "name")
                .where(OrderKey.key == func.any(bindparam("keys", part, ARRAY(String))))
                .order_by(OrderKey.order_id)
            )
            for key, kind, order_id in db.session.execute(query):
                found.setdefault(key, []).append(KeyHit(key, kind, order_id))
        return found

    def lengths(self) -> Set[int] | None:
        """See CandidateStore."""
        return None

    def named(
        self, names: Set[str], pairs: Set[tuple[str, Decimal]]
    ) -> Mapping[str, Sequence[int]]:
        """See CandidateStore."""
        if not names:
            return {}
        found = self._of_rare_names(names)
        common = {name for name, ids in found.items() if len(ids) > MOST_OF_A_NAME}
        found = {name: ids for name, ids in found.items() if name not in common}
        wanted = sorted(pair for pair in pairs if pair[0] in common)
        if wanted:
            for name, ids in self._of_common_names(wanted).items():
                found[name] = ids
        return found

    def _of_rare_names(self, names: Set[str]) -> dict[str, list[int]]:
        """The first open orders of each name, one more than a rare name has."""
        unnested = func.unnest(cast(sorted(names), ARRAY(String)))
        asked = unnested.table_valued("name", name="asked").render_derived()
        some = (
            select(OrderKey.order_id)
            .join(Order, Order.id == OrderKey.order_id)
            .where(OrderKey.merchant_id.in_(self.merchant_ids), OrderKey.kind == "name")
            .where(OrderKey.key == asked.c.name, IS_OWING, Order.total > 0)
            .order_by(OrderKey.order_id)
            .limit(MOST_OF_A_NAME + 1)
            .lateral("some")
        )
        found: dict[str, list[int]] = defaultdict(list)
        for name, order_id in db.session.execute(select(asked.c.name, some.c.order_id)):
            found[name].append(order_id)
        return found

    def _of_common_names(self, pairs: Sequence[tuple[str, Decimal]]) -> dict[str, list[int]]:
        columns = column("name", String), column("total", Numeric)
        unnested = func.unnest(
            cast([name for name, _ in pairs], ARRAY(String)),
            cast([total for _, total in pairs], ARRAY(Numeric)),
        )
        asked = unnested.table_valued(*columns, name="asked").render_derived()
        query = (
            select(asked.c.name, Order.id)
            .select_from(asked)
            .join(Order, Order.total == asked.c.total)
            .join(
                OrderKey,
                (OrderKey.merchant_id == Order.merchant_id)
                & (OrderKey.key == asked.c.name)
                & (OrderKey.kind == "name")
                & (OrderKey.order_id == Order.id),
            )
            .where(Order.merchant_id.in_(self.merchant_ids), IS_OWING)
            .order_by(Order.id)
        )
        found: dict[str, list[int]] = defaultdict(list)
        for name, order_id in db.session.execute(query):
            if order_id not in found[name]:
                found[name].append(order_id)
        return {name: sorted(ids) for name, ids in found.items()}

    def owing(self, totals: Set[Decimal]) -> Mapping[Decimal, Sequence[int]]:
        """See CandidateStore."""
        if not totals:
            return {}
        ids = func.array_agg(Order.id)
        query = self._owing(totals).add_columns(ids).having(func.count() <= MOST_OF_AN_AMOUNT)
        return {total: sorted(found) for total, found in db.session.execute(query)}

    def _owing(self, totals: Set[Decimal]) -> Select[Any]:
        return (
            select(Order.total)
            .where(Order.merchant_id.in_(self.merchant_ids), IS_OWING)
            .where(Order.total == func.any(cast(sorted(totals), ARRAY(Numeric))), Order.total > 0)
            .group_by(Order.total)
        )

    def of_customers(self, customers: Set[str]) -> Mapping[str, Sequence[int]]:
        """See CandidateStore."""
        emails = {each.removeprefix(MAIL) for each in customers if each.startswith(MAIL)}
        numbers = {each for each in customers if each.startswith(NUMBER)}
        found: dict[str, set[int]] = defaultdict(set)
        waiting = select(Order.id, Order.shop_id, func.lower(Order.customer_email)).where(
            Order.merchant_id.in_(self.merchant_ids), IS_OWING
        )
        if emails:
            asked = cast(sorted(emails), ARRAY(String))
            told = waiting.where(func.lower(Order.customer_email) == any_(asked))
            for order_id, _, email in db.session.execute(told):
                found[MAIL + email].add(order_id)
        keys: dict[str, list[str]] = defaultdict(list)
        for each in numbers:  # two shops may have given the same number
            keys[normalise_reference(each.split(":", 2)[2])].append(each)
        told_numbers = self._of_numbers(keys)
        if told_numbers:
            for order_id, shop_id, _ in db.session.execute(
                waiting.where(is_any(Order.id, told_numbers))
            ):
                for customer in keys[told_numbers[order_id]]:
                    if customer.startswith(f"{NUMBER}{shop_id}:"):
                        found[customer].add(order_id)
        return {each: sorted(ids) for each, ids in found.items()}

    def _of_numbers(self, keys: Collection[str]) -> Mapping[int, str]:
        """Order id to the key of its customer's number."""
        if not keys:
            return {}
        query = select(OrderKey.order_id, OrderKey.key).where(
            OrderKey.merchant_id.in_(self.merchant_ids),
            OrderKey.kind == "customer_number",
            OrderKey.key == func.any(cast(sorted(keys), ARRAY(String))),
        )
        return {row.order_id: row.key for row in db.session.execute(query)}

    def payers(self, payers: Iterable[str]) -> Mapping[str, Sequence[PaidFor]]:
        """See CandidateStore."""
        if self._memory is None:
            self._memory = memory_of(self.merchant_ids)
        return {each: self._memory[each] for each in payers if each in self._memory}

    def crowd(self, totals: Iterable[Decimal], names: Iterable[str]) -> Crowd:
        """See CandidateStore."""
        totals, names = set(totals), set(names)
        mine = Order.merchant_id.in_(self.merchant_ids)
        waiting = select(func.count()).where(mine, IS_OWING, Order.total > 0)
        everything = select(func.count()).select_from(Order).where(mine)
        owing = self._owing(totals).add_columns(func.count()) if totals else None
        named = (
            select(OrderKey.key, func.count())
            .where(OrderKey.merchant_id.in_(self.merchant_ids), OrderKey.kind == "name")
            .where(OrderKey.key == func.any(cast(sorted(names), ARRAY(String))))
            .group_by(OrderKey.key)
        )
        return Crowd(
            db.session.scalar(waiting) or 0,
            db.session.scalar(everything) or 0,
            _counts(db.session.execute(owing)) if owing is not None else {},
            _counts(db.session.execute(named)) if names else {},
        )

    def load(self, order_ids: Set[int]) -> Mapping[int, OpenOrder]:
        """See CandidateStore."""
        if not order_ids:
            return {}
        query = select(Order).where(
            Order.merchant_id.in_(self.merchant_ids), is_any(Order.id, order_ids)
        )
        paid = paid_totals(order_ids)
        return {
            row.id: open_order(row, paid[row.id], self._zone(row.merchant_id), self._policy(row))
            for row in db.session.scalars(query)
        }

    def _zone(self, merchant_id: int) -> ZoneInfo:
        found = self._zones.get(merchant_id)
        if found is None:
            found = self._zones[merchant_id] = zone_of(merchant_id)
        return found

    def _policy(self, row: Order) -> Policy:
        found = self._policies.get(row.shop_id)
        if found is None:
            found = policy_of(settings_of(row.merchant_id, row.shop_id))
            self._policies[row.shop_id] = found
        return found


def _counts(rows: Any) -> dict[Any, int]:
    return {row[0]: row[1] for row in rows}


def policy_of(settings: MerchantSettings) -> Policy:
    """What of the merchant's settings the rules obey."""
    return Policy(
        level=settings.match_level,
        tolerance=settings.tolerance,
        claims_bank_fees=settings.claim_bank_fees,
        max_order_age_days=settings.max_order_age_days,
        discount_grace_days=settings.discount_grace_days,
        accepts_late_discount=settings.accept_late_discount,
        assigns_cancelled=settings.assign_cancelled,
        claims_fees=settings.invoice.claim_fees,
        invoice_discount=_granted(settings.invoice),
    )


def _granted(settings: CodeSettings) -> Discount | None:
    """The discount of invoices whose shop names no terms (S59)."""
    if not settings.discount_percent or not settings.discount_days:
        return None
    return Discount(settings.discount_percent, settings.discount_days)


def open_order(
    row: Order, paid: Decimal, zone: ZoneInfo, policy: Policy | None = None
) -> OpenOrder:
    """An order as the rules see it; its day is the merchant's."""
    told = row.wire
    is_claimed = policy is not None and policy.claims_fees
    owed = row.total + row.fee_total if is_claimed else row.total
    customer = told.get("customer") or {}
    days = [day for invoice in told.get("invoices") or () if (day := invoice.get("date"))]
    return OpenOrder(
        id=row.id,
        number=row.number,
        currency=row.currency,
        total=owed,
        outstanding=max(owed - paid, Decimal(0)),
        fees=Decimal(0) if is_claimed else row.fee_total,
        payment_status=row.payment_status,
        ordered_date=row.ordered_at.astimezone(zone).date(),
        payers=tuple(_payers(row)),
        discount=_discount_of(row, policy),
        terms_date=date.fromisoformat(min(days)) if days else None,
        customer=customer_names(row.customer_email, customer.get("number"), row.shop_id),
        policy=policy,
    )


def _payers(row: Order) -> Collection[Payer]:
    addresses = [row.wire.get(name) for name in ("billing_address", "shipping_address")]
    payers = [
        Payer(
            address.get("first_name") or "",
            address.get("last_name") or "",
            address.get("company") or "",
        )
        for address in addresses
        if address
    ]
    if row.additional_name:
        payers.append(_added(row.additional_name))
    return payers


def _added(name: str) -> Payer:
    """Two words are read as a person's name, anything else as a company's.

    Never as both: "& Co. KG" would be the first and the family name of half of all companies.
    """
    words = name.split()
    if len(words) == len(name_words(name)) == 2:
        return Payer(words[0], words[1], is_added=True)
    return Payer(company=name, is_added=True)


def _discount_of(row: Order, policy: Policy | None) -> Discount | None:
    terms = row.wire.get("payment_terms")
    if terms is not None:
        return _discount(terms)
    is_invoice = row.payment_code == PaymentCode.INVOICE.value
    return policy.invoice_discount if policy is not None and is_invoice else None


def _discount(terms: Mapping[str, Any]) -> Discount | None:
    percent, days = terms.get("discount_percent"), terms.get("discount_days")
    return Discount(Decimal(percent), int(days)) if percent and days is not None else None
