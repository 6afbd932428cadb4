"""The decision: hypotheses weighed against each other, vetoes apart, one batch at a time.

For each posting every candidate order is a hypothesis, every group of orders that it may pay
together is one, and "none of them" is one. Their weights become probabilities that sum to one, so
a rival takes from the best what the best would need. Only a best hypothesis above the merchant's
level, clearly ahead of the next and without a veto is booked. Postings that claim the same order
are settled among each other: what is paid by one of them is no longer owed to the next.
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
from server.matching.rules.candidates import CLEAR_NAMES, Case, Mention, agrees, find_candidates
from server.matching.rules.evidence import Evidence
from server.matching.rules.facts import (
    ZERO,
    CandidateStore,
    Crowd,
    Decision,
    Level,
    OpenOrder,
    OrderId,
    Policy,
    PostingFacts,
    Proposal,
    Share,
)
from server.matching.rules.groups import MAX_ITEMS, formula, in_turn, item, sums
from server.matching.rules.names import same_name
from server.matching.rules.weights import (
    NO_NUMBER,
    TWICE,
    UNKNOWN_NUMBER,
    WITH_KNOWN_PAYER,
    date_evidence,
    delay_evidence,
    prior,
)

RULE_VERSION: Final = "2"
LEVELS: Final[Mapping[Level, float]] = {"careful": 0.9999, "normal": 0.999, "eager": 0.99}
"""From which probability on an answer is booked without a person."""

CALIBRATION: Final[Mapping[str, tuple[float, float]]] = {
    "number": (1.6, -1.1),
    "number_slip": (3.5, -7.8),
    "no_number": (0.9, 1.2),
}
"""How weights become probabilities, by what a hypothesis stands on: scale and shift of the
logarithm of the odds, fitted over generated accounts (docs/matching.md)."""

UNCALIBRATED: Final = (1.0, 0.0)
LEAST_ODDS: Final = 1e-9
MARGIN: Final = 2.0  # the best answer is a hundred times likelier than the next
SUGGESTED_PROBABILITY: Final = 0.01
MAX_PROBABILITY: Final = 0.99999  # nothing is certain
WRITTEN: Final = ("number", "number_checked", "number_slip")  # is offered, however unlikely
MAX_PROPOSALS: Final = 5
MIN_NAMED_WEIGHT: Final = 2.5  # from here on a number in the text is taken for an order's
ANOTHER_NAMED: Final = -2.0  # the hypothesis leaves another named order unexplained
PAID_BY_OTHER: Final = -4.0
JOINTLY_NAMED: Final = 1.0  # each further order of a group whose sum is paid
SUM_NAMED: Final = 2.8
SUM_FOUND: Final = 3.3  # less the logarithm of how many sums were tried
SUM_DIFFERS: Final = -1.5
MAX_GROUPS: Final = 16
CLEARLY_BETTER: Final = 1.0  # a claim must be ten times likelier than another payer's

_RETURNED: Final = re.compile(
    r"\bRETOUREN?\b|\bRETURN(?:ED)?\b|RUE?CK(?:UE?B|LASTS|BUCH|LEIT|LAE?UF|RUF|GABE)"
    r"|\b(?:AC0[1-6]|AG0[12]|AM0[45]|BE0[14]|[CD]NOR|FOCR|MD0[1-7]|MS0[23]|RC01|RR0[1-4]|SL01)\b"
    r"|KONTO[ \n]?(?:ERLOSCHEN|GESPERRT|GESCHLOSSEN|AUFGELOE?ST)|UNZUSTELLBAR"
    r"|\bIBAN[ \n](?:FALSCH|FEHLERHAFT|UNGUE?LTIG|UNBEKANNT)"
    r"|NICHT[ \n]AUSFUE?HRBAR|CHARGEBACK|STORNO|(?:RUE?CK)?ERSTATTUNG|RUE?CKZAHLUNG"
    r"|\bR-TRANSA[CK]TION"
)


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


class Verdict(NamedTuple):
    """The hypotheses of a posting, best first, their probabilities, and what forbids the best."""

    hypotheses: tuple[Hypothesis, ...]
    probabilities: tuple[float, ...]
    vetoes: tuple[str, ...]
    is_auto: bool


NOTHING: Final = Verdict((), (), (), False)


class World(NamedTuple):
    """What is the same for all postings of a batch."""

    crowd: Crowd
    policy: Policy
    today: date | None
    prior: float


def decide(
    postings: Sequence[PostingFacts],
    store: CandidateStore,
    *,
    policy: Policy | None = None,
    today: date | None = None,
) -> list[Decision]:
    """One decision a posting, in the same order.

    A posting dated after ``today`` is never booked. Only what is exact, then what came first,
    decides between several postings for one order; between equals their ids do, never their
    place in the batch.
    """
    policy = policy or Policy()
    cases, crowd = find_candidates(postings, store, policy)
    world = World(crowd, policy, today, prior(crowd))
    left: dict[OrderId, Decimal] = {}
    verdicts = [weigh(case, left, world) for case in cases]
    claims = _claims(cases, verdicts)
    decisions: dict[int, Decision] = {}
    for index in _turns(cases, verdicts):
        case, verdict = cases[index], verdicts[index]
        if left and _touches(verdict, left):
            verdict = weigh(case, left, world)
        if verdict.is_auto and _has_competitor(index, cases, verdicts, claims):
            verdict = verdict._replace(vetoes=(*verdict.vetoes, "competing_posting"), is_auto=False)
        decisions[index] = _decision(case.posting, verdict, policy.level)
        for share in decisions[index].shares:
            owed = left.get(share.order.id, share.order.outstanding)
            left[share.order.id] = ZERO if share.because else owed - share.amount
    return [decisions[index] for index in range(len(postings))]


def _touches(verdict: Verdict, left: Mapping[OrderId, Decimal]) -> bool:
    return any(
        share.order.id in left for hypothesis in verdict.hypotheses for share in hypothesis.shares
    )


def _turns(cases: Sequence[Case], verdicts: Sequence[Verdict]) -> list[int]:
    """Exact claims first, then other bookings, then the rest; each by booking date."""

    def turn(index: int) -> tuple[int, date, date, int, str]:
        verdict, posting = verdicts[index], cases[index].posting
        rank = 2 if not verdict.is_auto else 0 if verdict.hypotheses[0].is_exact else 1
        number, text = (posting.id, "") if isinstance(posting.id, int) else (0, str(posting.id))
        seen = posting.booking_date or date.max
        return rank, seen, posting.value_date or seen, number, text

    return sorted(range(len(cases)), key=turn)


def _claims(cases: Sequence[Case], verdicts: Sequence[Verdict]) -> Mapping[OrderId, list[int]]:
    """Who would pay an order exactly, by order."""
    claims: dict[OrderId, list[int]] = defaultdict(list)
    for index, verdict in enumerate(verdicts):
        if verdict.is_auto and verdict.hypotheses[0].is_exact:
            for share in verdict.hypotheses[0].shares:
                claims[share.order.id].append(index)
    return claims


def _has_competitor(
    index: int,
    cases: Sequence[Case],
    verdicts: Sequence[Verdict],
    claims: Mapping[OrderId, list[int]],
) -> bool:
    """Whether somebody else's posting claims one of the orders about as well, or better.

    Two equal payments of one payer are no question: the first pays, the second is too much.
    """
    own = verdicts[index].hypotheses[0]
    for share in own.shares:
        rivals = claims.get(share.order.id, ())
        if len(rivals) < 2 and index in rivals:
            continue
        for other in rivals:
            if (
                other != index
                and verdicts[other].hypotheses[0].log_odds > own.log_odds - CLEARLY_BETTER
                and not _same_payer(cases[index].posting, cases[other].posting)
            ):
                return True
    return False


def _same_payer(one: PostingFacts, other: PostingFacts) -> bool:
    if one.counterparty_iban is not None and one.counterparty_iban == other.counterparty_iban:
        return True
    return same_name(one.counterparty_name, other.counterparty_name)


def _decision(posting: PostingFacts, verdict: Verdict, level: Level) -> Decision:
    if not verdict.hypotheses:
        return Decision(posting, "none")
    best = verdict.hypotheses[0]
    if verdict.is_auto:
        second = verdict.hypotheses[1:2]
        runner_up = tuple(
            Proposal(each.shares, verdict.probabilities[1], each.evidence) for each in second
        )
        return Decision(
            posting,
            "auto",
            best.shares,
            verdict.probabilities[0],
            best.evidence,
            runner_up=runner_up[0] if runner_up else None,
        )
    answers = list(zip(verdict.hypotheses, verdict.probabilities, strict=True))
    proposals = tuple(
        Proposal(hypothesis.shares, probability, hypothesis.evidence)
        for hypothesis, probability in answers
        if probability >= SUGGESTED_PROBABILITY or hypothesis.basis in WRITTEN
    )[:MAX_PROPOSALS]
    if not proposals:
        return Decision(posting, "none")
    vetoes = verdict.vetoes
    if not vetoes and proposals[0].probability >= LEVELS[level]:
        vetoes = ("not_unique",)
    return Decision(
        posting,
        "suggest",
        probability=proposals[0].probability,
        evidence=proposals[0].evidence,
        vetoes=vetoes,
        proposals=proposals,
        runner_up=proposals[1] if len(proposals) > 1 else None,
    )


# --- Weighing one posting ---------------------------------------------------------------------


def weigh(case: Case, left: Mapping[OrderId, Decimal], world: World) -> Verdict:
    """The verdict on one posting, given what earlier postings have left of some orders' debts."""
    if case.available <= ZERO or not (case.mentions or case.by_name):
        return NOTHING
    named: list[frozenset[OrderId]] = []
    if case.by_name or _means_several(case.mentions):
        places = _places(case.mentions)
        named = _named_open(places, left)
        hypotheses = list(_singles(case, places, named, left, world))
        hypotheses += _groups(case, places, named, left, world)
    else:
        hypotheses = [_only(case, left, world)]
    if not hypotheses:
        return NOTHING
    ranked = _ranked(hypotheses)
    best, probability = ranked[0]
    vetoes = [*_posting_vetoes(case, world.today), *best.vetoes]
    if len(named) > 1 and not all(ids & best.order_ids for ids in named):
        vetoes.append("several_orders_named")
    is_auto = (
        not vetoes
        and probability >= LEVELS[world.policy.level]
        and all(best.log_odds - other.log_odds >= MARGIN for other, _ in ranked[1:])
    )
    return Verdict(
        tuple(hypothesis for hypothesis, _ in ranked),
        tuple(probability for _, probability in ranked),
        tuple(dict.fromkeys(vetoes)),
        is_auto,
    )


def _means_several(mentions: Sequence[Mention]) -> bool:
    first = mentions[0].order.id
    return any(mention.order.id != first for mention in mentions)


def _ranked(hypotheses: Sequence[Hypothesis]) -> list[tuple[Hypothesis, float]]:
    """With their probabilities, the likeliest first, between equals by number."""
    odds = [10.0**hypothesis.log_odds for hypothesis in hypotheses]
    total = sum(odds)
    ranked = [
        (hypothesis, each / total * calibrated(total, hypothesis.basis))
        for each, hypothesis in zip(odds, hypotheses, strict=True)
    ]
    return sorted(ranked, key=_rank) if len(ranked) > 1 else ranked


def _rank(answer: tuple[Hypothesis, float]) -> tuple[float, float, list[str], list[OrderId]]:
    hypothesis, probability = answer
    numbers = sorted(share.order.number for share in hypothesis.shares)
    return -probability, -hypothesis.log_odds, numbers, sorted(hypothesis.order_ids)


def calibrated(odds: float, basis: str) -> float:
    """The probability that one of the answers is right, if they have these odds together.

    As it came true in generated accounts for answers that stand on ``basis``.
    """
    scale, shift = CALIBRATION.get(basis, UNCALIBRATED)
    log_odds = scale * log10(max(odds, LEAST_ODDS)) + shift
    return min(1.0 / (1.0 + float(10.0**-log_odds)), MAX_PROBABILITY)


def _posting_vetoes(case: Case, today: date | None) -> list[str]:
    posting = case.posting
    is_later = today is not None and posting.booking_date is not None
    forbidden = {
        "return": posting.is_return or _RETURNED.search(case.text) is not None,
        "own_refund": posting.is_own_refund,
        "pending": posting.is_pending,
        "batch_total": posting.is_batch_total,
        "possible_duplicate": posting.is_possible_duplicate,
        "currency_unknown": posting.currency is None,
        "partly_assigned": posting.remaining is not None and posting.remaining != posting.amount,
        "booked_in_future": is_later and posting.booking_date > today,  # type: ignore[operator]
    }
    return [veto for veto, applies in forbidden.items() if applies]


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
    is_open = order.is_open and owed > ZERO
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
    if order.is_open and not is_open:
        evidence.append(_PAID_BY_OTHER)
    vetoes = (
        *_status_vetoes(order, is_open=is_open, policy=order.policy or world.policy),
        *_order_vetoes(case, order, mention, relation, payer, world),
    )
    # What a person would book: a second payment of a paid order is a surplus there.
    booked = relation.booked if is_open else min(posting.available, owed) or posting.available
    share = Share(order, booked, relation.because if is_open else None)
    log_odds = world.prior + sum(each.weight for each in evidence)
    return Hypothesis((share,), log_odds, tuple(evidence), is_open and relation.is_whole, vetoes)


_NO_NUMBER: Final = Evidence("no_number", NO_NUMBER, {})
_PAID_BY_OTHER: Final = Evidence("paid_by_other", PAID_BY_OTHER, {})


def _status_vetoes(order: OpenOrder, *, is_open: bool, policy: Policy) -> Iterator[str]:
    if is_open or (order.payment_status == "cancelled" and policy.assigns_cancelled):
        return
    waits = order.payment_status in ("unpaid", "partially_paid")
    yield f"order_{'paid' if waits else order.payment_status}"


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
