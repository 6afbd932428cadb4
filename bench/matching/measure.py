"""Makes sets, asks an engine, judges its answers: several at a time."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from bench.matching import report
from bench.matching.baselines import BASELINES
from bench.matching.generate import Set, set_of
from bench.matching.score import Outcome, judged

ROOT: Final = Path(__file__).resolve().parents[2]
KONTOR: Final = "kontor"
ENGINE_TIMEOUT_SECONDS: Final = 600

Line = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """One set to make, decide and judge."""

    style: str
    seed: int
    open_orders: int
    postings: int
    through: str | None = None
    engine: str = KONTOR
    baseline: str | None = None
    has_history: bool = True
    write: Path | None = None
    checkout: Path = ROOT


@dataclass(frozen=True)
class Judged:
    """What came out of tasks; ``seconds`` are the engine's, start and reading included."""

    outcomes: list[Outcome]
    baseline: list[Outcome]
    cases: list[report.Case]
    seconds: float


def measure(tasks: Iterable[Task], jobs: int) -> Judged:
    """All of the tasks, so many at a time, as one judgement in the order of the tasks."""
    with ProcessPoolExecutor(jobs) as pool:
        parts = list(pool.map(run, tasks))
    return Judged(
        outcomes=[one for part in parts for one in part.outcomes],
        baseline=[one for part in parts for one in part.baseline],
        cases=[case for part in parts for case in part.cases],
        seconds=sum(part.seconds for part in parts),
    )


def run(task: Task) -> Judged:
    """Makes one set, asks the engine and the baseline, and judges their answers."""
    one = set_of(task.style, task.seed, task.open_orders, task.postings, task.through)
    with TemporaryDirectory() as scratch:
        place = task.write / f"{task.style}-{task.seed}" if task.write else Path(scratch)
        one.write(place)
        started = time.perf_counter()
        if task.engine == KONTOR:
            answers = asked(place, one.today, has_history=task.has_history, checkout=task.checkout)
        else:
            answers = BASELINES[task.engine](one.orders, one.postings)
        seconds = time.perf_counter() - started
        if task.write:
            lines = (json.dumps(answer, ensure_ascii=False) + "\n" for answer in answers)
            (place / "answers.jsonl").write_text("".join(lines), encoding="utf-8")
    outcomes = _judged(one, answers)
    baseline: list[Outcome] = []
    if task.baseline:
        baseline = _judged(one, BASELINES[task.baseline](one.orders, one.postings))
    return Judged(outcomes, baseline, list(_cases(one, answers, outcomes)), seconds)


def asked(
    directory: Path, today: str, *, has_history: bool = True, checkout: Path = ROOT
) -> list[Line]:
    """The answers of ``python -m server match`` to the set in this directory."""
    directory = directory.resolve()
    command = [sys.executable, "-m", "server", "match", "--json", "--today", today]
    command += ["--orders", str(directory / "orders.jsonl")]
    command += ["--postings", str(directory / "postings.jsonl")]
    if has_history:
        command += ["--history", str(directory / "history.jsonl")]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=ENGINE_TIMEOUT_SECONDS,
        check=False,
        cwd=checkout,
    )
    if done.returncode:
        raise SystemExit(f"{directory}: match gave {done.returncode}: {done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def _judged(one: Set, answers: Sequence[Line]) -> list[Outcome]:
    return [
        judged(one.style, truth, answer) for truth, answer in zip(one.truth, answers, strict=True)
    ]


def _cases(one: Set, answers: Sequence[Line], outcomes: Sequence[Outcome]) -> Iterator[report.Case]:
    orders = {order["number"]: order for order in one.orders}
    for posting, truth, answer, outcome in zip(
        one.postings, one.truth, answers, outcomes, strict=True
    ):
        if outcome.is_wrong or outcome.is_missed:
            said = [share["order"] for share in answer["assignments"]]
            numbers = dict.fromkeys([*truth["orders"], *said])
            shown = [orders[number] for number in numbers if number in orders]
            place = f"{one.style}-{one.seed}"
            yield report.Case(place, outcome, posting, truth, answer, shown)
