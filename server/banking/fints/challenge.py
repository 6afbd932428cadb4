"""What the bank shows the user so that he can confirm: text, picture, flickering code.

Standard: FinTS 3.0 PIN/TAN, HITAN; pictures as in ZKA HHD_UC ("matrix code": two bytes length
and the media type, two bytes length and the picture).
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as NoBase64
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

from fints.hhd import flicker

from server.banking.fints import wire
from server.banking.fints.steps import Picture

MAX_TEXT = 2_000
MAX_PICTURE_BYTES = 512 * 1024
FLICKER_BYTES = 256
MIME_TYPES = frozenset({"image/png", "image/jpeg", "image/gif"})
_EMBEDDED = re.compile(r"^CHLGUC\s*(?P<length>\d{4})")
_CHALLENGE, _CODE, _TASK = 4, 5, 3
_FIRST_WITH_CODE = 5
_MEDIUM = {5: 9, 6: 7, 7: 7}


@dataclass(frozen=True, slots=True)
class Challenge:
    """One request to confirm; ``task`` is the bank's reference for it (Auftragsreferenz)."""

    task: str
    text: str
    picture: Picture | None = None
    flicker: str | None = None
    medium: str | None = None


def read(hitan: Any) -> Challenge:
    """The challenge in a HITAN segment of any version."""
    raw = wire.raw(hitan)
    version = hitan.header.version
    words = wire.text(raw, _CHALLENGE)
    code = wire.element(raw, _CODE) if version >= _FIRST_WITH_CODE else None
    embedded = _EMBEDDED.match(words)
    if embedded:
        end = embedded.end() + int(embedded["length"])
        code, words = words[embedded.end() : end].encode(wire.CHARSET), words[end:]
        words = words[12:] if words.startswith("CHLGTEXT") else words
    picture = _picture(code) if isinstance(code, bytes) else None
    medium = wire.text(raw, _MEDIUM[version]) if version in _MEDIUM else ""
    return Challenge(
        task=wire.text(raw, _TASK),
        text=plain(words),
        picture=picture,
        flicker=None if picture else _flicker(code),
        medium=medium or None,
    )


def to_json(challenge: Challenge) -> dict[str, Any]:
    """For the stored state; ``from_json`` reads it."""
    picture = challenge.picture
    return {
        "task": challenge.task,
        "text": challenge.text,
        "picture": picture and [picture.mime, b64encode(picture.content).decode()],
        "flicker": challenge.flicker,
        "medium": challenge.medium,
    }


def from_json(kept: dict[str, Any]) -> Challenge:
    """What ``to_json`` made."""
    picture = kept["picture"] and Picture(kept["picture"][0], b64decode(kept["picture"][1]))
    return Challenge(kept["task"], kept["text"], picture, kept["flicker"], kept["medium"])


def plain(marked: str) -> str:
    """The words of a text with HTML in it; breaks and list items begin lines of their own."""
    words = _Words()
    words.feed(marked)
    words.close()
    lines = (" ".join(line.split()) for line in "".join(words.found).splitlines())
    return "\n".join(line for line in lines if line)[:MAX_TEXT]


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"br", "p", "li", "ul", "ol", "div"}:
            self.found.append("\n")

    def handle_data(self, data: str) -> None:
        self.found.append(data)


def _picture(code: bytes) -> Picture | None:
    if code.startswith(b"iVBO"):  # a PNG in base64, as some banks send it
        try:
            return _allowed("image/png", b64decode(code))
        except NoBase64:
            return None
    if len(code) < FLICKER_BYTES:
        return None
    mime, rest = _counted(code)
    content, _ = _counted(rest)
    return _allowed(mime.decode(wire.CHARSET).strip().lower(), content)


def _counted(code: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(code[:2], "big")
    return code[2 : 2 + length], code[2 + length :]


def _allowed(mime: str, content: bytes) -> Picture | None:
    if mime not in MIME_TYPES or not 0 < len(content) <= MAX_PICTURE_BYTES:
        return None
    return Picture(mime, content)


def _flicker(code: Any) -> str | None:
    """The bits to flicker, in hexadecimal, with length and checksum (HHD_UC)."""
    if not code:
        return None
    words = code.decode(wire.CHARSET) if isinstance(code, bytes) else str(code)
    try:
        return str(flicker.parse(words).render())
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
