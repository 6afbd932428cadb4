"""``python -m bench [push|latency|mails|agents …]``: all of them without a name."""

from __future__ import annotations

import sys

from bench import agents, latency, mails, push
from bench.house import house

PARTS = {"push": push.run, "latency": latency.run, "mails": mails.run, "agents": agents.run}


def main(names: list[str]) -> int:
    for name in names or list(PARTS):
        with house() as place:
            print(f"\n{name}")
            for what, figure in PARTS[name](place).items():
                print(f"  {what:<58} {figure}", flush=True)
    return 0


sys.exit(main(sys.argv[1:]))
