"""Runs pretix' matcher and ours over the same files and compares what they decided."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INSIDE = Path(__file__).with_name("inside.py")
CHECKOUT = Path(__file__).resolve().parents[3]
PROBE_SECONDS = 60
PRETIX_SECONDS = 3600
OURS_SECONDS = 600
PURE_RUNS = 3
SHOWN_LOG_CHARACTERS = 2000
PER = 10_000

Decisions = dict[str, frozenset[str]]  # by posting: the orders it was booked on, empty = left open
Figures = dict[str, Any]


class Failed(SystemExit):
    """One side did not give an answer; the text says which, and how it ended."""


@dataclass(frozen=True)
class Score:
    """How many postings were there, assigned automatically, and rightly or wrongly so."""

    postings: int
    assigned: int
    right: int
    wrong: int

    def figures(self) -> Figures:
        """Shares are of all postings, from 0 to 1."""
        return {
            "assigned": self.assigned,
            "share_assigned": round(self.assigned / self.postings, 4),
            "right": self.right,
            "wrong": self.wrong,
            "wrong_per_10000": round(self.wrong * PER / self.postings, 1),
        }


def main(argv: list[str]) -> int:
    """0, also where pretix is not installed: then one line says what to install."""
    options = _options(argv)
    missing = what_is_missing(options.python)
    if missing is not None:
        print(f"skipped: {missing}")
        return 0
    figures = compare(options)
    print(json.dumps(figures) if options.json else as_table(figures))
    return 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.matching.pretix")
    parser.add_argument("--python", type=Path, required=True, help="where pretix is installed")
    parser.add_argument("--orders", type=Path, required=True, metavar="ORDERS.jsonl")
    parser.add_argument("--postings", type=Path, required=True, metavar="POSTINGS.jsonl")
    parser.add_argument("--truth", type=Path, metavar="TRUTH.jsonl")
    parser.add_argument("--database", choices=("postgres", "sqlite"), default="postgres")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser.parse_args(argv)


def what_is_missing(python: Path) -> str | None:
    """What to install before pretix can be run there; None if it is there."""
    advice = f"python -m venv {python.parent.parent} && {python} -m pip install pretix"
    if shutil.which(python) is None:
        return f"there is no Python at {python}. To measure pretix: {advice}"
    probe = [str(python), "-I", "-c", "import pretix"]
    asked = subprocess.run(probe, capture_output=True, check=False, timeout=PROBE_SECONDS)
    if asked.returncode != 0:
        return f"{python} has no pretix. To measure it: {advice}"
    return None


def compare(options: argparse.Namespace) -> Figures:
    """Both sides' figures, and how many times as many postings a second we decide."""
    ours = run_ours(options.orders, options.postings)
    ours_figures = time_ours(options.orders, options.postings)
    count = len(ours)
    ours_figures["pure_postings_per_second"] = _rate(
        count, ours_figures["index_seconds"] + ours_figures["decide_seconds"]
    )
    theirs, theirs_figures = _run_pretix(options)
    if theirs.keys() != ours.keys():
        raise Failed("pretix and ours answered for different postings")
    theirs_figures |= speeds(theirs_figures)
    if options.truth is not None:
        truth = read_truth(options.truth.read_text(encoding="utf-8"))
        theirs_figures |= score(theirs, truth).figures()
        ours_figures |= score(ours, truth).figures()
    return {
        "postings": count,
        "pretix": theirs_figures,
        "ours": ours_figures,
        "times_as_fast_pure": round(
            ours_figures["pure_postings_per_second"] / theirs_figures["pure_postings_per_second"], 1
        ),
    }


# --- pretix -----------------------------------------------------------------------------------


def _run_pretix(options: argparse.Namespace) -> tuple[Decisions, Figures]:
    with tempfile.TemporaryDirectory(prefix="pretix-bench-") as place:
        home = Path(place)
        command = [
            options.python.absolute(), "-I", INSIDE, "--home", home,
            "--orders", options.orders.absolute(), "--postings", options.postings.absolute(),
        ]  # fmt: skip
        with _services(options.database) as settings:
            ended = subprocess.run(
                command,
                env=_outside() | settings,
                capture_output=True,
                text=True,
                check=False,
                timeout=PRETIX_SECONDS,
            )
    if ended.returncode != 0:
        raise Failed(f"pretix failed:\n{ended.stderr[-SHOWN_LOG_CHARACTERS:]}")
    return read_pretix(ended.stdout)


def _outside() -> dict[str, str]:
    """Our environment without what would set pretix up otherwise."""
    strange = ("PRETIX_", "FILE__PRETIX_", "DJANGO_", "DATA_DIR")
    return {name: value for name, value in os.environ.items() if not name.startswith(strange)}


@contextlib.contextmanager
def _services(database: str) -> Iterator[dict[str, str]]:
    """pretix' settings for a database; Postgres and Redis run while they are used."""
    if database == "sqlite":
        yield {}
        return
    from server.embedded import Embedded

    var = Path(tempfile.mkdtemp(prefix="kontor-bench-", dir="/tmp"))
    var.chmod(0o755)
    services = Embedded(var, lambda text: print(text, file=sys.stderr))
    try:
        services.start()
        yield {
            "PRETIX_DATABASE_BACKEND": "postgresql",
            "PRETIX_DATABASE_HOST": str(services.run),
            "PRETIX_DATABASE_USER": "kontor",
            "PRETIX_DATABASE_NAME": "kontor",
            "PRETIX_REDIS_LOCATION": services.redis_url,
        }
    finally:
        services.stop()
        shutil.rmtree(var, ignore_errors=True)


def read_pretix(answer: str) -> tuple[Decisions, Figures]:
    """What ``inside.py`` printed: decisions by posting, and its figures. ``Failed`` if cut off."""
    lines = [json.loads(line) for line in answer.splitlines()]
    if not lines or "figures" not in lines[-1]:
        raise Failed("pretix' answer ends without its figures")
    return {str(line["id"]): frozenset(line["orders"]) for line in lines[:-1]}, lines[-1]["figures"]


def speeds(figures: Mapping[str, Any]) -> Figures:
    """Rates of what ``inside.py`` measured: postings a second, and SQL statements a posting."""
    postings = figures["postings"]
    return {
        "pure_postings_per_second": _rate(postings, figures["pure_seconds"]),
        "booking_postings_per_second": _rate(postings, figures["booking_seconds"]),
        "pure_statements_per_posting": round(figures["pure_statements"] / postings, 1),
        "booking_statements_per_posting": round(figures["booking_statements"] / postings, 1),
    }


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 1)


# --- Ours -------------------------------------------------------------------------------------


def run_ours(orders: Path, postings: Path) -> Decisions:
    """``python -m server match``, as anybody would run it."""
    command = [sys.executable, "-m", "server", *_arguments(orders, postings)]
    ended = subprocess.run(
        command, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=OURS_SECONDS
    )
    if ended.returncode != 0:
        raise Failed(f"python -m server match failed:\n{ended.stderr[-SHOWN_LOG_CHARACTERS:]}")
    return read_ours(ended.stdout)


def _arguments(orders: Path, postings: Path) -> list[str]:
    return [
        "match", "--orders", str(orders.absolute()), "--postings", str(postings.absolute()),
        "--json",
    ]  # fmt: skip


def read_ours(answer: str) -> Decisions:
    """The decisions ``match --json`` printed; what is only suggested counts as left open."""
    decisions: Decisions = {}
    for line in answer.splitlines():
        decision = json.loads(line)
        shares = decision["assignments"] if decision["decision"] == "auto" else []
        decisions[str(decision["id"])] = frozenset(share["order"] for share in shares)
    return decisions


def time_ours(orders: Path, postings: Path) -> Figures:
    """CPU seconds of building the index and of deciding, the best of some runs in this process.

    The only place that knows how ``server.match`` is made: it calls ``MemoryStore`` and ``decide``
    by these names, and both are timed where they stand.
    """
    from server import match

    module: Any = match
    seconds: dict[str, list[float]] = {"MemoryStore": [], "decide": []}

    def timed(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **named: Any) -> Any:
            began = time.process_time()
            result = work(*args, **named)
            seconds[name].append(time.process_time() - began)
            return result

        return run

    originals = {name: getattr(module, name) for name in seconds}
    try:
        for name, work in originals.items():
            setattr(module, name, timed(name, work))
        for _ in range(PURE_RUNS):
            with contextlib.redirect_stdout(io.StringIO()):
                module.main(_arguments(orders, postings)[1:])
    finally:
        for name, work in originals.items():
            setattr(module, name, work)
    return {
        "index_seconds": min(seconds["MemoryStore"]),
        "decide_seconds": min(seconds["decide"]),
    }


# --- Comparing --------------------------------------------------------------------------------


def read_truth(text: str) -> Decisions:
    """The orders each posting really pays; empty where nothing may be assigned unasked."""
    lines = [json.loads(line) for line in text.splitlines() if line.strip()]
    return {str(line["id"]): frozenset(line["orders"]) for line in lines}


def score(decisions: Decisions, truth: Decisions) -> Score:
    """Counts decisions against the truth. ``Failed`` if a posting has no truth."""
    unknown = decisions.keys() - truth.keys()
    if unknown or not decisions:
        raise Failed(f"{len(unknown)} of {len(decisions)} postings are not in the truth")
    assigned = [name for name, orders in decisions.items() if orders]
    right = sum(decisions[name] == truth[name] for name in assigned)
    return Score(len(decisions), len(assigned), right, len(assigned) - right)


ROWS = (
    ("right", "right"),
    ("wrong", "wrong"),
    ("wrong per 10,000", "wrong_per_10000"),
    ("share assigned automatically", "share_assigned"),
    ("pure matching, postings/s", "pure_postings_per_second"),
    ("SQL statements a posting, pure", "pure_statements_per_posting"),
    ("booking end to end, postings/s", "booking_postings_per_second"),
    ("SQL statements a posting, booking", "booking_statements_per_posting"),
)


def as_table(figures: Figures) -> str:
    """The comparison for people; a dash where a side has no such figure."""
    theirs, ours = figures["pretix"], figures["ours"]
    title = f"{figures['postings']} postings, pretix {theirs['pretix']} on {theirs['database']}"
    lines = [title, f"  {'':<36}{'pretix':>12}{'ours':>12}"]
    for label, name in ROWS:
        if name in theirs or name in ours:
            cells = (theirs.get(name, "-"), ours.get(name, "-"))
            lines.append(f"  {label:<36}{cells[0]:>12}{cells[1]:>12}")
    lines.append(f"  {'times as fast, pure':<36}{'':>12}{figures['times_as_fast_pure']:>12}")
    return "\n".join(lines)
