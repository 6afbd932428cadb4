"""What a mail of another system says, for people to look at. Pure; nothing is ever changed by it.

Mails come from anybody, so whatever cannot be read is left out rather than guessed, and every part
has an end.
"""

from __future__ import annotations

import base64
import re
from contextlib import suppress
from dataclasses import dataclass
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesParser
from typing import Final

MAX_CHARACTERS: Final = 500_000
"""Shown of a part."""
MAX_HEAD_CHARACTERS: Final = 64_000
MAX_PARTS: Final = 100
MAX_BOUNDARIES: Final = 2_000
"""Lines that may divide parts. A mail with more was made to keep its readers busy."""
MAX_PICTURE_BYTES: Final = 5 * 1024 * 1024
"""Of all pictures that are shown within a mail."""
PICTURES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})

_CONTENT_ID = re.compile(r"[\w.@+=$%-]{1,200}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Attached:
    name: str
    kind: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Content:
    """``head`` as it came; ``text`` and ``html`` None where the mail has no such part, or cannot
    be taken apart. Pictures that travel with it are in ``html``; ``attached`` is all else."""

    head: str
    text: str | None
    html: str | None
    attached: tuple[Attached, ...]


def read_content(raw: bytes) -> Content:
    head = raw.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")[:MAX_HEAD_CHARACTERS]
    leaves = _leaves(raw)
    plain = next((one for one in leaves if _is_body(one, "text/plain")), None)
    rich = next((one for one in leaves if _is_body(one, "text/html")), None)
    html = _text(rich) if rich is not None else None
    pictures = _pictures(leaves)
    return Content(
        head=head,
        text=_text(plain) if plain is not None else None,
        html=_with_pictures(html, pictures) if html is not None else None,
        attached=tuple(
            _attached(part)
            for part in leaves
            if part not in (plain, rich) and _content_id(part) not in pictures
        ),
    )


def _leaves(raw: bytes) -> list[Message]:
    if raw.count(b"\n--") > MAX_BOUNDARIES:
        return []
    try:
        # Not the newer policy: it reads each field at once, and fails on some that are broken.
        message = BytesParser().parsebytes(raw)
        return [part for part in message.walk() if not part.is_multipart()][:MAX_PARTS]
    except RecursionError:  # parts within parts within parts
        return []


def _is_body(part: Message, kind: str) -> bool:
    return part.get_content_type() == kind and part.get_content_disposition() != "attachment"


def _text(part: Message) -> str:
    """In its charset; one that nobody knows is read as UTF-8 with gaps."""
    raw = _bytes(part)
    charset = part.get_content_charset() or "utf-8"
    try:
        found = raw.decode(charset, "replace")
    except (LookupError, ValueError):
        found = raw.decode("utf-8", "replace")
    return found.replace("\x00", "")[:MAX_CHARACTERS]


def _bytes(part: Message) -> bytes:
    with suppress(ValueError, LookupError):
        found = part.get_payload(decode=True)
        if isinstance(found, bytes):
            return found
    return b""


def _attached(part: Message) -> Attached:
    name = ""
    with suppress(ValueError, LookupError, AttributeError, MessageError):
        name = str(make_header(decode_header(part.get_filename() or "")))
    plain = "".join(one for one in name if one.isprintable())[:200]
    return Attached(plain, part.get_content_type(), len(_bytes(part)))


def _content_id(part: Message) -> str:
    found = str(part.get("Content-ID", "")).strip().strip("<>")
    return found if _CONTENT_ID.fullmatch(found) else ""


def _pictures(parts: list[Message]) -> dict[str, str]:
    """Content-ID to a data URL, as far as there is room for them."""
    found: dict[str, str] = {}
    left = MAX_PICTURE_BYTES
    for part in parts:
        name, kind = _content_id(part), part.get_content_type()
        if not name or kind not in PICTURES:
            continue
        raw = _bytes(part)
        if len(raw) <= left:
            left -= len(raw)
            found[name] = f"data:{kind};base64,{base64.b64encode(raw).decode()}"
    return found


def _with_pictures(html: str, pictures: dict[str, str]) -> str:
    for name, url in pictures.items():
        html = html.replace(f"cid:{name}", url)
    return html
