"""check --json, listen and diagnose, as processes against fake shops."""

from __future__ import annotations

import http.client
import json
import logging
import signal
import subprocess
import sys
import zipfile

import pytest

from connectors.woocommerce import WooCommerce
from plugin_sdk.commands.diagnose import Bundle, Scrubber, write_bundle
from plugin_sdk.scaffold.myshop import MyShop
from plugin_sdk.scaffold.myshop.fake_shop import FakeMyShop
from plugin_sdk.testing.fake_woocommerce import FakeWooCommerce
from tests.connectors.programs import environment, kontor

MYSHOP = {"KONTOR_CONNECTOR": "plugin_sdk.scaffold.myshop:MyShop"}
API_KEY = "kontor_shop_7f3a9c1e5b"
CUSTOMER = {
    "first_name": "Wilhelmine",
    "last_name": "Unverwechselbar",
    "company": "Unverwechselbar & Töchter",
    "address_1": "Kastanienallee 7",
    "postcode": "51147",
    "city": "Kleinmachnow",
    "email": "wilhelmine@unverwechselbar.example",
    "phone": "+49 221 471100",
}
IBAN = "DE02 1203 0000 0000 2020 51"
LOG = f"""\
Nov 21 12:00:00 shop kontor[123]: listening http://127.0.0.1:8090/
Nov 21 12:00:01 shop kontor[123]: order 4711 created
orders: The shop refused (the shop answered 400: Frau Ganzandere, {IBAN}, 0221 4711000 ist weg).
payment of order 4711 rejected: Wilhelmine Unverwechselbar ck_1234567890 nobody@example.org
Traceback (most recent call last):
  File "/opt/kontor/agent.py", line 12, in _run
    name = "Wilhelmine Unverwechselbar"
ValueError: Erika Mustermann
2026-11-21T12:00:03+0100 shop kontor: heartbeat: Kontor cannot be reached
what a plugin printed about Frau Ganzandere, GET /orders?consumer_secret=cs_geheim123
"""


@pytest.fixture
def myshop():
    with FakeMyShop() as shop:
        yield shop


def named(shop, **more):
    """A fake shop's settings as environment variables."""
    settings = {f"KONTOR_{name.upper()}": value for name, value in shop.settings().items()}
    return {**MYSHOP, **settings, **more}


# --- check --json ---------------------------------------------------------------------------------


def test_findings_for_programs(myshop, tmp_path):
    done = kontor("check", "--json", cwd=tmp_path, **named(myshop))
    assert done.returncode == 0
    assert [(each["topic"], each["severity"]) for each in json.loads(done.stdout)] == [
        ("auth", "note"),
        ("permission", "note"),
        ("version", "note"),
    ]
    wrong = kontor("check", "--json", cwd=tmp_path, **named(myshop, KONTOR_ACCESS_KEY="wrong-key"))
    assert wrong.returncode == 1
    (finding,) = json.loads(wrong.stdout)
    assert finding["severity"] == "problem"
    assert "wrong-key" not in wrong.stdout


def test_a_setting_in_the_command_comes_first(myshop, tmp_path):
    wrong = named(myshop, KONTOR_SHOP_URL="http://127.0.0.1:9")
    done = kontor("--set", f"shop_url={myshop.url}", "check", cwd=tmp_path, **wrong)
    assert done.returncode == 0, done.stdout
    for words, complaint in (
        (["access_key=abc"], "KONTOR_ACCESS_KEY"),
        (["colour=red"], "colour is no setting"),
        (["nonsense"], "NAME=VALUE"),
    ):
        refused = kontor("--set", *words, "check", cwd=tmp_path, **named(myshop))
        assert (refused.returncode, complaint in refused.stderr) == (2, True), refused.stderr
        assert "abc" not in refused.stderr


# --- listen ---------------------------------------------------------------------------------------


@pytest.fixture
def listener(myshop, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "plugin_sdk.cli", "listen", "127.0.0.1:0", "--count", "2"],
        env=environment(**named(myshop)),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.port = int(process.stderr.readline().strip().rstrip("/").rpartition(":")[2])
    yield process
    process.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()


def deliver(port, headers, body):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", "/", body, headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_only_genuine_webhooks_are_shown(myshop, listener):
    first, second = myshop.add_order(), myshop.add_order()
    headers, body = myshop.delivery("order.created", first)
    assert deliver(listener.port, headers, body) == 200
    assert deliver(listener.port, headers, body + b" ") == 401
    assert deliver(listener.port, *myshop.delivery("order.updated", second)) == 200
    assert listener.wait(20) == 1, "one was refused"
    assert [json.loads(line) for line in listener.stdout.read().splitlines()] == [
        {"topic": "order.created", "ids": [first]},
        {"topic": "order.updated", "ids": [second]},
    ]
    assert "refused" in listener.stderr.read()


def test_it_listens_until_it_is_stopped(listener):
    listener.send_signal(signal.SIGTERM)
    assert listener.wait(20) == 0


def test_a_shop_that_cannot_tell_anything_is_not_waited_for(myshop, tmp_path):
    done = kontor("listen", cwd=tmp_path, **named(myshop, KONTOR_WEBHOOK_SECRET=""))
    assert (done.returncode, "cannot tell" in done.stderr) == (2, True)


# --- diagnose -------------------------------------------------------------------------------------


def texts_in(path):
    """Every file of a bundle, by its name."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


@pytest.fixture
def woocommerce():
    with FakeWooCommerce() as shop:
        shop.add_order(billing=CUSTOMER, line_items=[{"name": "Buch", "price": "1.00"}])
        yield shop


@pytest.mark.parametrize("failure", ["", "500", "html", "firewall", "drop"])
def test_no_secret_and_no_customer_is_in_it(woocommerce, tmp_path, caplog, failure):
    settings = woocommerce.settings()
    connector = WooCommerce(settings)
    if failure:
        woocommerce.fail(failure, times=30)
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "bundle.zip"
    bundle = Bundle(
        connector,
        API_KEY,
        f"https://kontor.example.org/?key={API_KEY}",
        tmp_path,
        [*LOG.splitlines(), *caplog.text.splitlines()],
    )
    write_bundle(bundle, path)
    connector.close()
    texts = texts_in(path)
    assert set(texts) == {
        "about.json", "settings.json", "findings.json", "shop.json", "state.json", "log.txt"
    }  # fmt: skip
    secret = [API_KEY, *(settings[name] for name in settings if name != "shop_url")]
    others = ["Ganzandere", IBAN, "4711000", "nobody@", "ck_1234567890", "cs_geheim123", "Erika"]
    for word in (*secret, *others):
        assert not [name for name, text in texts.items() if word in text], word
    for name, word in CUSTOMER.items():
        assert not [file for file, text in texts.items() if word in text], name
    reason = next(line for line in texts["log.txt"].splitlines() if line.startswith("payment"))
    shown = "•••" if failure else "••• ••• ••• •••"
    assert reason == f"payment of order 4711 rejected: {shown}"


def test_what_helps_is_in_it(woocommerce, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    (state / "outbox.jsonl").write_text('{"add": "4711"}\n')
    log = tmp_path / "agent.log"
    log.write_text(LOG)
    env = {f"KONTOR_{name.upper()}": value for name, value in woocommerce.settings().items()}
    done = kontor(
        "diagnose", "help.zip", "--log", log, cwd=tmp_path,
        KONTOR_CONNECTOR="woocommerce", KONTOR_STATE=str(state), KONTOR_API_KEY=API_KEY, **env,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    texts = texts_in(tmp_path / "help.zip")
    about = json.loads(texts["about.json"])
    assert (about["connector"], about["python"]) == ("woocommerce", sys.version.split()[0])
    assert "list_orders" in about["capabilities"]
    settings = json.loads(texts["settings.json"])
    assert settings["shop_url"] == woocommerce.url
    assert settings["consumer_secret"] == settings["consumer_key"] == "is set"
    assert "auth" in {each["topic"] for each in json.loads(texts["findings.json"])}
    assert json.loads(texts["shop.json"])["version"] == "11.0.1"
    assert json.loads(texts["state.json"])["outbox.jsonl"]["bytes"] == 16
    lines = texts["log.txt"].splitlines()
    assert lines[:3] == [
        "listening http://127.0.0.1:8090/",
        "order 4711 created",
        "orders: The shop refused (the shop answered 400: •••",
    ]
    assert '  File "/opt/kontor/agent.py", line 12, in _run' in lines
    assert "heartbeat: Kontor cannot be reached" in lines
    assert len(lines) == len(LOG.splitlines())


def test_a_shop_that_is_away_has_a_bundle_too(myshop, tmp_path):
    connector = MyShop(myshop.settings())
    myshop.fail("drop", times=20)
    findings = write_bundle(Bundle(connector, "", "", tmp_path / "nowhere"), tmp_path / "a.zip")
    connector.close()
    assert findings
    texts = texts_in(tmp_path / "a.zip")
    assert "cannot be reached" in texts["shop.json"]
    assert json.loads(texts["state.json"]) == {"is_there": False}


def test_a_file_that_cannot_be_written_or_read(myshop, tmp_path):
    for words in (["nowhere/a.zip"], ["a.zip", "--log", "nowhere"]):
        done = kontor("diagnose", *words, cwd=tmp_path, **named(myshop))
        assert (done.returncode, "No such file" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("order 4711 created", "order 4711 created"),
        ("call +49 221 471100 now", "call ••• now"),
        ("from erika@example.org to", "from ••• to"),
        ("to DE02120300000000202051.", "to •••."),
        ("at 2026-11-21T12:00:00+00:00", "at 2026-11-21T12:00:00+00:00"),
        ("http://127.0.0.1:8090/hook", "http://127.0.0.1:8090/hook"),
        ("GET /orders?key=abc&x=y", "GET /orders?•••&•••"),
        ("Anna paid, Annaberg did not", "••• paid, Annaberg did not"),
    ],
)
def test_what_is_cut_out(text, shown):
    assert Scrubber(["Anna"]).text(text) == shown
