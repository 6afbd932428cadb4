"""A merchant with an invoice that nobody paid, and a partner who collects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from server import config
from tests.factories import make_merchant, make_shop
from tests.fakes.collection_partner import FakePartner
from tests.server.collection.steps import invoice_of, name_partner

MAPPING = {
    "invoice": {
        "methods": ["invoice"],
        "open_statuses": ["on-hold", "processing"],
        "paid_status": "completed",
        "overdue_status": "overdue",
        "collection_status": "in-collection",
    },
}


@pytest.fixture
def partner() -> Iterator[FakePartner]:
    running = FakePartner()
    yield running
    running.stop()


@pytest.fixture
def allowed(app, monkeypatch, tmp_path):
    """The operator lets loopback be called without TLS; files go to a directory of the test."""
    before = config.installed()
    settings = replace(before, allowed_networks=("127.0.0.0/8",), allow_http=True, var=tmp_path)
    config.install(settings)
    monkeypatch.setitem(app.config, "SETTINGS", settings)
    yield settings
    config.install(before)


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def shop(merchant):
    return make_shop(merchant, default_mapping=MAPPING)


@pytest.fixture
def order(shop):
    return invoice_of(shop)


@pytest.fixture
def by_http(merchant, partner, allowed):
    return name_partner(merchant, "http", url=partner.url)
