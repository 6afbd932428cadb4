"""What a visit must still know at the next one, in rows (``plugin_sdk.sync.Memory``)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from plugin_sdk.state import MAX_PUSHED, Waiting
from server.db import db
from server.shops import connections
from server.shops.models import ShopConnection


class RowHints:
    """The orders of one shop to look at."""

    def __init__(self, merchant_id: int, shop_id: int, commit: Callable[[], None]) -> None:
        self._merchant_id = merchant_id
        self._shop_id = shop_id
        self._commit = commit

    def add(self, external_ids: Sequence[str]) -> bool:
        has_room = connections.add_hints(self._merchant_id, self._shop_id, external_ids)
        self._commit()
        return has_room

    def take(self, limit: int) -> list[Waiting]:
        waiting = connections.take_hints(self._shop_id, limit)
        self._commit()
        return waiting

    def done(self, looked_at: Sequence[Waiting]) -> None:
        connections.hints_done(self._shop_id, looked_at)
        self._commit()

    def postpone(self, looked_at: Waiting) -> None:
        connections.postpone_hint(self._shop_id, looked_at.external_id)
        self._commit()


class RowMemory:
    """Where the comparison of one connection stands.

    ``pushed`` lives as long as the process: what it forgets is pushed once more, and unchanged.
    """

    def __init__(self, row: ShopConnection, commit: Callable[[], None]) -> None:
        state: dict[str, Any] = row.state
        self._connection_id = row.id
        self._version = row.version
        self._commit = commit
        self.cursor: str | None = state.get("cursor")
        self.compared_all_at = float(state.get("compared_all_at", 0))
        self.compare_all_after_seconds = float(state.get("compare_all_after_seconds", 0))
        self.comparing_all = bool(state.get("comparing_all", self.compared_all_at == 0))
        self.payouts_cursor: str | None = state.get("payouts_cursor")
        self.pushed: OrderedDict[str, str] = OrderedDict()
        self.outbox = RowHints(row.merchant_id, row.shop_id, commit)

    def save(self) -> None:
        while len(self.pushed) > MAX_PUSHED:
            self.pushed.popitem(last=False)
        state = {
            "cursor": self.cursor,
            "comparing_all": self.comparing_all,
            "compared_all_at": self.compared_all_at,
            "compare_all_after_seconds": self.compare_all_after_seconds,
            "payouts_cursor": self.payouts_cursor,
        }
        row = db.session.get(ShopConnection, self._connection_id)
        if row is not None and row.version == self._version:  # else all is begun anew
            row.state = state
        self._commit()
