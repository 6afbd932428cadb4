"""How far a comparison has come, as the cursor that ``list_orders`` hands out. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from plugin_sdk.cursors import MAX_PAGES_OF_A_MOMENT, read_cursor, write_cursor
from plugin_sdk.errors import Rejected, Temporary

CURSOR_VERSION = 1
OVERLAP = timedelta(seconds=120)
MAX_SEEN = 2000  # beyond this some orders come twice, which is harmless


@dataclass(slots=True)
class Scan:
    """Where a scan stands. ``after`` is exclusive, as WooCommerce's ``modified_after``.

    ``seen``: id to (time of change, content) of what the overlap will bring again.
    """

    after: datetime
    page: int = 1
    seen: dict[str, tuple[str, str]] = field(default_factory=dict)

    def is_news(self, external_id: str, changed: datetime | None, mark: str) -> bool:
        """False for what was told before and has not changed. Call it for every order listed."""
        # The time alone will not do: two changes in one second carry the same one.
        stamped = (stamp(changed or self.after), mark)
        if self.seen.get(external_id) == stamped:
            return False
        self.seen[external_id] = stamped
        return True

    def advance(self, newest: datetime, *, full: bool) -> bool:
        """Move behind a page; True when the next page should be asked for at once.

        Totals and page counts are not looked at: for pages past the end they are 0 or true, as the
        shop's storage pleases. The scan is over when a page brings no newer second and is not full.
        Raises Temporary when one second has no end.
        """
        second = timedelta(seconds=1)
        if newest > self.after + second:
            self.after, self.page = newest - second, 1
            self._forget(newest)
            return True
        if full:  # more orders in one second than fit a page (a bulk edit)
            if self.page >= MAX_PAGES_OF_A_MOMENT:
                raise Temporary(f"The list does not end after {self.page} pages of one second.")
            self.page += 1
            return True
        if newest > self.after or self.page > 1:  # there were orders: come back behind the newest
            self.after -= OVERLAP
        self.page = 1
        return False

    def _forget(self, newest: datetime) -> None:
        """Keep of ``seen`` what the overlap can bring again."""
        oldest = stamp(newest - OVERLAP - timedelta(seconds=2))
        kept = {key: mark for key, mark in self.seen.items() if mark[0] >= oldest}
        self.seen = dict(list(kept.items())[-MAX_SEEN:])

    def text(self) -> str:
        return write_cursor(CURSOR_VERSION, after=stamp(self.after), page=self.page, seen=self.seen)

    @classmethod
    def read(cls, text: str) -> Scan:
        content = read_cursor(text, CURSOR_VERSION)
        try:
            return cls(
                after=datetime.fromisoformat(content["after"]).replace(tzinfo=UTC),
                page=int(content["page"]),
                seen={
                    str(key): (str(at), str(mark)) for key, (at, mark) in content["seen"].items()
                },
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Rejected("The cursor cannot be read; begin from the beginning.") from None


def stamp(moment: datetime) -> str:
    """To the second in UTC, as WooCommerce writes and reads it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
