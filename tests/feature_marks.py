"""A full test run fails if docs/features.md says "done" and no marked test has passed.

A pytest plugin, loaded by conftest.py. The marks of a test travel with its report, so this works
with and without xdist: the process that collects the reports compares them with the table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

PROPERTY = "feature"
PAGE = Path("docs") / "features.md"
STATES = ("done", "part", "planned")
_ROW = re.compile(r"^\| ([SKCN]\d+) \|.*\| ([a-z]+) \|$", re.MULTILINE)
_SHOWN = pytest.StashKey[set[str]]()


def states(page: str) -> list[tuple[str, str]]:
    """(number, state) of every row of the table, in its order."""
    return _ROW.findall(page)


def is_full_run(config: pytest.Config) -> bool:
    """No path, no -k, no -m, nothing left out: the answer of this run stands for all tests."""
    option = config.option
    chosen = [option.keyword, option.markexpr, option.deselect, option.ignore, option.ignore_glob]
    chosen += [getattr(option, name, False) for name in ("lf", "stepwise", "collectonly")]
    all_tests = config.args_source is not pytest.Config.ArgsSource.ARGS
    return all_tests and not any(chosen)


def not_shown(page: str, shown: set[str]) -> list[str]:
    """The numbers that are said to be done and were not shown."""
    return [number for number, state in states(page) if state == "done" and number not in shown]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SHOWN] = set()
    config.pluginmanager.register(_Collector(config), "kontor-feature-collector")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("feature"):
        item.user_properties += [(PROPERTY, number) for number in mark.args]


class _Collector:
    """Gathers what was shown; in a worker of xdist it gathers in vain, which does no harm."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.missing: Sequence[str] = ()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed and not hasattr(report, "wasxfail"):
            self.config.stash[_SHOWN].update(
                str(value) for name, value in report.user_properties if name == PROPERTY
            )

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        config = self.config
        finished = session.exitstatus == pytest.ExitCode.OK
        if not finished or hasattr(config, "workerinput") or not is_full_run(config):
            return
        self.missing = not_shown((config.rootpath / PAGE).read_text(), config.stash[_SHOWN])
        if self.missing:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.missing:
            terminalreporter.section("features", sep="=", red=True)
            terminalreporter.line(sentence(self.missing), red=True)


def sentence(missing: Sequence[str]) -> str:
    return f"{PAGE} says done, but no marked test passed: {', '.join(missing)}"
