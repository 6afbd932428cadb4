"""The answers to one posting: each order that it may pay, each group of orders, weighed.

What speaks for and against an answer adds up here, and what forbids it is named; how sure it is
beside the others is told by ``decision``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import product
from math import log10
from typing import Final, NamedTuple

from server.matching.rules.amounts import WILD, Relation
from server.matching.rules.candidates import CLEAR_NAMES, agrees
from server.matching.rules.case import Case, Mention
from server.matching.rules.evidence import Evidence
from server.matching.rules.facts import ZERO, Crowd, OpenOrder, OrderId, Policy, Share
from server.matching.rules.groups import MAX_ITEMS, formula, in_turn, item, sums
from server.matching.rules.weights import (
    NO_NUMBER,
    TWICE,
    UNKNOWN_NUMBER,
    WITH_KNOWN_PAYER,
    date_evidence,
    delay_evidence,
)

MIN_NAMED_WEIGHT: Final = 2.5  # from here on a number in the text is taken for an order's
ANOTHER_NAMED: Final = -2.0  # the hypothesis leaves another named order unexplained
PAID_BY_OTHER: Final = -4.0
JOINTLY_NAMED: Final = 1.0  # each further order of a group whose sum is paid
SUM_NAMED: Final = 2.8
SUM_FOUND: Final = 3.3  # less the logarithm of how many sums were tried
SUM_DIFFERS: Final = -1.5
MAX_GROUPS: Final = 16

_SEVERAL: Final = re.compile(
    r"\b(?:RECHNUNGEN|BESTELLUNGEN|AUFTRAE?GE|WEITERE|ORDERS|INVOICES|BESTELLUNG\.?EN)\b"
)


class Hypothesis(NamedTuple):
    """This posting pays these orders, so much each; ``log_odds`` as a power of ten."""

    shares: tuple[Share, ...]
    log_odds: float
    evidence: tuple[Evidence, ...]
    is_exact: bool
    vetoes: tuple[str, ...] = ()

    @property
    def basis(self) -> str:
        """On what it stands, as far as it can be calibrated: the kind of its first evidence."""
        return self.evidence[0].kind

    @property
    def order_ids(self) -> frozenset[OrderId]:
        """The orders that would be paid."""
        return frozenset(share.order.id for share in self.shares)


class World(NamedTuple):
    """What is the same for all postings of a batch."""

    crowd: Crowd
    policy: Policy
    today: date | None
    prior: float


class Answers(NamedTuple):
    """The hypotheses, in no order, and for each place that surely names one, the open orders."""

    hypotheses: list[Hypothesis]
    named: list[frozenset[OrderId]]


def answers(case: Case, left: Mapping[OrderId, Decimal], world: World) -> Answers:
    """All that may be right, given what earlier postings have left of some orders' debts."""
    if not (case.by_name or _means_several(case.mentions)):
        return Answers([_only(case, left, world)], [])
    places = _places(case.mentions)
    named = _named_open(places, left)
    hypotheses = list(_singles(case, places, named, left, world))
    hypotheses += _groups(case, places, named, left, world)
    return Answers(hypotheses, named)


def _means_several(mentions: Sequence[Mention]) -> bool:
    first = mentions[0].order.id
    return any(mention.order.id != first for mention in mentions)


# --- Where orders are named ---------------------------------------------------------------------


def _places(mentions: Sequence[Mention]) -> list[list[Mention]]:
    """The mentions by where they stand: those that overlap are alternatives of one place.

    What stands inside a longer exact reading is explained by it and left out. Places that name
    the same orders, in words and in the end-to-end id, are one.
    """
    places: list[list[Mention]] = []
    end = -1
    for mention in sorted(
        mentions, key=lambda m: (m.reading.field, m.reading.start, -m.reading.end)
    ):
        reading = mention.reading
        if places and places[-1][0].reading.field == reading.field and reading.start < end:
            places[-1].append(mention)
            end = max(end, reading.end)
        else:
            places.append([mention])
            end = reading.end
    merged: dict[frozenset[OrderId], list[Mention]] = {}
    for place in places:
        kept = [mention for mention in place if not _is_explained(mention, place)]
        merged.setdefault(frozenset(m.order.id for m in kept), []).extend(kept)
    return list(merged.values())


def _is_explained(mention: Mention, place: Sequence[Mention]) -> bool:
    if not mention.is_exact or len(place) == 1:
        return False
    inner = mention.reading
    return any(
        other.is_exact
        and other.reading.start <= inner.start
        and inner.end <= other.reading.end
        and len(other.reading.key) > len(inner.key)
        and other.evidence.weight > mention.evidence.weight
        for other in place
    )


def _named_open(
    places: Sequence[Sequence[Mention]], left: Mapping[OrderId, Decimal]
) -> list[frozenset[OrderId]]:
    """For each place that surely names an order: the open orders it may name."""
    named: list[frozenset[OrderId]] = []
    for place in places:
        ids = frozenset(
            mention.order.id
            for mention in place
            if mention.is_exact
            and mention.evidence.weight >= MIN_NAMED_WEIGHT
            and mention.order.is_open
            and left.get(mention.order.id, mention.order.outstanding) > ZERO
        )
        if ids and ids not in named:
            named.append(ids)
    return named


# --- One order ----------------------------------------------------------------------------------


def _singles(
    case: Case,
    places: Sequence[Sequence[Mention]],
    named: Sequence[frozenset[OrderId]],
    left: Mapping[OrderId, Decimal],
    world: World,
) -> Iterator[Hypothesis]:
    best: dict[OrderId, Mention] = {}
    written: dict[OrderId, set[str]] = defaultdict(set)
    for place in places:
        for mention in place:
            if mention.is_exact:
                written[mention.order.id].add(mention.reading.key)
            known = best.get(mention.order.id)
            if known is None or known.evidence.weight < mention.evidence.weight:
                best[mention.order.id] = mention
    naming = _naming(places, named) if named else []
    for mention in best.values():
        others = sum(mention.order.id not in ids for ids in naming)
        again = _again(written[mention.order.id]) if mention.is_exact else None
        yield _single(case, mention.order, mention, again, others, left, world)
    for order in case.by_name:
        if order.id not in best and agrees(case, order, (order.policy or world.policy).tolerance):
            yield _single(case, order, None, None, len(naming), left, world)


def _only(case: Case, left: Mapping[OrderId, Decimal], world: World) -> Hypothesis:
    """Everything that was found names one order."""
    mention = max(case.mentions, key=_weight)
    again = None
    if len(case.mentions) > 1 and mention.is_exact:
        again = _again({each.reading.key for each in case.mentions if each.is_exact})
    return _single(case, mention.order, mention, again, 0, left, world)


def _weight(mention: Mention) -> float:
    return mention.evidence.weight


def _naming(
    places: Sequence[Sequence[Mention]], named: Sequence[frozenset[OrderId]]
) -> list[frozenset[OrderId]]:
    by_place = (frozenset(mention.order.id for mention in place) for place in places)
    return [ids for ids in by_place if any(each <= ids for each in named)]


def _again(keys: set[str]) -> str | None:
    """Another number of the same order, if it is not a part of the first."""
    ranked = sorted(keys, key=lambda key: (-len(key), key))
    return next((key for key in ranked[1:] if key not in ranked[0]), None)


def _single(
    case: Case,
    order: OpenOrder,
    mention: Mention | None,
    again: str | None,
    others: int,
    left: Mapping[OrderId, Decimal],
    world: World,
) -> Hypothesis:
    posting = case.posting
    owed = left.get(order.id, order.outstanding)
    is_open = owed > ZERO and (order.is_open or _is_revived(order, world.policy))
    relation = case.relation(order, owed if is_open else order.total, world.crowd, world.policy)
    is_checked = mention is not None and mention.is_checked
    is_asked = is_checked or relation.is_whole or relation.evidence.weight > 0
    name, payer = case.who(order, world.crowd, is_whole=is_asked)
    evidence = [mention.evidence if mention else _NO_NUMBER, relation.evidence]
    if mention is None:
        evidence.append(delay_evidence(posting.booking_date, order))
    if mention is None and case.unknown:
        evidence.append(Evidence("number_unknown", UNKNOWN_NUMBER, {"written": case.unknown}))
    if payer is not None and payer.weight > 0:
        evidence.append(name._replace(weight=min(max(name.weight, 0.0), WITH_KNOWN_PAYER)))
    else:
        evidence.append(name)
    if payer is not None:
        evidence.append(payer)
    if again is not None and mention is not None:
        facts = {**mention.evidence.facts, "written": again}
        evidence.append(Evidence("number_twice", TWICE, facts))
    early = date_evidence(posting.booking_date, order)
    if early is not None:
        evidence.append(early)
    if others:
        evidence.append(Evidence("others_named", ANOTHER_NAMED * others, {}))
    if order.id in left and not is_open:
        evidence.append(_PAID_BY_OTHER)
    vetoes = (
        *(() if is_open else (_status_veto(order, owed, world.policy),)),
        *_order_vetoes(case, order, mention, relation, payer, world),
    )
    # What a person would book: a second payment of a paid order is a surplus there.
    booked = relation.booked if is_open else min(posting.available, owed) or posting.available
    share = Share(order, booked, relation.because if is_open else None)
    log_odds = world.prior + sum(each.weight for each in evidence)
    return Hypothesis((share,), log_odds, tuple(evidence), is_open and relation.is_whole, vetoes)


_NO_NUMBER: Final = Evidence("no_number", NO_NUMBER, {})
_PAID_BY_OTHER: Final = Evidence("paid_by_other", PAID_BY_OTHER, {})


def _is_revived(order: OpenOrder, policy: Policy) -> bool:
    """Whether it is cancelled and is paid all the same, as the merchant wishes (S51)."""
    return order.payment_status == "cancelled" and (order.policy or policy).assigns_cancelled


def _status_veto(order: OpenOrder, owed: Decimal, policy: Policy) -> str:
    waits = order.payment_status in ("unpaid", "partially_paid")
    is_paid = waits or (owed <= ZERO and _is_revived(order, policy))
    return f"order_{'paid' if is_paid else order.payment_status}"


def _order_vetoes(
    case: Case,
    order: OpenOrder,
    mention: Mention | None,
    relation: Relation,
    payer: Evidence | None,
    world: World,
) -> Iterator[str]:
    posting = case.posting
    if posting.currency is not None and posting.currency != order.currency:
        yield "other_currency"
    is_checked = mention is not None and mention.is_checked
    if relation.evidence.weight <= WILD and not is_checked:
        yield "amount_far_off"
    basis = mention.basis if mention else "payer" if payer and payer.weight > 0 else "name"
    is_whole = relation.is_whole or relation.evidence.kind.startswith("amount_discount")
    if basis == "slip" and not is_whole:
        yield "slip_unconfirmed"
    if basis != "slip" and not (mention and mention.is_exact) and not is_whole:
        yield "no_reference"
    if basis == "name" and case.likeness(order).likeness not in ("full", "company"):
        yield "no_reference"
    if relation.evidence.kind == "amount_more" and _may_mean_more(case, order):
        yield "several_orders_named"
    limit, day = (
        (order.policy or world.policy).max_order_age_days,
        posting.booking_date or world.today,
    )
    if limit and day is not None and (day - order.ordered_date).days > limit:
        yield "older_than_limit"
    if not is_checked and case.provider:
        yield "payment_provider"


def _may_mean_more(case: Case, order: OpenOrder) -> bool:
    """Whether what is too much may be another order's: the text says so, or there is one."""
    if _SEVERAL.search(case.text):
        return True
    same = set(order.customer)
    return any(
        other.id != order.id and other.is_open and same.intersection(other.customer)
        for other in case.by_name
    )


# --- Several orders -----------------------------------------------------------------------------


def _groups(
    case: Case,
    places: Sequence[Sequence[Mention]],
    named: Sequence[frozenset[OrderId]],
    left: Mapping[OrderId, Decimal],
    world: World,
) -> Iterator[Hypothesis]:
    """All orders that are named, if their sum is paid; else with others of the same payer."""
    if len(named) > 1:
        choices = [
            list({m.order.id: m for place in places for m in place if m.order.id in ids}.values())
            for ids in named
        ]
        is_found = False
        for group in list(product(*choices))[:MAX_GROUPS]:
            for hypothesis in _named_group(case, group, left, world):
                is_found = is_found or hypothesis.is_exact
                yield hypothesis
        if is_found:
            return
    yield from _found_groups(case, places, named, left, world)


def _named_group(
    case: Case, group: Sequence[Mention], left: Mapping[OrderId, Decimal], world: World
) -> Iterator[Hypothesis]:
    """The named orders, each with what it owes or less its discount, or as far as it goes."""
    by_id = {mention.order.id: mention for mention in group}
    mentions = list(by_id.values())
    items = [
        item(case.posting, mention.order, left, world.policy, is_named=True) for mention in mentions
    ]
    if len(mentions) < 2 or len(mentions) > MAX_ITEMS or None in items:
        return
    base = world.prior + max(mention.evidence.weight for mention in mentions)
    base += JOINTLY_NAMED * (len(mentions) - 1)
    references = tuple(mention.evidence for mention in mentions)
    orders = [mention.order for mention in mentions]
    who = _best_name(case, orders, world.crowd)
    found = sums([each for each in items if each], case.available, world.policy.tolerance)
    for shares in found.solutions:
        total = _sum_evidence(case.available, shares, SUM_NAMED)
        yield Hypothesis(shares, base + total.weight + who.weight, (*references, total, who), True)
    if not found.solutions:
        differs = Evidence(
            "amount_near",
            SUM_DIFFERS,
            {"amount": case.available, "owed": _owed(orders, left)},
        )
        shares = in_turn(case.posting, orders, left)
        yield Hypothesis(
            shares,
            base + SUM_DIFFERS + who.weight,
            (*references, differs, who),
            False,
            ("several_orders_named",),
        )


def _found_groups(
    case: Case,
    places: Sequence[Sequence[Mention]],
    named: Sequence[frozenset[OrderId]],
    left: Mapping[OrderId, Decimal],
    world: World,
) -> Iterator[Hypothesis]:
    """Several open orders of one payer, of which some or none are named."""
    ids = {id for each in named if len(each) == 1 for id in each}
    mentions = {m.order.id: m for place in places for m in place if m.order.id in ids}
    pool = {m.order.id: m.order for m in mentions.values()}
    pool |= {order.id: order for order in case.by_name if order.is_open}
    if len(pool) < 2:
        return
    for orders in _by_customer(pool.values()).values():
        own = {order.id for order in orders}
        if len(orders) < 2 or not ids <= own or not _is_of_payer(case, orders[0]):
            continue
        items = [
            found
            for order in orders[:MAX_ITEMS]
            if (found := item(case.posting, order, left, world.policy, is_named=order.id in ids))
        ]
        found_sums = sums(items, case.available, world.policy.tolerance)
        weight = SUM_FOUND - log10(max(found_sums.tried, 1) * max(len(found_sums.solutions), 1))
        for shares in found_sums.solutions:
            if all(share.order.id in ids for share in shares):
                continue
            yield _found_group(
                case, shares, mentions, weight, world, is_unique=len(found_sums.solutions) == 1
            )


def _found_group(
    case: Case,
    shares: tuple[Share, ...],
    mentions: Mapping[OrderId, Mention],
    weight: float,
    world: World,
    *,
    is_unique: bool,
) -> Hypothesis:
    orders = [share.order for share in shares]
    references = [mentions[order.id].evidence for order in orders if order.id in mentions]
    total = _sum_evidence(case.available, shares, weight)
    name, payer = case.who(orders[0], world.crowd)
    evidence = [*(references or [_NO_NUMBER]), total]
    if payer is not None and payer.weight > 0:
        evidence += [payer, name._replace(weight=min(max(name.weight, 0.0), WITH_KNOWN_PAYER))]
    else:
        evidence.append(name)
    vetoes = [] if is_unique else ["not_unique"]
    if not references and (payer is None or payer.weight <= 0):
        vetoes.append("no_reference")
    if case.provider:
        vetoes.append("payment_provider")
    best = max((reference.weight for reference in references), default=NO_NUMBER)
    rest = sum(each.weight for each in evidence if each not in references and each != _NO_NUMBER)
    return Hypothesis(shares, world.prior + best + rest, tuple(evidence), True, tuple(vetoes))


def _is_of_payer(case: Case, order: OpenOrder) -> bool:
    return bool(case.known) or case.likeness(order).likeness in CLEAR_NAMES


def _by_customer(orders: Iterable[OpenOrder]) -> Mapping[str, list[OpenOrder]]:
    """The orders of one person: the same customer where the shop says so, else the same name."""
    found: dict[str, list[OpenOrder]] = defaultdict(list)
    for order in orders:
        payer = order.payers[0] if order.payers else None
        name = f"{payer.first_name} {payer.last_name} {payer.company}" if payer else ""
        found[order.customer[0] if order.customer else name].append(order)
    for group in found.values():
        group.sort(key=lambda order: (order.ordered_date, order.number))
    return found


def _best_name(case: Case, orders: Sequence[OpenOrder], crowd: Crowd) -> Evidence:
    return max((case.who(order, crowd)[0] for order in orders), key=lambda e: e.weight)


def _sum_evidence(amount: Decimal, shares: Sequence[Share], weight: float) -> Evidence:
    facts = {"amount": amount, "count": len(shares), "formula": formula(shares)}
    return Evidence("amount_sum", weight, facts)


def _owed(orders: Sequence[OpenOrder], left: Mapping[OrderId, Decimal]) -> Decimal:
    return sum((left.get(order.id, order.outstanding) for order in orders), ZERO)
