"""Programs that people send with, against the relay and its worker as programs of their own.

Each mail arrives at a mail server on loopback with the body that was handed over, byte for byte,
and dkimpy, which knows nothing of us, finds its signature right. A client that is not on this
machine is skipped; ``KONTOR_TEST_NODEMAILER`` is the folder of the package Nodemailer.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from functools import cache
from pathlib import Path

import dkim
import pytest

from server.config import install
from server.mail import domains
from tests.fakes.smtp_server import FakeSmtp
from tests.flows.installation import eventually
from tests.server.relay.programs import Relay, body_of, delivering, lines_of, log_in, running
from tests.server.relay.systems import DOMAIN, System, deliveries, make_system

pytestmark = [
    pytest.mark.real_commits,
    pytest.mark.feature("S87", "S93", "S94", "S101"),
]
FROM, TO = f"buchung@{DOMAIN}", "erika@example.com"
LARGE_BYTES = 29_000_000
MAX_CONTENT_BYTES = 32 * 1024 * 1024
SECONDS = 300


@dataclass(frozen=True)
class World:
    """The relay, its worker, and the mail server that all mails go to."""

    system: System
    relay: Relay
    sink: FakeSmtp
    directory: Path


@pytest.fixture
def world(app, tmp_path) -> Iterator[World]:
    before, system = app.config["SETTINGS"], make_system()
    with FakeSmtp(max_content_bytes=MAX_CONTENT_BYTES) as sink:
        url = f"smtp://127.0.0.1:{sink.port}"
        env = {"KONTOR_RELAY_SMTP_URL": url, "KONTOR_RELAY_HOST": "relay.example.net"}
        install(replace(before, relay_smtp_url=url))
        with running(app, **env) as relay, delivering(app, **env):
            yield World(system, relay, sink, tmp_path)
    install(before)


@cache
def samples() -> dict[str, bytes]:
    """Name, which is its subject too, to the mail; lines end with CRLF."""
    return {
        "plain": _mail("plain", b"text/plain; charset=us-ascii", b"Ihre Buchung ist da.\r\n"),
        "html": _html(),
        "attachments": _attachments(),
        "8bit": _mail(
            "8bit",
            b"text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit",
            "Grüße aus Köln\r\n\r\n  \r\n.\r\n..zwei Punkte\r\n\tTab und Leerzeichen \r\n".encode(),
        ),
        "long lines": _mail(
            "long lines",
            b"text/html; charset=us-ascii",
            b"<p>" + b"lang " * 600 + b"\r\n" + b"x" * 20_000 + b"</p>\r\n",
        ),
        "29 MB": _mail("29 MB", b"text/plain; charset=us-ascii", lines_of(LARGE_BYTES)),
    }


def _mail(subject: str, kind: bytes, body: bytes) -> bytes:
    head = (
        f"From: Buchung <{FROM}>\r\nTo: {TO}\r\nSubject: {subject}\r\n"
        "Date: Mon, 02 Mar 2026 10:00:00 +0100\r\nMIME-Version: 1.0\r\nContent-Type: "
    )
    return head.encode() + kind + b"\r\n\r\n" + body


def _message(subject: str) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"], message["Subject"] = FROM, TO, subject
    message.set_content("Ihre Buchung ist da. Grüße!\n")
    return message


def _html() -> bytes:
    message = _message("html")
    message.add_alternative("<p>Ihre Buchung ist <b>da</b>. Grüße!</p>\n", subtype="html")
    return message.as_bytes()


def _attachments() -> bytes:
    message = _message("attachments")
    content = bytes(range(256)) * 300
    message.add_attachment(content, "application", "octet-stream", filename="Rechnung März.bin")
    message.add_attachment(_html(), "application", "octet-stream", filename="mail.eml")
    return message.as_bytes()


def arrive_untouched(world: World, sent: dict[str, bytes]) -> None:
    """All of them, each once; waits for them."""
    eventually(lambda: len(world.sink.received) >= len(sent), "all mails", SECONDS)
    eventually(lambda: {one.status for one in deliveries()} == {"done"}, "their outcomes")
    [key] = [one for one in domains.keys_of(world.system.domain) if one.status == "current"]
    record = f"v=DKIM1; k=rsa; p={key.public_key}".encode()
    wanted = f"{key.selector}._domainkey.{DOMAIN}.".encode()
    arrived: dict[str, bytes] = {}
    for one in world.sink.received:
        assert one.recipients == (TO,)
        subject = str(message_from_bytes(one.content.partition(b"\r\n\r\n")[0])["Subject"])
        arrived[subject] = body_of(one.content)
        assert dkim.verify(
            one.content, dnsfunc=lambda name, timeout=5: record if name == wanted else b""
        ), subject
    assert len(world.sink.received) == len(arrived)
    assert arrived.keys() == sent.keys()
    for subject, raw in sent.items():
        assert arrived[subject] == body_of(raw), subject


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*command: str | Path, stdin: Path | None = None, **env: str) -> None:
    """Raises with what it said, if it failed."""
    with (stdin or Path(os.devnull)).open("rb") as given:
        ended = subprocess.run(
            [str(one) for one in command],
            stdin=given,
            capture_output=True,
            timeout=SECONDS,
            env=os.environ | env,
            check=False,
        )
    assert ended.returncode == 0, (ended.stdout + ended.stderr)[-2000:].decode("utf-8", "replace")


def files_of(
    world: World, line_end: bytes = b"\n", *, last_end: bool = True
) -> Iterator[tuple[str, Path]]:
    """The samples as files, as programs read them; without ``last_end`` they add the last one."""
    for number, (name, raw) in enumerate(samples().items()):
        path = world.directory / f"{number}.eml"
        text = raw if last_end else raw.removesuffix(b"\r\n")
        path.write_bytes(text.replace(b"\r\n", line_end))
        yield name, path


# --- the programs -------------------------------------------------------------------------------


def test_smtplib(world):
    with log_in(world.relay.port, world.system) as smtp:
        for raw in samples().values():
            assert smtp.sendmail(FROM, [TO], raw, ["BODY=8BITMIME"]) == {}
    arrive_untouched(world, samples())


def test_swaks(world):
    swaks = program("swaks")
    for _, path in files_of(world, last_end=False):
        run(
            swaks,
            *("--server", "127.0.0.1", "--port", str(world.relay.port), "--tls", "--silent", "2"),
            *("--auth", "LOGIN", "--auth-user", world.system.user),
            *("--auth-password", world.system.password, "--timeout", str(SECONDS)),
            *("--from", FROM, "--to", TO, "--data", f"@{path}"),
        )
    arrive_untouched(world, samples())


def test_msmtp(world):
    msmtp, settings = program("msmtp"), _msmtprc(world)
    for _, path in files_of(world):
        run(msmtp, "-C", settings, TO, stdin=path)
    arrive_untouched(world, samples())


def test_phps_mail_through_msmtp(world):
    """What ``mail()`` is given: recipient, subject, the rest of the head, and the body."""
    php, sendmail = program("php"), f"{program('msmtp')} -C {_msmtprc(world)} -t"
    script = world.directory / "mail.php"
    script.write_text(_PHP)
    for name, path in files_of(world, last_end=False):
        run(php, "-d", f"sendmail_path={sendmail}", "-d", "memory_limit=512M", script, name, path)
    arrive_untouched(world, samples())


def test_nodemailer(world):
    """Finished mails, and one that it composes itself."""
    node, package = program("node"), os.environ.get("KONTOR_TEST_NODEMAILER")
    if package is None:
        pytest.skip("KONTOR_TEST_NODEMAILER names no folder with Nodemailer")
    script = world.directory / "mail.cjs"
    script.write_text(_NODE)
    paths = [path for _, path in files_of(world, b"\r\n")]
    composed = world.directory / "composed.eml"
    run(
        node,
        script,
        *(package, str(world.relay.port), FROM, TO, composed, *paths),
        RELAY_USER=world.system.user,
        RELAY_PASSWORD=world.system.password,
    )
    arrive_untouched(world, samples() | {"composed": composed.read_bytes()})


def _msmtprc(world: World) -> Path:
    """It refuses a file with a password that others may read."""
    path = world.directory / "msmtprc"
    path.touch(0o600)
    path.write_text(
        f"defaults\nhost 127.0.0.1\nport {world.relay.port}\nfrom {FROM}\ntimeout {SECONDS}\n"
        "tls on\ntls_starttls on\ntls_certcheck off\nauth plain\n"
        f"user {world.system.user}\npassword {world.system.password}\naccount default\n"
    )
    return path


_PHP = r"""<?php
[, $subject, $path] = $argv;
[$head, $body] = explode("\n\n", file_get_contents($path), 2);
preg_match('/^To: (.*)$/m', $head, $to);
$head = preg_replace('/^(To|Subject): .*\n/m', '', $head . "\n");
exit(mail($to[1], $subject, $body, rtrim(str_replace("\n", "\r\n", $head))) ? 0 : 1);
"""

_NODE = r"""
const [, , folder, port, from, to, composed, ...paths] = process.argv;
const fs = require('fs');
const nodemailer = require(folder);
const transport = nodemailer.createTransport({
  host: '127.0.0.1', port: Number(port), requireTLS: true, tls: { rejectUnauthorized: false },
  auth: { user: process.env.RELAY_USER, pass: process.env.RELAY_PASSWORD },
});
(async () => {
  const build = nodemailer.createTransport({
    streamTransport: true, buffer: true, newline: 'windows',
  });
  const built = await build.sendMail({
    from, to, subject: 'composed', text: 'Grüße', html: '<p>Grüße</p>',
    attachments: [{ filename: 'Rechnung.txt', content: 'Grüße\n'.repeat(5000) }],
  });
  fs.writeFileSync(composed, built.message);
  for (const path of [...paths, composed]) {
    await transport.sendMail({ envelope: { from, to }, raw: fs.readFileSync(path) });
  }
  transport.close();
})();
"""
