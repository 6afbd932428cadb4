"""The contract must be able to fail: connectors with a fault, and the promise that finds it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from plugin_sdk.testing.contract import ConnectorContract
from plugin_sdk.testing.plugin import BEGIN, END, Promise, table_of, with_table
from tests.connectors.programs import ROOT, run_pytest

FAULTS = '''
import logging
import sys
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from plugin_sdk import cursors
from plugin_sdk.connector import WebhookHint
from plugin_sdk.scaffold.myshop import MyShop, connector
from plugin_sdk.scaffold.myshop.tests.test_connector import TestMyShop as Right
from plugin_sdk.types import Evidence

NO_HYPOTHESIS


def faulty(kind):
    """A test class for a connector with this fault; the fixed ones of the contract stay."""
    class Test(Right):
        def connect(self, shop, **settings):
            return kind({**shop.settings(), **settings})
    return Test


class Floats(MyShop):
    def get_orders(self, ids):
        return {key: replace(order, total=Decimal(float(order.total)))
                for key, order in super().get_orders(ids).items()}

class Trims(MyShop):
    def list_orders(self, cursor):
        page = super().list_orders(cursor)
        return replace(page, orders=tuple(replace(o, payment_method=None) for o in page.orders))

class NoOverlap(MyShop):
    def list_orders(self, cursor):
        at = cursors.Watermark.read(cursor, 1)
        if cursor is not None:
            at.since = at.since and at.since + timedelta(seconds=121)
        return super().list_orders(at.text(1) if cursor else None)

class Silence(MyShop):
    def get_orders(self, ids):
        found = {}
        for key in ids:
            try:
                found |= super().get_orders([key])
            except Exception:
                found[key] = Evidence.GONE
        return found

class WritesBlindly(MyShop):
    def _may_write(self, update, status):
        return True

class Believes(MyShop):
    def _write_status(self, update, shop_status):
        return shop_status

class Gullible(MyShop):
    def read_webhook(self, headers, body):
        import json
        return WebhookHint((json.loads(body)["id"],), "order.updated")

class Forgetful(MyShop):
    heard = set()
    def read_webhook(self, headers, body):
        hint = super().read_webhook(headers, body)
        if hint.ids in self.heard:
            return None
        self.heard.add(hint.ids)
        return hint

class Talks(MyShop):
    def _call(self, method, path, query=None, json=None):
        logging.getLogger("talks").debug("with %s", self.config.access_key)
        return super()._call(method, path, query, json)

class Gossips(MyShop):
    def list_orders(self, cursor):
        page = super().list_orders(cursor)
        logging.getLogger("gossips").info("%s", page.orders)
        return page

class Misspells(MyShop):
    def _call(self, method, path, query=None, json=None):
        return super()._call(method, path, {"perpage": "5", **(query or {})}, json)

class Timeless(MyShop):
    def check(self):
        return [each for each in super().check() if each.topic != "clock"]

class Raises(MyShop):
    def check(self):
        self._call("GET", "shop")
        return super().check()


for kind in (Floats, Trims, NoOverlap, Silence, WritesBlindly, Believes, Gullible, Forgetful,
             Talks, Gossips, Misspells, Timeless, Raises):
    globals()["Test" + kind.__name__] = faulty(kind)
del kind, Right
'''
FOUND = {
    "Floats": "test_money_is_exact",
    "Trims": "test_an_order_is_the_same_however_it_is_asked_for",
    "NoOverlap": "test_whatever_happens_meanwhile_the_last_state_is_listed",
    "Silence": "test_a_shop_in_trouble_is_no_evidence",
    "WritesBlindly": "test_a_closed_order_is_left_alone",
    "Believes": "test_paid_arrives",
    "Gullible": "test_a_forged_webhook_is_refused",
    "Forgetful": "test_a_webhook_may_come_twice_late_and_in_any_order",
    "Talks": "test_secrets_are_told_to_nobody",
    "Gossips": "test_customers_are_not_in_the_log",
    "Misspells": "test_requests_are_those_that_the_shop_documents",
    "Timeless": "test_check_finds_a_wrong_clock",
    "Raises": "test_check_never_raises",
}


@pytest.mark.parametrize("without", [False, True], ids=["hypothesis", "without hypothesis"])
def test_each_fault_is_found(tmp_path, without):
    line = 'sys.modules["hypothesis"] = None' if without else ""
    (tmp_path / "test_faults.py").write_text(FAULTS.replace("NO_HYPOTHESIS", line))
    wanted = [f"test_faults.py::Test{kind}::{name}" for kind, name in FOUND.items()]
    plain = ["-p", "no:hypothesispytest"] if without else []
    done = run_pytest(tmp_path, "-rf", "--tb=no", *plain, *wanted)
    failed = set(re.findall(r"^FAILED test_faults.py::Test(\w+)::", done.stdout, re.MULTILINE))
    assert failed == set(FOUND), done.stdout


READMES = [
    path
    for folder in ("connectors", "docs/examples")
    for path in sorted((ROOT / folder).glob("*/README.md"))
    if BEGIN in path.read_text()
]


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_the_table_of_a_readme_has_every_promise(readme):
    """A promise that is new is to be run by every connector, and its README written anew."""
    table = readme.read_text().partition(BEGIN)[2].partition(END)[0]
    shown = re.findall(r"^\| (.+?) \| (?!State)(?!--)(.+?) \|", table, re.MULTILINE)
    titles = [" ".join(promise.__doc__.split()) for promise in ConnectorContract.promises]
    assert [title for title, _ in shown] == titles
    assert [state for _, state in shown if "fail" in state] == []


# --- the table ------------------------------------------------------------------------------------


def test_the_table_goes_between_its_markers():
    text = f"# Shop\n{BEGIN}\nold\n{END}\nrest\n"
    written = with_table(text, "| a |")
    assert written.startswith(f"# Shop\n{BEGIN}\n")
    assert written.endswith(f"\n| a |\n{END}\nrest\n")
    assert with_table(written, "| a |") == written
    for broken in ("no markers", END + BEGIN, BEGIN):
        with pytest.raises(ValueError, match="kontor-table"):
            with_table(broken, "| a |")


@pytest.mark.parametrize(
    ("tests", "own", "state"),
    [
        (["passed", "passed"], [], "all 2"),
        (["passed", "passed"], ["0"], "all 2, 1 in its own way"),
        (["passed", "skipped"], [], "1 of 2"),
        (["skipped", "skipped"], [], "not tested"),
        (["passed", "failed"], [], "1 of 2 fail"),
    ],
)
def test_what_the_table_says(tests, own, state):
    promise = Promise("Money", {str(at): each for at, each in enumerate(tests)}, set(own), ["a|b"])
    assert table_of({"Money": promise}).splitlines()[-1] == f"| Money | {state} | a\\|b |"


TWO = """
from plugin_sdk.scaffold.myshop.tests.test_connector import TestMyShop as Right

class TestOne(Right): pass
class TestTwo(Right): pass
del Right

def test_something_else(): pass
"""


def test_a_table_is_about_one_connector(tmp_path):
    (tmp_path / "test_two.py").write_text(TWO)
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n")
    one = ["-k", "something_else or fit_the_wire", "--kontor-table=README.md"]
    both = run_pytest(tmp_path, *one)
    assert "about one connector; this run: TestOne, TestTwo" in both.stdout
    run_pytest(tmp_path, "-k", "test_something_else", "--kontor-table=README.md")
    assert readme.read_text() == f"{BEGIN}\n{END}\n"
    done = run_pytest(tmp_path, "-n2", "-k", "TestOne and fit_the_wire", "--kontor-table=README.md")
    assert "wrote the table" in done.stdout, done.stdout
    assert "| all 1 |" in readme.read_text()


def test_a_readme_without_markers_stays_as_it_is(tmp_path):
    (tmp_path / "test_two.py").write_text(TWO)
    (tmp_path / "README.md").write_text("mine")
    for name in ("README.md", "nowhere.md"):
        done = run_pytest(tmp_path, "-k", "TestOne and fit_the_wire", f"--kontor-table={name}")
        assert "was not written" in done.stdout
    assert Path(tmp_path / "README.md").read_text() == "mine"
