"""The mail catcher: what comes in by SMTP can be seen, and nothing in it can do anything."""

from __future__ import annotations

import os
import re
import signal
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from flask.testing import FlaskClient

from server import catcher
from server.catcher import Mailbox, create_web
from server.mail.rules import build_mime, compose, mailbox
from server.mail.smtp import SmtpSession
from tests.unit.mail.samples import facts_for, theme_for

ROOT = Path(__file__).parents[3]
HOSTILE = b"""From: "<script>alert(1)</script>" <bob@example.org>\r
To: erika@example.org\r
Subject: <img src=x onerror=alert(1)> =?utf-8?q?=3Cb=3E?=\r
X-Raw: \xff\xfe<i>\r
Content-Type: text/plain\r
\r
<script>alert(2)</script> see https://example.org/a?b=1&c="x".\r
"""


def payment_mail(number: int = 1) -> bytes:
    return build_mime(
        compose("payment_information", "de", facts_for("payment_information", "de"), theme_for("")),
        sender=mailbox("shop@example.org", "Annas Antiquariat"),
        recipient=mailbox("erika@example.org", "Erika Mustermann"),
        reply_to=None,
        message_id=f"<{number}@example.org>",
        date=datetime(2026, 11, 14, 9, 30, tzinfo=UTC),
        extra_headers={},
    )


@pytest.fixture
def kept(tmp_path: Path) -> Mailbox:
    return Mailbox(tmp_path / "mails")


@pytest.fixture
def web(kept: Mailbox) -> FlaskClient:
    return create_web(kept).test_client()


def test_listed_newest_first(kept: Mailbox, web: FlaskClient) -> None:
    ids = [kept.keep("shop@example.org", ["erika@example.org"], payment_mail(n)) for n in (1, 2)]
    listed = web.get("/api/messages").get_json()
    assert [mail["id"] for mail in listed] == ids[::-1]
    assert listed[1] == {
        "id": ids[0],
        "from": "Annas Antiquariat <shop@example.org>",
        "to": "Erika Mustermann <erika@example.org>",
        "subject": "Zahlungsinformationen zu Ihrer Bestellung 10482",
        "date": "Sat, 14 Nov 2026 09:30:00 +0000",
        "message_id": "<1@example.org>",
    }
    assert Mailbox(kept.directory).ids() == ids[::-1]


def test_one_mail_in_full(kept: Mailbox, web: FlaskClient) -> None:
    name = kept.keep("shop@example.org", ["erika@example.org"], payment_mail())
    mail = web.get(f"/api/messages/{name}").get_json()
    assert mail["inline"] == ["girocode.png"]
    assert "K4WX7P9MQ2" in mail["text"]
    assert "K4WX7P9MQ2" in mail["html"]
    assert web.get(f"/messages/{name}/raw").data.endswith(payment_mail())
    assert web.get(f"/messages/{name}/inline/0").data.startswith(b"\x89PNG")
    html = web.get(f"/messages/{name}/html")
    assert f'src="/messages/{name}/inline/0"' in html.text
    assert "sandbox allow-popups" in html.headers["Content-Security-Policy"]
    page = web.get(f"/messages/{name}").text
    assert 'sandbox="allow-popups' in page
    assert "shop@example.org&gt; to erika@example.org" in page


def test_nothing_in_a_mail_becomes_part_of_the_page(kept: Mailbox, web: FlaskClient) -> None:
    name = kept.keep("bob@example.org", ["erika@example.org"], HOSTILE)
    for address in ("/", f"/messages/{name}"):
        answer = web.get(address)
        assert answer.status_code == 200
        assert "<script" not in answer.text
        assert "<img" not in answer.text
        assert "<i>" not in answer.text
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
    page = web.get(f"/messages/{name}").text
    assert '<a href="https://example.org/a?b=1&amp;c=" target="_blank"' in page
    raw = web.get(f"/messages/{name}/raw")
    assert raw.content_type.startswith("text/plain")
    assert raw.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\r\n\r\n",
        b"no header at all",
        b"Content-Type: multipart/alternative\r\n\r\nnothing",
        b"Content-Type: text/html; charset=klingon\r\nSubject: =?klingon?b?x?=\r\n\r\n\xff",
        b"Subject: \xff\xfe\r\nFrom: <<<>>\r\nDate: never\r\nTo: \r\n\r\nx",
        b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nx",
    ],
)
def test_broken_mails_are_still_shown(kept: Mailbox, web: FlaskClient, content: bytes) -> None:
    name = kept.keep("", ["erika@example.org"], content)
    assert len(web.get("/api/messages").get_json()) == 1
    for address in ("/", f"/messages/{name}", f"/messages/{name}/html", f"/api/messages/{name}"):
        assert web.get(address).status_code == 200


def test_deleting(kept: Mailbox, web: FlaskClient) -> None:
    for number in range(3):
        kept.keep("shop@example.org", ["erika@example.org"], payment_mail(number))
    assert web.delete("/api/messages").get_json() == {"deleted": 3}
    assert web.get("/api/messages").get_json() == []
    assert list(kept.directory.iterdir()) == []
    assert "No mail yet" in web.get("/").text
    kept.keep("shop@example.org", ["erika@example.org"], payment_mail())
    assert web.post("/clear").headers["Location"] == "/"
    assert kept.ids() == []


def test_the_oldest_make_room(kept: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catcher, "MAX_MESSAGES", 3)
    ids = [kept.keep("", ["erika@example.org"], b"x") for _ in range(5)]
    assert kept.ids() == ids[:1:-1]
    assert sorted(path.stem for path in kept.directory.iterdir()) == ids[2:]


def test_pages_of_the_inbox(
    kept: Mailbox, web: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catcher, "MESSAGES_A_PAGE", 2)
    for number in range(5):
        kept.keep("", ["erika@example.org"], b"Subject: Nummer %d\r\n\r\nx" % number)
    seen, address = [], "/"
    while address:
        page = web.get(address).text
        seen += re.findall(r"Nummer (\d)", page)
        older = re.search(r'href="(/\?from=\d+)"', page)
        address = older[1] if older else ""
    assert seen == ["4", "3", "2", "1", "0"]


@pytest.mark.parametrize("name", ["..", "1", "0" * 20 + "-000000", "%2e%2e%2fx"])
def test_only_kept_mails_are_found(web: FlaskClient, name: str) -> None:
    for address in (f"/messages/{name}", f"/messages/{name}/raw", f"/api/messages/{name}"):
        assert web.get(address).status_code == 404


def test_other_sites_are_kept_out(kept: Mailbox, web: FlaskClient) -> None:
    kept.keep("", ["erika@example.org"], b"x")
    assert web.get("/", headers={"Host": "rebound.example.org"}).status_code == 403
    foreign = {"Origin": "https://example.org"}
    assert web.delete("/api/messages", headers=foreign).status_code == 403
    assert web.post("/clear", headers={"Origin": "null"}).status_code == 403
    assert len(kept.ids()) == 1
    assert web.post("/clear", headers={"Origin": "http://localhost"}).status_code == 302


@dataclass
class Running:
    smtp_port: int
    url: str
    process: subprocess.Popen[str]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with _start(tmp_path) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(
            r"mail catcher: smtp://127\.0\.0\.1:(\d+) (http://127\.0\.0\.1:\d+)\n", line
        )
        try:
            assert found, line
            yield Running(int(found[1]), found[2], process)
        finally:
            process.terminate()


def test_a_mail_on_its_whole_way(running: Running) -> None:
    with SmtpSession(f"smtp://127.0.0.1:{running.smtp_port}") as session:
        assert "kept as" in session.send("shop@example.org", "erika@example.org", payment_mail())
    (mail,) = requests.get(f"{running.url}/api/messages", timeout=10).json()
    assert mail["message_id"] == "<1@example.org>"


def test_long_lines_and_too_large_mails(running: Running) -> None:
    with smtplib.SMTP("127.0.0.1", running.smtp_port) as smtp:
        smtp.sendmail("a@example.org", ["b@example.org"], b"Subject: x\r\n\r\n" + b"y" * 20_000)
        code, _ = smtp.docmd("MAIL", f"FROM:<a@example.org> SIZE={41 * 1024 * 1024}")
        assert code == 552
    assert len(requests.get(f"{running.url}/api/messages", timeout=10).json()) == 1


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_ends_when_told(running: Running, sign: signal.Signals) -> None:
    with smtplib.SMTP("127.0.0.1", running.smtp_port) as idle:
        idle.ehlo()
        running.process.send_signal(sign)
        assert running.process.wait(10) == 0
    assert running.process.stderr is not None
    assert running.process.stderr.read() == ""


def test_a_taken_port_is_said(running: Running, tmp_path: Path) -> None:
    for option in ("--smtp", "--http"):
        port = running.smtp_port if option == "--smtp" else running.url.rpartition(":")[2]
        with _start(tmp_path, option, str(port)) as second:
            assert second.wait(10) == 1
            assert second.stderr is not None
            assert str(port) in second.stderr.read()


def _start(directory: Path, *more: str) -> subprocess.Popen[str]:
    ports = ["--smtp", "0", "--http", "0", "--directory", str(directory / "mails")]
    return subprocess.Popen(
        [sys.executable, "-m", "server.catcher", *ports, *more],
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "error"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
