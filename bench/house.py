"""An installation for measuring: real processes, durable commits, no demo."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flask import Flask

from plugin_sdk.schemas import CodeMappingSchema
from plugin_sdk.types import CodeMapping
from server.app import create_app
from server.banking.service import AccountTerms, add_account
from server.config import Settings, read_runtime
from server.db import db, now
from server.merchants.service import add_merchant, create_api_key, set_password
from server.shops.service import add_shop

READY_SECONDS = 90
PASSWORD = "measure twice, cut once"
IBANS = ("DE02120300000000202051", "DE02500105170137075030")


@dataclass
class Tenant:
    merchant_id: int
    email: str
    shop_key: str
    bank_key: str
    iban: str


@dataclass
class House:
    url: str
    app: Flask
    settings: Settings
    var: Path
    tenants: list[Tenant]


@contextlib.contextmanager
def house(**env: str) -> Iterator[House]:
    """Running, with two merchants; gone afterwards."""
    var = Path(tempfile.mkdtemp(prefix="kontor-bench-", dir="/tmp"))
    var.chmod(0o755)
    outside = {n: v for n, v in os.environ.items() if not n.startswith("KONTOR_")}
    for name in ("DATABASE_URL", "REDIS_URL", "SMTP_URL"):
        outside.pop(name, None)
    outside |= {"KONTOR_VAR": str(var), "KONTOR_BIND": "127.0.0.1:0", **env}
    with (var / "supervisor.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "server", "run", "--no-demo"],
            env=outside,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        ready = _wait(process, var)
        settings = Settings.from_env(read_runtime(var))
        app = create_app(settings)
        with app.app_context():
            tenants = [_tenant(number, iban) for number, iban in enumerate(IBANS)]
        yield House(ready["url"], app, settings, var, tenants)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        shutil.rmtree(var, ignore_errors=True)


@contextlib.contextmanager
def paused(place: House, *names: str) -> Iterator[None]:
    """These processes stand still meanwhile; without names all workers and the clock."""
    running = json.loads((place.var / "ready.json").read_text())["processes"]
    chosen = [
        pid
        for name, pid in running.items()
        if name in names or (not names and (name.startswith("worker") or name == "clock"))
    ]
    for pid in chosen:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in chosen:
            os.kill(pid, signal.SIGCONT)


def _wait(process: subprocess.Popen[bytes], var: Path) -> dict[str, str]:
    until = time.monotonic() + READY_SECONDS
    while not (var / "ready.json").exists():
        if process.poll() is not None or time.monotonic() > until:
            raise SystemExit((var / "supervisor.log").read_text())
        time.sleep(0.1)
    ready: dict[str, str] = json.loads((var / "ready.json").read_text())
    return ready


def _tenant(number: int, iban: str) -> Tenant:
    at = now()
    user, token = add_merchant(f"Bench {number}", f"bench{number}@example.org", at)
    set_password(token, PASSWORD, at)
    add_account(user.merchant_id, AccountTerms(iban, "", "Bench"))
    shop = add_shop(
        user.merchant_id, name="Shop", system="woocommerce", url="https://shop.example.org"
    )
    shop.status, shop.connected_at = "connected", at - timedelta(days=30)
    mapping = CodeMapping(
        methods=("bacs",), open_statuses=("on-hold", "pending"), paid_status="processing"
    )
    shop.default_mapping = {"prepayment": CodeMappingSchema().dump(mapping)}
    _, shop_key = create_api_key(user.merchant_id, scope="shop", name="b", shop_id=shop.id)
    _, bank_key = create_api_key(user.merchant_id, scope="bank", name="b", shop_id=None)
    db.session.commit()
    return Tenant(user.merchant_id, user.email, shop_key, bank_key, iban)


def order(external_id: str, number: str, total: str = "39.90") -> dict[str, object]:
    """An order of usual size."""
    return {
        "external_id": external_id,
        "number": number,
        "ordered_at": datetime.now(UTC).isoformat(),
        "currency": "EUR",
        "total": total,
        "payment_method": "bacs",
        "shop_status": "on-hold",
        "customer": {"number": "4711", "email": "erika@example.org", "language": "de"},
        "billing_address": {
            "first_name": "Erika",
            "last_name": "Mustermann",
            "street": "Heidestraße 17",
            "postcode": "51147",
            "city": "Köln",
            "country": "DE",
        },
        "items": [{"number": "A-1", "name": "Ein Buch", "quantity": "1"}],
    }
