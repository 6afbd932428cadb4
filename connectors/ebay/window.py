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
    ``seen``: id to (time of change, content) of what was told already.
    """

    since: datetime
    until: datetime | None = None
    offset: int = 0
    total: int | None = None
    seen: dict[str, tuple[str, str]] = field(default_factory=dict)

    def text(self) -> str:
        return write_cursor(
            CURSOR_VERSION,
            since=stamp(self.since),
            until=stamp(self.until) if self.until else None,
            offset=self.offset,
            total=self.total,
            seen=self.seen,
        )

    @classmethod
    def read(cls, text: str) -> Window:
        content = read_cursor(text, CURSOR_VERSION)
        try:
            return cls(
                since=_moment(content["since"]),
                until=_moment(content["until"]) if content["until"] is not None else None,
                offset=int(content["offset"]),
                total=int(content["total"]) if content["total"] is not None else None,
                seen={
                    str(key): (str(at), str(mark)) for key, (at, mark) in content["seen"].items()
                },
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Rejected("The cursor cannot be read; begin from the beginning.") from None

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
        assert self.until is not None, "the first page sets it"
        self.since, self.until, self.offset, self.total = self.until - OVERLAP, None, 0, None
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


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment
