"""`kontor dev`: the server, a fake shop and the agent, as a developer starts them."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import pytest

from connectors.woocommerce import WooCommerce
from plugin_sdk.commands.dev import fake_of, find_checkout
from plugin_sdk.connector import Connector
from plugin_sdk.errors import Misconfigured
from plugin_sdk.scaffold.myshop import MyShop
from plugin_sdk.scaffold.myshop.fake_shop import FakeMyShop
from plugin_sdk.testing.fake_woocommerce import FakeWooCommerce
from tests.connectors.programs import ROOT, environment, kontor
from tests.connectors.stand_in import until


@pytest.fixture
def home():
    """Short, because the database's socket lies in it."""
    path = Path(tempfile.mkdtemp(prefix="kd-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def test_an_order_of_the_fake_shop_arrives_at_the_server(home):
    out = home / "out"
    words = ["dev", "plugin_sdk.scaffold.myshop:MyShop", "--checkout", str(ROOT)]
    with out.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "plugin_sdk.cli", *words, "--directory", "var"],
            env=environment(),
            cwd=home,
            stdout=stream,
            stderr=stream,
        )
    try:
        until(
            lambda: "order 1001 created" in out.read_text() or process.poll() is not None,
            "the order",
            seconds=200,
        )
        said = out.read_text()
        assert "order 1001 created" in said, said
        url = re.search(r"^Kontor +(\S+)$", said, re.MULTILINE)[1]
        with urllib.request.urlopen(f"{url}/health", timeout=20) as answer:
            assert answer.status == 200
        assert re.search(r"^E-mails +http", said, re.MULTILINE)
        assert re.search(r"^Log in +anna@example.org +\S+$", said, re.MULTILINE)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    with pytest.raises(OSError):
        urllib.request.urlopen(f"{url}/health", timeout=5)


def test_without_a_checkout_it_says_what_to_do(tmp_path):
    with pytest.raises(Misconfigured, match="make setup"):
        find_checkout(tmp_path)
    done = kontor("dev", "woocommerce", "--checkout", tmp_path, cwd=tmp_path)
    assert (done.returncode, "no checkout" in done.stderr) == (2, True)
    assert find_checkout(ROOT) == ROOT


def test_each_connector_has_its_fake():
    assert fake_of(MyShop) is FakeMyShop
    assert fake_of(WooCommerce) is FakeWooCommerce


def test_a_connector_without_a_fake_is_told_what_is_missing():
    class Bare(Connector):
        name = "bare"

    with pytest.raises(Misconfigured, match="FakeBare"):
        fake_of(Bare)
