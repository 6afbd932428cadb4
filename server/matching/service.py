"""Matching on the database: load, decide, book. Never commits.

Two things make a posting worth a look: it is new, or an order came that it may mean. The second
is found through ``Posting.keys``: what its text may mean, with what is one slip away from it, and
its payer's names with the amount; kept as long as it is open.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import String, cast, select, update
from sqlalchemy.dialects.postgresql import ARRAY, distinct_on, insert
from sqlalchemy.orm import undefer

from plugin_sdk.schemas import amount_text
from server.banking import sharing
from server.banking.models import Posting
from server.db import db
from server.matching.models import MatchDecision
from server.matching.payers import accounts_of_customers
from server.matching.rules import RULE_VERSION, Decision, PostingFacts, Share, decide
from server.matching.rules.text import clean, qr_references, readings
from server.matching.store import LONGEST_KEY, DatabaseStore, policy_of
from server.merchants.models import Merchant
from server.merchants.service import lock_merchant, settings_of
from server.merchants.settings import MerchantSettings
from server.orders.credit import apply_automatically, orders_with_credit
from server.orders.failed_mails import tell_of_failed_mails
from server.orders.ledger import is_any
from server.orders.letter_actions import follow_failed_mails
from server.orders.merchant_notices import tell_of_differences, tell_of_unassigned
from server.orders.models import Order, OrderKey, Suggestion
from server.orders.returns import offer_returns, own_outgoings
from server.orders.rules import name_key, name_words
from server.orders.service import (
    Ledger,
    NotPossible,
    book_payment,
    confirm_suggestion,
    drop_suggestions,
    request_match,
    taken_totals,
)
from server.shops.models import Shop

POSTINGS_AT_ONCE = 100
ORDERS_AT_ONCE = 500
SUGGESTIONS_KEPT = 5
KEYS_KEPT = 200
SLIP_MARK = "^"
MIN_SLIP_LENGTH, MAX_SLIP_LENGTH = 4, 16
MOST_CENTS = 5  # of a tolerance by which an earlier posting is found
PROPOSALS_AT_ONCE = 500
CENT = Decimal("0.01")
LIKELY = 0.5
ACTOR = "Kontor"
ONE_DAY = timedelta(days=1)


def match_postings(merchant_id: int, at: datetime) -> bool:
    """One slice of what this merchant's matcher has to look at. True if more is waiting."""
    merchant = lock_merchant(merchant_id)
    newcomers = _newcomers(merchant_id)
    _look_again_at_those_meant_by(merchant_id, newcomers, at)
    for order_id in sorted(orders_with_credit(merchant_id, newcomers)):
        apply_automatically(db.session.get_one(Order, order_id), at)
    fresh = _fresh(merchant_id)
    offer_returns(merchant_id, [posting for posting in fresh if posting.amount < 0], at)
    today = at.astimezone(ZoneInfo(merchant.timezone)).date()
    postings = _pass_on(merchant_id, fresh, today, at) if merchant.is_operator else fresh
    postings = [posting for posting in postings if posting.amount >= 0]
    if postings:
        _decide_and_book(merchant, postings, today, at)
    _mark_looked_at(fresh, newcomers)
    return len(fresh) == POSTINGS_AT_ONCE or len(newcomers) == ORDERS_AT_ONCE


def _decide_and_book(
    merchant: Merchant, postings: Sequence[Posting], today: date, at: datetime
) -> None:
    settings = settings_of(merchant.id)
    totals = taken_totals([posting.id for posting in postings])
    sent = own_outgoings(merchant.id, postings)
    store = DatabaseStore([merchant.id])
    # What a person undid is decided apart: it must not use up an order that others may pay.
    free = [posting for posting in postings if not posting.is_blocked]
    blocked = [posting for posting in postings if posting.is_blocked]
    decisions = [
        decision
        for part in (free, blocked)
        if part
        for decision in decide(
            [facts_of(p, totals[p.id], is_own_refund=p.id in sent) for p in part],
            store,
            policy=policy_of(settings),
            today=today,
        )
    ]
    _carry_out(merchant.id, [*free, *blocked], decisions, settings, at)


def tell_of_the_day(merchant_id: int, at: datetime) -> None:
    """What the merchant hears at most once in his day: mails that did not arrive, what needs a
    person, and what was accepted with a difference (K41, C7). In the shadow he only looks.
    Customers whose mails did not arrive get letters, where he wants that (K35)."""
    tell_of_failed_mails(merchant_id, at)
    follow_failed_mails(merchant_id, at)
    if settings_of(merchant_id).assignment == "shadow":
        return
    tell_of_unassigned(merchant_id, [], at)
    tell_of_differences(merchant_id, at - ONE_DAY, at)


# --- for the doors ------------------------------------------------------------------------------


def decision_of(merchant_id: int, posting_id: int) -> MatchDecision | None:
    """What was decided last about a posting, and why (N2)."""
    query = select(MatchDecision).where(
        MatchDecision.merchant_id == merchant_id, MatchDecision.posting_id == posting_id
    )
    return db.session.scalar(query.order_by(MatchDecision.id.desc()).limit(1))


def look_again(merchant_id: int, at: datetime) -> int:
    """Decide anew over everything that is open (C5, K48). Returns how many postings."""
    lock_merchant(merchant_id)
    again = update(Posting).where(Posting.merchant_id == merchant_id, Posting.is_open)
    count = db.session.execute(again.values(needs_match=True)).rowcount  # type: ignore[attr-defined]
    request_match(merchant_id, at)
    return int(count)


def book_proposals(
    merchant_id: int, posting_ids: Sequence[int] | None, *, actor: str, at: datetime
) -> int:
    """Book what the matcher proposed and the merchant has looked at (C5). Returns how many.

    Of these postings, or of all, at most ``PROPOSALS_AT_ONCE``; what no longer fits is left.
    """
    lock_merchant(merchant_id)
    query = select(Suggestion).where(
        Suggestion.merchant_id == merchant_id, Suggestion.is_proposed, Suggestion.rank == 0
    )
    if posting_ids is not None:
        query = query.where(Suggestion.posting_id.in_(posting_ids))
    query = query.order_by(Suggestion.id).limit(PROPOSALS_AT_ONCE)
    booked = 0
    for suggestion in db.session.scalars(query).all():
        if not _is_still_owed(suggestion):
            continue
        try:
            with db.session.begin_nested():
                confirm_suggestion(merchant_id, suggestion.id, actor=actor, at=at)
        except NotPossible:
            continue
        booked += 1
    return booked


def _is_still_owed(suggestion: Suggestion) -> bool:
    """Whether no other posting has paid the orders since: nobody looks at each as it is booked."""
    amounts = {int(part["order_id"]): Decimal(part["amount"]) for part in suggestion.orders}
    orders = _orders(suggestion.merchant_id, amounts.keys())
    ledger = Ledger(amounts.keys())
    return all(
        amounts[id] <= _most_owed(order, ledger) + ledger.settings(order).tolerance
        for id, order in orders.items()
    )


def _most_owed(order: Order, ledger: Ledger) -> Decimal:
    """With the fees that may be paid."""
    return order.total + order.fee_total - ledger.paid(order.id)


# --- what is looked at --------------------------------------------------------------------------


def _fresh(merchant_id: int) -> list[Posting]:
    query = (
        select(Posting)
        .where(Posting.merchant_id == merchant_id, Posting.needs_match)
        .order_by(Posting.id)
        .limit(POSTINGS_AT_ONCE)
        .options(undefer(Posting.keys))
    )
    return list(db.session.scalars(query))


def _newcomers(merchant_id: int) -> list[int]:
    query = (
        select(Order.id)
        .where(Order.merchant_id == merchant_id, Order.needs_match)
        .order_by(Order.id)
        .limit(ORDERS_AT_ONCE)
    )
    return list(db.session.scalars(query))


def _look_again_at_those_meant_by(merchant_id: int, order_ids: Sequence[int], at: datetime) -> None:
    """Open postings that may mean one of these orders (S18), however many they are.

    The merchant's own, and those on shared accounts that are nobody's yet.
    """
    if not order_ids:
        return
    keys = _keys_of_orders(merchant_id, order_ids)
    may_mean = Posting.keys.overlap(cast(sorted(keys), ARRAY(String(LONGEST_KEY))))
    accounts = accounts_of_customers(merchant_id, order_ids)
    if accounts:
        may_mean = may_mean | Posting.counterparty_iban.in_(accounts)
    named = Posting.is_open & may_mean
    again = update(Posting).values(needs_match=True)
    db.session.execute(again.where(Posting.merchant_id == merchant_id, named))
    shared = sharing.operators_of(merchant_id)
    if shared:
        db.session.execute(again.where(Posting.account_id.in_(shared), named))
        for operator_id in set(shared.values()):
            request_match(operator_id, at)


def _keys_of_orders(merchant_id: int, order_ids: Sequence[int]) -> set[str]:
    """Their keys as an earlier posting may have kept them; see ``posting_keys``."""
    percent = Order.wire["payment_terms"]["discount_percent"].as_string()
    query = (
        select(OrderKey.key, OrderKey.kind, Order.total, percent)
        .join(Order, Order.id == OrderKey.order_id)
        .where(OrderKey.merchant_id == merchant_id, is_any(OrderKey.order_id, order_ids))
    )
    cents = min(settings_of(merchant_id).tolerance_cents, MOST_CENTS)
    keys: set[str] = set()
    for key, kind, total, discount in db.session.execute(query):
        if kind == "name":
            keys.update(f"{key}:{amount:.2f}" for amount in _asked(total, discount, cents))
            continue
        keys.add(key)
        if kind.startswith(("order_number", "invoice_number")):
            keys |= _shortened(key)
    return keys


def _asked(total: Decimal, discount_percent: str | None, cents: int) -> Iterator[Decimal]:
    """What a payer who writes no number may pay: the total, so many cents off, less discount."""
    yield from (total + CENT * off for off in range(-cents, cents + 1))
    if discount_percent:
        yield total - (total * Decimal(discount_percent) / 100).quantize(CENT, ROUND_HALF_UP)


def _shortened(key: str) -> set[str]:
    """The key, and it less each one character: two keys one slip apart share one of these."""
    if not MIN_SLIP_LENGTH <= len(key) <= MAX_SLIP_LENGTH:
        return set()
    without = {key[:at] + key[at + 1 :] for at in range(len(key))}
    return {SLIP_MARK + each for each in (key, *without)}


def _mark_looked_at(postings: Iterable[Posting], order_ids: Sequence[int]) -> None:
    for posting in postings:
        posting.needs_match = False
    if order_ids:
        db.session.execute(
            update(Order).where(is_any(Order.id, order_ids)).values(needs_match=False)
        )


# --- shared accounts ---------------------------------------------------------------------------


def _pass_on(
    operator_id: int, postings: Sequence[Posting], today: date, at: datetime
) -> list[Posting]:
    """Postings on shared accounts go to the merchant whose order they surely pay; his own
    matcher books them. Returns the others that are the operator's own."""
    shared = sharing.member_ids(operator_id)
    for account_id, member_ids in shared.items():
        mine = [p for p in postings if p.account_id == account_id and not p.is_blocked]
        for posting, decision in zip(mine, _whose(mine, member_ids, today), strict=True):
            owners = {order.merchant_id for order in _ordered(decision)}
            if decision.choice == "auto" and len(owners) == 1:
                drop_suggestions([posting.id])
                sharing.pass_on(posting, owners.pop())
            elif posting.is_open and posting.keys is None:
                posting.keys = _kept_keys(posting)
        for member_id in {p.merchant_id for p in _copies(mine)}:
            request_match(member_id, at)
    return [posting for posting in postings if posting.account_id not in shared]


def _whose(
    postings: Sequence[Posting], member_ids: Sequence[int], today: date
) -> Sequence[Decision]:
    totals = taken_totals([posting.id for posting in postings])
    facts = [facts_of(posting, totals[posting.id]) for posting in postings]
    return decide(facts, DatabaseStore(member_ids), today=today)


def _ordered(decision: Decision) -> list[Order]:
    ids = {share.order.id for share in decision.shares}
    return list(db.session.scalars(select(Order).where(Order.id.in_(ids)))) if ids else []


def _copies(postings: Sequence[Posting]) -> list[Posting]:
    ids = [posting.id for posting in postings if posting.is_passed_on]
    query = select(Posting).where(Posting.passed_on_from_id.in_(ids))
    return list(db.session.scalars(query)) if ids else []


def likely_members(operator_id: int, postings: Sequence[Posting], today: date) -> dict[int, int]:
    """Posting id to the merchant whose order it most likely pays, for the operator to decide."""
    likely: dict[int, int] = {}
    for account_id, member_ids in sharing.member_ids(operator_id).items():
        mine = [posting for posting in postings if posting.account_id == account_id]
        for posting, decision in zip(mine, _whose(mine, member_ids, today), strict=True):
            best = [p.shares for p in decision.proposals if p.probability > LIKELY] or [
                decision.shares
            ]
            ids = [share.order.id for shares in best for share in shares]
            owners = set(db.session.scalars(select(Order.merchant_id).where(Order.id.in_(ids))))
            if len(owners) == 1:
                likely[posting.id] = owners.pop()
    return likely


# --- carrying out ------------------------------------------------------------------------------


def _carry_out(
    merchant_id: int,
    postings: Sequence[Posting],
    decisions: Sequence[Decision],
    settings: MerchantSettings,
    at: datetime,
) -> None:
    drop_suggestions([posting.id for posting in postings])
    _keep_decisions(merchant_id, postings, decisions, settings, at)
    rows: list[dict[str, Any]] = []
    booked = {share.order.id for d in decisions if d.choice == "auto" for share in d.shares}
    orders = _orders(merchant_id, booked)
    ledger = Ledger(booked, [posting.id for posting in postings])
    ledger.listen()
    shops = _shops(orders.values())
    for posting, decision in zip(postings, decisions, strict=True):
        is_auto = decision.choice == "auto" and not posting.is_blocked and _fits(decision)
        if is_auto and settings.assignment == "auto":
            with db.session.no_autoflush:  # written together, at the end
                _book(posting, decision, orders, ledger, at)
        elif decision.choice != "none":
            is_proposed = is_auto and settings.assignment == "review"
            rows += _suggestions(posting, decision, at, is_proposed=is_proposed)
        if posting.is_open and posting.keys is None:
            posting.keys = _kept_keys(posting)
    ledger.post()
    if rows:
        db.session.execute(insert(Suggestion), rows)
    del shops  # the session finds them again only as long as somebody holds them


def _fits(decision: Decision) -> bool:
    """One decision that the ledger would refuse must not stop all that come after it."""
    booked = sum((share.amount for share in decision.shares), Decimal(0))
    return booked <= decision.posting.available and all(s.amount > 0 for s in decision.shares)


def _keep_decisions(
    merchant_id: int,
    postings: Sequence[Posting],
    decisions: Sequence[Decision],
    settings: MerchantSettings,
    at: datetime,
) -> None:
    """A row for every answer that differs from the one before (N2)."""
    ids = [posting.id for posting in postings]
    newest = (
        select(MatchDecision)
        .where(MatchDecision.merchant_id == merchant_id, is_any(MatchDecision.posting_id, ids))
        .ext(distinct_on(MatchDecision.posting_id))
        .order_by(MatchDecision.posting_id, MatchDecision.id.desc())
    )
    before = {row.posting_id: _answer(vars(row)) for row in db.session.scalars(newest)}
    rows = [
        _decision_row(posting, decision, settings, at)
        for posting, decision in zip(postings, decisions, strict=True)
    ]
    rows = [row for row in rows if _answer(row) != before.get(row["posting_id"])]
    if rows:
        db.session.execute(insert(MatchDecision.__table__), rows)  # type: ignore[arg-type]


def _answer(row: Mapping[str, Any]) -> tuple[object, ...]:
    return tuple(row[name] for name in ("choice", "shares", "vetoes", "probability", "mode"))


def _decision_row(
    posting: Posting, decision: Decision, settings: MerchantSettings, at: datetime
) -> dict[str, Any]:
    shares = decision.shares
    if not shares and decision.proposals:
        shares = decision.proposals[0].shares
    runner_up = decision.runner_up
    return {
        "merchant_id": posting.merchant_id,
        "posting_id": posting.id,
        "choice": decision.choice,
        "probability": Decimal(f"{decision.probability:.5f}"),
        "shares": _stored(shares),
        "runner_up": runner_up
        and {
            "orders": [share.order.id for share in runner_up.shares],
            "probability": round(runner_up.probability, 5),
        },
        "evidence": [evidence.as_json() for evidence in decision.evidence],
        "vetoes": list(decision.vetoes),
        "level": settings.match_level,
        "mode": settings.assignment,
        "rule_version": RULE_VERSION,
        "decided_at": at,
    }


def _stored(shares: Iterable[Share]) -> list[dict[str, Any]]:
    return [
        {"order_id": share.order.id, "amount": amount_text(share.amount)}
        | ({"because": share.because} if share.because else {})
        for share in shares
    ]


def _orders(merchant_id: int, ids: Set[int]) -> dict[int, Order]:
    if not ids:
        return {}
    query = select(Order).where(Order.merchant_id == merchant_id, is_any(Order.id, ids))
    return {row.id: row for row in db.session.scalars(query)}


def _shops(orders: Iterable[Order]) -> list[Shop]:
    """Read once; what is booked asks for them order by order."""
    ids = {order.shop_id for order in orders}
    return list(db.session.scalars(select(Shop).where(Shop.id.in_(ids)))) if ids else []


def _book(
    posting: Posting,
    decision: Decision,
    orders: Mapping[int, Order],
    ledger: Ledger,
    at: datetime,
) -> None:
    evidence = [each.as_json() for each in decision.evidence]
    for share in decision.shares:
        book_payment(
            orders[share.order.id],
            posting,
            share.amount,
            ledger,
            origin="auto",
            actor=ACTOR,
            at=at,
            probability=decision.probability,
            evidence=evidence,
            because=share.because,
            left_over=decision.remainder,
        )


def _suggestions(
    posting: Posting, decision: Decision, at: datetime, *, is_proposed: bool
) -> list[dict[str, Any]]:
    vetoes = [*decision.vetoes, *(["undone_by_person"] if posting.is_blocked else [])]
    offers = [(p.shares, p.probability, p.evidence) for p in decision.proposals]
    if not offers:
        offers = [(decision.shares, decision.probability, decision.evidence)]
    return [
        {
            "merchant_id": posting.merchant_id,
            "posting_id": posting.id,
            "rank": rank,
            "orders": _stored(shares),
            "probability": Decimal(f"{probability:.5f}"),
            "is_proposed": is_proposed and rank == 0,
            "evidence": [each.as_json() for each in evidence],
            "vetoes": vetoes,
            "created_at": at,
        }
        for rank, (shares, probability, evidence) in enumerate(offers[:SUGGESTIONS_KEPT])
    ]


# --- facts -------------------------------------------------------------------------------------


def _kept_keys(posting: Posting) -> list[str]:
    """``posting_keys``, what is really written first, where they are too many."""
    keys = posting_keys(facts_of(posting, Decimal(0)))
    return sorted(keys, key=lambda key: (key.startswith(SLIP_MARK), key))[:KEYS_KEPT]


def posting_keys(facts: PostingFacts) -> set[str]:
    """By what an order that comes later may find the posting (S18).

    What its texts may mean; ``^`` and the same less a character for those that hold digits; its
    payer's names with the amount, as ``@MULLER:49.90``.
    """
    texts = (facts.remittance_information, facts.creditor_reference, facts.end_to_end_id)
    runs = [
        run
        for number, text in enumerate(text for text in texts if text)
        for run in readings(clean(text), number)
    ]
    written = {run[0] for run in runs} | {reading.key for reading in qr_references(runs)}
    keys = {key for key in written if len(key) <= LONGEST_KEY}
    for key in written:
        if any(character.isdigit() for character in key):
            keys |= _shortened(key)
    names = {name_key(word) for word in name_words(facts.counterparty_name or "")} - {""}
    return keys | {f"{name}:{facts.available:.2f}" for name in names}


def facts_of(posting: Posting, assigned: Decimal, *, is_own_refund: bool = False) -> PostingFacts:
    """A posting as the rules see it."""
    return PostingFacts(
        id=posting.id,
        amount=posting.amount,
        currency=posting.currency,
        booking_date=posting.booking_date,
        value_date=posting.value_date,
        counterparty_name=posting.counterparty_name,
        counterparty_iban=posting.counterparty_iban,
        remittance_information=posting.remittance_information,
        creditor_reference=posting.creditor_reference,
        end_to_end_id=posting.end_to_end_id,
        is_return=posting.is_return,
        is_batch_total=posting.is_batch_total,
        is_possible_duplicate=posting.duplicate_of_id is not None,
        is_own_refund=is_own_refund,
        remaining=posting.amount - assigned,
    )
