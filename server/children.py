"""Child processes that end with us.

Each child leads a session of its own, so the terminal's Ctrl-C reaches the supervisor alone, and
asks the kernel for a signal when its parent dies (PR_SET_PDEATHSIG, Linux), so that a killed
supervisor leaves nothing running. What is left all the same (another system, a grandchild) is
ended by the next start, which finds it in the list of children and proves it by its start time.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1
STOP_SECONDS = 5.0


@dataclass(frozen=True)
class Owner:
    """The user a child runs as; None of it = as we do."""

    uid: int
    gid: int


class Child:
    """One running process. ``stop_signal`` asks it to end; after that it is killed."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        log: IO[bytes],
        stop_signal: signal.Signals = signal.SIGTERM,
        owner: Owner | None = None,
    ) -> None:
        self.name = name
        self.stop_signal = stop_signal
        parent = os.getpid()
        libc = ctypes.CDLL(None) if sys.platform == "linux" else None

        def end_with_parent() -> None:
            if libc is not None:
                libc.prctl(PR_SET_PDEATHSIG, int(stop_signal))
                if os.getppid() != parent:  # it died before the kernel knew our wish
                    os._exit(1)

        self.process = subprocess.Popen(  # noqa: S603  our own commands
            [str(part) for part in command],
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            user=owner.uid if owner else None,
            group=owner.gid if owner else None,
            extra_groups=[] if owner else None,
            preexec_fn=end_with_parent,  # noqa: PLW1509  no threads run in the supervisor
            cwd="/" if owner else None,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def is_running(self) -> bool:
        return self.process.poll() is None

    def ask_to_stop(self) -> None:
        if self.is_running():
            self.process.send_signal(self.stop_signal)

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Ask, wait, then kill the child and whatever it started."""
        self.ask_to_stop()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(max(seconds, 0.1))
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()


def started_at(pid: int) -> str | None:
    """The kernel's start time of a process: with the pid it names one process for good."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[19]


def remember(children: Sequence[Child], path: Path) -> None:
    """Write the list that ``end_leftovers`` reads after a crash."""
    listed = [[child.name, child.pid, started_at(child.pid)] for child in children]
    new = path.with_suffix(".new")
    new.write_text(json.dumps(listed))
    new.replace(path)


def end_leftovers(path: Path) -> list[str]:
    """Kill what an earlier supervisor left, if it provably is what the list says."""
    try:
        listed = json.loads(path.read_text())
    except (OSError, ValueError):
        return []
    ended = []
    for name, pid, start in listed:
        if start is not None and started_at(pid) == start:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
                ended.append(f"{name} (pid {pid})")
    path.unlink(missing_ok=True)
    return ended
