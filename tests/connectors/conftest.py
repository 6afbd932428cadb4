"""A shop, a stand-in for Kontor, and agents between the two."""

from __future__ import annotations

import threading

import pytest

from connectors.woocommerce import WooCommerce
from plugin_sdk.agent import Agent, Pace
from plugin_sdk.client import Client
from plugin_sdk.testing.fake_woocommerce import (
    CONSUMER_KEY,
    CONSUMER_SECRET,
    WEBHOOK_SECRET,
    FakeWooCommerce,
)
from tests.connectors.stand_in import KEY, StandIn


@pytest.fixture
def shop():
    with FakeWooCommerce() as fake:
        yield fake


@pytest.fixture
def kontor():
    with StandIn() as server:
        yield server


@pytest.fixture
def begin(shop, kontor, tmp_path):
    """Start an agent between the two; several ones run one after the other."""
    running = []

    def begin(directory="state", *, listen=True, webhook_secret=WEBHOOK_SECRET, **pace):
        stop = threading.Event()
        settings = {
            "shop_url": shop.url,
            "consumer_key": CONSUMER_KEY,
            "consumer_secret": CONSUMER_SECRET,
            "webhook_secret": webhook_secret,
        }
        agent = Agent(
            WooCommerce(settings),
            Client(kontor.url, KEY, budget_seconds=0.1, stop=stop),
            tmp_path / directory,
            listen=("127.0.0.1", 0) if listen else None,
            report=lines.append,
            stop=stop,
            pace=Pace(**{"heartbeat_seconds": 0.1, "poll_seconds": 1, **pace}),
        )
        running.append(agent)
        agent.start()
        return agent

    lines = []
    begin.lines = lines
    yield begin
    for agent in running:
        if agent.running:
            agent.stop()
