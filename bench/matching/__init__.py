"""How well the matcher decides: generated orders and postings whose truth is known.

``python -m bench.matching --seeds 10 --postings 5000`` invents shops of several styles, writes
what their customers write to the bank, asks ``python -m server match`` and counts what was right,
wrong and left to a person. The generator knows the wire format and the words of bank statements,
nothing of how the engine decides.

names     who buys and pays: skewed name lists, IBANs
orders    what is open: merchant styles, numbers, prices, customers
noise     what payers write and banks do to it: one small function a kind
generate  a whole set from a seed, also through real bank files
baselines simple engines to compare with
measure   makes sets, asks an engine, judges its answers
score     right, wrong, missed, calibration, intervals
report    the figures as tables, and what went wrong in full
"""

from __future__ import annotations

SAMPLE_POSTINGS = 1500
JOBS = 2


def run() -> dict[str, object]:
    """One set of each style: how much is assigned and how much wrongly, beside a simple engine."""
    from bench.matching.measure import Task, measure
    from bench.matching.orders import STYLES
    from bench.matching.score import clopper_pearson, ratio, tallies

    tasks = [
        Task(style, seed=1, open_orders=2000, postings=SAMPLE_POSTINGS, baseline="points")
        for style in STYLES
    ]
    found = measure(tasks, JOBS)
    ours = tallies(found.outcomes, lambda one: one.style)
    theirs = tallies(found.baseline, lambda one: one.style)
    wrong = sum(one.wrong for one in ours.values())
    low, high = clopper_pearson(wrong, len(found.outcomes))
    figures: dict[str, object] = {
        f"{style}: assigned, wrong (points: assigned, wrong)": (
            f"{ratio(one.clear_right, one.clear):.1%}, {one.wrong}"
            f" ({ratio(theirs[style].clear_right, theirs[style].clear):.1%},"
            f" {theirs[style].wrong})"
        )
        for style, one in ours.items()
    }
    figures["wrong of 10,000, and its 95 % interval"] = (
        f"{10000 * ratio(wrong, len(found.outcomes)):.1f}, {10000 * low:.1f} .. {10000 * high:.1f}"
    )
    return figures
