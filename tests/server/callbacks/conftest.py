"""A merchant with a shop and a program of his own that listens on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

import pytest

from server import config
from server.callbacks import service
from server.callbacks.models import Callback, CallbackUrl
from server.callbacks.sending import Sender
from server.db import db
from tests.factories import AT, make_merchant, make_shop
from tests.server.callbacks.receiver import Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.stop()


@pytest.fixture
def allowed(app, monkeypatch):
    """The operator lets loopback be called without TLS."""
    before = config.installed()
    settings = replace(before, allowed_networks=("127.0.0.0/8",), allow_http=True)
    config.install(settings)
    monkeypatch.setitem(app.config, "SETTINGS", settings)
    yield settings
    config.install(before)


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def shop(merchant):
    return make_shop(merchant)


@pytest.fixture
def listening(merchant, receiver, allowed) -> tuple[CallbackUrl, str]:
    """An address of the merchant and its secret."""
    made = service.add_url(merchant.id, receiver.url, shop_id=None, actor="anna", at=AT)
    db.session.commit()
    return made


@pytest.fixture
def url(listening) -> CallbackUrl:
    return listening[0]


@pytest.fixture
def secret(listening) -> str:
    return listening[1]


@pytest.fixture
def post(allowed):
    """One round at a time of the clock's: what is due is sent; returns what came of each."""
    sender = Sender(allowed)

    def post_at(at: datetime) -> list[tuple[Callback, service.Trouble | None]]:
        service.end_what_is_over(at)
        done = []
        for row in Callback.claim(16, at):
            parcel = service.parcel_of(row, at)
            db.session.commit()
            trouble = service.settle(row.id, sender.send(parcel), at)
            db.session.commit()
            done.append((row, trouble))
        return done

    yield post_at
    sender.close()
