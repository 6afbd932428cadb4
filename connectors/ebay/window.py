"""Where a comparison stands, as an opaque cursor."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from plugin_sdk.cursors import read_cursor, write_cursor
from plugin_sdk.errors import Rejected

CURSOR_VERSION = 1
OVERLAP = timedelta(minutes=10)
MAX_SEEN = 1000  # beyond this some orders come twice, which is harmless


@dataclass(slots=True)
class Window:
    """Where a comparison stands: ``offset`` orders into the window from ``since`` to ``until``.

    ``until`` is eBay's own time at the first page: nothing changed later moves into the window.
    ``newest``: the newest change told; only that moves the beginning on, never a clock.
    ``seen``: id to (time of change, content) of what was told already.
    """

    since: datetime
    until: datetime | None = None
    offset: int = 0
    total: int | None = None
    newest: datetime | None = None
    seen: dict[str, tuple[str, str]] = field(default_factory=dict)

    def text(self) -> str:
        return write_cursor(
            CURSOR_VERSION,
            since=stamp(self.since),
            until=stamp(self.until) if self.until else None,
            offset=self.offset,
            total=self.total,
            newest=stamp(self.newest) if self.newest else None,
            seen=self.seen,
        )

    @classmethod
    def read(cls, text: str) -> Window:
        content = read_cursor(text, CURSOR_VERSION)
        try:
            return cls(
                since=_moment(content["since"]),
                until=_moment_if_any(content["until"]),
                offset=int(content["offset"]),
                total=int(content["total"]) if content["total"] is not None else None,
                newest=_moment_if_any(content["newest"]),
                seen={
                    str(key): (str(at), str(mark)) for key, (at, mark) in content["seen"].items()
                },
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Rejected("The cursor cannot be read; begin from the beginning.") from None

    def is_news(self, identifier: str, changed_at: datetime, content: str) -> bool:
        """False for what was told already and has not changed."""
        self.newest = max(changed_at, self.newest or changed_at)
        mark = (stamp(changed_at), content)
        if self.seen.get(identifier) == mark:
            return False
        self.seen[identifier] = mark
        return True

    def turn_page(self, rows: int, total: int) -> bool:
        """Move behind a page; True when the next one should be asked for at once.

        An order that changes during the scan leaves the window, and those behind it move up: as
        many as left are asked for once more, or as many others would be skipped without a word.
        """
        lost = (self.total or 0) - total
        self.total = total
        if lost > 0:
            self.offset = max(0, self.offset - lost)
            self._forget(None)
            return True
        self.offset += rows
        if rows and self.offset < total:
            self._forget(None)
            return True
        if self.newest is not None:
            self.since = max(self.since, self.newest - OVERLAP)
        self.until, self.offset, self.total, self.newest = None, 0, None, None
        self._forget(self.since)
        return False

    def _forget(self, oldest: datetime | None) -> None:
        start = stamp(oldest) if oldest else ""
        kept = [(key, mark) for key, mark in self.seen.items() if mark[0] >= start]
        self.seen = dict(sorted(kept, key=lambda each: each[1])[-MAX_SEEN:])


def stamp(moment: datetime) -> str:
    return (
        moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"
    )


def _moment_if_any(text: str | None) -> datetime | None:
    return None if text is None else _moment(text)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment
