"""Cursors as ``Connector.list_orders`` hands them out: opaque text with a version.

``write_cursor`` and ``read_cursor`` keep any content. ``Watermark`` is the usual content: orders by
time of change, with an overlap, because shops have clocks of whole seconds and save late.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from plugin_sdk.errors import Rejected, Temporary

OVERLAP = timedelta(seconds=120)
MAX_SEEN = 2000
"""Beyond this some orders come twice, which is harmless."""
MAX_PAGES_OF_A_MOMENT = 1000
"""Nobody changes so many orders at once: a shop that shows more ignores the number of the page."""


def write_cursor(version: int, **content: Any) -> str:
    """JSON values as the text of a cursor."""
    return json.dumps({"version": version, **content}, separators=(",", ":"), ensure_ascii=False)


def read_cursor(text: str, version: int) -> Mapping[str, Any]:
    """What ``write_cursor`` wrote. Raises Rejected for another version and for anything else."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise Rejected("The cursor cannot be read; begin from the beginning.")
    if content.get("version") != version:
        raise Rejected("The cursor was written by another version of this connector.")
    return content


def mark_of(row: Any) -> str:
    """A short mark of a JSON value that changes whenever anything in it does."""
    text = json.dumps(row, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(slots=True)
class Watermark:
    """How far a comparison by time of change has come.

    ``since``: ask the shop for what changed at or after this, oldest change first (None: for
    everything). ``page``: the page of that to ask for, from 1. ``seen``: id to a mark of what will
    come again, so that it is not told twice; a mark changes with the order. ``newest``: the newest
    change seen in this scan.
    """

    since: datetime | None = None
    page: int = 1
    seen: dict[str, str] = field(default_factory=dict)
    newest: datetime | None = None

    def is_news(self, external_id: str, changed_at: datetime, mark: str) -> bool:
        """False for what was told before and has not changed. Call it for every order listed."""
        self.newest = max(changed_at, self.newest or changed_at)
        stamped = f"{_stamp(changed_at)} {mark}"
        if self.seen.get(external_id) == stamped:
            return False
        self.seen[external_id] = stamped
        return True

    def turn_page(self, *, full: bool, overlap: timedelta = OVERLAP) -> bool:
        """Go on behind a page; True: ask for the next one at once.

        The mark moves up with every full page instead of counting pages: when an order changes
        during the scan, page numbers shift, and another order is skipped without a word. Pages are
        counted only where one moment fills more than one, or nobody can read any of it. At
        the end the mark steps back by the overlap. Raises Temporary when one moment has no end.
        """
        newest = self.newest
        if full and newest in (None, self.since):
            if self.page >= MAX_PAGES_OF_A_MOMENT:
                raise Temporary(f"The list does not end after {self.page} pages of one moment.")
            self.page += 1
        else:
            self.page = 1
            if newest is not None:
                self.since = newest if full else newest - overlap
        if newest is not None:
            self._forget(newest - overlap)
        if not full:
            self.newest = None
        return full

    def _forget(self, oldest: datetime) -> None:
        kept = [each for each in self.seen.items() if each[1].split()[0] >= _stamp(oldest)]
        self.seen = dict(kept[-MAX_SEEN:])

    def text(self, version: int) -> str:
        """As a cursor."""
        return write_cursor(
            version,
            since=_stamp(self.since) if self.since else None,
            page=self.page,
            seen=self.seen,
            newest=_stamp(self.newest) if self.newest else None,
        )

    @classmethod
    def read(cls, cursor: str | None, version: int) -> Watermark:
        """From a cursor (None: from the beginning). Raises Rejected."""
        if cursor is None:
            return cls()
        content = read_cursor(cursor, version)
        try:
            return cls(
                since=_moment(content["since"]),
                page=int(content["page"]),
                seen={str(key): str(mark) for key, mark in content["seen"].items()},
                newest=_moment(content["newest"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise Rejected("The cursor cannot be read; begin from the beginning.") from None


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment
