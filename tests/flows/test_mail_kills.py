"""SIGKILL to a mail worker, again and again: what docs/promise.md says about doubles, counted.

A real worker process on the database of this test; only its start is faster than usual.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from email import message_from_bytes
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select, text

from server.children import started_at
from server.clock import release
from server.db import db, now
from server.jobs import Bell
from server.mail.models import Mail
from server.mail.service import let_rest, queue_mail, send_again
from server.shops.models import Shop
from server.work import LEASE
from tests.factories import make_merchant, make_order, make_shop
from tests.flows.installation import eventually, is_gone
from tests.server.mail.sink import Sink, running
from tests.unit.mail.samples import ANTIQUARIAT, facts_for

ACCEPTS_SECONDS = 0.005


class BusySink(Sink):
    """Takes a moment for each mail, so that there is something to kill."""

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        answer = await super().handle_DATA(server, session, envelope)
        await asyncio.sleep(ACCEPTS_SECONDS)  # has it, and has not said so yet
        return answer


@pytest.fixture
def sink() -> Iterator[Sink]:
    with running(BusySink()) as sink:
        yield sink


class Worker:
    """Killed with ``kill``, and working again in a moment."""

    def __init__(self, app: Flask, sink: Sink) -> None:
        settings = app.config["SETTINGS"]
        self.bell: Bell = app.extensions["kontor.bell"]
        env = {
            **{name: value for name, value in os.environ.items() if "KONTOR" not in name},
            "DATABASE_URL": settings.database_url,
            "REDIS_URL": settings.redis_url,
            "KONTOR_SECRET_KEY": settings.secret_key,
            "KONTOR_ENCRYPTION_KEYS": " ".join(settings.encryption_keys),
            "KONTOR_VAR": str(settings.var),
            "SMTP_URL": f"smtp://127.0.0.1:{sink.port}",
            "KONTOR_CHECK_DOMAINS": "no",
        }
        command = [sys.executable, "-m", "tests.flows.mail_worker"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, text=True)
        self.pid = self._next()

    def _next(self) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def ring(self) -> None:
        self.bell.hear("mail")
        self.bell.ring_now({"mail"})

    def kill(self) -> None:
        began = started_at(self.pid)
        os.kill(self.pid, signal.SIGKILL)
        eventually(lambda pid=self.pid: is_gone(pid, began), "its end")
        # Before the next one claims: what the dead one held is due at once, not after the lease.
        aged = text("update mail set claimed_at = claimed_at - :l where status = 'running'")
        db.session.execute(aged, {"l": LEASE})
        db.session.commit()
        release(now())
        self.pid = self._next()
        self.ring()

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def worker(app: Flask, sink: Sink) -> Iterator[Worker]:
    worker = Worker(app, sink)
    yield worker
    worker.end()


def letters_in(sink: Sink) -> Counter[tuple[str, str]]:
    """How often which mail came to whom."""
    return Counter(
        (kept.rcpt_tos[0], message_from_bytes(bytes(kept.content or b""))["Message-ID"])
        for kept in sink.received
    )


def count_of(*statuses: str) -> int:
    db.session.rollback()
    query = select(func.count()).select_from(Mail).where(Mail.status.in_(statuses))
    return int(db.session.execute(query).scalar_one())


def ask(shop: Shop, count: int) -> None:
    """Mails that ask for money: rather twice than never."""
    for number in range(count):
        make_order(shop, customer={"email": f"erika{number}@example.org", "language": "de"})


def thank(merchant_id: int, count: int) -> None:
    """Mails that ask for nothing: never twice, unless a person wants it."""
    for number in range(count):
        queue_mail(
            "payment_received",
            merchant_id=merchant_id,
            shop_id=None,
            order_id=None,
            language="de",
            recipient=f"max{number}@example.org",
            once=f"thanks:{number}",
            facts=facts_for("payment_received", "de"),
            theme=ANTIQUARIAT,
            sender_name="Annas Antiquariat",
            sender_address=None,
        )
    db.session.commit()


@pytest.mark.real_commits
@pytest.mark.parametrize(
    ("count", "kills"), [(200, 10), pytest.param(2_000, 100, marks=pytest.mark.torture)]
)
def test_none_is_lost_and_doubles_are_at_most_the_kills(
    app: Flask, sink: Sink, worker: Worker, count: int, kills: int
) -> None:
    merchant = make_merchant()
    ask(make_shop(merchant), count // 2)
    thank(merchant.id, count - count // 2)
    worker.ring()
    for kill in range(1, kills + 1):
        already = count * kill // (kills + 2)
        eventually(lambda already=already: len(sink.received) >= already, f"{already} mails")
        worker.kill()
    eventually(lambda: count_of("done", "unknown") == count, "all mails done or in doubt")

    letters = letters_in(sink)
    doubles = sum(letters.values()) - len(letters)
    in_doubt = list(db.session.scalars(select(Mail).where(Mail.status == "unknown")))
    assert doubles + len(in_doubt) <= kills
    assert all(name.startswith("erika") for (name, _), copies in letters.items() if copies > 1)
    assert {mail.kind for mail in in_doubt} <= {"payment_received"}
    assert count - len(letters) <= len(in_doubt), "who got nothing is one that is asked about"

    arrived = {message_id for _, message_id in letters}
    for mail in in_doubt:
        if mail.message_id in arrived:
            let_rest(mail, now())
        else:
            send_again(mail, now())
    db.session.commit()
    worker.ring()
    eventually(lambda: count_of("done", "withheld") == count, "nothing in doubt")
    letters = letters_in(sink)
    assert len(letters) == count, "each one arrived, and copies have the same Message-ID"
    assert len({name for name, _ in letters}) == count
    assert sum(letters.values()) - count <= kills
