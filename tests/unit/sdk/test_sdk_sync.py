"""The comparison of all orders: what counts as compared, and what does not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from plugin_sdk.client import KnownOrders
from plugin_sdk.connector import OrderPage
from plugin_sdk.state import State
from plugin_sdk.sync import OrderSync, Rhythm


class EmptyShop:
    """Lists nothing, and notes from where it was asked."""

    def __init__(self) -> None:
        self.listed_from: list[str | None] = []

    def list_orders(self, cursor: str | None) -> OrderPage:
        self.listed_from.append(cursor)
        return OrderPage((), "end", False)

    def get_orders(self, ids: Sequence[str]) -> dict[str, object]:
        return {}

    def tend(self) -> list[object]:
        return []


class Server:
    """Has three pages of open orders that the shop does not list."""

    def __init__(self) -> None:
        self.asked = 0

    def list_orders(self, payment_status: str, cursor: str | None = None) -> KnownOrders:
        self.asked += 1
        at = int(cursor or 0)
        return KnownOrders((f"{payment_status}-{at}",), str(at + 1) if at < 2 else None)


@pytest.fixture
def memory(tmp_path):
    state = State(tmp_path)
    yield state
    state.close()


def compare(memory: State, server: Server, stops_after: int) -> tuple[EmptyShop, Sequence[str]]:
    shop, lines = EmptyShop(), []
    sync = OrderSync(
        shop,
        server,
        memory,
        rhythm=Rhythm(),
        report=lines.append,
        is_stopping=lambda: server.asked >= stops_after,
    )
    while not shop.listed_from:
        sync.step()
    return shop, lines


def test_a_comparison_that_was_stopped_midway_does_not_count(memory):
    server = Server()
    _, lines = compare(memory, server, stops_after=2)
    assert lines == []
    assert (memory.comparing_all, memory.cursor, memory.compared_all_at) == (True, None, 0)
    assert len(memory.outbox) == 2
    shop, lines = compare(memory, server, stops_after=1_000)
    assert (shop.listed_from, lines) == ([None], ["compared all orders"])
    assert not memory.comparing_all


def test_a_whole_comparison_counts(memory):
    _, lines = compare(memory, Server(), stops_after=1_000)
    assert lines == ["compared all orders"]
    assert not memory.comparing_all and memory.compared_all_at > 0
    assert len(memory.outbox) == 6
