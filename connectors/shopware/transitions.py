"""Ways through a state machine of Shopware: which actions lead from one state to another. Pure.

Merchants edit the machine, and the stock one needs another action for "paid" in almost every state
(``pay`` where it was reminded or partly paid, ``paid`` where it was authorized or cancelled), so no
action is ever taken for granted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

HARMLESS = frozenset({"open", "in_progress"})
"""States that a payment may pass through on its way. Flows of the shop hang on all others: on
"paid" a delivery, on "cancelled" a mail.
"""


@dataclass(frozen=True, slots=True)
class Transition:
    """One arrow of the machine, by technical names."""

    action: str
    source: str
    target: str


def reported(answer: Any) -> list[Transition]:
    """From ``GET /api/_action/state-machine/{entity}/{id}/state``: what is possible now."""
    rows = answer.get("transitions") if isinstance(answer, dict) else None
    return [
        Transition(str(row["actionName"]), str(row["fromStateName"]), str(row["toStateName"]))
        for row in rows or []
        if isinstance(row, dict) and {"actionName", "fromStateName", "toStateName"} <= row.keys()
    ]


def configured(rows: Iterable[Mapping[str, Any]]) -> list[Transition]:
    """From rows of ``POST /api/search/state-machine-transition``: the whole machine."""
    found = []
    for row in rows:
        source, target = row.get("fromStateMachineState"), row.get("toStateMachineState")
        if isinstance(source, dict) and isinstance(target, dict) and row.get("actionName"):
            names = str(source.get("technicalName")), str(target.get("technicalName"))
            found.append(Transition(str(row["actionName"]), *names))
    return found


def step(transitions: Iterable[Transition], target: str) -> Transition | None:
    """The one transition of ``transitions`` that reaches ``target``; its namesake if there is."""
    fitting = [each for each in transitions if each.target == target]
    return min(fitting, key=lambda each: (each.action != target, each.action), default=None)


def way(transitions: Iterable[Transition], start: str, target: str) -> tuple[Transition, ...]:
    """The shortest way over harmless states; empty when there is none."""
    known = list(transitions)
    ways: deque[tuple[str, tuple[Transition, ...]]] = deque([(start, ())])
    passed = {start}
    while ways:
        state, behind = ways.popleft()
        leaving = [each for each in known if each.source == state]
        last = step(leaving, target)
        if last is not None:
            return (*behind, last)
        for each in sorted(leaving, key=lambda each: each.action):
            if each.target in HARMLESS and each.target not in passed:
                passed.add(each.target)
                ways.append((each.target, (*behind, each)))
    return ()
