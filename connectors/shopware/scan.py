"""How far a comparison has come, as the cursor that ``list_orders`` hands out. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from connectors.shopware.criteria import stamp
from plugin_sdk.cursors import read_cursor, write_cursor
from plugin_sdk.errors import Rejected

CURSOR_VERSION = 1
OVERLAP = timedelta(seconds=180)
MAX_SEEN = 2000  # beyond this some orders come twice, which is harmless


@dataclass(slots=True)
class Scan:
    """Where a scan stands. ``last``: the number of the last order listed, in the shop's database.

    ``began``: the shop's time at the first page. ``newest``: the newest change seen. ``seen``: id
    to content of what this scan brings again; ``young``: id to (time of change, content) of what
    the next one will. ``is_whole``: by the day of the order, not by the time of change.
    """

    since: datetime
    began: datetime | None = None
    last: int = 0
    newest: datetime | None = None
    is_whole: bool = False
    seen: dict[str, str] = field(default_factory=dict)
    young: dict[str, tuple[str, str]] = field(default_factory=dict)

    def is_news(self, external_id: str, changed: datetime | None, mark: str) -> bool:
        """False for what was told before and has not changed. Call it for every order listed."""
        if changed is not None:
            self.newest = max(changed, self.newest or changed)
            self.young[external_id] = (stamp(changed), mark)
        return self.seen.get(external_id) != mark

    def after_page(self, *, is_last: bool) -> Scan:
        """Where to go on. The next scan goes back behind the newest change seen, which no clock can
        spoil, but never closer than to the begin of this one: its first pages are that old.
        """
        assert self.began is not None, "set with the first page"
        since = min(self.newest, self.began) - OVERLAP if self.newest else self.since
        oldest = stamp(since)
        young = {key: each for key, each in self.young.items() if each[0] >= oldest}
        self.young = dict(list(young.items())[-MAX_SEEN:])
        if not is_last:
            return self
        return Scan(since, seen={key: mark for key, (_, mark) in self.young.items()})

    def text(self) -> str:
        return write_cursor(
            CURSOR_VERSION,
            since=stamp(self.since),
            began=stamp(self.began) if self.began else None,
            last=self.last,
            newest=stamp(self.newest) if self.newest else None,
            is_whole=self.is_whole,
            seen=self.seen,
            young=self.young,
        )

    @classmethod
    def read(cls, text: str) -> Scan:
        content = read_cursor(text, CURSOR_VERSION)
        try:
            return cls(
                since=_utc(content["since"]),
                began=_utc(content["began"]) if content["began"] else None,
                last=int(content["last"]),
                newest=_utc(content["newest"]) if content["newest"] else None,
                is_whole=bool(content["is_whole"]),
                seen={str(key): str(mark) for key, mark in content["seen"].items()},
                young={
                    str(key): (str(at), str(mark)) for key, (at, mark) in content["young"].items()
                },
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Rejected("The cursor cannot be read; begin from the beginning.") from None


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
