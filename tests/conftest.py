"""One Postgres and one Redis a run, one database a test process, one savepoint a test.

Tests marked ``real_commits`` (and those that use ``live_server`` or processes of their own) see
real commits; their tables are emptied afterwards.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.serving import make_server

pytest_plugins = ["tests.feature_marks"]

SOCKETS = "KONTOR_TEST_SOCKETS"


_SERVICES = pytest.StashKey()


LONGEST_FIRST = ("flows", "simulator", "browser", "connectors", "server")
"""Folders by how long their files take: one that begins late would keep everybody waiting."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, and the full counts only where they were asked for."""
    items.sort(key=lambda item: _place(item.path))
    if os.environ.get("KONTOR_TORTURE") == "1":
        return
    for item in items:
        if item.get_closest_marker("torture"):
            item.add_marker(pytest.mark.skip(reason="the full counts: make torture"))


def _place(path: Path) -> int:
    folder = path.relative_to(Path(__file__).parent).parts[0]
    return LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else len(LONGEST_FIRST)


def _start_services(config: pytest.Config) -> None:
    from server import migrations
    from server.embedded import Embedded

    home = Path(tempfile.mkdtemp(prefix="kt-", dir="/tmp"))
    home.chmod(0o755)
    services = Embedded(home, lambda _: None, durable=False)
    services.start()
    os.environ[SOCKETS] = str(services.run)
    migrations.upgrade(services.database_url)
    config.stash[_SERVICES] = (services, home)


def pytest_sessionstart(session: pytest.Session) -> None:
    config = session.config
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    if all("tests/unit" in str(arg) for arg in config.args):
        return
    _start_services(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    found = config.stash.get(_SERVICES, None)
    if found:
        services, home = found
        services.stop()
        shutil.rmtree(home, ignore_errors=True)


def _sockets() -> str:
    if SOCKETS not in os.environ:
        pytest.fail("this test needs the database: run it without restricting to tests/unit")
    return os.environ[SOCKETS]


@pytest.fixture(scope="session")
def database_url(worker_id: str) -> str:
    """A database of this process, copied from the migrated one."""
    sockets = _sockets()
    name = f"kontor_{worker_id}"
    with psycopg.connect(
        host=sockets, user="kontor", dbname="postgres", autocommit=True
    ) as connection:
        connection.execute(f"drop database if exists {name} with (force)")
        connection.execute(f"create database {name} template kontor")
    return f"postgresql+psycopg://kontor@/{name}?host={sockets}"


@pytest.fixture(scope="session")
def redis_url(worker_id: str) -> str:
    number = int(worker_id.removeprefix("gw")) + 1 if worker_id.startswith("gw") else 0
    return f"unix://{_sockets()}/redis.sock?db={number % 16}"


@pytest.fixture(scope="session")
def settings(database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory):
    from server.config import Settings

    return Settings(
        database_url=database_url,
        redis_url=redis_url,
        secret_key="a secret of thirty-two characters or more",
        encryption_keys=("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",),
        var=tmp_path_factory.mktemp("var"),
        mail_from="Kontor <system@kontor.example.org>",
        log="WARNING",
    )


@pytest.fixture(scope="session")
def house(settings) -> Iterator[Flask]:
    from server.app import create_app
    from server.db import db

    app = create_app(settings)
    app.testing = True
    yield app
    with app.app_context():
        db.engine.dispose()


def _commits_for_real(request: pytest.FixtureRequest) -> bool:
    return (
        request.node.get_closest_marker("real_commits") is not None
        or "live_server" in request.fixturenames
    )


@pytest.fixture
def app(house: Flask, request: pytest.FixtureRequest, monkeypatch) -> Iterator[Flask]:
    """The app with its context pushed, and a session whose commits are savepoints."""
    from server.db import db

    house.extensions["kontor.bell"].redis.flushdb()
    with house.app_context():
        if _commits_for_real(request):
            yield house
            db.session.remove()
            _empty_tables()
            return
        with db.engine.connect() as connection:
            outer = connection.begin()
            monkeypatch.setitem(db._app_engines[house], None, connection)
            db.session.remove()
            db.session.configure(join_transaction_mode="create_savepoint")
            yield house
            db.session.remove()
            db.session.configure(join_transaction_mode="conditional_savepoint")
            outer.rollback()


def _empty_tables() -> None:
    from server.db import db

    names = ", ".join(f'"{name}"' for name in db.metadata.tables)
    with db.engine.begin() as connection:
        connection.execute(text(f"truncate {names} restart identity cascade"))


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


class LiveServer:
    """A real HTTP server on loopback, in threads of this process."""

    def __init__(self, app: Flask) -> None:
        self.server = make_server("127.0.0.1", 0, app, threaded=True)
        self.url = f"http://127.0.0.1:{self.server.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


@pytest.fixture
def live_server(app: Flask) -> Iterator[LiveServer]:
    server = LiveServer(app)
    yield server
    server.stop()
