"""``python -m bench [NAME …]``: the parts named, or all of them."""

from __future__ import annotations

import sys
from importlib import import_module

PARTS = ("push", "compare", "latency", "mails", "agents", "visits", "customer_page")
WITHOUT_SERVER = (
    "statements",
    "imports",
    "decisions",
    "matching",
    "dunning",
    "letters",
    "refunds",
    "relay",
)


def main(names: list[str]) -> int:
    for name in names or [*PARTS, *WITHOUT_SERVER]:
        part = import_module(f"bench.{name}")
        if name in WITHOUT_SERVER:
            _print(name, part.run())
            continue
        from bench.house import house

        with house(**getattr(part, "ENV", {})) as place:
            _print(name, part.run(place))
    return 0


def _print(name: str, figures: dict[str, object]) -> None:
    print(f"\n{name}")
    for what, figure in figures.items():
        print(f"  {what:<58} {figure}", flush=True)


sys.exit(main(sys.argv[1:]))
