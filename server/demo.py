"""The demo: a merchant with a shop, and the main story played on real processes.

``python -m server demo --exit --json`` starts an installation of its own in a directory of its
own, plays a customer and a bank, and believes only what it sees from outside: the shop's pages,
the mail catcher, the API.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from flask import Flask

MERCHANT = "Annas Antiquariat"
EMAIL = "anna@example.org"
IBAN = "DE02120300000000202051"
PAYER_IBAN = "DE89370400440532013000"
BIC = "BYLADEM1001"
SHOP = "Annas Laden"
CONSUMER_KEY = "ck_demo_of_kontor"
CONSUMER_SECRET = "cs_demo_of_kontor"  # noqa: S105  opens a shop that exists on loopback only

SHOPWARE_ID = "SWIADEMOOFKONTOR0000000000"
SHOPWARE_SECRET = "demo-of-kontor"  # noqa: S105  as above

DEMO_WAITS_SECONDS = "2"  # nobody edits the demo's orders, so its mails need no whole minute
END_SECONDS = 145.0
START_SECONDS = 90.0
"""Some twenty processes begin at once; a small machine that does other work takes its time."""
STEP_SECONDS = 40.0
STOP_SECONDS = 10.0
LOOK_SECONDS = 0.1
OUTSIDE = ("DATABASE_URL", "REDIS_URL", "SMTP_URL")

T = TypeVar("T")


@dataclass(frozen=True)
class SecondShop:
    """A fake shop of another system. ``address``: the setting that says where it is;
    ``webhook_secret``: the one that verifies its webhooks, if it sends any.
    """

    title: str
    module: str
    settings: Mapping[str, str]
    address: str = "shop_url"
    options: tuple[str, ...] = ()
    webhook_secret: str = ""


SECOND_SHOPS = {
    "shopware": SecondShop(
        "Shopware",
        "plugin_sdk.testing.fake_shopware",
        {"client_id": SHOPWARE_ID, "client_secret": SHOPWARE_SECRET},
        options=(
            "--client-id",
            SHOPWARE_ID,
            "--client-secret",
            SHOPWARE_SECRET,
            "--name",
            f"{SHOP} (Shopware)",
        ),
        webhook_secret="webhook_secret",  # noqa: S106 - the name of a setting
    ),
    "ebay": SecondShop(
        "eBay",
        "plugin_sdk.testing.fake_ebay",
        {
            "client_id": "AnnasAnt-Kontor-PRD-000000000-00000000",
            "client_secret": "PRD-demo-0000",
            "refresh_token": "v^1.1#i^1#r^1#demo",
        },
        address="base_url",
    ),
}
"""The eBay on loopback lets in whoever has the keys of its module."""


# --- preparing ---------------------------------------------------------------------------------


def prepare(app: Flask) -> None:
    """Merchant, user, bank account, shop and keys; once. Reads and completes var/demo.json."""
    from server.banking.service import AccountTerms, add_account
    from server.db import db, now
    from server.merchants.service import (
        add_merchant,
        change_setting,
        create_api_key,
        set_password,
        user_by_email,
    )
    from server.shops.models import Shop
    from server.shops.service import add_shop

    path = app.config["SETTINGS"].var / "demo.json"
    demo = json.loads(path.read_text())
    with app.app_context():
        user = user_by_email(EMAIL)
        if user is None or "shop_key" not in demo:
            at = now()
            if user is None:
                user, token = add_merchant(MERCHANT, EMAIL, at)
                set_password(token, demo["password"], at)
            add_account(user.merchant_id, AccountTerms(IBAN, BIC, MERCHANT))
            change_setting(
                user.merchant_id, "mail_wait_seconds", DEMO_WAITS_SECONDS, actor="demo", at=at
            )
            shop = db.session.query(Shop).filter_by(merchant_id=user.merchant_id).first()
            if shop is None:
                system = demo.get("system", "woocommerce")  # `kontor dev` tries others
                shop = add_shop(user.merchant_id, name=SHOP, system=system, url=demo["shop_url"])
            _, demo["shop_key"] = create_api_key(
                user.merchant_id, scope="shop", name="Demo agent", shop_id=shop.id
            )
            _, demo["bank_key"] = create_api_key(
                user.merchant_id, scope="bank", name="Demo bank", shop_id=None
            )
            demo["email"] = EMAIL
            db.session.commit()
            path.write_text(json.dumps(demo))
        shop = db.session.query(Shop).filter_by(merchant_id=user.merchant_id).first()
        if shop is not None:
            shop.url = demo["shop_url"]
        if "second_url" in demo:
            _prepare_second(user.merchant_id, demo)
            path.write_text(json.dumps(demo))
        db.session.commit()


def _prepare_second(merchant_id: int, demo: dict[str, str]) -> None:
    """A shop that Kontor talks to itself; its address is another after each start."""
    from server.db import db, now
    from server.hosting.connecting import address_of
    from server.shops import connections
    from server.shops.models import Shop
    from server.shops.service import add_shop

    second = SECOND_SHOPS[demo["second_system"]]
    wanted = {"merchant_id": merchant_id, "system": demo["second_system"]}
    shop = db.session.query(Shop).filter_by(**wanted).first()
    if shop is None:
        name, system = f"{SHOP} ({second.title})", demo["second_system"]
        shop = add_shop(merchant_id, name=name, system=system, url=demo["second_url"])
    shop.url = demo["second_url"]
    settings = {**second.settings, second.address: demo["second_url"]}
    if second.webhook_secret:
        settings[second.webhook_secret] = demo["webhook_secret"]
    row = connections.connection_of(merchant_id, shop.id)
    if row is None:
        row = connections.add_connection(shop, demo["second_system"], settings, now())
        connections.switch_on(row, now())
    else:
        connections.change_settings(row, settings, now())
    demo["second_webhook"] = address_of(row)


def shop_command(demo: Mapping[str, str], var: Path) -> list[str]:
    """The demo shop as a process of its own."""
    return [
        sys.executable, "-m", "plugin_sdk.testing.fake_woocommerce",
        "--port", demo["shop_url"].rpartition(":")[2],
        "--webhook", f"{demo['hook_url']}/", "--secret", demo["webhook_secret"],
        "--consumer-key", CONSUMER_KEY, "--consumer-secret", CONSUMER_SECRET,
        "--name", SHOP, "--state", str(var / "demo-shop.json"),
    ]  # fmt: skip


def second_shop_command(demo: Mapping[str, str], var: Path) -> list[str]:
    """The second demo shop as a process of its own."""
    second = SECOND_SHOPS[demo["second_system"]]
    port = demo["second_url"].rpartition(":")[2]
    command = [sys.executable, "-m", second.module, "--port", port, *second.options]
    if second.webhook_secret:
        command += ["--webhook", demo["second_webhook"], "--secret", demo["webhook_secret"]]
        command += ["--state", str(var / f"demo-{demo['second_system']}.json")]
    return command


def agent_env(demo: Mapping[str, str], url: str, var: Path) -> dict[str, str]:
    """What the agent beside the demo shop is told."""
    return {
        "KONTOR_URL": url,
        "KONTOR_API_KEY": demo["shop_key"],
        "KONTOR_CONNECTOR": "woocommerce",
        "KONTOR_STATE": str(var / "agent"),
        "KONTOR_SHOP_URL": demo["shop_url"],
        "KONTOR_CONSUMER_KEY": CONSUMER_KEY,
        "KONTOR_CONSUMER_SECRET": CONSUMER_SECRET,
        "KONTOR_WEBHOOK_SECRET": demo["webhook_secret"],
    }


def statement(amount: str, text: str, today: date, reference: str) -> bytes:
    """A camt.053.001.08 with one credit, as a bank would send it tonight."""
    day = today.isoformat()
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt>
<GrpHdr><MsgId>{reference}</MsgId><CreDtTm>{day}T20:00:00Z</CreDtTm></GrpHdr>
<Stmt><Id>{reference}</Id><CreDtTm>{day}T20:00:00Z</CreDtTm>
<Acct><Id><IBAN>{IBAN}</IBAN></Id><Ccy>EUR</Ccy></Acct>
<Ntry><Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>
<BookgDt><Dt>{day}</Dt></BookgDt><ValDt><Dt>{day}</Dt></ValDt>
<AcctSvcrRef>{reference}</AcctSvcrRef>
<BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>RCDT</Cd><SubFmlyCd>ESCT</SubFmlyCd></Fmly></Domn></BkTxCd>
<NtryDtls><TxDtls><Refs><EndToEndId>NOTPROVIDED</EndToEndId></Refs>
<Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd>
<RltdPties><Dbtr><Pty><Nm>Erika Mustermann</Nm></Pty></Dbtr>
<DbtrAcct><Id><IBAN>{PAYER_IBAN}</IBAN></Id></DbtrAcct></RltdPties>
<RmtInf><Ustrd>{escape(text)}</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>
</Stmt></BkToCstmrStmt></Document>
""".encode()


# --- playing -----------------------------------------------------------------------------------


@dataclass
class Step:
    name: str
    ok: bool
    seconds: float
    seen: str


class Failed(Exception):
    """A step did not come true; the text says what was seen instead."""


def play(*, as_json: bool) -> int:
    """Exit code 0 only if the whole story came true."""
    began = time.monotonic()
    home = Path(tempfile.mkdtemp(prefix="kontor-demo-", dir="/tmp"))
    home.chmod(0o755)
    story = Story(home, began + END_SECONDS)
    try:
        story.start()
        story.tell()
    except Failed as problem:
        _say(f"failed: {problem}")
    finally:
        story.stop()
    ok = bool(story.steps) and all(step.ok for step in story.steps) and story.is_complete
    if ok:
        shutil.rmtree(home, ignore_errors=True)
    else:
        _say(f"everything is kept in {home}")
    summary = {
        "ok": ok,
        "seconds": round(time.monotonic() - began, 2),
        "steps": [asdict(step) for step in story.steps],
        "processes": story.processes,
    }
    if as_json:
        print(json.dumps(summary, ensure_ascii=False), flush=True)
    else:
        print("It all came true." if ok else "It did not come true.", flush=True)
    return 0 if ok else 1


class Story:
    """One installation, and what happens to it."""

    def __init__(self, home: Path, deadline: float) -> None:
        self.home = home
        self.deadline = deadline
        self.steps: list[Step] = []
        self.processes: dict[str, int] = {}
        self.is_complete = False
        self.ready: dict[str, Any] = {}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        env = {name: value for name, value in os.environ.items() if name not in OUTSIDE}
        env = {n: v for n, v in env.items() if not n.startswith("KONTOR_")}
        env |= {"KONTOR_VAR": str(self.home), "KONTOR_BIND": "127.0.0.1:0"}
        log = (self.home / "supervisor.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "server", "run"],
            env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        self.ready = self.step(
            "everything runs", self._is_ready, lambda r: f"{r['url']}", START_SECONDS
        )
        self.processes = self.ready["processes"]

    def _is_ready(self) -> Any:
        assert self.process is not None, "started"
        if self.process.poll() is not None:
            tail = (self.home / "supervisor.log").read_text(errors="replace")[-1500:]
            raise Failed(f"the supervisor ended:\n{tail}")
        path = self.home / "ready.json"
        return json.loads(path.read_text()) if path.exists() else None

    def tell(self) -> None:
        """The main story, a step at a time."""
        self.step("the agent has connected the shop", self._shop_is_connected, lambda s: s)
        order = self.step(
            "a customer orders",
            lambda: _call("POST", f"{self.ready['shop_url']}/_demo/orders", b"{}"),
            lambda o: f"{o['number']}, {o['total']} {o['currency']}, {o['status']}",
        )
        number, total = str(order["number"]), str(order["total"])
        path = f"orders/{order['id']}"
        known = self.step(
            "the order has arrived",
            lambda: self._order(path, "unpaid"),
            lambda o: f"{o['payment_status']}, reference {o['payment_reference']}",
        )
        reference = known["payment_reference"]
        self.step(
            "the customer has payment information",
            lambda: self._mail(number, reference),
            lambda m: f"{m['subject']} to {m['to']}",
        )
        today = datetime.now(UTC).date()
        content = statement(total, f"rechnung {reference.lower()}", today, f"DEMO-{number}-{total}")
        self.step(
            "the bank's statement is handed in and read",
            lambda: self._hand_in(content, 1),
            lambda s: f"{s['postings_new']} new posting",
        )
        self.step(
            "the posting is assigned",
            lambda: self._order(path, "paid"),
            lambda o: f"{o['paid_total']} of {o['total']} {o['currency']}",
        )
        self.step(
            "the shop shows the order as paid",
            lambda: self._shop_order(order["id"], "processing"),
            lambda o: f"{o['status']}",
        )
        self.step(
            "the customer is thanked",
            lambda: self._mail(number, None),
            lambda m: f"{m['subject']} to {m['to']}",
        )
        self.step(
            "the same statement again adds nothing",
            lambda: self._hand_in(content, 0),
            lambda s: f"{s['postings_known']} known posting",
        )
        self.is_complete = True

    def step(
        self,
        name: str,
        look: Callable[[], T | None],
        seen: Callable[[T], str],
        seconds: float = STEP_SECONDS,
    ) -> T:
        """Look until there is something, for at most a while."""
        began = time.monotonic()
        until = min(began + seconds, self.deadline)
        last = "nothing"
        while time.monotonic() < until:
            try:
                found = look()
            except (OSError, ValueError, KeyError) as problem:
                last, found = repr(problem), None
            except Failed as problem:
                self._note(name, began, ok=False, seen=str(problem))
                raise
            if found is not None:
                self._note(name, began, ok=True, seen=seen(found))
                return found
            time.sleep(LOOK_SECONDS)
        last = f"not within {seconds:.0f} s; at last {last}"
        self._note(name, began, ok=False, seen=last)
        raise Failed(f"{name}: {last}")

    def _note(self, name: str, began: float, *, ok: bool, seen: str) -> None:
        seconds = round(time.monotonic() - began, 2)
        self.steps.append(Step(name, ok, seconds, seen))
        _say(f"{'ok  ' if ok else 'FAIL'} {seconds:6.2f} s  {name}: {seen}")

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    # --- looking, from outside

    def _api(self, method: str, path: str, key: str, body: bytes | None = None) -> Any:
        url = f"{self.ready['url']}/api/v1/{path}"
        kind = "application/octet-stream" if body is not None else None
        return _call(method, url, body, self.ready[key], kind)

    def _shop_is_connected(self) -> str | None:
        """The agent's first words draw the cut-off; orders made before it are not managed."""
        log = self.home / "log" / "agent.log"
        said = log.read_text(errors="replace") if log.exists() else ""
        return "the agent has spoken to the server" if "compared all orders" in said else None

    def _order(self, path: str, status: str) -> Any:
        order = self._api("GET", path, "shop_key")
        return order if order["payment_status"] == status else None

    def _shop_order(self, order_id: object, status: str) -> Any:
        orders = _call("GET", f"{self.ready['shop_url']}/_demo/orders")
        return next((o for o in orders if o["id"] == order_id and o["status"] == status), None)

    def _mail(self, number: str, reference: str | None) -> Any:
        """The mail of this order that asks for (or, without reference, thanks for) the money."""
        for mail in _call("GET", f"{self.ready['catcher_url']}/api/messages"):
            if number not in mail["subject"]:
                continue
            full = _call("GET", f"{self.ready['catcher_url']}/api/messages/{mail['id']}")
            asks = IBAN[-4:] in full["text"].replace(" ", "")
            if reference is None and not asks:
                return full
            if reference is not None and asks and reference in full["text"]:
                return full
        return None

    def _hand_in(self, content: bytes, new: int) -> Any:
        made = self._api("POST", "statements?filename=camt053.xml", "bank_key", content)
        while time.monotonic() < self.deadline:
            row = self._api("GET", f"statements/{made['id']}", "bank_key")
            if row["state"] in {"done", "failed"}:
                if (row["state"], row["postings_new"]) != ("done", new):
                    raise Failed(f"the statement is {row}")
                return row
            time.sleep(LOOK_SECONDS)
        return None


def _call(
    method: str,
    url: str,
    body: bytes | None = None,
    key: str | None = None,
    kind: str | None = None,
) -> Any:
    headers = {"Content-Type": kind or "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310  loopback
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        return json.loads(response.read())


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
