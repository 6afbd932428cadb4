"""The relay and its worker as programs of their own, on the database of this test."""

from __future__ import annotations

import os
import smtplib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Flask

from server.children import started_at
from tests.fakes.smtp_server import free_port
from tests.flows.installation import eventually, is_gone
from tests.server.relay.systems import System, any_tls

TIMEOUT_SECONDS = 120


class Program:
    """``python -m server …`` with the settings of ``app``; started again after ``kill``."""

    def __init__(self, app: Flask, *command: str, **env: str) -> None:
        settings = app.config["SETTINGS"]
        outside = ("DATABASE_URL", "REDIS_URL", "SMTP_URL")
        kept = {n: v for n, v in os.environ.items() if n not in outside and "KONTOR" not in n}
        self.command = [sys.executable, "-m", "server", *command]
        self.log = Path(tempfile.mkstemp(suffix=".log", dir=settings.var)[1])
        self.env = kept | {
            "DATABASE_URL": settings.database_url,
            "REDIS_URL": settings.redis_url,
            "KONTOR_SECRET_KEY": settings.secret_key,
            "KONTOR_ENCRYPTION_KEYS": " ".join(settings.encryption_keys),
            "KONTOR_VAR": str(settings.var),
            "KONTOR_MAIL_FROM": "Kontor <system@kontor.example.org>",
            "KONTOR_CHECK_DOMAINS": "no",
            **env,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        """SIGKILL, and wait until it is dead."""
        assert self.process is not None
        began = started_at(self.pid)
        self.process.kill()
        eventually(lambda: is_gone(self.pid, began), "its end")
        self.process.wait()

    def end(self) -> None:
        """SIGTERM, as a supervisor would."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def said(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def peak_bytes(self) -> int:
        """The most memory that it has had (VmHWM)."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        [line] = [one for one in lines if one.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024


class Relay(Program):
    """Listening on ``port`` when ``start`` returns."""

    def __init__(self, app: Flask, **env: str) -> None:
        self.port = free_port()
        bind = f"127.0.0.1:{self.port}"
        super().__init__(app, "relay", KONTOR_RELAY_BIND=bind, **env)

    def start(self) -> None:
        super().start()
        eventually(self._answers, "the relay listens")

    def _answers(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.said()
        try:
            with smtplib.SMTP("127.0.0.1", self.port, timeout=TIMEOUT_SECONDS) as smtp:
                return smtp.noop()[0] == 250
        except OSError:
            return False


@contextmanager
def running(app: Flask, **env: str) -> Iterator[Relay]:
    relay = Relay(app, **env)
    try:
        relay.start()
        yield relay
    finally:
        relay.end()


@contextmanager
def delivering(app: Flask, **env: str) -> Iterator[Program]:
    """A worker for deliveries; the relay rings for it."""
    worker = Program(app, "worker", "relay_delivery", **env)
    try:
        worker.start()
        yield worker
    finally:
        worker.end()


def log_in(port: int, system: System) -> smtplib.SMTP:
    """As ``systems.connect``, with patience for large mails on a busy machine."""
    smtp = smtplib.SMTP("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        smtp.starttls(context=any_tls())
        smtp.login(system.user, system.password)
    except BaseException:
        smtp.close()
        raise
    return smtp


def body_of(raw: bytes) -> bytes:
    return raw.partition(b"\r\n\r\n")[2]


def lines_of(size: int, seed: int = 0) -> bytes:
    """So many bytes of lines that differ from one another, as of an attachment; all whole."""
    tail = b"abcdefghij" * 6 + b"\r\n"
    start = b"%08d" % seed
    return b"".join(b"%b%08d%b" % (start, number, tail) for number in range(size // 78))
