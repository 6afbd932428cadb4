"""How long the relay lets a waiting client wait: NOOP every 100 ms, in a process of its own.

``python -m tests.server.relay.probe PORT`` until its stdin is closed; prints how many answers there
were, and the seconds of the longest.
"""

from __future__ import annotations

import select
import smtplib
import sys
import time

PAUSE_SECONDS = 0.1


def main(port: int) -> None:
    longest, count = 0.0, 0
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as smtp:
        while not select.select([sys.stdin], [], [], PAUSE_SECONDS)[0]:
            began = time.monotonic()
            assert smtp.noop()[0] == 250
            longest, count = max(longest, time.monotonic() - began), count + 1
    print(count, f"{longest:.3f}")  # noqa: T201  read by the test


if __name__ == "__main__":
    main(int(sys.argv[1]))
