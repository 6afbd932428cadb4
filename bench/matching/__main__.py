"""``python -m bench.matching``: how well the matcher decides, in figures."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.matching import report
from bench.matching.baselines import BASELINES
from bench.matching.generate import batches
from bench.matching.measure import KONTOR, ROOT, Task, measure
from bench.matching.orders import STYLES


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    found = measure(_tasks(options), options.jobs)
    if options.json:
        print(json.dumps(report.as_json(found.outcomes, found.baseline, found.seconds), indent=1))
        return 0
    report.print_report(found.outcomes, found.baseline, found.seconds, options.baseline)
    if options.misses:
        report.print_misses(found.cases, options.misses, options.kind)
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


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough (`| head`). Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)
