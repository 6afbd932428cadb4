"""The receiver of bounces as other mail servers see it, and the reader of a mailbox."""

from __future__ import annotations

import asyncio
import os
import smtplib
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from server import bounces as receiver
from server.config import Settings, WrongSetting, install, installed
from server.db import db, now
from server.mail.delivery import Desk
from server.mail.models import Mail, MailReport
from server.mail.smtp import SmtpSession
from server.mail.suppression import blocked
from server.mail.verp import return_path
from tests.factories import make_merchant, make_order, make_shop
from tests.fakes.one_mail import deliver_mail
from tests.flows.installation import eventually
from tests.server.dashboard.visitor import member
from tests.server.mail.rows import sent_mail

SAMPLES = Path(__file__).parents[2] / "fixtures" / "bounces"
DOMAIN = "bounce.example.org"
DSN = (SAMPLES / "postfix_unknown_user.eml").read_bytes().replace(b"\n", b"\r\n")

pytestmark = pytest.mark.real_commits


@pytest.fixture(autouse=True)
def with_bounce_domain(app):
    before = installed()
    install(replace(before, bounce_domain=DOMAIN))
    yield
    install(before)


@pytest.fixture
def mail(app):
    return sent_mail(make_merchant().id)


def path_of(mail) -> str:
    return return_path(mail.id, installed().secret_key, DOMAIN)


@contextmanager
def listening(app) -> Iterator[int]:
    """The receiver on loopback, in a loop of its own thread; its port."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    listener = asyncio.run_coroutine_threadsafe(receiver.listen(app, "127.0.0.1:0"), loop).result(5)

    async def close() -> None:
        listener.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await loop.shutdown_default_executor()

    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


@pytest.fixture
def port(app) -> Iterator[int]:
    with listening(app) as number:
        yield number


def client(port: int) -> smtplib.SMTP:
    return smtplib.SMTP("127.0.0.1", port, timeout=10)


def reports() -> list[MailReport]:
    db.session.rollback()
    return db.session.query(MailReport).all()


@pytest.mark.feature("S7")
def test_a_bounce_is_taken_and_written_before_the_250(port, mail):
    with client(port) as smtp:
        assert smtp.sendmail("", [path_of(mail)], DSN) == {}
        assert [row.mail_id for row in reports()] == [mail.id]
    db.session.refresh(mail)
    assert mail.delivery == "bounced" and "User unknown" in mail.delivery_words


def test_the_case_of_the_address_does_not_matter(port, mail):
    with client(port) as smtp:
        smtp.sendmail("", [path_of(mail).upper()], DSN)
    assert len(reports()) == 1


@pytest.mark.parametrize(
    "address",
    [
        "erika@example.com",
        "postmaster",
        f"erika@{DOMAIN}",
        f"b+ci.aaaaaaaaaaaaaaaa@{DOMAIN}",
        "",
        "@relay.example.org:erika@example.com",
    ],
)
def test_mail_for_anybody_else_is_refused(port, mail, address):
    with client(port) as smtp:
        smtp.ehlo()
        smtp.mail("bob@example.org")
        code, said = smtp.rcpt(address)
        assert 500 <= code < 560, said
        assert smtp.docmd("DATA")[0] == 503
    assert not reports()


def test_of_two_recipients_only_ours_counts(port, mail):
    with client(port) as smtp:
        refused = smtp.sendmail("", [path_of(mail), "erika@example.com"], DSN)
    assert refused["erika@example.com"][0] == 550
    assert [row.mail_id for row in reports()] == [mail.id]


def test_nobody_hands_in_a_hundred_recipients(port, mail):
    with client(port) as smtp:
        smtp.ehlo()
        smtp.mail("")
        codes = [smtp.rcpt(path_of(mail))[0] for _ in range(receiver.MAX_RECIPIENTS + 1)]
    assert codes == [250] * receiver.MAX_RECIPIENTS + [452]


def test_what_is_too_large_is_refused(port, mail):
    with client(port) as smtp, pytest.raises(smtplib.SMTPException) as refused:
        smtp.sendmail("", [path_of(mail)], DSN + b"x" * 60 + (b"\r\n" + b"x" * 900) * 2_500)
    assert "552" in str(refused.value)
    assert not reports()


def test_while_the_database_is_away_the_other_server_is_asked_to_come_again(port, mail):
    with client(port) as smtp:
        with db.engine.begin() as connection:
            connection.execute(text("alter table mail_report rename to mail_report_away"))
        try:
            with pytest.raises(smtplib.SMTPDataError) as refused:
                smtp.sendmail("", [path_of(mail)], DSN)
        finally:
            with db.engine.begin() as connection:
                connection.execute(text("alter table mail_report_away rename to mail_report"))
        assert refused.value.smtp_code == 451
        smtp.sendmail("", [path_of(mail)], DSN)
    assert len(reports()) == 1


def test_more_connections_than_it_can_serve_are_turned_away(port, mail):
    kept = [client(port) for _ in range(receiver.MAX_CONNECTIONS)]
    with closing(socket.create_connection(("127.0.0.1", port), timeout=10)) as one_more:
        assert one_more.recv(100).startswith(b"421 ")
    kept.pop().quit()
    with client(port) as smtp:
        smtp.sendmail("", [path_of(mail)], DSN)
    for smtp in kept:
        smtp.close()
    assert len(reports()) == 1


def test_every_sample_is_taken(port, app):
    merchant = make_merchant()
    samples = sorted(SAMPLES.glob("*.eml"))
    mails = [sent_mail(merchant.id) for _ in samples]
    with client(port) as smtp:
        for mail, path in zip(mails, samples, strict=True):
            smtp.sendmail("", [path_of(mail)], path.read_bytes() or b"\n")
    assert sorted(row.mail_id for row in reports()) == [mail.id for mail in mails]


def test_a_report_that_overtakes_the_answer_of_the_mail_server_waits_for_it(port, mail):
    mail.status = "running"
    db.session.commit()
    with client(port) as smtp:
        with pytest.raises(smtplib.SMTPDataError) as refused:
            smtp.sendmail("", [path_of(mail)], DSN)
        assert refused.value.smtp_code == 451 and not reports()
        mail.status = "done"
        db.session.commit()
        smtp.sendmail("", [path_of(mail)], DSN)
    assert len(reports()) == 1


@pytest.mark.feature("S7", "S4")
def test_from_the_order_to_the_bounce_on_its_page(app, port, sink):
    merchant = make_merchant()
    anna = member(app, merchant)
    order = make_order(make_shop(merchant))
    mail = db.session.query(Mail).filter_by(order_id=order.id).one()
    with SmtpSession(f"smtp://127.0.0.1:{sink.port}") as session:
        deliver_mail(mail, Desk.of([mail], now()), session)
    mail.succeed(now())
    db.session.commit()
    envelope = sink.received[0]
    assert envelope.mail_from.endswith(f"@{DOMAIN}")
    with client(port) as smtp:
        smtp.sendmail("", [envelope.mail_from], DSN)
    db.session.expire_all()
    assert mail.delivery == "bounced"
    assert "User unknown" in anna.get(f"/mails/{mail.id}").text
    later = sent_mail(merchant.id, recipient=mail.recipient)
    assert blocked([later], now())[later.id].reason == "bounced"


def test_the_process_receives_until_it_is_asked_to_stop(mail, settings):
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    env = {
        **os.environ,
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "KONTOR_SECRET_KEY": settings.secret_key,
        "KONTOR_ENCRYPTION_KEYS": settings.encryption_keys[0],
        "KONTOR_VAR": str(settings.var),
        "KONTOR_BOUNCE_DOMAIN": DOMAIN,
        "KONTOR_BOUNCE_BIND": f"127.0.0.1:{port}",
    }
    command = [sys.executable, "-m", "server", "bounces"]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE) as process:
        try:
            with eventually(lambda: _connected(port), "the receiver answers") as smtp:
                smtp.sendmail("", [path_of(mail)], DSN)
        finally:
            process.terminate()
        assert process.wait(20) == 0, process.stderr.read().decode()
    assert [row.mail_id for row in reports()] == [mail.id]


def _connected(port: int) -> smtplib.SMTP | None:
    try:
        return client(port)
    except OSError:
        return None


# --- a mailbox ----------------------------------------------------------------------------------


class FakeMailbox(socketserver.ThreadingTCPServer):
    """An IMAP server with one mailbox, as far as a reader needs one (RFC 3501)."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, *mails: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Dialogue)
        self.mails = dict(enumerate(mails, 1))
        self.flags: dict[int, set[bytes]] = {uid: set() for uid in self.mails}
        self.drop_before_store = False
        self.log_ins: list[bytes] = []

    @property
    def url(self) -> str:
        return f"imap://bounces:se%20cret@127.0.0.1:{self.server_address[1]}/INBOX"


class _Dialogue(socketserver.StreamRequestHandler):
    server: FakeMailbox

    def handle(self) -> None:
        self.wfile.write(b"* OK ready\r\n")
        for line in self.rfile:
            tag, _, command = line.strip().partition(b" ")
            name = command.split(b" ")[0].upper()
            if name == b"UID":
                name = command.split(b" ")[1].upper()
            if name == b"STORE" and self.server.drop_before_store:
                return
            getattr(self, f"on_{name.decode().lower()}")(command)
            self.wfile.write(tag + b" OK done\r\n")
            if name == b"LOGOUT":
                return

    def say(self, line: bytes) -> None:
        self.wfile.write(b"* " + line + b"\r\n")

    def on_capability(self, _: bytes) -> None:
        self.say(b"CAPABILITY IMAP4rev1")

    def on_login(self, command: bytes) -> None:
        self.server.log_ins.append(command)

    def on_select(self, _: bytes) -> None:
        self.say(b"%d EXISTS" % len(self.server.mails))

    def on_search(self, _: bytes) -> None:
        unseen = [uid for uid, flags in self.server.flags.items() if b"\\Seen" not in flags]
        self.say(b" ".join([b"SEARCH", *(b"%d" % uid for uid in unseen)]))

    def on_fetch(self, command: bytes) -> None:
        uid = int(command.split(b" ")[2])
        raw = self.server.mails[uid]
        self.say(b"%d FETCH (UID %d BODY[]<0> {%d}\r\n%s)" % (uid, uid, len(raw), raw))

    def on_store(self, command: bytes) -> None:
        uid = int(command.split(b" ")[2])
        self.server.flags[uid] |= set(command.partition(b"(")[2].strip(b")").split())

    def on_expunge(self, _: bytes) -> None:
        for uid, flags in list(self.server.flags.items()):
            if b"\\Deleted" in flags:
                del self.server.flags[uid], self.server.mails[uid]

    def on_logout(self, _: bytes) -> None:
        self.say(b"BYE")


@contextmanager
def serving(*mails: bytes) -> Iterator[FakeMailbox]:
    with FakeMailbox(*mails) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join(5)


def addressed(mail, field: str = "Delivered-To") -> bytes:
    return f"{field}: <{path_of(mail)}>\r\n".encode() + DSN


@pytest.mark.feature("S7")
@pytest.mark.parametrize("field", ["Delivered-To", "X-Original-To", "Envelope-To"])
def test_a_mailbox_is_read_and_emptied_of_what_is_ours(app, mail, field):
    private = b"From: bob@example.org\r\nTo: anna@example.org\r\nSubject: hello\r\n\r\nHow are you?"
    with serving(private, addressed(mail, field)) as mailbox:
        assert receiver.read_mailbox(app, mailbox.url) == 1
        assert receiver.read_mailbox(app, mailbox.url) == 0
        assert list(mailbox.mails.values()) == [private]
        assert mailbox.log_ins[0] == b'LOGIN bounces "se cret"'
    assert [row.mail_id for row in reports()] == [mail.id]


def test_a_complaint_in_a_mailbox_is_found_by_the_return_path_that_it_names(app, mail):
    raw = (SAMPLES / "arf_abuse.eml").read_bytes()
    raw = raw.replace(b"To: b+ci.aaaaaaaaaaaaaaaa", b"To: fbl")
    raw = raw.replace(b"b+ci.aaaaaaaaaaaaaaaa@bounce.example.org", path_of(mail).encode())
    with serving(raw) as mailbox:
        assert receiver.read_mailbox(app, mailbox.url) == 1
    assert [(row.mail_id, row.kind) for row in reports()] == [(mail.id, "complaint")]


def test_a_report_of_a_mail_that_is_still_being_sent_stays_unread(app, mail):
    mail.status = "running"
    db.session.commit()
    with serving(addressed(mail)) as mailbox:
        assert receiver.read_mailbox(app, mailbox.url) == 0
        mail.status = "done"
        db.session.commit()
        assert receiver.read_mailbox(app, mailbox.url) == 1


def test_a_report_whose_deletion_failed_is_taken_once(app, mail):
    with serving(addressed(mail)) as mailbox:
        mailbox.drop_before_store = True
        with pytest.raises((OSError, receiver.imaplib.IMAP4.error)):
            receiver.read_mailbox(app, mailbox.url)
        mailbox.drop_before_store = False
        assert receiver.read_mailbox(app, mailbox.url) == 1
        assert not mailbox.mails
    assert len(reports()) == 1


# --- settings -----------------------------------------------------------------------------------

ENV = {
    "DATABASE_URL": "postgresql://kontor@/kontor",
    "REDIS_URL": "redis://127.0.0.1/0",
    "KONTOR_SECRET_KEY": "a secret of thirty-two characters or more",
    "KONTOR_ENCRYPTION_KEYS": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KONTOR_BOUNCE_BIND", "127.0.0.1"),
        ("KONTOR_BOUNCE_MAILBOX", "pop3://bounces:secret@mail.example.org/"),
        ("KONTOR_BOUNCE_MAILBOX", "imaps://mail.example.org/INBOX"),
        ("KONTOR_BOUNCE_MAILBOX", "imaps://bounces:secret@mail.example.org:imap/INBOX"),
        ("KONTOR_BOUNCE_MAILBOX", "imaps://bounces:secret@[mail/INBOX"),
    ],
)
def test_settings_that_cannot_work_are_refused(name, value):
    domain = {"KONTOR_BOUNCE_DOMAIN": DOMAIN}
    with pytest.raises(WrongSetting, match=name):
        Settings.from_env(ENV | domain | {name: value})


@pytest.mark.parametrize("setting", ["KONTOR_BOUNCE_BIND", "KONTOR_BOUNCE_MAILBOX"])
def test_what_comes_back_needs_a_domain(setting):
    value = {
        "KONTOR_BOUNCE_BIND": "127.0.0.1:2525",
        "KONTOR_BOUNCE_MAILBOX": "imaps://bounces:secret@mail.example.org/INBOX",
    }[setting]
    with pytest.raises(WrongSetting, match="KONTOR_BOUNCE_DOMAIN"):
        Settings.from_env(ENV | {setting: value})
    assert Settings.from_env(ENV | {setting: value, "KONTOR_BOUNCE_DOMAIN": DOMAIN})


def test_without_an_address_there_is_nothing_to_run(app):
    with pytest.raises(WrongSetting, match="KONTOR_BOUNCE_DOMAIN"):
        receiver.run(app)
