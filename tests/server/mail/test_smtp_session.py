"""The SMTP conversation against a real server on loopback that fails wherever it is told to."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from plugin_sdk.errors import ConnectorError, Misconfigured, Rejected, Temporary
from server.mail.smtp import (
    MAX_MAILS_A_CONNECTION,
    MAX_SECONDS_A_CONNECTION,
    PAUSE_AFTER_FAILURE_SECONDS,
    Server,
    SmtpSession,
    parse_smtp_url,
)
from tests.server.mail.certificates import self_signed
from tests.server.mail.sink import Sink, running

RAW = b"Subject: Test\r\n\r\nFirst line\r\n.\r\n..two\r\nlast\r\n"
ANNA, ERIKA = "anna@example.org", "erika@example.org"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def session(sink: Sink, clock: Clock) -> Iterator[SmtpSession]:
    with SmtpSession(f"smtp://127.0.0.1:{sink.port}", clock=clock) as opened:
        yield opened


def test_accepted(sink: Sink, session: SmtpSession) -> None:
    answer = session.send(ANNA, ERIKA, RAW)
    assert answer == "250 2.0.0 Ok: queued as 0"
    (kept,) = sink.received
    assert (kept.mail_from, kept.rcpt_tos, kept.content) == (ANNA, [ERIKA], RAW)


def test_many_mails_take_one_connection_and_no_needless_commands(
    sink: Sink, session: SmtpSession
) -> None:
    for _ in range(MAX_MAILS_A_CONNECTION):
        session.send(ANNA, ERIKA, RAW)
    assert sink.connections == 1
    assert sink.verbs[1:] == ["MAIL", "RCPT", "DATA", "DOT"] * MAX_MAILS_A_CONNECTION
    session.send(ANNA, ERIKA, RAW)
    assert sink.connections == 2
    session.close()
    assert sink.verbs.count("QUIT") == 2


def test_an_old_connection_is_replaced(sink: Sink, session: SmtpSession, clock: Clock) -> None:
    session.send(ANNA, ERIKA, RAW)
    clock.now += MAX_SECONDS_A_CONNECTION
    session.send(ANNA, ERIKA, RAW)
    assert sink.connections == 2
    assert len(sink.received) == 2


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "DOT"])
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("450 4.2.0 Try later", Temporary),
        ("550 5.1.1 No such user", Rejected),
        ("530 5.7.0 Authentication required", Misconfigured),
    ],
)
def test_a_refusal_at_each_verb(
    sink: Sink, session: SmtpSession, verb: str, answer: str, error: type[ConnectorError]
) -> None:
    sink.answers[verb] = [answer]
    with pytest.raises(error, match=answer.replace(".", r"\.")):
        session.send(ANNA, ERIKA, RAW)
    assert sink.received == []
    session.send(ANNA, ERIKA, RAW)
    assert len(sink.received) == 1
    assert sink.connections == 1
    assert "RSET" in sink.verbs


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("how", ["drop", "421 4.3.2 Closing"])
def test_an_idle_connection_that_died_is_opened_once_more(
    sink: Sink, session: SmtpSession, verb: str, how: str
) -> None:
    session.send(ANNA, ERIKA, RAW)
    _break(sink, verb, how)
    session.send(ANNA, ERIKA, RAW)
    assert sink.connections == 2
    assert len(sink.received) == 2


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("how", ["drop", "421 4.3.2 Closing"])
def test_a_fresh_connection_that_dies_is_not(
    sink: Sink, session: SmtpSession, verb: str, how: str
) -> None:
    _break(sink, verb, how)
    with pytest.raises(Temporary):
        session.send(ANNA, ERIKA, RAW)
    assert sink.connections == 1
    session.send(ANNA, ERIKA, RAW)
    assert sink.connections == 2


def test_broken_after_the_content_is_never_sent_twice_by_itself(
    sink: Sink, session: SmtpSession
) -> None:
    session.send(ANNA, ERIKA, RAW)
    sink.drop_after = "DOT"
    with pytest.raises(Temporary, match="it may have arrived"):
        session.send(ANNA, ERIKA, RAW)
    assert len(sink.received) == 2
    assert sink.connections == 1
    session.send(ANNA, ERIKA, RAW)
    assert sink.connections == 2


def test_421_after_the_content_closes(sink: Sink, session: SmtpSession) -> None:
    sink.answers["DOT"] = ["421 4.3.2 Closing"]
    with pytest.raises(Temporary, match="421"):
        session.send(ANNA, ERIKA, RAW)
    session.send(ANNA, ERIKA, RAW)
    assert sink.connections == 2


def test_nobody_listens(clock: Clock, unused_port: int) -> None:
    session = SmtpSession(f"smtp://127.0.0.1:{unused_port}", clock=clock)
    with pytest.raises(Temporary, match=f"No connection to 127.0.0.1:{unused_port}"):
        session.send(ANNA, ERIKA, RAW)


def test_a_server_out_of_reach_is_left_alone_for_a_while(
    sink: Sink, session: SmtpSession, clock: Clock
) -> None:
    sink.answers["EHLO"] = ["421 4.3.2 Busy"]
    sink.answers["HELO"] = []
    sink.drop_after = "EHLO"
    with pytest.raises(Temporary):
        session.send(ANNA, ERIKA, RAW)
    clock.now += PAUSE_AFTER_FAILURE_SECONDS - 1
    with pytest.raises(Temporary):
        session.send(ANNA, ERIKA, RAW)
    assert sink.connections == 1
    clock.now += 1
    session.send(ANNA, ERIKA, RAW)
    assert sink.connections == 2


def test_login(sink: Sink) -> None:
    with SmtpSession(f"smtp://anna:ge%40heim@127.0.0.1:{sink.port}") as session:
        session.send(ANNA, ERIKA, RAW)
    assert len(sink.received) == 1


def test_a_wrong_password_is_tried_once_and_a_person_is_asked(sink: Sink, clock: Clock) -> None:
    sink.answers["AUTH"] = ["no"]
    with SmtpSession(f"smtp://anna:falsch@127.0.0.1:{sink.port}", clock=clock) as session:
        for _ in range(3):
            with pytest.raises(Misconfigured, match="535") as caught:
                session.send(ANNA, ERIKA, RAW)
            assert "falsch" not in str(caught.value)
    assert sink.connections == 1
    assert sink.received == []


def test_encryption_that_is_asked_for_is_not_skipped(sink: Sink) -> None:
    with (
        SmtpSession(f"smtp+starttls://127.0.0.1:{sink.port}") as session,
        pytest.raises(Misconfigured, match="STARTTLS"),
    ):
        session.send(ANNA, ERIKA, RAW)
    assert sink.received == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
def test_encrypted(certificate: Path, scheme: str) -> None:
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))
    sink = Sink(starttls=own if scheme == "smtp+starttls" else None)
    with running(sink, tls=own if scheme == "smtps" else None):
        with SmtpSession(f"{scheme}://127.0.0.1:{sink.port}", tls=trusting) as session:
            assert session.send(ANNA, ERIKA, RAW).startswith("250")
        with (
            SmtpSession(f"{scheme}://127.0.0.1:{sink.port}") as session,
            pytest.raises(Misconfigured, match="certificate"),
        ):
            session.send(ANNA, ERIKA, RAW)
    assert len(sink.received) == 1


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://127.0.0.1:1025", Server("smtp", "127.0.0.1", 1025)),
        ("smtp://mail.example.org", Server("smtp", "mail.example.org", 25)),
        (
            "smtps://a%40b:c%2F%3A@mail.example.org",
            Server("smtps", "mail.example.org", 465, "a@b", "c/:"),
        ),
        ("smtp+starttls://a:b@[::1]/", Server("smtp+starttls", "::1", 587, "a", "b")),
    ],
)
def test_smtp_urls(url: str, server: Server) -> None:
    assert parse_smtp_url(url) == server


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mail.example.org:25",
        "http://mail.example.org",
        "smtp://",
        "smtp://anna@mail.example.org",
        "smtp://anna:geheim@mail.example.org:port",
        "smtp://anna:geheim@mail.example.org/?tls=no",
        "smtp://anna:geheim@mail.example.org:99999",
    ],
)
def test_wrong_smtp_urls(url: str) -> None:
    with pytest.raises(ValueError, match="SMTP address") as caught:
        parse_smtp_url(url)
    assert "geheim" not in str(caught.value)


def test_the_password_is_in_no_log() -> None:
    assert "geheim" not in repr(parse_smtp_url("smtp://anna:geheim@mail.example.org"))


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def _break(sink: Sink, verb: str, how: str) -> None:
    if how == "drop":
        sink.drop_after = verb
    else:
        sink.answers[verb] = [how]
