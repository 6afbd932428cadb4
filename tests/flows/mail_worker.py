"""A mail worker that is there again in a moment after it was killed: forked, not started.

Each line that it reads begins one; it prints the number of that process. Ends on SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from server.app import create_app
from server.config import Settings
from server.jobs import work


def main() -> None:
    app = create_app(Settings.from_env())
    child = 0

    def end(*_: Any) -> None:
        if child > 0:
            os.kill(child, signal.SIGKILL)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    while sys.stdin.readline():
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            work(app, "mail")
            os._exit(0)
        print(child, flush=True)  # noqa: T201  read by the test
        os.waitpid(child, 0)
        child = 0


if __name__ == "__main__":
    main()
