"""What the relay is compared to: aiosmtpd as it comes, a file and an fsync for each mail.

STARTTLS and AUTH as there, with any password. ``python -m bench.bare_relay PORT PEM DIRECTORY``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import sys
from itertools import count
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult


class Keep:
    def __init__(self, directory: Path) -> None:
        self.directory, self.numbers = directory, count(1)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        number = next(self.numbers)
        with (self.directory / f"{number}.eml").open("xb") as file:
            file.write(envelope.content)
            file.flush()
            os.fsync(file.fileno())
        return f"250 2.0.0 Ok: queued as {number}"


def main(port: int, pem: Path, directory: Path) -> None:
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)

    keep = Keep(directory)

    def protocol() -> SMTP:
        return SMTP(
            keep,
            hostname="bare.example.org",
            data_size_limit=32 * 1024 * 1024,
            tls_context=tls,
            require_starttls=True,
            auth_required=True,
            authenticator=lambda *_: AuthResult(success=True),
        )

    async def serve() -> None:
        listener = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", port)
        await listener.serve_forever()

    asyncio.run(serve())


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
