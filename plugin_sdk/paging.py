"""How shops cut long lists: page numbers, offsets, and a link to the next page.

Each says what to ask for a page, and after the answer what the next one is (None: that was the
last). Page numbers and offsets shift when something changes during the scan: for orders by time of
change take ``cursors.Watermark``, which does not count pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from requests.utils import parse_header_links

from plugin_sdk.errors import Temporary
from plugin_sdk.http import Answer

MAX_PAGES = 1000


@dataclass(frozen=True, slots=True)
class PageNumbers:
    """``?page=3&per_page=100``.

    ``pages_header`` names the header with the number of pages; without one, the page that is not
    full is the last. Of a page past the end the header is not believed: some shops say 0 there.
    """

    size: int
    pages_header: str = ""
    page_parameter: str = "page"
    size_parameter: str = "per_page"
    first: int = 1

    def query(self, page: int) -> dict[str, str]:
        """The parameters that ask for a page."""
        return {self.page_parameter: str(page), self.size_parameter: str(self.size)}

    def next(self, page: int, answer: Answer, rows: Sequence[Any]) -> int | None:
        """The page after this one."""
        if not rows:
            return None
        told = answer.headers.get(self.pages_header, "") if self.pages_header else ""
        if told.isascii() and told.isdecimal() and len(told) < 10:
            return page + 1 if page < int(told) - 1 + self.first else None
        return page + 1 if len(rows) >= self.size else None


@dataclass(frozen=True, slots=True)
class Offsets:
    """``?offset=200&limit=100``: the rows that are left out, and how many are wanted."""

    size: int
    offset_parameter: str = "offset"
    size_parameter: str = "limit"
    first: int = 0

    def query(self, offset: int) -> dict[str, str]:
        """The parameters that ask for a page."""
        return {self.offset_parameter: str(offset), self.size_parameter: str(self.size)}

    def next(self, offset: int, answer: Answer, rows: Sequence[Any]) -> int | None:
        """The offset of the page after this one."""
        return offset + len(rows) if len(rows) >= self.size else None


def next_link(answer: Answer, url: str) -> str | None:
    """The address of the next page in the Link header (RFC 8288), for an answer from ``url``.

    Raises Temporary for one on another host: the key goes along with the request.
    """
    for link in parse_header_links(answer.headers.get("Link", "")):
        if "next" in link.get("rel", "").split() and link.get("url"):
            place = urljoin(url, link["url"])
            if urlsplit(place)[:2] != urlsplit(url)[:2]:
                raise Temporary("The link to the next page leads to another host.")
            return place
    return None


def every_row(
    paging: PageNumbers | Offsets,
    fetch: Callable[[Mapping[str, str]], tuple[Answer, Sequence[Any]]],
    max_pages: int = MAX_PAGES,
) -> Iterator[Any]:
    """All rows of all pages. ``fetch`` asks with these parameters and returns answer and rows.

    Raises Temporary when the list does not end within ``max_pages``.
    """
    at = paging.first
    for _ in range(max_pages):
        answer, rows = fetch(paging.query(at))
        yield from rows
        following = paging.next(at, answer, rows)
        if following is None:
            return
        at = following
    raise Temporary(f"The list does not end after {max_pages} pages.")
