"""Many systems at once, some with very large mails: every 250 is a mail, once, byte for byte.

Seconds are only reported, except in the full count, which is meant to have the machine for itself.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256

import pytest
from sqlalchemy import func, select

from server.db import db
from server.relay.models import RelayMessage
from server.submission import BYTES_AT_ONCE
from tests.server.relay.programs import Relay, lines_of, log_in, running
from tests.server.relay.systems import DOMAIN, System, make_system

pytestmark = pytest.mark.real_commits
LARGE_BYTES = 29 * 1000 * 1000
SMALL_BYTES = 20_000
LONGEST_SECONDS = 2.0
MOST_BYTES = 6 * BYTES_AT_ONCE
"""Of one relay process: mails on their way in, copies while they are written, and the program."""


def a_mail(message_id: str, size: int) -> bytes:
    head = f"From: a@{DOMAIN}\r\nTo: erika@example.com\r\nMessage-ID: {message_id}\r\n\r\n"
    return head.encode() + lines_of(size, abs(hash(message_id)) % 10**8)


def hand_over(relay: Relay, system: System, number: int, count: int, size: int) -> dict[str, str]:
    """Over one connection; Message-ID to SHA-256 of those that got their 250."""
    kept = {}
    with log_in(relay.port, system) as smtp:
        if number % 2:  # as many programs, which do not say how large their mails are
            smtp.esmtp_features.pop("size")
        for mail in range(count):
            message_id = f"<{size}.{number}.{mail}@{DOMAIN}>"
            raw = a_mail(message_id, size)
            assert smtp.sendmail(f"a@{DOMAIN}", ["erika@example.com"], raw) == {}
            kept[message_id] = sha256(raw).hexdigest()
    return kept


@contextmanager
def probing(port: int) -> Iterator[list[float]]:
    """Afterwards holds the number of answers and the seconds of the longest."""
    command = [sys.executable, "-m", "tests.server.relay.probe", str(port)]
    pipe, found = subprocess.PIPE, []
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as probe:
        yield found
        said, _ = probe.communicate(timeout=60)
    found += [float(one) for one in said.split()]


@pytest.mark.feature("S87", "S94")
@pytest.mark.parametrize(
    ("connections", "mails", "large"),
    [(12, 5, 2), pytest.param(50, 20, 5, marks=pytest.mark.torture)],
)
def test_every_250_is_a_mail(app, connections, mails, large):
    system = make_system()
    with running(app) as relay, ThreadPoolExecutor(connections + large) as pool:
        with probing(relay.port) as answers:
            asked = [
                pool.submit(hand_over, relay, system, number, 1, LARGE_BYTES)
                for number in range(large)
            ] + [
                pool.submit(hand_over, relay, system, number, mails, SMALL_BYTES)
                for number in range(connections)
            ]
            kept: dict[str, str] = {}
            for one in asked:
                kept |= one.result()
        peak = relay.peak_bytes()

    content = func.encode(func.sha256(RelayMessage.content), "hex")
    stored = db.session.execute(select(RelayMessage.message_id, content)).all()
    assert len(kept) == connections * mails + large
    assert len(stored) == len(kept) and {row[0]: row[1] for row in stored} == kept

    count, longest = answers
    print(f"{count:.0f} probes, the longest {longest:.3f} s; peak {peak >> 20} MB")  # noqa: T201
    assert peak < MOST_BYTES
    assert count > 0
    if connections == 50:
        assert longest < LONGEST_SECONDS, "the event loop stood still"
