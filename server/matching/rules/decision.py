"""The decision: hypotheses weighed against each other, vetoes apart, one batch at a time.

For each posting every candidate order is a hypothesis, every group of orders it names together
is one, and "none of them" is one. Their weights become probabilities that sum to one, so a
rival takes from the best what the best would need. Only a best hypothesis of at least
``AUTO_PROBABILITY`` and without a veto is booked. Postings that claim the same order are settled
among each other: what is paid by one of them is no longer owed to the next.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import product
from typing import Final

from server.matching.rules.candidates import Context, Mention, find_candidates
from server.matching.rules.evidence import (
    EXACT_ODD,
    PRIOR,
    WILD,
    Evidence,
    amount_evidence,
    date_evidence,
    is_exact,
    name_evidence,
)
from server.matching.rules.facts import (
    ZERO,
    CandidateStore,
    Decision,
    OpenOrder,
    OrderId,
    PostingFacts,
    Proposal,
    Share,
)
from server.matching.rules.names import same_name

AUTO_PROBABILITY: Final = 0.9996
SLIP_AUTO_PROBABILITY: Final = 0.999
SUGGESTED_PROBABILITY: Final = 0.001
MAX_PROBABILITY: Final = 0.99999  # nothing is certain
MAX_PROPOSALS: Final = 5
MIN_NAMED_WEIGHT: Final = 2.5  # from here on a number in the text is taken for an order's
ANOTHER_NAMED: Final = -2.0  # the hypothesis leaves another named order unexplained
JOINTLY_NAMED: Final = 1.0  # each further order of a group whose sum is paid
MAX_GROUP: Final = 5
MAX_GROUPS: Final = 16
CLEARLY_BETTER: Final = 1.0  # a claim must be ten times likelier than another payer's

_RETURNED: Final = re.compile(
    r"\bRETOUREN?\b|\bRETURN(?:ED)?\b|RUE?CK(?:UE?BERWEISUNG|LASTSCHRIFT|BUCHUNG|LEITUNG|RUF)"
    r"|KONTO[ \n]?(?:ERLOSCHEN|GESPERRT|GESCHLOSSEN|AUFGELOE?ST)|UNZUSTELLBAR|NICHT AUSFUE?HRBAR"
    r"|CHARGEBACK|STORNO|(?:RUE?CK)?ERSTATTUNG|RUE?CKZAHLUNG|\bR-TRANSA[CK]TION"
)


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """This posting pays these orders, so much each; ``log_odds`` as a power of ten."""

    shares: tuple[Share, ...]
    log_odds: float
    evidence: tuple[Evidence, ...]
    is_exact: bool
    vetoes: tuple[str, ...] = ()
    is_slip: bool = False

    @property
    def order_ids(self) -> frozenset[OrderId]:
        """The orders that would be paid."""
        return frozenset(share.order.id for share in self.shares)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The hypotheses of a posting, best first, their probabilities, and what forbids the best."""

    hypotheses: tuple[Hypothesis, ...]
    probabilities: tuple[float, ...]
    vetoes: tuple[str, ...]

    @property
    def is_auto(self) -> bool:
        """Whether the best may be booked without a person."""
        if not self.hypotheses or self.vetoes:
            return False
        needed = SLIP_AUTO_PROBABILITY if self.hypotheses[0].is_slip else AUTO_PROBABILITY
        return self.probabilities[0] >= needed


def decide(
    postings: Sequence[PostingFacts],
    store: CandidateStore,
    *,
    tolerance: Decimal = ZERO,
    today: date | None = None,
) -> list[Decision]:
    """One decision a posting, in the same order.

    ``tolerance`` is the deviation that still counts as the exact amount. A posting dated after
    ``today`` is never booked. Only what is exact, then what came first, decides between several
    postings for one order; their place in the batch does so only between equals.
    """
    contexts = find_candidates(postings, store, tolerance)
    left: dict[OrderId, Decimal] = {}
    verdicts = [weigh(context, left, tolerance, today) for context in contexts]
    rivals = _claims(contexts, verdicts)
    decisions: dict[int, Decision] = {}
    for index in _turns(contexts, verdicts):
        context, verdict = contexts[index], verdicts[index]
        if any(mention.order.id in left for mention in context.mentions):
            verdict = weigh(context, left, tolerance, today)
        if verdict.is_auto and _has_competitor(index, contexts, verdicts, rivals):
            verdict = Verdict(verdict.hypotheses, verdict.probabilities, ("competing_posting",))
        decisions[index] = _decision(context.posting, verdict)
        for share in decisions[index].shares:
            owed = left.get(share.order.id, share.order.outstanding)
            left[share.order.id] = owed - share.amount
    return [decisions[index] for index in range(len(postings))]


def _turns(contexts: Sequence[Context], verdicts: Sequence[Verdict]) -> list[int]:
    """Exact claims first, then other bookings, then the rest; each by booking date."""

    def turn(index: int) -> tuple[int, date, int]:
        verdict = verdicts[index]
        rank = 2 if not verdict.is_auto else 0 if verdict.hypotheses[0].is_exact else 1
        return rank, contexts[index].posting.booking_date or date.max, index

    return sorted(range(len(contexts)), key=turn)


def _claims(
    contexts: Sequence[Context], verdicts: Sequence[Verdict]
) -> Mapping[OrderId, list[int]]:
    """Who would pay an order exactly, by order."""
    claims: dict[OrderId, list[int]] = defaultdict(list)
    for index in range(len(contexts)):
        verdict = verdicts[index]
        if verdict.is_auto and verdict.hypotheses[0].is_exact:
            for order_id in verdict.hypotheses[0].order_ids:
                claims[order_id].append(index)
    return claims


def _has_competitor(
    index: int,
    contexts: Sequence[Context],
    verdicts: Sequence[Verdict],
    claims: Mapping[OrderId, list[int]],
) -> bool:
    """Whether somebody else's posting claims one of the orders about as well, or better.

    Two equal payments of one payer are no question: the first pays, the second is too much.
    """
    own = verdicts[index].hypotheses[0]
    return any(
        other != index
        and verdicts[other].hypotheses[0].log_odds > own.log_odds - CLEARLY_BETTER
        and not _same_payer(contexts[index].posting, contexts[other].posting)
        for order_id in own.order_ids
        for other in claims.get(order_id, ())
    )


def _same_payer(one: PostingFacts, other: PostingFacts) -> bool:
    if one.counterparty_iban is not None and one.counterparty_iban == other.counterparty_iban:
        return True
    return same_name(one.counterparty_name, other.counterparty_name)


def _decision(posting: PostingFacts, verdict: Verdict) -> Decision:
    proposals = tuple(
        Proposal(hypothesis.shares, probability, tuple(map(str, hypothesis.evidence)))
        for hypothesis, probability in zip(verdict.hypotheses, verdict.probabilities, strict=True)
        if probability >= SUGGESTED_PROBABILITY
    )[:MAX_PROPOSALS]
    if posting.available <= ZERO or not proposals:
        return Decision(posting, "none")
    best = proposals[0]
    if verdict.is_auto:
        return Decision(posting, "auto", best.shares, best.probability, best.evidence)
    return Decision(
        posting,
        "suggest",
        probability=best.probability,
        evidence=best.evidence,
        vetoes=verdict.vetoes,
        proposals=proposals,
    )


# --- Weighing one posting ---------------------------------------------------------------------


def weigh(
    context: Context,
    left: Mapping[OrderId, Decimal],
    tolerance: Decimal,
    today: date | None,
) -> Verdict:
    """The verdict on one posting, given what earlier postings have left of some orders' debts."""
    if context.posting.available <= ZERO:
        return Verdict((), (), ())
    places = _places(context.mentions)
    hypotheses = sorted(
        [
            *_singles(context, places, left, tolerance),
            *_groups(context, places, left, tolerance),
        ],
        key=lambda hypothesis: (-hypothesis.log_odds, sorted(hypothesis.order_ids)),
    )
    if not hypotheses:
        return Verdict((), (), ())
    vetoes = list(_posting_vetoes(context.posting, today))
    vetoes += hypotheses[0].vetoes
    named = _named_open(places, left)
    if len(named) > 1 and not all(ids & hypotheses[0].order_ids for ids in named):
        vetoes.append("several_orders_named")
    return Verdict(tuple(hypotheses), _probabilities(hypotheses), tuple(vetoes))


def _probabilities(hypotheses: Sequence[Hypothesis]) -> tuple[float, ...]:
    odds = [10.0**hypothesis.log_odds for hypothesis in hypotheses]
    total = 1.0 + sum(odds)  # 1.0 is "none of them"
    return tuple(min(each / total, MAX_PROBABILITY) for each in odds)


def _posting_vetoes(posting: PostingFacts, today: date | None) -> Iterator[str]:
    text = (posting.remittance_information or "").upper().translate(_UMLAUTS)
    if posting.is_return or _RETURNED.search(text):
        yield "return"
    if posting.is_pending:
        yield "pending"
    if posting.is_batch_total:
        yield "batch_total"
    if posting.is_possible_duplicate:
        yield "possible_duplicate"
    if posting.currency is None:
        yield "currency_unknown"
    if posting.remaining is not None and posting.remaining != posting.amount:
        yield "partly_assigned"
    if today is not None and posting.booking_date is not None and posting.booking_date > today:
        yield "booked_in_future"


_UMLAUTS: Final = str.maketrans({"Ä": "AE", "Ö": "OE", "Ü": "UE", "\n": " "})


def _places(mentions: Iterable[Mention]) -> list[list[Mention]]:
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
    inner = mention.reading
    return any(
        other.is_exact
        and other.reading.start <= inner.start
        and inner.end <= other.reading.end
        and len(other.reading.key) > len(inner.key)
        and other.evidence.weight > mention.evidence.weight
        and mention.is_exact
        for other in place
    )


def _named_open(
    places: Sequence[Sequence[Mention]], left: Mapping[OrderId, Decimal]
) -> list[frozenset[OrderId]]:
    """For each place that surely names an order: the open orders it may name."""
    named = []
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


def _singles(
    context: Context,
    places: Sequence[Sequence[Mention]],
    left: Mapping[OrderId, Decimal],
    tolerance: Decimal,
) -> Iterator[Hypothesis]:
    best: dict[OrderId, Mention] = {}
    for place in places:
        for mention in place:
            known = best.get(mention.order.id)
            if known is None or known.evidence.weight < mention.evidence.weight:
                best[mention.order.id] = mention
    named = _named_open(places, left)
    ids_by_place = (frozenset(mention.order.id for mention in place) for place in places)
    naming = [ids for ids in ids_by_place if any(each <= ids for each in named)]
    for mention in best.values():
        others = sum(mention.order.id not in ids for ids in naming)
        yield _single(context, mention, others, left, tolerance)


def _single(
    context: Context,
    mention: Mention,
    others: int,
    left: Mapping[OrderId, Decimal],
    tolerance: Decimal,
) -> Hypothesis:
    posting, order = context.posting, mention.order
    owed = left.get(order.id, order.outstanding)
    is_open = order.is_open and owed > ZERO
    compared = owed if is_open else order.total
    evidence = [
        mention.evidence,
        amount_evidence(posting, order, compared, " ".join(context.texts), tolerance),
        name_evidence(posting, order),
    ]
    early = date_evidence(posting.booking_date, order)
    if early is not None:
        evidence.append(early)
    if others:
        evidence.append(Evidence("the text names other orders too", ANOTHER_NAMED * others))
    vetoes = []
    confirmation = evidence[1].weight + evidence[2].weight
    if not mention.is_exact and confirmation < mention.confirmation:
        vetoes.append(mention.doubt)
    if evidence[1].weight <= WILD and not mention.is_checked:
        vetoes.append("amount_far_off")
    if not is_open:
        waits = order.payment_status in ("unpaid", "partially_paid")
        status = "paid" if waits else order.payment_status
        vetoes.append(f"order_{status}")
    if posting.currency is not None and posting.currency != order.currency:
        vetoes.append("other_currency")
    log_odds = PRIOR + sum(each.weight for each in evidence)
    exact = is_open and is_exact(posting.available, owed, tolerance)
    # What a person would book: a second payment of a paid order is a surplus there.
    share = Share(order, min(posting.available, owed) if owed > ZERO else posting.available)
    return Hypothesis(
        (share,), log_odds, tuple(evidence), exact, tuple(vetoes), not mention.is_exact
    )


def _groups(
    context: Context,
    places: Sequence[Sequence[Mention]],
    left: Mapping[OrderId, Decimal],
    tolerance: Decimal,
) -> Iterator[Hypothesis]:
    """All the orders the text names, where the amount is exactly what they owe together."""
    choices: list[dict[OrderId, Mention]] = []
    named = _named_open(places, left)
    for ids in named:
        choices.append(
            {m.order.id: m for place in places for m in place if m.is_exact and m.order.id in ids}
        )
    if not 2 <= len(choices) <= MAX_GROUP:
        return
    for number, group in enumerate(product(*(choice.values() for choice in choices))):
        if number == MAX_GROUPS:
            return
        hypothesis = _group(context.posting, group, left, tolerance)
        if hypothesis is not None:
            yield hypothesis


def _group(
    posting: PostingFacts,
    group: Sequence[Mention],
    left: Mapping[OrderId, Decimal],
    tolerance: Decimal,
) -> Hypothesis | None:
    orders: dict[OrderId, OpenOrder] = {mention.order.id: mention.order for mention in group}
    shares = tuple(Share(order, left.get(order.id, order.outstanding)) for order in orders.values())
    owed = sum((share.amount for share in shares), ZERO)
    same_currency = all(order.currency == posting.currency for order in orders.values())
    if len(orders) < 2 or not same_currency or posting.available < owed:
        return None
    if not is_exact(posting.available, owed, tolerance):
        return None
    references = [mention.evidence for mention in group]
    name = max((name_evidence(posting, order) for order in orders.values()), key=lambda e: e.weight)
    total = Evidence(
        f"{posting.available} is what the {len(orders)} orders owe together", EXACT_ODD
    )
    log_odds = (
        PRIOR
        + max(reference.weight for reference in references)
        + JOINTLY_NAMED * (len(orders) - 1)
        + total.weight
        + name.weight
    )
    return Hypothesis(shares, log_odds, (*references, total, name), True)
