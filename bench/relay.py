"""Mails handed to the relay, against aiosmtpd that writes each to a file with an fsync.

Both are processes of their own and speak STARTTLS and AUTH; the relay's database commits durably.
First over one connection, one mail after the other; then a connection, a TLS handshake and a log-in
for each mail. The two take turns, so that a machine that slows down slows both; medians of the
rounds. Then large mails come at once, while another connection asks every 100 ms whether anybody
is there.
"""

from __future__ import annotations

import os
import shutil
import smtplib
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from flask import Flask
from sqlalchemy import func, select

from server.app import create_app
from server.config import Settings
from server.db import db, now
from server.embedded import Embedded
from server.mail import domains
from server.mail.domain_rules import Check, Report
from server.merchants.models import Merchant
from server.relay import connections
from server.relay.models import RelayMessage

DOMAIN = "shop.example.org"
SENDER, RECIPIENT = f"buchung@{DOMAIN}", "erika@example.com"
ROUNDS = 7
MAILS_A_ROUND = 150
CONNECTIONS_A_ROUND = 60
MAIL_BYTES = 8_000
LARGE_BYTES = 29_000_000
LARGE_AT_ONCE = 5
START_SECONDS = 30
SECRETS = {
    "KONTOR_SECRET_KEY": "a secret of thirty-two characters or more",
    "KONTOR_ENCRYPTION_KEYS": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
}


@dataclass(frozen=True)
class Target:
    port: int
    user: str
    password: str
    process: subprocess.Popen[bytes]


def run() -> dict[str, object]:
    from server import migrations

    home = Path(tempfile.mkdtemp(prefix="kontor-bench-", dir="/tmp"))
    home.chmod(0o755)
    services = Embedded(home, lambda _: None)
    services.start()
    try:
        migrations.upgrade(services.database_url)
        with ExitStack() as stack:
            ours = stack.enter_context(_relay(services, home))
            bare = stack.enter_context(_bare(home))
            figures = _compare(ours, bare) | _large(ours)
        return figures | {"mails in the database": _stored(services)}
    finally:
        services.stop()
        shutil.rmtree(home, ignore_errors=True)


# --- the two ------------------------------------------------------------------------------------


@contextmanager
def _relay(services: Embedded, home: Path) -> Iterator[Target]:
    user, password = _system(services)
    port = _free_port()
    env = {n: v for n, v in os.environ.items() if not n.startswith("KONTOR_")} | SECRETS
    env |= {
        "DATABASE_URL": services.database_url,
        "REDIS_URL": services.redis_url,
        "KONTOR_VAR": str(home),
        "KONTOR_RELAY_BIND": f"127.0.0.1:{port}",
        "KONTOR_LOG": "ERROR",
    }
    process = subprocess.Popen([sys.executable, "-m", "server", "relay"], env=env)
    with _ended(process):
        _wait(port)
        yield Target(port, user, password, process)


@contextmanager
def _bare(home: Path) -> Iterator[Target]:
    """With the relay's own certificate."""
    port, directory = _free_port(), home / "bare"
    directory.mkdir()
    command = [sys.executable, "-m", "bench.bare_relay", str(port)]
    process = subprocess.Popen([*command, str(home / "relay.pem"), str(directory)])
    with _ended(process):
        _wait(port)
        yield Target(port, "anybody", "anything", process)


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _system(services: Embedded) -> tuple[str, str]:
    """A booking system that is set up: its user and password."""
    with _app(services).app_context():
        merchant = Merchant(name="Annas Antiquariat", language="de")
        db.session.add(merchant)
        db.session.flush()
        domain = domains.add(merchant.id, DOMAIN, now())
        selector = domains.current_selector(domains.keys_of(domain))
        domain.report, domain.checked_at = Report((Check(selector, "ok"),)).as_json(), now()
        row = connections.add_connection(merchant.id, "Buchungssystem", actor="", at=now())
        connections.set_domain(row, domain.id, "", now())
        password = connections.new_password(row, now())
        db.session.commit()
        user = row.user_name
        db.session.remove()
        db.engine.dispose()
    return user, password


def _stored(services: Embedded) -> int:
    with _app(services).app_context():
        count = db.session.scalar(select(func.count(RelayMessage.id)))
        db.session.remove()
        db.engine.dispose()
    return int(count or 0)


def _app(services: Embedded) -> Flask:
    secret, key = SECRETS.values()
    return create_app(
        Settings(services.database_url, services.redis_url, secret, (key,), log="ERROR")
    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _wait(port: int) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            with smtplib.SMTP("127.0.0.1", port, timeout=START_SECONDS) as smtp:
                smtp.noop()
                return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


# --- small mails --------------------------------------------------------------------------------


def _compare(ours: Target, bare: Target) -> dict[str, object]:
    one = _in_turn(_over_one_connection, ours, bare)
    each = _in_turn(_with_a_connection_each, ours, bare)
    return {
        "one connection, the relay: mails/s": round(statistics.median(one[0])),
        "one connection, bare aiosmtpd: mails/s": round(statistics.median(one[1])),
        "ratio, one connection": _ratio(*one),
        "a TLS connection each, the relay: mails/s": round(statistics.median(each[0])),
        "a TLS connection each, bare aiosmtpd: mails/s": round(statistics.median(each[1])),
        "ratio, a connection each": _ratio(*each),
    }


def _in_turn(
    measure: Callable[[Target], float], ours: Target, bare: Target
) -> tuple[list[float], list[float]]:
    """Mails a second, round by round; the first is to get warm."""
    rounds = [(measure(ours), measure(bare)) for _ in range(ROUNDS + 1)][1:]
    return [one for one, _ in rounds], [other for _, other in rounds]


def _ratio(ours: list[float], bare: list[float]) -> str:
    of_rounds = [one / other for one, other in zip(ours, bare, strict=True)]
    return f"{statistics.median(of_rounds):.2f} ({min(of_rounds):.2f} to {max(of_rounds):.2f})"


def _over_one_connection(target: Target) -> float:
    raw = _mail(MAIL_BYTES)
    with _logged_in(target) as smtp:
        began = time.perf_counter()
        for _ in range(MAILS_A_ROUND):
            smtp.sendmail(SENDER, [RECIPIENT], raw)
        return MAILS_A_ROUND / (time.perf_counter() - began)


def _with_a_connection_each(target: Target) -> float:
    raw = _mail(MAIL_BYTES)
    began = time.perf_counter()
    for _ in range(CONNECTIONS_A_ROUND):
        with _logged_in(target) as smtp:
            smtp.sendmail(SENDER, [RECIPIENT], raw)
    return CONNECTIONS_A_ROUND / (time.perf_counter() - began)


@contextmanager
def _logged_in(target: Target) -> Iterator[smtplib.SMTP]:
    with smtplib.SMTP("127.0.0.1", target.port, "bench.example.org", timeout=120) as smtp:
        smtp.starttls(context=_TLS)
        smtp.login(target.user, target.password)
        yield smtp


def _any_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


_TLS = _any_tls()


def _mail(size: int) -> bytes:
    head = (
        f"From: Buchung <{SENDER}>\r\nTo: {RECIPIENT}\r\nSubject: Ihre Buchung\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    )
    line = "Ihre Buchung ist angekommen, wir freuen uns auf Ihren Besuch bei uns.\r\n"
    return (head + line * (size // len(line))).encode()


# --- large mails --------------------------------------------------------------------------------


def _large(ours: Target) -> dict[str, object]:
    waits: list[float] = []
    is_over = threading.Event()

    def probe() -> None:
        with smtplib.SMTP("127.0.0.1", ours.port, "bench.example.org", timeout=120) as smtp:
            while not is_over.wait(0.1):
                began = time.perf_counter()
                smtp.noop()
                waits.append(time.perf_counter() - began)

    def hand_over(raw: bytes) -> None:
        with _logged_in(ours) as smtp:
            smtp.sendmail(SENDER, [RECIPIENT], raw)

    probing = threading.Thread(target=probe)
    probing.start()
    began = time.perf_counter()
    with ThreadPoolExecutor(LARGE_AT_ONCE) as pool:
        list(pool.map(hand_over, [_mail(LARGE_BYTES)] * LARGE_AT_ONCE))
    taken = time.perf_counter() - began
    is_over.set()
    probing.join()
    return {
        f"{LARGE_AT_ONCE} mails of 29 MB at once: MB/s": round(
            LARGE_AT_ONCE * LARGE_BYTES / taken / 1e6
        ),
        "another connection meanwhile, longest answer: s": f"{max(waits):.2f}",
        "peak memory of the relay: MB": _peak_bytes(ours.process.pid) >> 20,
    }


def _peak_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    [line] = [one for one in lines if one.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024
