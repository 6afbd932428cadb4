"""``python -m bench.matching``: how well the matcher decides, in figures."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from bench.matching import report
from bench.matching.baselines import BASELINES
from bench.matching.generate import Set, batches, set_of
from bench.matching.orders import STYLES
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
    through: str | None
    engine: str
    baseline: str | None
    has_history: bool
    write: Path | None
    checkout: Path = ROOT


@dataclass(frozen=True)
class Judged:
    """What came out of one task; ``seconds`` are the engine's, start and reading included."""

    outcomes: list[Outcome]
    baseline: list[Outcome]
    cases: list[report.Case]
    seconds: float


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    tasks = list(_tasks(options))
    with ProcessPoolExecutor(options.jobs) as pool:
        judgements = list(pool.map(run, tasks))
    outcomes = [one for judgement in judgements for one in judgement.outcomes]
    compared = [one for judgement in judgements for one in judgement.baseline]
    cases = [case for judgement in judgements for case in judgement.cases]
    seconds = sum(judgement.seconds for judgement in judgements)
    if options.json:
        print(json.dumps(report.as_json(outcomes, compared, seconds), indent=1))
        return 0
    report.print_report(outcomes, compared, seconds, options.baseline)
    if options.misses:
        report.print_misses(cases, options.misses, options.kind)
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.matching", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="how many, from --first-seed on")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--postings", type=int, default=1500, help="a style and seed, about")
    parser.add_argument("--orders", type=int, default=2000, help="open orders a shop")
    parser.add_argument("--style", nargs="+", choices=STYLES, default=list(STYLES))
    parser.add_argument("--kind", nargs="+", help="print the misses of these kinds only")
    parser.add_argument("--through", choices=("camt", "mt940"), help="write and parse a bank file")
    parser.add_argument("--engine", choices=(KONTOR, *BASELINES), default=KONTOR)
    parser.add_argument("--baseline", choices=BASELINES, help="compare with it, posting by posting")
    parser.add_argument("--no-history", action="store_true", help="as if nothing were known")
    parser.add_argument("--misses", type=int, default=0, help="print so many a kind in full")
    parser.add_argument("--write", type=Path, metavar="DIR", help="keep the sets and the answers")
    parser.add_argument("--checkout", type=Path, default=ROOT, help="whose matcher; default: ours")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    return parser.parse_args(arguments)


def _tasks(options: argparse.Namespace) -> Iterator[Task]:
    for style in options.style:
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            for set_seed, postings in batches(style, seed, options.orders, options.postings):
                yield Task(
                    style=style,
                    seed=set_seed,
                    open_orders=options.orders,
                    postings=postings,
                    through=options.through,
                    engine=options.engine,
                    baseline=options.baseline,
                    has_history=not options.no_history,
                    write=options.write,
                    checkout=options.checkout,
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


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough (`| head`). Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)
