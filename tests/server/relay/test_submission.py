"""The relay's mail server as other systems meet it."""

from __future__ import annotations

import base64
import smtplib
import socket
from datetime import datetime

import pytest

from server.db import db, now
from server.relay import connections
from server.relay.intake import MAX_MESSAGE_BYTES
from server.relay.models import RelayConnection
from tests.server.relay.systems import (
    DOMAIN,
    System,
    a_mail,
    any_tls,
    connect,
    deliveries,
    listening,
    make_system,
    messages,
    prove,
)

pytestmark = pytest.mark.real_commits
FROM = f"buchung@{DOMAIN}"
TO = "erika@example.com"


@pytest.fixture
def system(app):
    return make_system()


@pytest.fixture
def port(app, system):
    with listening(app) as number:
        yield number


def talk(smtp: smtplib.SMTP, raw: bytes) -> bytes:
    """Send raw bytes in the place of what the library would, and read one answer."""
    smtp.sock.sendall(raw)
    return smtp.getreply()[1]


def last_used_at(system: System) -> datetime | None:
    db.session.rollback()
    row = db.session.get_one(RelayConnection, system.connection.id, populate_existing=True)
    return row.last_used_at


@pytest.mark.feature("S87", "S101")
def test_a_mail_is_kept_byte_for_byte_before_the_250(port, system):
    raw = a_mail("Zeile mit Ümlaut\r\n.\r\n..\r\n" + "x" * 5000)
    with connect(port, system) as smtp:
        assert smtp.sendmail(FROM, [TO, "max@example.com"], raw) == {}
        [row] = messages()
    assert row.content == raw and row.size_bytes == len(raw)
    assert (row.header_from, row.domain, row.origin) == (FROM, DOMAIN, "smtp")
    assert row.subject == "Ihre Buchung für März" and row.message_id.startswith("<buchung-1@")
    assert [one.recipient for one in deliveries()] == [TO, "max@example.com"]
    assert {one.status for one in deliveries()} == {"queued"}


@pytest.mark.feature("S93")
@pytest.mark.parametrize("command", ["AUTH PLAIN AGEAYg==", f"MAIL FROM:<{FROM}>", "VRFY erika"])
def test_nothing_goes_without_starttls(port, command):
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as smtp:
        smtp.ehlo("kasse.example.org")
        assert "auth" not in smtp.esmtp_features and "starttls" in smtp.esmtp_features
        code, words = smtp.docmd(command)
    assert code == 530 and b"STARTTLS" in words


@pytest.mark.feature("S93")
@pytest.mark.parametrize("command", [f"MAIL FROM:<{FROM}>", f"RCPT TO:<{TO}>", "DATA"])
def test_nothing_goes_without_a_log_in(port, command):
    with connect(port) as smtp:
        smtp.ehlo("kasse.example.org")
        assert smtp.docmd(command)[0] == 530


def test_a_wrong_password_is_none(port, system):
    with connect(port) as smtp, pytest.raises(smtplib.SMTPAuthenticationError) as refused:
        smtp.login(system.user, "falsch")
    assert refused.value.smtp_code == 535


def test_who_guesses_too_often_is_not_asked_any_more(port, system, monkeypatch):
    monkeypatch.setattr("server.submission.SECONDS_AFTER_FAILURE", 0)
    with connect(port) as smtp:
        smtp.ehlo()
        wrong = base64.b64encode(f"\0{system.user}\0falsch".encode()).decode()
        answers = [smtp.docmd("AUTH", f"PLAIN {wrong}")[0] for _ in range(21)]
        right = base64.b64encode(f"\0{system.user}\0{system.password}".encode()).decode()
        assert answers == [535] * 20 + [421]
        assert smtp.docmd("AUTH", f"PLAIN {right}")[0] == 421


@pytest.mark.feature("S92")
def test_the_old_password_holds_for_a_day(app, port, system):
    row = db.session.merge(system.connection)
    new = connections.new_password(row, now())
    db.session.commit()
    for password in (system.password, new):
        with connect(port) as smtp:
            smtp.login(system.user, password)
    connections.end_old_password(row)
    db.session.commit()
    with connect(port) as smtp, pytest.raises(smtplib.SMTPAuthenticationError):
        smtp.login(system.user, system.password)


@pytest.mark.feature("S93")
def test_only_domains_of_the_connection_may_be_in_from(port, system):
    with connect(port, system) as smtp:
        with pytest.raises(smtplib.SMTPDataError) as refused:
            smtp.sendmail(FROM, [TO], a_mail(sender="chef@other.example.com"))
        assert refused.value.smtp_code == 550 and b"/relay/help" in refused.value.smtp_error
        assert last_used_at(system) is None
        assert smtp.sendmail("anything@other.example.com", [TO], a_mail()) == {}
    assert len(messages()) == 1
    assert last_used_at(system) is not None


@pytest.mark.feature("S93")
def test_without_the_key_in_the_dns_nothing_is_taken(app, system):
    domain = db.session.merge(system.domain)
    prove(domain, "missing")
    db.session.commit()
    with (
        listening(app) as port,
        connect(port, system) as smtp,
        pytest.raises(smtplib.SMTPDataError) as refused,
    ):
        smtp.sendmail(FROM, [TO], a_mail())
    assert b"DKIM" in refused.value.smtp_error and messages() == []


@pytest.mark.feature("S95")
def test_a_paused_connection_takes_nothing(app, system):
    connections.pause(db.session.merge(system.connection), now())
    db.session.commit()
    with (
        listening(app) as port,
        connect(port, system) as smtp,
        pytest.raises(smtplib.SMTPDataError) as refused,
    ):
        smtp.sendmail(FROM, [TO], a_mail())
    assert b"paused" in refused.value.smtp_error


@pytest.mark.feature("S94")
def test_30_mb_and_no_more(port, system):
    head = a_mail("")
    line = b"x" * 76 + b"\r\n"
    fits = head + line * ((MAX_MESSAGE_BYTES - len(head)) // len(line))
    with connect(port, system) as smtp:
        assert f"size {MAX_MESSAGE_BYTES}" in smtp.ehlo_resp.decode().lower()
        assert smtp.sendmail(FROM, [TO], fits) == {}
        with pytest.raises(smtplib.SMTPSenderRefused) as refused:
            smtp.sendmail(FROM, [TO], fits + line * 20_000)
        assert refused.value.smtp_code == 552
        smtp.esmtp_features.pop("size")
        with pytest.raises(smtplib.SMTPDataError) as after:
            smtp.sendmail(FROM, [TO], fits + line * 20_000)
        assert after.value.smtp_code == 552
        assert smtp.sendmail(FROM, [TO], a_mail()) == {}
    assert [row.size_bytes for row in messages()] == [len(fits), len(a_mail())]


@pytest.mark.parametrize(
    "end", [b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r", b"\r\n\x00.\r\n"]
)
def test_no_second_mail_is_smuggled_in(port, system, end):
    second = b"MAIL FROM:<chef@other.example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"
    with connect(port, system) as smtp:
        smtp.docmd(f"MAIL FROM:<{FROM}>")
        smtp.docmd(f"RCPT TO:<{TO}>")
        assert smtp.docmd("DATA")[0] == 354
        smtp.sock.sendall(a_mail("Text") + end + second + a_mail("zwei") + b"\r\n.\r\n")
        assert smtp.getreply()[0] == 250
        assert smtp.docmd("NOOP")[0] == 250
    [row] = messages()
    assert b"MAIL FROM:<chef@other.example.com>" in row.content


@pytest.mark.parametrize("start", [b"\n", b"\n\n", b"\r\n\n", b".\n", b"\r\r\n\n"])
def test_a_dot_behind_a_bare_line_end_at_the_start_ends_nothing(port, system, start):
    with connect(port, system) as smtp:
        smtp.docmd(f"MAIL FROM:<{FROM}>")
        smtp.docmd(f"RCPT TO:<{TO}>")
        smtp.docmd("DATA")
        second = b"MAIL FROM:<chef@other.example.com>\r\nNOOP\r\n"
        smtp.sock.sendall(start + b".\r\n" + second + b"\r\n.\r\n")
        assert smtp.getreply()[0] == 550
        code, answer = smtp.docmd("QUIT")
    assert code == 221, answer


@pytest.mark.parametrize(
    "content", [b"\r\n", b".", b"..", b"\r\n.\r\n..", b"a", b"\n", b".x", b"\r\n\r\n"]
)
def test_mails_that_are_none_are_refused_and_the_dialogue_goes_on(port, system, content):
    stuffed = b"." + content if content.startswith(b".") else content
    stuffed = stuffed.replace(b"\r\n.", b"\r\n..")
    with connect(port, system) as smtp:
        smtp.docmd(f"MAIL FROM:<{FROM}>")
        smtp.docmd(f"RCPT TO:<{TO}>")
        smtp.docmd("DATA")
        smtp.sock.sendall(stuffed + b"\r\n.\r\n")
        assert smtp.getreply()[0] == 550
        assert smtp.sendmail(FROM, [TO], a_mail()) == {}


def test_a_line_without_end_before_the_mail_ends_the_dialogue(port, system):
    with connect(port, system) as smtp:
        smtp.docmd(f"MAIL FROM:<{FROM}>")
        smtp.docmd(f"RCPT TO:<{TO}>")
        smtp.docmd("DATA")
        with pytest.raises((smtplib.SMTPServerDisconnected, OSError)):
            smtp.sock.sendall(b"." + b"x" * 600_000 + b"\r\nNOOP\r\n")
            smtp.getreply()
            smtp.docmd("NOOP")
    assert messages() == []


def test_an_empty_mail_ends_at_its_dot(port, system):
    with connect(port, system) as smtp:
        smtp.docmd(f"MAIL FROM:<{FROM}>")
        smtp.docmd(f"RCPT TO:<{TO}>")
        smtp.docmd("DATA")
        smtp.sock.sendall(b".\r\n")
        assert smtp.getreply()[0] == 550
        assert smtp.docmd("NOOP")[0] == 250


def test_pipelined_commands_are_answered_in_turn(port, system):
    with connect(port, system) as smtp:
        assert smtp.has_extn("pipelining")
        stuffed = a_mail("..\r\nEnde").replace(b"\r\n.", b"\r\n..")
        smtp.sock.sendall(
            f"MAIL FROM:<{FROM}>\r\nRCPT TO:<{TO}>\r\nDATA\r\n".encode()
            + stuffed + b".\r\n"
            + f"MAIL FROM:<{FROM}>\r\nRCPT TO:<{TO}>\r\nQUIT\r\n".encode()
        )  # fmt: skip
        codes = [smtp.getreply()[0] for _ in range(7)]
    assert codes == [250, 250, 354, 250, 250, 250, 221]
    assert messages()[0].content == a_mail("..\r\nEnde")


def test_starttls_discards_what_was_said_before_it(port):
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as smtp:
        smtp.ehlo()
        smtp.sock.sendall(b"STARTTLS\r\nNOOP\r\n")
        assert smtp.getreply()[0] == 220
        smtp.sock = any_tls().wrap_socket(smtp.sock)
        smtp.file = None
        assert smtp.ehlo()[0] == 250
        smtp.sock.settimeout(0.3)
        with pytest.raises(socket.timeout):
            smtp.sock.recv(1)
        smtp.sock.settimeout(20)


@pytest.mark.parametrize(
    "address",
    [
        "erika%other.example@example.com",
        '"erika@other.example"@example.com',
        "@relay.example,@other.example:erika@example.com",
        "other.example!erika@example.com",
        "erika@other.example@example.com",
        "erika@[127.0.0.1]",
        "erika",
        "",
    ],
)
def test_no_way_to_somewhere_else(port, system, address):
    with connect(port, system) as smtp:
        smtp.docmd(f"MAIL FROM:<{FROM}>")
        assert smtp.docmd(f"RCPT TO:<{address}>")[0] in (501, 553)


def test_smtputf8_is_refused_clearly(port, system):
    with connect(port, system) as smtp:
        code, words = smtp.docmd(f"MAIL FROM:<{FROM}> SMTPUTF8")
        assert code == 555 and b"not supported" in words


def test_a_hundred_recipients(port, system):
    with connect(port, system) as smtp:
        smtp.docmd(f"MAIL FROM:<{FROM}>")
        codes = [smtp.docmd(f"RCPT TO:<erika{n}@example.com>")[0] for n in range(101)]
    assert codes == [250] * 100 + [452]


def test_a_port_that_speaks_tls_from_the_start(app, system):
    with (
        listening(app, is_tls=True) as port,
        smtplib.SMTP_SSL("127.0.0.1", port, timeout=20, context=any_tls()) as smtp,
    ):
        smtp.login(system.user, system.password)
        assert smtp.sendmail(FROM, [TO], a_mail()) == {}
    assert len(messages()) == 1


def test_a_database_that_is_away_loses_nothing(app, port, system, monkeypatch):
    from sqlalchemy.exc import OperationalError

    with connect(port, system) as smtp:
        with monkeypatch.context() as broken:

            def away(*_, **__):
                raise OperationalError("select 1", {}, Exception("away"))

            broken.setattr("server.relay.intake.accept", away)
            with pytest.raises(smtplib.SMTPDataError) as refused:
                smtp.sendmail(FROM, [TO], a_mail())
            assert refused.value.smtp_code == 451
        assert smtp.sendmail(FROM, [TO], a_mail()) == {}
    assert len(messages()) == 1


@pytest.mark.parametrize(
    ("name", "sender"),
    [("kas\0se", FROM), ("kas\x1b[31mse", FROM), ("kasse", f"a\0b@{DOMAIN}"), ("kasse", "")],
)
def test_what_a_client_calls_itself_cannot_keep_its_mail_out(port, system, name, sender):
    with connect(port) as smtp:
        smtp.helo_resp = smtp.docmd("EHLO", name)[1]
        plain = base64.b64encode(f"\0{system.user}\0{system.password}".encode()).decode()
        assert smtp.docmd("AUTH", f"PLAIN {plain}")[0] == 235
        smtp.docmd(f"MAIL FROM:<{sender}>")
        smtp.docmd(f"RCPT TO:<{TO}>")
        assert smtp.docmd("DATA")[0] == 354
        smtp.sock.sendall(a_mail() + b".\r\n")
        assert smtp.getreply()[0] == 250
    [row] = messages()
    assert (row.client_name, row.sender) == tuple(
        word.replace("\0", "?").replace("\x1b", "?") for word in (name, sender)
    )


def test_nonsense_ends_the_dialogue_and_nothing_is_said_of_it(port, caplog):
    with connect(port) as smtp:
        smtp.ehlo("kasse.example.org")
        smtp.sock.sendall(b"LOREM\r\n" * 20)
        codes = []
        with pytest.raises(smtplib.SMTPServerDisconnected):
            while True:
                codes.append(smtp.getreply()[0])
        assert codes == [500] * 4 + [502]
    assert not [one for one in caplog.records if one.levelname == "ERROR"]
