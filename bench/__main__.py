"""``python -m bench [push|latency|mails|agents|statements …]``: all of them without a name."""

from __future__ import annotations

import sys
from collections.abc import Callable

from bench import agents, latency, mails, push, statements
from bench.house import House, house

PARTS: dict[str, Callable[[House], dict[str, object]]] = {
    "push": push.run,
    "latency": latency.run,
    "mails": mails.run,
    "agents": agents.run,
}
WITHOUT_SERVER: dict[str, Callable[[], dict[str, object]]] = {"statements": statements.run}


def main(names: list[str]) -> int:
    for name in names or [*PARTS, *WITHOUT_SERVER]:
        if name in WITHOUT_SERVER:
            _print(name, WITHOUT_SERVER[name]())
            continue
        with house() as place:
            _print(name, PARTS[name](place))
    return 0


def _print(name: str, figures: dict[str, object]) -> None:
    print(f"\n{name}")
    for what, figure in figures.items():
        print(f"  {what:<58} {figure}", flush=True)


sys.exit(main(sys.argv[1:]))
