"""A connector of somebody else: installed as a package, found by its entry point, and driven."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from tests.connectors.programs import ROOT, environment, kontor, run_pytest
from tests.connectors.wheels import build_wheel, install

EXAMPLE = ROOT / "docs" / "examples" / "kontor-easybill"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder into which the example's wheel was installed."""
    home = tmp_path_factory.mktemp("easybill")
    install(build_wheel(EXAMPLE, home), home / "site")
    return home / "site"


@pytest.fixture
def account(installed):
    """The example's fake easybill as a process: its settings, as the environment of a command."""
    process = subprocess.Popen(
        [sys.executable, "-m", "kontor_easybill.fake_shop", "--orders", "2"],
        env=environment(installed),
        cwd=installed,
        stdout=subprocess.PIPE,
        text=True,
    )
    settings = json.loads(process.stdout.readline())
    yield {f"KONTOR_{name.upper()}": value for name, value in settings.items()} | {
        "KONTOR_CONNECTOR": "easybill"
    }
    process.terminate()
    assert process.wait(30) == 0
    process.stdout.close()


@pytest.mark.feature("S19")
def test_it_is_found_and_driven_by_its_name(installed, account, tmp_path):
    def run(*words):
        return kontor(*words, cwd=tmp_path, paths=[installed], **account)

    check = run("check", "--json")
    assert check.returncode == 0, check.stderr
    assert [each["topic"] for each in json.loads(check.stdout)] == ["auth"]
    pulled = [json.loads(line) for line in run("pull").stdout.splitlines()]
    assert [order["shop_status"] for order in pulled] == ["open", "open"]
    assert pulled[0]["total"] == "39.90"
    key = pulled[0]["external_id"]
    planned = run("push", key, "--dry-run")
    assert planned.stdout == f"would change order {key} from open to paid\n"
    assert run("push", key).stdout == "applied (paid)\n"
    assert run("push", key).stdout == "already_there (paid)\n"
    left = [json.loads(line) for line in run("pull").stdout.splitlines()]
    assert [order["external_id"] for order in left] == [pulled[1]["external_id"]]


def test_without_the_package_nobody_knows_it(tmp_path):
    done = kontor("check", cwd=tmp_path, KONTOR_CONNECTOR="easybill")
    assert done.returncode == 2
    assert "no connector 'easybill'" in done.stderr


def test_the_server_sees_it_too(installed):
    ask = "from plugin_sdk.installed import *; print(connector_class('easybill').title)"
    words = [sys.executable, "-c", f"{ask}; print('easybill' in installed_connectors())"]
    done = subprocess.run(
        words, env=environment(installed), capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["easybill", "True"]


def test_its_own_tests_are_green_and_its_table_is_true(installed):
    done = run_pytest(EXAMPLE, "--kontor-table=-")
    assert done.returncode == 0, done.stdout
    rows = re.findall(r"^\| .* \|$", done.stdout, re.MULTILINE)
    readme = (EXAMPLE / "README.md").read_text()
    assert len(rows) > 5
    assert [row for row in rows if row not in readme] == []
