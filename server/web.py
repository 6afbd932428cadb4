"""The web server: gunicorn with threads, two processes (one per core of a small machine)."""

from __future__ import annotations

from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

from server.app import create_app
from server.config import Settings

PROCESSES = 2
GRACEFUL_SECONDS = 4
TIMEOUT_SECONDS = 60
KEEPALIVE_SECONDS = 30
BACKLOG = 512


class Web(BaseApplication):  # type: ignore[misc]
    """``python -m server web``. Long polls end as soon as a process is asked to stop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        super().__init__()

    def load_config(self) -> None:
        options: dict[str, Any] = {
            "bind": self.settings.bind,
            "workers": PROCESSES,
            "worker_class": "gthread",
            "threads": self.settings.web_threads,
            "graceful_timeout": GRACEFUL_SECONDS,
            "timeout": TIMEOUT_SECONDS,
            "keepalive": KEEPALIVE_SECONDS,
            "backlog": BACKLOG,
            "control_socket_disable": True,
            "loglevel": "warning",
            "limit_request_line": 8190,
            "post_worker_init": end_polls_when_stopping,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return create_app(self.settings)


def end_polls_when_stopping(worker: Any) -> None:
    polls = worker.app.callable.extensions["kontor.polls"]
    polls.is_stopping = lambda: not worker.alive
