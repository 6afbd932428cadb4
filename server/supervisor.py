"""``python -m server run``: everything on one machine, under one process that watches it.

Starts Postgres and Redis (unless URLs name others), migrates, then web, workers, clock, a mail
catcher (unless SMTP_URL is set) and the demo shop with its agent. What ends is started again, a
little later each time. Ctrl-C or SIGTERM stops all of it and nothing else.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from server.children import Child, remember
from server.config import (
    RUNTIME,
    WrongSetting,
    check_bind,
    create_secrets,
    psycopg_url,
    write_runtime,
)
from server.embedded import CannotStart, Embedded

LOOK_SECONDS = 0.2
STOP_SECONDS = 6.0
READY_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
STEADY_SECONDS = 30.0
PORTS_TRIED = 50
MIGRATE_SECONDS = 600
WORKERS = (
    "mail",
    "statement",
    "match_request",
    "payment_update",
    "bank_connection",
    "dunning_run",
    "sending_domain",
    "shop_connection",
    "callback",
    "partner",
    "relay_delivery",
)
LOG_LIMIT_BYTES = 10 * 1024 * 1024
READY = "ready.json"


@dataclass
class Program:
    """One of our own processes: how to start it, and how it has fared."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    child: Child | None = None
    started: float = 0.0
    pause: float = FIRST_PAUSE_SECONDS
    restart_at: float = 0.0
    restarts: int = 0


class Supervisor:
    """Starts, watches, stops. Uses no threads: children are forked here."""

    def __init__(self, var: Path) -> None:
        self.var = var.absolute()
        self.env = dict(os.environ)
        self.services: Embedded | None = None
        self.programs: list[Program] = []
        self.stopping = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask_to_stop)

    def _ask_to_stop(self, _: int, __: FrameType | None) -> None:
        self.stopping = True

    # --- starting

    def start_services(self) -> None:
        """Postgres, Redis and the secrets, as far as nobody named others."""
        own_postgres = not self.env.get("DATABASE_URL")
        own_redis = not self.env.get("REDIS_URL")
        self.services = Embedded(self.var, say)
        for name in (RUNTIME, READY):  # of one that was killed: they point nowhere now
            (self.var / name).unlink(missing_ok=True)
        if own_postgres:
            say("starting Postgres")
        if own_redis:
            say("starting Redis")
        self.services.start(postgres=own_postgres, redis=own_redis)
        if own_postgres:
            self.env["DATABASE_URL"] = self.services.database_url
            made = create_secrets(self.var / "secrets")
            self.env = {**made, **self.env}
        else:
            self.env["DATABASE_URL"] = psycopg_url(self.env["DATABASE_URL"])
        if own_redis:
            self.env["REDIS_URL"] = self.services.redis_url
        self._remember()

    def choose_address(self) -> None:
        """KONTOR_BIND, or the next free port after it."""
        host, wanted = check_bind(self.env.get("KONTOR_BIND") or "127.0.0.1:8000")
        port = free_port(host, wanted)
        if wanted and port != wanted:
            say(f"port {wanted} is taken, using {port}")
        bind = f"{host}:{port}"
        self.env["KONTOR_BIND"] = bind
        self.env.setdefault("KONTOR_URL", f"http://{bind}")
        self.env["KONTOR_VAR"] = str(self.var)

    def migrate(self) -> None:
        say("bringing the database up to date")
        self.once(["migrate"], MIGRATE_SECONDS)

    def once(self, arguments: Sequence[str], seconds: float) -> None:
        """One of our commands, to its end. Raises CannotStart with what it said."""
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "server", *arguments],
            env=self.env, capture_output=True, check=False, timeout=seconds,
            start_new_session=True,
        )  # fmt: skip
        if done.returncode != 0:
            raise CannotStart(f"{arguments[0]} failed:\n{done.stderr.decode()[-3000:]}")

    def add(self, name: str, command: Sequence[str], **env: str) -> None:
        self.programs.append(Program(name, command, env))

    def add_server(self, name: str, *arguments: str) -> None:
        self.add(name, [sys.executable, "-m", "server", *arguments])

    def start(self, program: Program) -> None:
        path = self.var / "log" / f"{program.name}.log"
        if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
            path.replace(path.with_suffix(".log.1"))
        with path.open("ab") as log:
            program.child = Child(
                program.name, program.command, env={**self.env, **program.env}, log=log
            )
        program.started = time.monotonic()
        self._remember()

    def start_all(self) -> None:
        for program in self.programs:
            if program.child is None:
                self.start(program)

    def programs_running(self) -> list[Child]:
        return [program.child for program in self.programs if program.child]

    def services_running(self) -> list[Child]:
        return self.services.children() if self.services else []

    def _remember(self) -> None:
        running = [*self.programs_running(), *self.services_running()]
        remember(running, self.var / "children.json")

    # --- watching

    def watch(self) -> None:
        """Until we are asked to stop."""
        while not self.stopping:
            time.sleep(LOOK_SECONDS)
            if self.services is not None:
                before = self.services.children()
                self.services.restart_dead()
                if self.services.children() != before:
                    self._remember()
            for program in self.programs:
                self._watch(program)

    def _watch(self, program: Program) -> None:
        at = time.monotonic()
        if program.child is not None:
            if program.child.is_running():
                return
            code = program.child.process.returncode
            steady = at - program.started > STEADY_SECONDS
            program.pause = FIRST_PAUSE_SECONDS if steady else program.pause
            program.restart_at = at + program.pause
            program.pause = min(program.pause * 2, LONGEST_PAUSE_SECONDS)
            program.child.stop(0)
            program.child = None
            say(f"{program.name} ended ({code}); see {self.var}/log/{program.name}.log")
        if at >= program.restart_at:
            program.restarts += 1
            self.start(program)

    def wait_for_web(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        address = f"{local_url(self.env['KONTOR_BIND'])}/health"
        while not self.stopping:
            if answers(address):
                return
            for program in self.programs:
                if program.child is not None and not program.child.is_running():
                    log = self.var / "log" / f"{program.name}.log"
                    tail = log.read_text(errors="replace")[-2000:]
                    raise CannotStart(f"{program.name} did not start; {log} ends with:\n{tail}")
            if time.monotonic() > deadline:
                raise CannotStart("the web server does not answer")
            time.sleep(LOOK_SECONDS / 2)

    # --- stopping

    def stop(self) -> None:
        """All at once, then the services they need."""
        children = self.programs_running()
        for child in children:
            child.ask_to_stop()
        deadline = time.monotonic() + STOP_SECONDS
        for child in children:
            child.stop(deadline - time.monotonic())
        if self.services is None:
            return  # without the lock these files are another supervisor's
        for name in ("children.json", RUNTIME, READY):
            (self.var / name).unlink(missing_ok=True)
        self.services.stop()


def run(*, with_demo: bool = True, second_shop: str | None = None) -> int:
    """The exit code: 0 after Ctrl-C, 1 if it cannot start.

    ``second_shop``: the shop system of one more demo shop, which Kontor talks to itself.
    """
    var = Path(os.environ.get("KONTOR_VAR") or "var")
    outside = bool(os.environ.get("DATABASE_URL"))
    supervisor = Supervisor(var)
    try:
        supervisor.choose_address()
        supervisor.start_services()
        supervisor.migrate()
        _plan(supervisor)
        demo = _plan_demo(supervisor, second_shop) if with_demo and not outside else None
        write_runtime(supervisor.var, _runtime(supervisor.env))
        say("starting web, workers and clock")
        supervisor.start_all()
        supervisor.wait_for_web()
        _tell(supervisor, demo)
        supervisor.watch()
    except (CannotStart, WrongSetting) as problem:
        print(f"Kontor cannot start: {problem}", file=sys.stderr)
        return 1
    finally:
        if supervisor.services is not None:
            say("stopping")
        supervisor.stop()
    return 0


def _plan(supervisor: Supervisor) -> None:
    """What runs in every installation."""
    env = supervisor.env
    if not env.get("SMTP_URL"):
        smtp, http = free_port("127.0.0.1", 1025), free_port("127.0.0.1", 8025)
        env["SMTP_URL"] = f"smtp://127.0.0.1:{smtp}"
        env["KONTOR_CATCHER_URL"] = f"http://127.0.0.1:{http}"
        mails = str(supervisor.var / "mails")
        supervisor.add_server(
            "catcher", "catcher", "--smtp", str(smtp), "--http", str(http), "--directory", mails
        )
    supervisor.add_server("web", "web")
    for kind in WORKERS:
        supervisor.add_server(f"worker-{kind}", "worker", kind)
    supervisor.add_server("clock", "clock")
    if not (env.get("KONTOR_RELAY_BIND") or env.get("KONTOR_RELAY_TLS_BIND")):
        env["KONTOR_RELAY_BIND"] = f"127.0.0.1:{free_port('127.0.0.1', 2587)}"
    supervisor.add_server("relay", "relay")
    if env.get("KONTOR_BOUNCE_BIND") or env.get("KONTOR_BOUNCE_MAILBOX"):
        supervisor.add_server("bounces", "bounces")


def _plan_demo(supervisor: Supervisor, second_shop: str | None) -> dict[str, str]:
    """A merchant, a WooCommerce shop on loopback and the agent beside it; perhaps a second shop."""
    from server.demo import agent_env, second_shop_command, shop_command

    # The demo's shops are on this machine, where shops of strangers must not lead.
    supervisor.env.setdefault("KONTOR_ALLOWED_NETWORKS", "127.0.0.0/8")
    supervisor.env.setdefault("KONTOR_ALLOW_HTTP", "yes")

    shop, hook = free_port("127.0.0.1", 8080), free_port("127.0.0.1", 8090)
    path = supervisor.var / "demo.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    demo = {
        "password": secrets.token_urlsafe(9),
        "webhook_secret": secrets.token_hex(16),
        **kept,
        "shop_url": f"http://127.0.0.1:{shop}",
        "hook_url": f"http://127.0.0.1:{hook}",
    }
    demo.pop("second_url", None)
    if second_shop:
        demo["second_system"] = second_shop
        demo["second_url"] = f"http://127.0.0.1:{free_port('127.0.0.1', 8100)}"
    _write_private(path, demo)
    if not kept:
        say("creating the demo merchant")
    supervisor.once(["prepare-demo"], MIGRATE_SECONDS)
    prepared: dict[str, str] = json.loads(path.read_text())
    supervisor.add("shop", shop_command(prepared, supervisor.var))
    agent = [sys.executable, "-m", "plugin_sdk.cli", "run", "--listen", f"127.0.0.1:{hook}"]
    if second_shop:
        supervisor.add(f"shop-{second_shop}", second_shop_command(prepared, supervisor.var))
    env = agent_env(prepared, local_url(supervisor.env["KONTOR_BIND"]), supervisor.var)
    supervisor.add("agent", agent, **env)
    return prepared


def _write_private(path: Path, content: Mapping[str, object]) -> None:
    path.touch(0o600)
    path.write_text(json.dumps(content))


def _runtime(env: Mapping[str, str]) -> dict[str, str]:
    names = ("DATABASE_URL", "REDIS_URL", "SMTP_URL")
    return {
        name: value for name, value in env.items() if name in names or name.startswith("KONTOR_")
    }


def _tell(supervisor: Supervisor, demo: Mapping[str, str] | None) -> None:
    env = supervisor.env
    lines = [f"Kontor     {env['KONTOR_URL']}"]
    ready = {"url": env["KONTOR_URL"]}
    if "KONTOR_CATCHER_URL" in env:
        lines.append(f"Mails      {env['KONTOR_CATCHER_URL']}")
        ready["catcher_url"] = env["KONTOR_CATCHER_URL"]
    if demo is not None:
        lines += [
            f"Demo shop  {demo['shop_url']}",
            *([f"           {demo['second_url']}"] if "second_url" in demo else []),
            f"Log in     {demo['email']}  {demo['password']}",
        ]
        ready |= demo
    else:
        lines.append("Log in     python -m server merchant add NAME EMAIL prints a link")
    told = "\n".join(f"  {line}" for line in lines)
    print(f"\n{told}\n\n  Ctrl-C stops it.\n", flush=True)
    running = [*supervisor.services_running(), *supervisor.programs_running()]
    path = supervisor.var / READY
    processes = {child.name: child.pid for child in running}
    _write_private(path.with_suffix(".new"), {**ready, "processes": processes})
    path.with_suffix(".new").replace(path)


# --- small things ------------------------------------------------------------------------------


def say(text: str) -> None:
    print(f"· {text}", flush=True)


def free_port(host: str, wanted: int) -> int:
    """``wanted`` if nobody has it, else the next free one; 0 = any."""
    for port in range(wanted, wanted + PORTS_TRIED) if wanted else (0,):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise CannotStart(f"no free port from {wanted} on")


def local_url(bind: str) -> str:
    """How a process on this machine reaches the web server."""
    host, port = check_bind(bind)
    host = "127.0.0.1" if host in {"0.0.0.0", "::", ""} else host  # noqa: S104  not bound, asked
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310  our own
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
