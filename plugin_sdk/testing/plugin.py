"""The pytest plugin of the contract: ``pytest --kontor-table=README.md``.

It writes what a connector keeps of its promises between the two markers in its README::

    <!-- kontor-table -->
    <!-- /kontor-table -->

``--kontor-table=-`` prints the table instead. One connector in a run: whose README else?
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

# So that a failed promise shows its values; a module that is loaded already stays as it is.
_CONTRACT = ("contract", "contract_ground", "contract_reading", "contract_writing")
pytest.register_assert_rewrite(
    *(name for each in _CONTRACT if (name := f"plugin_sdk.testing.{each}") not in sys.modules)
)

BEGIN, END = "<!-- kontor-table -->", "<!-- /kontor-table -->"
NOTE = "Written by `pytest --kontor-table`; every promise is a group of tests in the SDK."
PROPERTY = "kontor-contract"
RANK = ("failed", "skipped", "passed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The one option."""
    parser.getgroup("kontor").addoption(
        "--kontor-table",
        metavar="FILE",
        help="write what the connector keeps of its promises into this README (- prints it)",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Note down what each test is to the contract; travels with its report, workers included."""
    for item in items:
        found = _place_of(item)
        if found is not None:
            item.user_properties.append((PROPERTY, found))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Write or print the table."""
    target = config.getoption("--kontor-table")
    if not target:
        return
    found = _collect(terminalreporter.stats)
    if len(found) != 1:
        names = ", ".join(sorted(found)) or "none"
        terminalreporter.write_line(f"kontor: a table is about one connector; this run: {names}")
        return
    (kept,) = found.values()
    table = table_of(kept)
    if target == "-":
        terminalreporter.write_line(table)
        return
    path = config.invocation_params.dir / target
    try:
        path.write_text(with_table(path.read_text(encoding="utf-8"), table), encoding="utf-8")
    except (OSError, ValueError) as error:
        terminalreporter.write_line(f"kontor: {path.name} was not written: {error}")
        return
    terminalreporter.write_line(f"kontor: wrote the table into {path.name}")


@dataclass(slots=True)
class Promise:
    """A group of tests: name to how it ended; ``own`` are overridden; why, and why skipped."""

    title: str
    tests: dict[str, str] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)
    reasons: list[str] = field(default_factory=list)


def table_of(promises: dict[str, Promise]) -> str:
    """The promises as a Markdown table."""
    lines = ["| Promise | State | |", "|---|---|---|"]
    for promise in promises.values():
        counted = Counter(promise.tests.values())
        of = len(promise.tests)
        if counted["failed"]:
            state = f"{counted['failed']} of {of} fail"
        elif counted["passed"] == of:
            state = f"all {of}"
        elif not counted["passed"]:
            state = "not tested"
        else:
            state = f"{counted['passed']} of {of}"
        if promise.own:
            state += f", {len(promise.own)} in its own way"
        reasons = "; ".join(dict.fromkeys(promise.reasons)).replace("|", "\\|")
        lines.append(f"| {promise.title} | {state} | {reasons} |")
    return "\n".join(lines)


def with_table(text: str, table: str) -> str:
    """A README with the table between its markers. Raises ValueError when they are not there."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"put {BEGIN} and {END} where the table is to be")
    return f"{before}{BEGIN}\n{NOTE}\n\n{table}\n{END}{after}"


def _place_of(item: pytest.Item) -> dict[str, str] | None:
    """Class, group and name of a test of the contract; None for other tests.

    A test that the connector overrides counts as its own, and its docstring is the reason.
    """
    cls = getattr(item, "cls", None)
    name = getattr(item, "originalname", item.name)
    group = next((each for each in getattr(cls, "promises", ()) if name in vars(each)), None)
    if cls is None or group is None:
        return None
    test = getattr(cls, name)
    is_own = test is not vars(group)[name]
    reason = " ".join((test.__doc__ or "").split()) if is_own else ""
    return {
        "class": cls.__name__,
        "group": group.__name__,
        "title": " ".join((group.__doc__ or group.__name__).split()),
        "rank": str(cls.promises.index(group)),
        "test": item.name,
        "reason": reason,
    }


def _collect(stats: dict[str, list[Any]]) -> dict[str, dict[str, Promise]]:
    """Class to group to Promise, from the reports of the run."""
    told: dict[str, dict[tuple[int, str], Promise]] = {}
    for outcome, key in (("passed", "passed"), ("failed", "failed"), ("failed", "error"),
                         ("skipped", "skipped")):  # fmt: skip
        for report in stats.get(key, ()):
            place = dict(getattr(report, "user_properties", ())).get(PROPERTY)
            if place is None:
                continue
            groups = told.setdefault(place["class"], {})
            at = (int(place["rank"]), place["group"])
            promise = groups.setdefault(at, Promise(place["title"]))
            before = promise.tests.get(place["test"], outcome)
            promise.tests[place["test"]] = min(before, outcome, key=RANK.index)
            if place["reason"]:
                promise.own.add(place["test"])
                promise.reasons.append(place["reason"])
            if outcome == "skipped":
                promise.reasons.append(_why_skipped(report))
    return {
        name: {group: promise for (_, group), promise in sorted(groups.items())}
        for name, groups in told.items()
    }


def _why_skipped(report: Any) -> str:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    return str(reason).removeprefix("Skipped: ")
