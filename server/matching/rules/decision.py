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
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from math import log10
from typing import Final, NamedTuple

from server.matching.rules.candidates import find_candidates
from server.matching.rules.case import Case
from server.matching.rules.facts import (
    ZERO,
    CandidateStore,
    Decision,
    OrderId,
    Policy,
    PostingFacts,
    Proposal,
)
from server.matching.rules.hypotheses import Hypothesis, World, answers
from server.matching.rules.names import same_name
from server.matching.rules.weights import prior
from server.merchants.settings import Level
from server.orders.return_rules import RETURN_WORDS

RULE_VERSION: Final = "2.1"
LEVELS: Final[Mapping[Level, float]] = {"careful": 0.9999, "normal": 0.999, "eager": 0.99}
"""From which probability on an answer is booked without a person."""

CALIBRATION: Final[Mapping[str, tuple[float, float]]] = {
    "number": (1.6, -1.3),
    "number_slip": (3.5, -7.8),
    "no_number": (0.75, 1.5),
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
CLEARLY_BETTER: Final = 1.0  # a claim must be ten times likelier than another payer's

_RETURNED: Final = re.compile(RETURN_WORDS + r"|STORNO|ERSTATTUNG|RUE?CKZAHLUNG")


class Verdict(NamedTuple):
    """The hypotheses of a posting, best first, their probabilities, and what forbids the best."""

    hypotheses: tuple[Hypothesis, ...]
    probabilities: tuple[float, ...]
    vetoes: tuple[str, ...]
    is_auto: bool


NOTHING: Final = Verdict((), (), (), False)


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
    cases, crowd = find_candidates(postings, store)
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
    hypotheses, named = answers(case, left, world)
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
