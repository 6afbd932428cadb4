"""The table and the plot of docs/matching.md, from what the bench measured.

    python -m bench.matching --seeds 10 --postings 5000 --json > ours.json
    python -m bench.matching --seeds 10 --postings 5000 --engine points --json > points.json
    python -m bench.matching --seeds 10 --postings 5000 --engine first_number --json > first.json
    python -m bench.matching.page ours.json --points points.json --first-number first.json

Writes what stands between the marks of the page, and the plot beside it; nothing is written if
anything is missing.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "matching.md"
PLOT: Final = ROOT / "docs" / "images" / "matching-reliability.svg"
MARKED: Final = re.compile(r"(?<=<!-- results -->\n).*?(?=<!-- /results -->)", re.DOTALL)
HEAD: Final = (
    "| | postings | assigned | wrong in 10,000 | 95 % interval | top-1 |\n|---|--:|--:|--:|--:|--:|"
)
EXIT_BAD_INPUT: Final = 2

SIZE: Final = 360  # of the square in which the points lie, in pixels
LEFT, TOP, BELOW, RIGHT = 64, 16, 56, 24
LEAST_DOT, MOST_DOT = 3.0, 11.0
HIGH: Final = 0.9  # there the count stands below its dot
TICKS: Final = (0, 20, 40, 60, 80, 100)
STYLE: Final = """
  text { font: 13px system-ui, sans-serif; fill: #333; }
  .small { font-size: 11px; paint-order: stroke; stroke: #fff; stroke-width: 3px; }
  .paper { fill: #fff; }
  .grid { stroke: #ddd; }
  .ideal { stroke: #888; stroke-dasharray: 5 4; }
  .line { stroke: #1f6f8b; stroke-width: 1.5; fill: none; }
  .dot { fill: #1f6f8b; }
  @media (prefers-color-scheme: dark) {
    text { fill: #ddd; }
    .paper { fill: #1b1e22; }
    .small { stroke: #1b1e22; }
    .grid { stroke: #3a3f45; }
    .ideal { stroke: #888; }
    .line { stroke: #6cc3df; }
    .dot { fill: #6cc3df; }
  }
"""

Figures = dict[str, Any]


class Bin(NamedTuple):
    """So many answers of about one probability: its mean, and the share that came true."""

    answers: int
    said: float
    came: float


class BadInput(Exception):
    """A file that does not hold what the page needs; the message names it and what is missing."""


def main(argv: Sequence[str]) -> int:
    """Writes both. 0, or 2 if a file does not hold what is needed."""
    options = _options(argv)
    try:
        ours = read(options.ours)
        baselines = {
            "baseline: points": options.points and read(options.points),
            "baseline: first number": options.first_number and read(options.first_number),
        }
        reliability = ours["all"]["all"].get("reliability")
        if not reliability:
            raise BadInput(f"{options.ours}: has no reliability")
        plot = svg(reliability)
        page = with_results(
            options.page.read_text(encoding="utf-8"),
            table(ours, {name: one for name, one in baselines.items() if one}),
        )
    except BadInput as problem:
        sys.stderr.write(f"page: {problem}\n")
        return EXIT_BAD_INPUT
    options.page.write_text(page, encoding="utf-8")
    options.plot.write_text(plot, encoding="utf-8")
    return 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.matching.page", description=__doc__)
    parser.add_argument("ours", type=Path, help="what `python -m bench.matching --json` printed")
    parser.add_argument("--points", type=Path, help="the same with `--engine points`")
    parser.add_argument("--first-number", type=Path, help="the same with `--engine first_number`")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--plot", type=Path, default=PLOT)
    return parser.parse_args(argv)


def read(path: Path) -> Figures:
    """The figures of one run. Raises BadInput."""
    try:
        found: Figures = json.loads(path.read_text(encoding="utf-8"))
        found["all"]["all"]["n"], found["styles"].values()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise BadInput(f"{path}: {problem!r}") from None
    return found


# --- The table --------------------------------------------------------------------------------


def table(ours: Figures, baselines: Mapping[str, Figures]) -> str:
    """Our styles, all of them, and each baseline over all styles, as Markdown with the plot."""
    rows = [_row(f"`{name}`", one) for name, one in ours["styles"].items()]
    rows.append(_row("**all**", ours["all"]["all"]))
    rows += [_row(name, one["all"]["all"]) for name, one in baselines.items()]
    whole = ours["all"]["all"]
    error = f"{100 * whole['calibration_error']:.1f} %"
    said = f"Expected calibration error: {error} over {_judged(whole):,} answers."
    plot = "![What was said beside what came true](images/matching-reliability.svg)"
    return "\n".join(["", HEAD, *rows, "", said, "", plot, "", ""])


def _judged(whole: Figures) -> int:
    return sum(round(count) for count, _, _ in whole["reliability"])


def _row(name: str, one: Figures) -> str:
    wrong, low, high = one["wrong_per_10000"]
    first = f"{one['top_1']:.0%}" if one["left"] else "–"
    cells = (
        name,
        f"{one['n']:,}",
        f"{100 * one['assigned_share']:.2f} %",
        f"{wrong:.1f}",
        f"{low:.1f} to {high:.1f}",
        first.replace("%", " %"),
    )
    return f"| {' | '.join(cells)} |"


def with_results(page: str, results: str) -> str:
    """The page with these results between its marks. Raises BadInput if it has none."""
    if not MARKED.search(page):
        raise BadInput("the page has no <!-- results --> … <!-- /results -->")
    return MARKED.sub(lambda _: results, page, count=1)


# --- The plot ---------------------------------------------------------------------------------


def svg(reliability: Iterable[Sequence[float]]) -> str:
    """A reliability plot of (count, sum of what was said, how many came true) a bin.

    A dot a bin, the larger the more answers, with their count. On the dashed line what was said is
    what came.
    """
    bins = [
        Bin(round(count), said / count, came / count) for count, said, came in reliability if count
    ]
    most = max((one.answers for one in bins), default=1)
    width, height = LEFT + SIZE + RIGHT, TOP + SIZE + BELOW
    opened = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" '
        'aria-label="What was said beside what came true">'
    )
    points = "L".join(f"{_x(one.said):.1f} {_y(one.came):.1f}" for one in bins)
    parts = [
        opened,
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{width}" height="{height}"/>',
        *_axes(),
        f'<path class="ideal" d="M{_x(0):.1f} {_y(0):.1f}L{_x(1):.1f} {_y(1):.1f}"/>',
        f'<path class="line" d="M{points}"/>',
        *(_dot(one, most) for one in bins),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _axes() -> Iterable[str]:
    for tick in TICKS:
        x, y = _x(tick / 100), _y(tick / 100)
        across = f"M{x:.1f} {_y(0):.1f}V{_y(1):.1f}M{_x(0):.1f} {y:.1f}H{_x(1):.1f}"
        yield f'<path class="grid" d="{across}"/>'
        yield f'<text x="{x:.1f}" y="{_y(0) + 18:.1f}" text-anchor="middle">{tick}</text>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick}</text>'
    middle = _x(0.5)
    yield (
        f'<text x="{middle:.1f}" y="{TOP + SIZE + 42}" text-anchor="middle">'
        "said: this answer is right, in %</text>"
    )
    yield (
        f'<text transform="translate(18 {_y(0.5):.1f}) rotate(-90)" text-anchor="middle">'
        "came true, in %</text>"
    )


def _dot(one: Bin, most: int) -> str:
    x, y = _x(one.said), _y(one.came)
    radius = max(LEAST_DOT, MOST_DOT * (one.answers / most) ** 0.5)
    beside = y + radius + 13 if one.came > HIGH else y - radius - 5
    told = f"{one.answers:,} answers: said {one.said:.1%}, came true {one.came:.1%}"
    return (
        f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>{told}</title>'
        f'</circle><text class="small" x="{x:.1f}" y="{beside:.1f}" text-anchor="middle">'
        f"{one.answers:,}</text>"
    )


def _x(share: float) -> float:
    return LEFT + SIZE * share


def _y(share: float) -> float:
    return TOP + SIZE * (1 - share)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
