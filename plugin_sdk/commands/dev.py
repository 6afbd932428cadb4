"""`kontor dev`: server, mail catcher, the connector's fake shop, and the agent between them."""

from __future__ import annotations

import importlib
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, Protocol

import plugin_sdk
from plugin_sdk.agent import Agent, Pace
from plugin_sdk.client import Client
from plugin_sdk.connector import Connector
from plugin_sdk.errors import Misconfigured, Temporary

READY_SECONDS = 180.0
PREPARE_SECONDS = 120.0
STOP_SECONDS = 30.0
LOOK_SECONDS = 0.2
COMPARE_SECONDS = 3.0
"""A developer waits for every change; a fake shop does not mind being asked."""


class Fake(AbstractContextManager[Any], Protocol):
    """What `kontor dev` needs of a connector's fake shop."""

    url: str

    def settings(self) -> Mapping[str, Any]: ...

    def add_order(self) -> str: ...


def run_dev(
    connector: type[Connector[Any]],
    directory: Path,
    *,
    checkout: Path | None,
    stop: threading.Event,
    tell: Callable[[str], None],
) -> None:
    """Run until ``stop``. ``directory`` keeps everything; delete it to begin anew.

    Raises Misconfigured where there is no checkout of the server or no fake shop.
    """
    fake_class = fake_of(connector)
    home = find_checkout(checkout)
    directory = directory.resolve()
    with ExitStack() as ends:
        fake = ends.enter_context(fake_class())
        server = _Server(home, directory)
        ends.callback(server.stop)
        ready = server.start(stop)
        demo = server.prepare(connector.name, fake.url)
        agent = Agent(
            connector(fake.settings()),
            Client(str(ready["url"]), demo["shop_key"], stop=stop),
            directory / "dev-agent",
            report=lambda line: None if line.startswith("no webhooks") else tell(line),
            stop=stop,
            pace=Pace(compare_seconds=COMPARE_SECONDS, poll_seconds=2),
        )
        agent.start()
        ends.callback(agent.stop)
        # Not before the shop is known to the server: what is older than that is not managed.
        tell(f"Fake shop  {fake.url}  order {fake.add_order()} is in it")
        tell(f"Kontor     {ready['url']}")
        if "catcher_url" in ready:
            tell(f"E-mails    {ready['catcher_url']}")
        tell(f"Log in     {demo['email']}  {demo['password']}")
        tell("Ctrl-C stops it.")
        while not stop.wait(1):
            server.check()


def fake_of(connector: type[Connector[Any]]) -> Callable[[], Fake]:
    """The class ``Fake<Connector>`` in the connector's ``fake_shop``, or of the SDK's own fakes.

    Raises Misconfigured when there is none.
    """
    package = connector.__module__.rpartition(".")[0] or connector.__module__
    wanted = f"Fake{connector.__name__}"
    for module in (f"{package}.fake_shop", f"plugin_sdk.testing.fake_{connector.name}"):
        try:
            found = getattr(importlib.import_module(module), wanted, None)
        except ModuleNotFoundError as error:
            if error.name not in (module, module.rpartition(".")[0]):
                raise  # the fake is there and misses something else
            continue
        if found is not None and hasattr(found, "settings") and hasattr(found, "add_order"):
            made: Callable[[], Fake] = found
            return made
    raise Misconfigured(
        f"There is no fake shop for {connector.name}: a class {wanted} with settings() and "
        f"add_order() in {package}.fake_shop."
    )


def find_checkout(named: Path | None) -> Path:
    """Where the server's code is: named, here, or beside the SDK. Raises Misconfigured."""
    beside = Path(plugin_sdk.__file__).resolve().parent.parent
    for place in (named,) if named is not None else (Path.cwd(), beside):
        if (place / "server" / "__main__.py").exists():
            return place.resolve()
    raise Misconfigured(
        "There is no checkout of Kontor's server here. Clone it, run `make setup` there, and name "
        "it: kontor dev --checkout PATH"
    )


class _Server:
    """`python -m server run` as a process of its own."""

    def __init__(self, home: Path, directory: Path) -> None:
        self._home = home
        self._directory = directory
        python = home / ".venv" / "bin" / "python"
        self._python = str(python) if python.exists() else sys.executable
        self._env = {**os.environ, "KONTOR_VAR": str(directory)}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, stop: threading.Event) -> Mapping[str, Any]:
        """Start it and wait until it answers; what it says of itself."""
        self._directory.mkdir(parents=True, exist_ok=True)
        ready = self._directory / "ready.json"
        ready.unlink(missing_ok=True)
        command = [self._python, "-m", "server", "run", "--no-demo"]
        with (self._directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                command,
                cwd=self._home,
                env=self._env,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us; we stop it in its turn
            )
        until = time.monotonic() + READY_SECONDS
        while not ready.exists():
            self.check()
            if stop.wait(LOOK_SECONDS) or time.monotonic() > until:
                raise Temporary(f"The server did not start; see {self._directory / 'server.log'}.")
        content: Mapping[str, Any] = json.loads(ready.read_text(encoding="utf-8"))
        return content

    def prepare(self, system: str, shop_url: str) -> Mapping[str, str]:
        """A merchant with a shop and a key for it, made once; they are kept in demo.json."""
        path = self._directory / "demo.json"
        kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        wanted = {"password": secrets.token_urlsafe(9), **kept}
        wanted |= {"system": system, "shop_url": shop_url}
        path.touch(0o600)
        path.write_text(json.dumps(wanted), encoding="utf-8")
        done = subprocess.run(  # noqa: S603 - our own program
            [self._python, "-m", "server", "prepare-demo"],
            cwd=self._home,
            env=self._env,
            capture_output=True,
            timeout=PREPARE_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise Temporary(f"The server could not be prepared: {done.stderr[-400:].decode()}")
        prepared: Mapping[str, str] = json.loads(path.read_text(encoding="utf-8"))
        return prepared

    def check(self) -> None:
        """Raises Temporary when it has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            raise Temporary(f"The server has ended; see {self._directory / 'server.log'}.")

    def stop(self) -> None:
        """End it, and wait for it."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
