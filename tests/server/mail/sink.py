"""A mail server on loopback that fails wherever it is told to."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session


@dataclass
class Sink:
    """aiosmtpd with answers to order: ``answers["RCPT"] = ["550 5.1.1 nobody", ...]``."""

    answers: dict[str, list[str]] = field(default_factory=dict)
    drop_after: str | None = None
    starttls: ssl.SSLContext | None = None
    received: list[Envelope] = field(default_factory=list)
    connections: int = 0
    verbs: list[str] = field(default_factory=list)
    port: int = 0

    def _answer(self, server: SMTP, verb: str, good: str) -> str:
        self.verbs.append(verb)
        if self.drop_after == verb:
            self.drop_after = None
            transport: Any = server.transport
            transport.abort()
        queued = self.answers.get(verb, [])
        return queued.pop(0) if queued else good

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        answer = self._answer(server, "MAIL", "250 OK")
        if not answer.startswith("2"):
            envelope.mail_from = None
        return answer

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self._answer(server, "RCPT", "250 OK")
        if answer.startswith("2"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        answer = self._answer(server, "DOT", f"250 2.0.0 Ok: queued as {len(self.received)}")
        if answer.startswith("2"):
            self.received.append(envelope)
        return answer

    async def handle_RSET(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        return self._answer(server, "RSET", "250 OK")

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        return self._answer(server, "QUIT", "221 Bye")

    def protocol(self) -> SMTP:
        self.connections += 1

        class Told(SMTP):
            async def smtp_DATA(told, arg: str | None) -> None:
                answer = self._answer(told, "DATA", "")
                if answer:
                    await told.push(answer)
                else:
                    await super().smtp_DATA(arg)

            async def smtp_EHLO(told, hostname: str | None) -> None:
                answer = self._answer(told, "EHLO", "")
                if answer:
                    await told.push(answer)
                else:
                    await super().smtp_EHLO(hostname)

        def authenticate(*_: Any) -> AuthResult:
            return AuthResult(success=not self.answers.get("AUTH"), handled=False)

        return Told(
            self,
            hostname="sink.example.org",
            decode_data=False,
            auth_require_tls=False,
            authenticator=authenticate,
            tls_context=self.starttls,
            require_starttls=self.starttls is not None,
        )


@contextmanager
def running(sink: Sink, *, tls: ssl.SSLContext | None = None) -> Iterator[Sink]:
    """Serves on a free port in a thread; ``tls`` encrypts from the start."""
    loop = asyncio.new_event_loop()
    listener = loop.run_until_complete(loop.create_server(sink.protocol, "127.0.0.1", 0, ssl=tls))
    sink.port = listener.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield sink
    finally:
        asyncio.run_coroutine_threadsafe(_stop(listener), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _stop(listener: asyncio.Server) -> None:
    listener.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
