"""The text of a PDF that a stranger has sent, read where it can do no harm (N26).

A file of its own because it runs as a program: a child with little memory and time, without
our secrets, which is killed when it takes too long. Our side only gets text.
"""

from __future__ import annotations

import io
import logging
import os
import resource
import subprocess
import sys
from typing import Final

MAX_TEXT: Final = 100_000
MAX_PAGES: Final = 5
CPU_SECONDS: Final = 5
WALL_SECONDS: Final = 8
MEMORY_BYTES: Final = 512 * 1024**2
PASSED_ON: Final = ("PATH", "PYTHONPATH")
"""Of our environment; the child knows none of its secrets."""


class Unreadable(ValueError):
    """No PDF, a broken or locked one, or one that took too long."""


def text_of(content: bytes) -> str:
    """The text of its first pages, "" for one of pictures alone. Raises Unreadable."""
    try:
        child = subprocess.run(
            [sys.executable, "-m", "server.orders.proof_text"],
            input=content,
            capture_output=True,
            timeout=WALL_SECONDS,
            env={name: os.environ[name] for name in PASSED_ON if name in os.environ},
            check=True,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as failure:
        raise Unreadable(type(failure).__name__) from None
    return child.stdout.decode("utf-8", "replace")[:MAX_TEXT]


def main() -> int:
    """Stdin to stdout; any exit but 0 means that it cannot be read."""
    _limit_ourselves()
    from pypdf import PdfReader

    logging.disable(logging.CRITICAL)
    reader = PdfReader(io.BytesIO(sys.stdin.buffer.read()))
    if reader.is_encrypted and not reader.decrypt(""):
        return 3
    pages = (page.extract_text() for page in reader.pages[:MAX_PAGES])
    sys.stdout.buffer.write("\n".join(pages)[:MAX_TEXT].encode("utf-8", "replace"))
    return 0


def _limit_ourselves() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


if __name__ == "__main__":
    sys.exit(main())
