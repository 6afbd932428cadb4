"""An agent between a Shopware and Kontor: an order comes in, its payment goes back."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest

from connectors.shopware import Shopware
from plugin_sdk.agent import Agent, Pace
from plugin_sdk.client import Client
from plugin_sdk.testing.fake_shopware import FakeShopware
from tests.connectors.stand_in import KEY, until


@pytest.fixture
def shop():
    with FakeShopware() as fake:
        yield fake


@pytest.fixture
def agent(shop, kontor, tmp_path):
    stop = threading.Event()
    made = Agent(
        Shopware(shop.settings()),
        Client(kontor.url, KEY, budget_seconds=0.1, stop=stop),
        tmp_path,
        listen=("127.0.0.1", 0),
        report=lambda line: None,
        stop=stop,
        pace=Pace(heartbeat_seconds=0.1, poll_seconds=1),
    )
    made.start()
    yield made
    made.stop()


@pytest.mark.feature("S26", "S31")
def test_an_order_comes_by_its_event_and_its_payment_goes_back(shop, kontor, agent):
    host, port = agent.address
    for event in ("checkout.order.placed", "state_enter.order_transaction.state.reminded"):
        shop.add_webhook(event, f"http://{host}:{port}/")
    key = shop.add_order()
    until(lambda: key in kontor.orders, "the order")
    shop.set_status(key, "reminded")
    until(lambda: kontor.orders[key].shop_status == "reminded", "its reminder")
    paid = {
        "id": "pu-1",
        "external_id": key,
        "number": "10001",
        "payment_status": "paid",
        "paid_total": "39.90",
        "currency": "EUR",
        "intent": "paid",
        "created_at": datetime.now(UTC).isoformat(),
    }
    kontor.updates.append(paid)
    until(lambda: shop.status_of(key) == "paid", "the payment")
    until(lambda: kontor.acknowledged, "the acknowledgement")
    assert kontor.acknowledged[0][1].shop_status == "paid"
    assert shop.mails == []
