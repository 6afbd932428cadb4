"""The one place where everything is plugged together."""

from __future__ import annotations

import logging

from flask import Flask, Request, Response
from flask.sessions import NullSession, SessionInterface, SessionMixin
from redis import Redis
from sqlalchemy import text
from werkzeug.middleware.proxy_fix import ProxyFix

from server import api, customer, dashboard, visitors
from server.banking import models as _banking
from server.callbacks import models as _callbacks
from server.collection import models as _collection
from server.config import Settings, install
from server.db import db
from server.dunning import models as _dunning
from server.jobs import Bell
from server.letters import models as _letters
from server.mail import models as _mail
from server.matching import models as _matching
from server.merchants import models as _merchants
from server.orders import models as _orders
from server.refunds import models as _refunds
from server.relay import models as _relay
from server.shops import models as _shops
from server.work import listen

TABLES = (
    _merchants, _shops, _mail, _letters, _banking, _callbacks, _orders, _matching, _dunning,
    _refunds, _collection, _relay,
)  # fmt: skip
"""Every table must be known before the first query, whichever process this is."""

REDIS_SECONDS = 2


def create_app(settings: Settings) -> Flask:
    """The application, for web, workers, clock and commands alike."""
    logging.basicConfig(
        level=settings.log, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    install(settings)
    app = Flask("server")
    app.config.update(
        SETTINGS=settings,
        SECRET_KEY=settings.secret_key,
        SQLALCHEMY_DATABASE_URI=settings.database_url,
        MAX_CONTENT_LENGTH=api.MAX_BODY_BYTES,
    )
    if settings.url.startswith("https://"):  # behind a proxy that ends TLS
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1)  # type: ignore[method-assign]
    app.session_interface = NoCookieSession()
    db.init_app(app)
    redis = Redis.from_url(
        settings.redis_url, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS
    )
    bell = Bell(redis)
    app.extensions["kontor.bell"] = bell
    listen(bell.ring)
    app.add_url_rule("/health", "health", health)
    visitors.register(app)
    api.register(app)
    dashboard.register(app)
    customer.register(app)
    return app


class NoCookieSession(SessionInterface):
    """Log-ins are rows (server/merchants): Flask's signed cookie is neither read nor written."""

    def open_session(self, app: Flask, request: Request) -> SessionMixin:
        return NullSession()

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Nothing to save."""


def health() -> dict[str, str]:
    """For load balancers and the supervisor: this process answers and so does the database."""
    db.session.execute(text("select 1"))
    return {"status": "ok"}
