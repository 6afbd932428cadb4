"""SIGKILL to the relay while systems hand over mails: what got its 250 is in the database, once."""

from __future__ import annotations

import smtplib
import threading
import time
from collections import Counter

import pytest
from sqlalchemy import func, select

from server.db import db
from server.relay.models import RelayDelivery, RelayMessage
from tests.flows.installation import eventually
from tests.server.relay.programs import log_in, running
from tests.server.relay.systems import DOMAIN, System, make_system

pytestmark = pytest.mark.real_commits
CLIENTS = 6
PAUSE_SECONDS = 0.05


class Client(threading.Thread):
    """Hands over mails, each once, whatever happens; remembers which got their 250."""

    def __init__(self, number: int, port: int, system: System) -> None:
        super().__init__()
        self.number, self.port, self.system = number, port, system
        self.acknowledged: list[str] = []
        self.in_doubt: list[str] = []
        self.count = 0
        self.is_over = threading.Event()

    def run(self) -> None:
        while not self.is_over.is_set():
            try:
                with log_in(self.port, self.system) as smtp:
                    self._hand_over(smtp)
            except (OSError, smtplib.SMTPException):
                time.sleep(PAUSE_SECONDS)  # killed, and not there again

    def _hand_over(self, smtp: smtplib.SMTP) -> None:
        while not self.is_over.is_set():
            self.count += 1
            message_id = f"<{self.number}.{self.count}@{DOMAIN}>"
            raw = f"From: a@{DOMAIN}\r\nMessage-ID: {message_id}\r\n\r\n{'Text ' * 400}\r\n"
            self.in_doubt.append(message_id)
            smtp.sendmail(f"a@{DOMAIN}", ["erika@example.com", "max@example.com"], raw.encode())
            self.in_doubt.remove(message_id)
            self.acknowledged.append(message_id)


@pytest.mark.feature("S87")
@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.torture)])
def test_what_got_its_250_is_kept_once(app, kills):
    system = make_system()
    with running(app) as relay:
        clients = [Client(number, relay.port, system) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        try:
            for _ in range(kills):
                before = _acknowledged(clients)
                enough = before + 3 * CLIENTS
                eventually(lambda enough=enough: _acknowledged(clients) >= enough, "some mails")
                relay.kill()
                relay.start()
            last = _acknowledged(clients) + 1
            eventually(lambda: _acknowledged(clients) >= last, "one more after the last")
        finally:
            for client in clients:
                client.is_over.set()
            for client in clients:
                client.join()

    stored = Counter(db.session.scalars(select(RelayMessage.message_id)))
    acknowledged = {one for client in clients for one in client.acknowledged}
    in_doubt = {one for client in clients for one in client.in_doubt}
    assert acknowledged <= set(stored), "what got a 250 is there"
    assert set(stored.values()) == {1}, "nobody repeated anything, so nothing is there twice"
    assert set(stored) - acknowledged <= in_doubt
    assert len(in_doubt) <= kills * CLIENTS
    of_each = select(func.count(RelayDelivery.id)).group_by(RelayDelivery.relay_message_id)
    assert set(db.session.scalars(of_each)) == {2}, "a mail is there with all its recipients"
    assert db.session.scalar(select(func.count(RelayDelivery.id))) == 2 * len(stored)


def _acknowledged(clients: list[Client]) -> int:
    return sum(len(client.acknowledged) for client in clients)
