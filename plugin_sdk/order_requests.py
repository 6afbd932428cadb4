"""Orders that a person asked for: what waits to be looked at, and what the shop says of it.

The server leases a request to the agent for two minutes. Nothing of it is kept on disk: what the
agent does not answer in time, the server hands out again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from plugin_sdk.connector import MAX_REASON, Capability, Connector
from plugin_sdk.errors import ConnectorError, Rejected
from plugin_sdk.types import Evidence, Order, OrderRequest, RequestAnswer, RequestOutcome

NO_NUMBERS = "This shop system cannot be asked for an order number."
NOT_THERE = "The shop was asked and names no such order."


class WaitingRequests:
    """Handed from the thread that polls to the one that looks at orders, oldest first.

    ``until``: the moment, on the monotonic clock, after which the lease is too short to begin.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, tuple[OrderRequest, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, requests: Sequence[OrderRequest], until: float) -> None:
        """What comes a second time has a new lease."""
        with self._lock:
            self._waiting |= {each.id: (each, until) for each in requests}

    def take(self, at: float) -> OrderRequest | None:
        """The next one whose lease is long enough; the others come again by themselves."""
        with self._lock:
            while self._waiting:
                _, (request, until) = self._waiting.popitem(last=False)
                if at <= until:
                    return request
        return None


def answer_to(connector: Connector[Any], request: OrderRequest) -> RequestAnswer:
    """Ask the shop. Never raises ConnectorError; every ending is an outcome."""
    by_number = request.number is not None
    if by_number and Capability.FIND_BY_NUMBER not in connector.capabilities:
        return RequestAnswer(RequestOutcome.NOT_SUPPORTED, reason=NO_NUMBERS)
    try:
        found = _ask(connector, request)
    except Rejected as error:
        return RequestAnswer(RequestOutcome.REJECTED, reason=str(error)[:MAX_REASON])
    except ConnectorError as error:
        # Also when a person must change something: a day is long enough to do it.
        return RequestAnswer(RequestOutcome.TEMPORARY, reason=str(error)[:MAX_REASON])
    if isinstance(found, Order):
        return RequestAnswer(RequestOutcome.FOUND, found)
    if found is None:
        return RequestAnswer(RequestOutcome.UNKNOWN, reason=NOT_THERE)
    return RequestAnswer(RequestOutcome(found.value))


def _ask(connector: Connector[Any], request: OrderRequest) -> Order | Evidence | None:
    if request.number is not None:
        return connector.find_order(request.number)
    assert request.external_id is not None, "a request names an id or a number"
    return connector.get_orders([request.external_id]).get(request.external_id)
