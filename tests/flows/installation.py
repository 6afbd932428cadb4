"""A real installation: ``python -m server run`` in a directory of its own, seen from outside."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from flask import Flask
from sqlalchemy import text

from server import config, work
from server.app import create_app
from server.children import started_at
from server.clock import release
from server.config import Settings, read_runtime
from server.db import db, now
from server.work import LEASE

T = TypeVar("T")
PATIENCE_SECONDS = 90.0
LOOK_SECONDS = 0.05


def eventually(look: Callable[[], T], what: str, seconds: float = PATIENCE_SECONDS) -> T:
    """Look until it is true; the patience is only there to end a test that failed."""
    until = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < until, f"{what}: not within {seconds:.0f} s, at last {found!r}"
        time.sleep(LOOK_SECONDS)


@contextmanager
def own_turn() -> Iterator[None]:
    """Installations of the test processes begin one after the other: two that look for free ports
    at the same moment may choose the same ones."""
    with (Path(tempfile.gettempdir()) / "kontor-tests-start.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Installation:
    """Started, stopped and killed like a person would; ``env`` adds settings."""

    def __init__(self, *arguments: str, **env: str) -> None:
        self.var = Path(tempfile.mkdtemp(prefix="kf-", dir="/tmp"))
        self.var.chmod(0o755)
        self.arguments, self.env = arguments, env
        self.process: subprocess.Popen[bytes] | None = None
        self.began = 0.0

    def command(self) -> dict[str, Any]:
        """What to give to Popen for one more start of this installation."""
        outside = ("DATABASE_URL", "REDIS_URL", "SMTP_URL")
        env = {
            name: value
            for name, value in os.environ.items()
            if name not in outside and not name.startswith("KONTOR_")
        }
        env |= {"KONTOR_VAR": str(self.var), "KONTOR_BIND": "127.0.0.1:0"}
        env |= {"KONTOR_CHECK_DOMAINS": "no", **self.env}  # no test asks the DNS of the machine
        return {
            "args": [sys.executable, "-m", "server", "run", *self.arguments],
            "env": env,
            "stdin": subprocess.DEVNULL,
            "start_new_session": True,
        }

    def start(self) -> Installation:
        self.began = time.time()
        with own_turn(), (self.var / "supervisor.log").open("ab") as log:
            self.process = subprocess.Popen(**self.command(), stdout=log, stderr=log)
            eventually(self._is_ready, "the start")
        return self

    def _is_ready(self) -> bool:
        assert self.process is not None
        said = (self.var / "supervisor.log").read_text(errors="replace")
        assert self.process.poll() is None, f"it ended:\n{said[-2000:]}"
        ready = self.var / "ready.json"  # perhaps still the one of a supervisor that was killed
        return ready.exists() and ready.stat().st_mtime >= self.began

    @property
    def ready(self) -> dict[str, Any]:
        return json.loads((self.var / "ready.json").read_text())

    def pids(self) -> dict[str, int]:
        """Name to process, as the supervisor has it now."""
        return {name: pid for name, pid, _ in json.loads((self.var / "children.json").read_text())}

    def kill(self, name: str) -> None:
        """SIGKILL, and wait until it is dead. The supervisor will start it again."""
        pid = self.pids()[name]
        start = started_at(pid)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: is_gone(pid, start), f"the end of {name}")

    def interrupt(self) -> float:
        """Ctrl-C; the seconds it took to end."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(60) == 0
        return time.monotonic() - began

    def kill_supervisor(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def left(self) -> list[str]:
        return processes_of(self.var)

    def remove(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.var, ignore_errors=True)

    # --- asking it

    def api(self, method: str, path: str, headers: dict[str, str], body: Any = None) -> Any:
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        request = urllib.request.Request(
            f"{self.ready['url']}/api/v1/{path}",
            content,
            {**headers, "Content-Type": kind},
            method=method,
        )

        def answer() -> Any:
            try:
                with urllib.request.urlopen(request, timeout=30) as response:
                    assert response.status < 300
                    return json.loads(response.read())
            except urllib.error.HTTPError as refused:
                if refused.code != 503:  # "for a moment; please repeat", as any client does
                    raise AssertionError(f"{refused.code}: {refused.read()!r}") from refused
            return None

        return eventually(answer, f"an answer to {method} {path}")

    @contextmanager
    def inside(self) -> Iterator[Flask]:
        """The application of this process on the database of that one."""
        kept = list(work._bell), list(config._installed)
        app = create_app(Settings.from_env(read_runtime(self.var)))
        try:
            with app.app_context():
                yield app
                db.session.remove()
                db.engine.dispose()
        finally:
            work._bell[:], config._installed[:] = kept

    def value(self, query: str, **values: Any) -> Any:
        """One value from the database, as it is now. Needs ``inside``."""
        found = db.session.execute(text(query), values).scalar()
        db.session.rollback()
        return found

    def let_leases_end(self, table: str) -> None:
        """What a dead worker held: its lease is over now, and the clock releases it."""
        aged = text(f"update {table} set claimed_at = claimed_at - :l where status = 'running'")
        db.session.execute(aged, {"l": LEASE})
        db.session.commit()
        release(now())


def processes_of(directory: Path) -> list[str]:
    """Every process whose environment names it: children and grandchildren of a supervisor."""
    mark, found = str(directory).encode(), []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in path.read_bytes():
                command = path.with_name("cmdline").read_bytes().replace(b"\0", b" ")
                found.append(f"{path.parent.name} {command.decode(errors='replace')}")
        except OSError:
            continue  # gone, or none of ours
    return found


def is_gone(pid: int, start: str | None) -> bool:
    """No such process any more; one that nobody has waited for yet counts as gone."""
    if start is None or started_at(pid) != start:
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
