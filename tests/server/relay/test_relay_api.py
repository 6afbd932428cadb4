"""The relay's entrance by HTTP."""

from __future__ import annotations

import io
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier, BrokenBarrierError

import pytest

from server.db import db, now
from server.relay import connections, intake
from server.relay.intake import MAX_MESSAGE_BYTES
from tests.server.relay.systems import DOMAIN, a_mail, deliveries, make_system, messages

URL = "/api/v1/relay/messages"
RFC822 = "message/rfc822"


@pytest.fixture
def system(app):
    return make_system()


def by(system, password=None) -> dict[str, str]:
    given = f"{system.user}:{password or system.password}".encode()
    return {"Authorization": f"Basic {b64encode(given).decode()}"}


def post(client, system, raw=None, query="", **headers):
    headers = by(system) | headers
    return client.post(URL + query, data=raw or a_mail(), content_type=RFC822, headers=headers)


@pytest.mark.feature("S87")
def test_a_mail_is_taken_as_it_is(client, system):
    raw = a_mail("Grüße")
    answer = post(client, system, raw)
    assert answer.status_code == 202
    assert answer.json["message_id"] == "<buchung-1@shop.example.org>"
    [told] = answer.json["recipients"]
    assert told["recipient"] == "erika@example.com" and told["status"] == "queued"
    [row] = messages()
    assert (row.content, row.origin, row.sender) == (raw, "http", f"buchung@{DOMAIN}")
    again = client.get(f"{URL}/{answer.json['id']}", headers=by(system))
    assert again.json == answer.json


def test_recipients_may_be_named(client, system):
    raw = a_mail().replace(b"To: erika@example.com\r\n", b"Bcc: chef@example.com\r\n")
    named = post(client, system, raw, "?to=max@example.com&to=eva@example.com")
    assert [one["recipient"] for one in named.json["recipients"]] == [
        "max@example.com",
        "eva@example.com",
    ]
    hidden = post(client, system, raw.replace(b"buchung-1", b"buchung-2"))
    assert [one["recipient"] for one in hidden.json["recipients"]] == ["chef@example.com"]


def test_the_same_mail_again_is_taken_once(client, system):
    first, second = post(client, system), post(client, system)
    assert first.json == second.json and len(messages()) == 1
    other = post(client, system, a_mail("anders"))
    assert other.json["id"] != first.json["id"] and len(deliveries()) == 2


def test_the_same_mail_to_others_reaches_them_too(client, system):
    """Some programs hand a mail in once for each recipient."""
    first, second = (post(client, system, None, f"?to={who}@example.com") for who in ("max", "eva"))
    assert first.json["id"] != second.json["id"]
    assert [row.recipient for row in deliveries()] == ["max@example.com", "eva@example.com"]
    again = post(client, system, None, "?to=eva@example.com")
    assert again.json == second.json and len(deliveries()) == 2


def test_the_same_mail_is_known_after_its_content_was_forgotten(client, system):
    first = post(client, system)
    for row in messages():
        row.content = None
    db.session.commit()
    assert post(client, system).json["id"] == first.json["id"]
    assert post(client, system, a_mail("anders")).json["id"] != first.json["id"]


@pytest.mark.real_commits
def test_the_same_mail_twice_at_once_is_taken_once(app, system, monkeypatch):
    """A client that heard nothing for a while comes again, while its first request is at work."""
    both, accept = Barrier(2), intake.accept

    def when_both_are_there(*given, **how):
        with suppress(BrokenBarrierError):
            both.wait(1)
        return accept(*given, **how)

    def hand_in(_: int) -> str:
        return post(app.test_client(), system).json["id"]

    monkeypatch.setattr(intake, "accept", when_both_are_there)
    with ThreadPoolExecutor(2) as pool:
        assert len(set(pool.map(hand_in, range(2)))) == 1
    assert len(messages()) == 1


class SlowHost(io.BytesIO):
    """Notes whether a transaction is open while its bytes are awaited."""

    waits: list[bool]

    def read(self, *size):
        self.waits.append(db.session().in_transaction())
        return super().read(*size)

    def readinto(self, into):
        self.waits.append(db.session().in_transaction())
        return super().readinto(into)


def test_no_transaction_waits_for_a_mail_that_is_still_sent(client, system):
    raw = a_mail()
    host = SlowHost(raw)
    host.waits = []
    answer = client.post(
        URL,
        input_stream=host,
        content_type=RFC822,
        content_length=len(raw),
        headers=by(system),
    )
    assert answer.status_code == 202
    assert host.waits and not any(host.waits)


@pytest.mark.feature("S93")
@pytest.mark.parametrize(
    ("raw", "status", "word"),
    [
        (a_mail(sender="chef@other.example.com"), 422, "not set up"),
        (b"kein Kopf", 422, "no field"),
        (a_mail().replace(b"To: erika@example.com\r\n", b""), 422, "No recipient"),
        (a_mail().replace(b"erika@example.com", b'"a@b"@example.com'), 422, "no address"),
    ],
)
def test_what_is_no_mail_of_the_connection_is_refused(client, system, raw, status, word):
    answer = post(client, system, raw)
    assert answer.status_code == status and word in answer.json["detail"]
    assert messages() == []


@pytest.mark.feature("S94")
def test_more_than_30_mb_is_refused(client, system):
    raw = a_mail("x" * MAX_MESSAGE_BYTES)
    answer = post(client, system, raw)
    assert answer.status_code == 413 and messages() == []


def test_who_does_not_log_in_gets_nothing(client, system):
    assert client.post(URL, data=a_mail(), content_type=RFC822).status_code == 401
    wrong = client.post(URL, data=a_mail(), content_type=RFC822, headers=by(system, "falsch"))
    assert wrong.status_code == 401 and "Basic" in wrong.headers["WWW-Authenticate"]


def test_guessing_is_limited(client, system):
    codes = [client.get(f"{URL}/1", headers=by(system, "falsch")).status_code for _ in range(21)]
    assert codes == [401] * 20 + [429]
    assert client.get(f"{URL}/1", headers=by(system)).status_code == 429


def test_a_stranger_sees_nothing(client, system):
    number = post(client, system).json["id"]
    stranger = make_system("bob.example.com")
    assert client.get(f"{URL}/{number}", headers=by(stranger)).status_code == 404
    assert client.get(f"{URL}/{2**70}", headers=by(system)).status_code == 404


@pytest.mark.feature("S95")
def test_a_paused_connection_takes_nothing(client, system):
    connections.pause(system.connection, now())
    db.session.commit()
    answer = post(client, system)
    assert answer.status_code == 422 and "paused" in answer.json["detail"]
