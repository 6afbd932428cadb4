"""Mail servers that break the rules: what becomes of the mail at hand, and of the next one."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.mail import smtp
from server.mail.smtp import (
    OPPORTUNISTIC,
    MayHaveArrived,
    NoConnection,
    NotEver,
    NotNow,
    NotSetUp,
    Server,
    SmtpSession,
)
from tests.fakes.smtp_server import FakeSmtp, free_port
from tests.server.mail.certificates import self_signed

RAW = b"Subject: Test\r\n\r\n.dotted\r\nlast\r\n"
ANNA, ERIKA = "anna@example.org", "erika@example.org"


@pytest.fixture
def fake() -> Iterator[FakeSmtp]:
    with FakeSmtp() as fake:
        yield fake


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DIALOGUE_SECONDS", "CONTENT_SECONDS", "CONNECT_SECONDS"):
        monkeypatch.setattr(smtp, name, 0.4)
    monkeypatch.setattr(smtp, "PAUSE_AFTER_FAILURE_SECONDS", 0)


@pytest.fixture
def session(fake: FakeSmtp, impatient: None) -> Iterator[SmtpSession]:
    with SmtpSession(f"smtp://127.0.0.1:{fake.port}", own_name="kontor.example.org") as session:
        yield session


BEFORE = ["MAIL", "RCPT", "DATA"]
WITHOUT_END = ["silence", "drip", "endless line", "endless lines"]


@pytest.mark.parametrize("verb", BEFORE)
@pytest.mark.parametrize("fault", ["drop", *WITHOUT_END])
def test_a_server_that_stops_making_sense_before_the_content(
    fake: FakeSmtp, session: SmtpSession, verb: str, fault: str
) -> None:
    """Nothing was handed over, so it is tried again later, and nobody waits for it without end."""
    fake.always[verb] = fault
    with pytest.raises(NoConnection) as caught:
        session.send(ANNA, ERIKA, RAW)
    assert caught.value.verdict.failure == "unreachable"
    assert caught.value.verdict.pause_host
    assert fake.received == []
    del fake.always[verb]
    session.send(ANNA, ERIKA, RAW)
    assert [mail.content for mail in fake.received] == [RAW]


@pytest.mark.parametrize("fault", ["drop", "keep and drop", *WITHOUT_END])
def test_after_the_content_nobody_can_know(
    fake: FakeSmtp, session: SmtpSession, fault: str
) -> None:
    fake.faults["DOT"] = [fault]
    with pytest.raises(MayHaveArrived, match="it may have arrived"):
        session.send(ANNA, ERIKA, RAW)
    assert fake.verbs.count("DOT") == 1, "never sent twice by itself"
    session.send(ANNA, ERIKA, RAW)
    assert fake.connections == 2


@pytest.mark.parametrize("verb", ["CONNECT", "EHLO"])
@pytest.mark.parametrize("fault", ["drop", "nonsense", "421 4.3.2 Closing", *WITHOUT_END])
def test_a_server_that_does_not_get_as_far_as_a_greeting(
    fake: FakeSmtp, session: SmtpSession, verb: str, fault: str
) -> None:
    fake.always[verb] = fault
    fake.always["HELO"] = fault
    with pytest.raises(NoConnection):
        session.send(ANNA, ERIKA, RAW)
    assert "MAIL" not in fake.verbs


@pytest.mark.parametrize("verb", [*BEFORE, "DOT"])
def test_nonsense_is_later_and_on_another_connection(
    fake: FakeSmtp, session: SmtpSession, verb: str
) -> None:
    fake.faults[verb] = ["nonsense"]
    with pytest.raises(NotNow) as caught:
        session.send(ANNA, ERIKA, RAW)
    assert caught.value.verdict.failure == "other"
    session.send(ANNA, ERIKA, RAW)
    assert fake.connections == 2


def test_an_answer_to_nothing_is_not_taken_for_that_to_the_next_command(
    fake: FakeSmtp, session: SmtpSession
) -> None:
    session.send(ANNA, ERIKA, RAW)
    fake.faults["RCPT"] = ["twice"]
    fake.always["DATA"] = "550 5.7.1 no"  # what must not be read as the second yes
    with pytest.raises(NotEver, match=r"550 5\.7\.1"):
        session.send(ANNA, ERIKA, RAW)
    assert fake.connections == 2


@pytest.mark.parametrize("verb", [*BEFORE, "DOT"])
@pytest.mark.parametrize(
    ("answer", "failure", "is_final"),
    [
        ("450 4.2.2 Mailbox full", "mailbox_full", False),
        ("451 4.7.1 Greylisted, try again in 300 seconds", "policy", False),
        ("552 5.3.4 Too big", "too_large", True),
        ("554 5.7.1 Blocked by our policy", "policy", True),
        ("530 5.7.0 Authentication required", "misconfigured", False),
    ],
)
def test_each_refusal_has_its_reason(
    fake: FakeSmtp, session: SmtpSession, verb: str, answer: str, failure: str, is_final: bool
) -> None:
    fake.faults[verb] = [answer]
    with pytest.raises((NotNow, NotEver, NotSetUp), match=answer.replace(".", r"\.")) as caught:
        session.send(ANNA, ERIKA, RAW)
    verdict = caught.value.verdict
    assert (verdict.failure, verdict.is_final) == (failure, is_final)
    session.send(ANNA, ERIKA, RAW)
    assert len(fake.received) == 1
    assert fake.connections == 1


def test_who_refuses_our_address_says_nothing_about_the_recipient(
    fake: FakeSmtp, session: SmtpSession
) -> None:
    fake.faults["MAIL"] = ["550 5.1.1 User unknown"]
    fake.faults["RCPT"] = ["550 5.1.1 User unknown"]
    verdicts = []
    for _ in range(2):
        with pytest.raises(NotEver) as caught:
            session.send(ANNA, ERIKA, RAW)
        verdicts.append((caught.value.verdict.failure, caught.value.verdict.suppress))
    assert verdicts == [("policy", False), ("no_such_mailbox", True)]


def test_421_in_the_middle_of_a_batch(fake: FakeSmtp, session: SmtpSession) -> None:
    session.send(ANNA, ERIKA, RAW)
    fake.faults["MAIL"] = ["421 4.7.0 Too many messages, closing"] * 2
    with pytest.raises(NotNow) as caught:
        session.send(ANNA, ERIKA, RAW)
    assert caught.value.verdict.pause_host
    session.send(ANNA, ERIKA, RAW)
    assert len(fake.received) == 2


# --- several servers, and encryption -----------------------------------------------------------


def direct(*fakes: FakeSmtp | int) -> SmtpSession:
    ports = [fake.port if isinstance(fake, FakeSmtp) else fake for fake in fakes]
    servers = [
        Server(OPPORTUNISTIC, f"mx{number}.example.org", port, address="127.0.0.1")
        for number, port in enumerate(ports)
    ]
    return SmtpSession(servers, own_name="kontor.example.org")


@pytest.mark.parametrize("fault", ["drop", "554 5.3.2 no mail here", "421 busy", "nonsense"])
def test_the_next_server_is_tried(fake: FakeSmtp, impatient: None, fault: str) -> None:
    with FakeSmtp() as first, direct(first, free_port(), fake) as session:
        first.always["CONNECT"] = fault
        session.send(ANNA, ERIKA, RAW)
        assert session.host == "mx2.example.org"
        assert fake.arguments[0] == "ehlo kontor.example.org"
    assert len(fake.received) == 1


def test_where_none_lets_us_in_the_last_one_is_heard(impatient: None) -> None:
    with FakeSmtp() as first, direct(free_port(), first) as session:
        first.always["CONNECT"] = "554 5.7.1 listed at a blocklist"
        with pytest.raises(NoConnection, match=r"mx1\.example\.org.*blocklist") as caught:
            session.send(ANNA, ERIKA, RAW)
    assert caught.value.verdict.failure == "policy"
    assert not caught.value.verdict.suppress


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls"))


def test_what_goes_to_strangers_is_encrypted_as_well_as_they_can(
    certificate: Path, impatient: None
) -> None:
    """A certificate that nobody vouches for is better than none (RFC 7435)."""
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(certificate)
    with FakeSmtp(tls=own) as fake, direct(fake) as session:
        session.send(ANNA, ERIKA, RAW)
        assert fake.verbs.count("STARTTLS") == 1
        assert fake.verbs.count("EHLO") == 2
        assert len(fake.received) == 1


@pytest.mark.parametrize("fault", ["no tls", "454 4.7.0 not now", "drop", "nonsense"])
def test_without_the_encryption_that_it_offered_the_mail_still_goes(
    certificate: Path, impatient: None, fault: str
) -> None:
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(certificate)
    with FakeSmtp(tls=own) as fake, direct(fake) as session:
        fake.always["STARTTLS"] = fault
        session.send(ANNA, ERIKA, RAW)
        assert fake.connections == 2
        assert len(fake.received) == 1
