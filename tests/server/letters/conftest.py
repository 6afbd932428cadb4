"""A merchant, and his print service on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from server import config
from server.db import db, now
from server.letters import service, services
from server.letters.models import Letter
from tests.factories import make_merchant
from tests.fakes.print_service import FakePrintService
from tests.unit.letters.samples import LOOK, RECIPIENT, SEPA, facts_of


@pytest.fixture
def allowed(app, monkeypatch, tmp_path):
    """The operator lets loopback be called without TLS; files go to a folder of this test."""
    before = config.installed()
    settings = replace(before, allowed_networks=("127.0.0.0/8",), allow_http=True, var=tmp_path)
    config.install(settings)
    monkeypatch.setitem(app.config, "SETTINGS", settings)
    yield settings
    config.install(before)


@pytest.fixture
def merchant(app, allowed):
    return make_merchant()


@pytest.fixture
def printer() -> Iterator[FakePrintService]:
    with FakePrintService() as running:
        yield running


@pytest.fixture
def queue(merchant):
    """Queue a letter that is due, with anything about it changed."""

    def queued(once: str = "order:1:reminder", **changes: Any) -> Letter:
        kind = changes.pop("kind", "reminder")
        values: dict[str, Any] = {
            "merchant_id": merchant.id,
            "shop_id": None,
            "order_id": 1,
            "language": "de",
            "recipient": RECIPIENT,
            "country": "DE",
            "once": once,
            "facts": facts_of(kind, SEPA),
            "look": LOOK,
            "at": now() - timedelta(hours=2),
            "due_at": now() - timedelta(minutes=1),
        }
        found = service.queue_letter(kind, **(values | changes))
        assert found is not None
        db.session.commit()
        return db.session.get_one(Letter, found)

    return queued


@pytest.fixture
def in_folder(merchant):
    """The merchant prints himself."""
    row = services.save_service(
        merchant.id,
        "folder",
        {},
        {"first_sheet": "1,05", "further_sheet": "0,12", "registered": "2,35"},
        "EUR",
        actor="anna",
        at=now(),
    )
    db.session.commit()
    return row


@pytest.fixture
def by_letterxpress(merchant, printer):
    settings = {"username": printer.username, "apikey": printer.apikey, "url": printer.url}
    row = services.save_service(
        merchant.id, "letterxpress", settings, {}, "EUR", actor="anna", at=now()
    )
    db.session.commit()
    return row
