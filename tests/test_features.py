"""docs/features.md and the marked tests say the same; and the plugin that checks it can fail."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.feature_marks import PAGE, STATES, states

ROOT = Path(__file__).resolve().parent.parent
NUMBERS = [
    f"{letter}{number}"
    for letter, last in (("S", 101), ("K", 80), ("C", 31), ("N", 26))
    for number in range(1, last + 1)
]


def table():
    return states((ROOT / PAGE).read_text())


def test_every_number_stands_once_in_its_order():
    assert [number for number, _ in table()] == NUMBERS


def test_every_row_is_read():
    rows = [line for line in (ROOT / PAGE).read_text().splitlines() if line.startswith("| ")]
    assert len([row for row in rows if not row.startswith("| Number")]) == len(NUMBERS)


def test_every_state_is_one_of_three():
    assert {state for _, state in table()} <= set(STATES)


def test_what_is_begun_says_where():
    for line in (ROOT / PAGE).read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[3] in ("done", "part"):
            assert (ROOT / cells[2].strip("`")).exists(), line


def marks() -> Iterator[tuple[str, ast.Call]]:
    """(place, the call) of every ``pytest.mark.feature(...)`` in the tests."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.feature":
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def test_marks_are_literal_known_numbers_in_one_line():
    known = dict(table())
    wrong = []
    for place, call in marks():
        literal = [a.value for a in call.args if isinstance(a, ast.Constant)]
        if not literal or len(literal) != len(call.args) or call.keywords:
            wrong.append(f"{place}: only literal numbers")
        if call.lineno != call.end_lineno:
            wrong.append(f"{place}: one line")
        wrong += [f"{place}: {number} is no feature" for number in literal if number not in known]
    assert wrong == []


def test_what_a_test_shows_is_not_only_planned():
    shown = {a.value for _, call in marks() for a in call.args if isinstance(a, ast.Constant)}
    planned = {number for number, state in table() if state == "planned"}
    assert sorted(shown & planned) == []


def test_what_is_done_has_a_marked_test():
    shown = {a.value for _, call in marks() for a in call.args if isinstance(a, ast.Constant)}
    done = {number for number, state in table() if state == "done"}
    assert sorted(done - shown) == []


# --- the plugin, on a project of its own ---------------------------------------------------------

TESTS = """
import pytest

@pytest.mark.feature("S1")
def test_one():
    pass

@pytest.mark.feature("S2")
def test_two():
    pytest.skip("not here")

def test_three():
    pass
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_small.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\ntestpaths = tests\naddopts = -p xdist -p tests.feature_marks\n"
        "markers = feature(*numbers)\n"
    )

    def run(done, *arguments):
        rows = "".join(f"| {number} | what | where | done |\n" for number in done)
        (tmp_path / PAGE).write_text(rows)
        return subprocess.run(
            [sys.executable, "-m", "pytest", *arguments],
            cwd=tmp_path,
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def _environment():
    """Ours, without what tells a pytest that it is a worker, and with only the plugins named."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return {**ours, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


@pytest.mark.parametrize("spread", [[], ["-n", "2", "--dist", "loadfile"]])
def test_a_feature_that_is_shown_is_fine(project, spread):
    done = project(["S1"], *spread)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("spread", [[], ["-n", "2", "--dist", "loadfile"]])
def test_skipped_or_missing_tests_fail_the_run(project, spread):
    done = project(["S1", "S2", "S3"], *spread)
    assert done.returncode == 1, done.stdout
    assert "no marked test passed: S2, S3" in done.stdout


@pytest.mark.parametrize(
    "part",
    [["tests/test_small.py"], ["-k", "one"], ["-m", "feature"], ["--deselect", "tests/x.py::y"]],
)
def test_a_part_of_the_tests_proves_nothing(project, part):
    assert project(["S3"], *part).returncode == 0
