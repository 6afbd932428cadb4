"""The whole story on real processes: ``python -m server demo --exit --json``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.installation import own_turn, processes_of

STORY = [
    "everything runs",
    "the agent has connected the shop",
    "a customer orders",
    "the order has arrived",
    "the customer has payment information",
    "the bank's statement is handed in and read",
    "the posting is assigned",
    "the shop shows the order as paid",
    "the customer is thanked",
    "the same statement again adds nothing",
]


@pytest.mark.feature("S18", "S19", "S21", "S26", "S28", "S31", "S42", "K1", "K2", "K15")
def test_the_main_story_comes_true(tmp_path):
    env = {n: v for n, v in os.environ.items() if not n.startswith("KONTOR_")}
    env |= {"KONTOR_VAR": str(tmp_path / "not-used"), "DATABASE_URL": "postgresql://nobody@/none"}
    before = set(Path("/tmp").glob("kontor-demo-*"))
    with own_turn():
        told = subprocess.run(
            [sys.executable, "-m", "server", "demo", "--exit", "--json"],
            env=env, capture_output=True, text=True, timeout=170, check=False,
        )  # fmt: skip
    assert told.returncode == 0, told.stderr[-3000:]
    (line,) = told.stdout.splitlines()
    summary = json.loads(line)
    assert summary["ok"] is True
    assert [step["name"] for step in summary["steps"]] == STORY
    assert all(step["ok"] and step["seen"] and step["seconds"] >= 0 for step in summary["steps"])
    assert {"postgres", "redis", "web", "clock", "worker-mail", "shop", "agent"} <= set(
        summary["processes"]
    )
    running = [pid for pid in summary["processes"].values() if Path(f"/proc/{pid}").exists()]
    assert running == []
    new = set(Path("/tmp").glob("kontor-demo-*")) - before
    assert [path for path in new if not processes_of(path)] == []  # another's may be playing
    assert not (tmp_path / "not-used").exists()
