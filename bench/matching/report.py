"""The figures as tables, and what went wrong in full."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.matching.score import BINS, Outcome, Tally, clopper_pearson, paired, ratio, tallies

Line = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A wrong or missed posting with all one needs to see why."""

    place: str
    outcome: Outcome
    posting: Line
    truth: Line
    answer: Line
    orders: list[Line]


HEAD = (
    f"{'':22}{'n':>7}{'assign.':>8}{'right':>7}{'wrong':>6}{'assigned':>10}"
    f"{'wrong/10k':>11}{'95 % interval':>17}{'false+':>8}{'top-1':>7}{'top-3':>7}{'ECE':>7}"
)


def print_report(
    outcomes: Sequence[Outcome], compared: Sequence[Outcome], seconds: float, baseline: str | None
) -> None:
    """Tables by style and kind, the sum, calibration, speed and the comparison."""
    whole = tallies(outcomes, lambda one: "all")
    print(HEAD)
    _print_rows(tallies(outcomes, lambda one: one.style))
    _print_rows(whole)
    print(f"\n{HEAD}")
    _print_rows(dict(sorted(tallies(outcomes, lambda one: one.kind).items())))
    if "all" in whole:
        _print_reliability(whole["all"])
    print(f"\n{ratio(len(outcomes), seconds):.0f} postings/s, start and reading included")
    if baseline and compared:
        print(f"\nagainst {baseline}, posting by posting (McNemar)")
        for what, (ours, theirs, p) in paired(outcomes, compared).items():
            print(f"  {what:6} only ours {ours}, only theirs {theirs}, p = {p:.3g}")


def as_json(outcomes: Sequence[Outcome], compared: Sequence[Outcome], seconds: float) -> Line:
    """The same figures for programs."""
    return {
        "all": {key: one.as_json() for key, one in tallies(outcomes, lambda one: "all").items()},
        "styles": {
            key: one.as_json() for key, one in tallies(outcomes, lambda one: one.style).items()
        },
        "kinds": {
            key: one.as_json() for key, one in tallies(outcomes, lambda one: one.kind).items()
        },
        "postings_per_second": ratio(len(outcomes), seconds),
        "paired": paired(outcomes, compared) if compared else None,
    }


def _print_rows(groups: dict[str, Tally]) -> None:
    for name, one in groups.items():
        low, high = clopper_pearson(one.wrong, one.n)
        interval = f"{10000 * low:.1f} .. {10000 * high:.1f}"
        share = f"{ratio(one.clear_right, one.clear):.2%}" if one.clear else "-"
        print(
            f"{name:22}{one.n:>7}{one.assignable:>8}{one.right:>7}{one.wrong:>6}{share:>10}"
            f"{10000 * ratio(one.wrong, one.n):>11.1f}{interval:>17}"
            f"{f'{one.false_positive}/{one.unassignable}':>8}"
            f"{_percent(one.first, one.left):>7}{_percent(one.among_three, one.left):>7}"
            f"{one.calibration_error:>7.3f}"
        )


def _percent(part: int, whole: int) -> str:
    return f"{ratio(part, whole):.0%}" if whole else "-"


def _print_reliability(one: Tally) -> None:
    print("\nprobability      postings     said     came  (no veto, less than 0.99)")
    for at, (count, said, came) in enumerate(one.reliability):
        if count:
            print(
                f"{at / BINS:.1f} .. {(at + 1) / BINS:.1f}{count:>15.0f}"
                f"{said / count:>9.3f}{came / count:>9.3f}"
            )


def print_misses(cases: Iterable[Case], count: int, kinds: Sequence[str] | None) -> None:
    """So many wrong and so many missed postings of each kind."""
    shown: dict[tuple[str, bool], int] = {}
    for case in sorted(cases, key=lambda case: (not case.outcome.is_wrong, case.truth["kind"])):
        key = (case.truth["kind"], case.outcome.is_wrong)
        shown[key] = shown.get(key, 0) + 1
        if shown[key] <= count and (not kinds or case.truth["kind"] in kinds):
            _print_case(case)


def _print_case(case: Case) -> None:
    posting, truth, answer = case.posting, case.truth, case.answer
    what = "WRONG" if case.outcome.is_wrong else "missed"
    flags = [name for name in ("is_return", "is_pending", "is_batch_total") if posting[name]]
    print(f"\n{what} {truth['kind']} {case.place} posting {posting['id']} {' '.join(flags)}")
    print(
        f"  {posting['booking_date']} {posting['amount']} {posting['currency']}"
        f" {posting['counterparty_name']!r} {posting['counterparty_iban']}"
    )
    print(f"  text {posting['remittance_information']!r}", end="")
    print(f" e2e {posting['end_to_end_id']!r} ref {posting['creditor_reference']!r}")
    print(f"  truth {truth['booked']}{' (ambiguous)' if truth['ambiguous'] else ''}")
    said = {share["order"]: share["amount"] for share in answer["assignments"]}
    print(f"  said {answer['decision']} {said} p={answer['probability']} vetoes={answer['vetoes']}")
    for evidence in answer["evidence"]:
        print(f"    {evidence}")
    for proposal in answer["suggestions"][:3]:
        print(f"    perhaps {proposal['orders']} {proposal['probability']}")
    for order in case.orders:
        _print_order(order)


def _print_order(order: Line) -> None:
    address = order["billing_address"]
    invoices = [invoice["number"] for invoice in order["invoices"]]
    print(
        f"  order {order['number']} {order['total']} {order['currency']} paid {order['paid_total']}"
        f" {order['payment_status']} {order['ordered_at'][:10]} customer"
        f" {order['customer']['number']} {address['first_name']} {address['last_name']}"
        f" {address['company']!r} invoices {invoices} references {order['references']}"
        f" terms {order['payment_terms']}"
    )
