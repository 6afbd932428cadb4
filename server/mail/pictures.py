"""Header pictures of mails: what is one, where it is kept, and under which address mails show it.

A file of its own because the dashboard takes pictures, mails link them and the public door hands
them out. A picture is read by its bytes, never by its name or by what a browser calls it, and is
neither decoded nor changed: its reader is a stranger's mail program, not this house. Rows stay when
a shop chooses another picture, because the mails that were sent still show theirs. Never commits.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from struct import unpack_from
from typing import Final

from sqlalchemy import func, select

from server.config import installed
from server.db import db
from server.mail.models import Picture
from server.mail.theme import HEADER_WIDTH_PIXELS, MAX_HEADER_HEIGHT_PIXELS

PATH: Final = "/bilder/"
TOKEN_BYTES: Final = 32
MAX_PICTURE_BYTES: Final = 500_000
MAX_WIDTH: Final = 2_400
MAX_HEIGHT: Final = 1_200
MIN_WIDTH: Final = 300
"""Narrower ones are blown up to the width of a mail and look it."""
MAX_PICTURES: Final = 100
MAX_CHUNKS: Final = 10_000
"""Chunks, segments or blocks of one file: no picture of this size has more."""

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"
_GIF: Final = (b"GIF87a", b"GIF89a")
_LONE_MARKERS: Final = frozenset({0x01, *range(0xD0, 0xD8)})  # ITU T.81, table B.1: no length
_FRAME_MARKERS: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})


@dataclass(frozen=True, slots=True)
class Sniffed:
    """What the bytes of a picture say; sizes in pixels."""

    content_type: str
    width: int
    height: int


def store_picture(merchant_id: int, content: bytes, at: datetime) -> Picture:
    """Keep an uploaded picture; the same one again is the same row.

    Raises ValueError with a message key: ``picture_too_large`` ``picture_unknown``
    ``picture_moves`` ``picture_too_wide`` ``picture_too_narrow`` ``picture_too_high``
    ``picture_needs_https`` ``picture_too_many``.
    """
    found = checked_picture(content)
    if not _is_showable(installed().url):
        raise ValueError("picture_needs_https")
    mine = select(Picture).where(Picture.merchant_id == merchant_id)
    same = db.session.scalar(mine.where(Picture.content == content).limit(1))
    if same is not None:
        return same
    if (db.session.scalar(select(func.count()).select_from(mine.subquery())) or 0) >= MAX_PICTURES:
        raise ValueError("picture_too_many")
    row = Picture(
        merchant_id=merchant_id,
        token=secrets.token_urlsafe(TOKEN_BYTES),
        content_type=found.content_type,
        width=found.width,
        height=found.height,
        content=content,
        created_at=at,
    )
    db.session.add(row)
    return row


def picture_of(token: str) -> Picture | None:
    """The picture behind a public address."""
    return db.session.scalar(select(Picture).where(Picture.token == token))


def address_of(picture: Picture) -> str:
    """Where the whole world gets it; nobody guesses it."""
    return f"{installed().url}{PATH}{picture.token}"


def shown_height(width: int, height: int) -> int:
    """How high a picture is in a mail, where it is as wide as the mail."""
    return max(1, round(height * HEADER_WIDTH_PIXELS / width))


def with_own_pictures(html: str) -> str:
    """A mail for a frame that may load nothing: our own pictures stand in the page itself."""

    def embedded(found: re.Match[str]) -> str:
        picture = picture_of(found[1])
        if picture is None:
            return found[0]
        content = base64.b64encode(picture.content).decode()
        return f'"data:{picture.content_type};base64,{content}"'

    address = re.escape(f"{installed().url}{PATH}")
    return re.sub(f'"{address}([A-Za-z0-9_-]{{20,60}})"', embedded, html)


def _is_showable(url: str) -> bool:
    """Mail programs load pictures by TLS; a trial on this machine is its own reader."""
    return url.startswith("https://") or bool(
        re.match(r"http://(?:127\.0\.0\.1|localhost)(?::\d+)?(?:/|$)", url)
    )


# --- what is a picture ----------------------------------------------------------------------------


def checked_picture(content: bytes) -> Sniffed:
    """A still PNG, JPEG or GIF of a size that a mail can show. Raises as ``store_picture``."""
    if len(content) > MAX_PICTURE_BYTES:
        raise ValueError("picture_too_large")
    found = _sniffed(content)
    if found is None or not (found.width and found.height):
        raise ValueError("picture_unknown")
    if found.width > MAX_WIDTH or found.height > MAX_HEIGHT:
        raise ValueError("picture_too_wide")
    if found.width < MIN_WIDTH:
        raise ValueError("picture_too_narrow")
    if shown_height(found.width, found.height) > MAX_HEADER_HEIGHT_PIXELS:
        raise ValueError("picture_too_high")
    return found


def _sniffed(content: bytes) -> Sniffed | None:
    """None for what is no whole picture. Raises ValueError for one that moves."""
    if content.startswith(_PNG):
        return _png(content)
    if content.startswith(_JPEG):
        return _jpeg(content)
    if content.startswith(_GIF):
        return _gif(content)
    return None


def _png(content: bytes) -> Sniffed | None:
    """ISO/IEC 15948, 5.3: chunks of length, name, content, checksum, from IHDR to IEND."""
    size: tuple[int, int] | None = None
    at = len(_PNG)
    for _ in range(MAX_CHUNKS):
        if at + 12 > len(content):
            return None
        length, name = unpack_from(">I4s", content, at)
        if name == b"acTL":
            raise ValueError("picture_moves")
        if name == b"IHDR" and length == 13 and at + 16 <= len(content):
            size = unpack_from(">II", content, at + 8)
        if name == b"IEND":
            return Sniffed("image/png", *size) if size else None
        at += 12 + length
    return None


def _jpeg(content: bytes) -> Sniffed | None:
    """ITU T.81, annex B: the size stands in the frame header, before the first scan."""
    if not content.rstrip(b"\x00").endswith(b"\xff\xd9"):
        return None
    at = 2
    for _ in range(MAX_CHUNKS):
        if at + 4 > len(content) or content[at] != 0xFF:
            return None
        marker = content[at + 1]
        if marker == 0xFF or marker in _LONE_MARKERS:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _FRAME_MARKERS:
            if at + 9 > len(content):
                return None
            height, width = unpack_from(">HH", content, at + 5)
            return Sniffed("image/jpeg", width, height)
        at += 2 + int.from_bytes(content[at + 2 : at + 4])
    return None


def _gif(content: bytes) -> Sniffed | None:
    """GIF89a: one image descriptor; a second one would be the next picture of a film."""
    if len(content) < 13:
        return None
    width, height = unpack_from("<HH", content, 6)
    images = 0
    for kind in _gif_blocks(content):
        images += kind == 0x2C
        if images > 1:
            raise ValueError("picture_moves")
        if kind == 0x3B:
            return Sniffed("image/gif", width, height) if images else None
    return None


def _gif_blocks(content: bytes) -> Iterator[int]:
    """The kinds of its blocks (0x21 extension, 0x2C image, 0x3B end), as far as they are whole."""
    at = 13 + _table_bytes(content[10])
    for _ in range(MAX_CHUNKS):
        if at >= len(content):
            return
        kind = content[at]
        if kind == 0x3B:
            yield kind
            return
        if kind == 0x21:
            at += 2
        elif kind == 0x2C and at + 10 <= len(content):
            at += 11 + _table_bytes(content[at + 9])
        else:
            return
        end = _after_sub_blocks(content, at)
        if end is None:
            return
        at = end
        yield kind


def _table_bytes(flags: int) -> int:
    """The length of the colour table that follows."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _after_sub_blocks(content: bytes, at: int) -> int | None:
    while at < len(content):
        if content[at] == 0:
            return at + 1
        at += 1 + content[at]
    return None
