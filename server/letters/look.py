"""How a merchant's letters look: sender, picture, colours and what stands at the foot. Pure.

A file of its own because it comes from a form, is stored with each letter and is checked once,
where it is made: an SVG may name files and a small PNG may unpack to gigabytes.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, Final

MAX_SENDER_LENGTH: Final = 100
MAX_RETURN_ADDRESS_LENGTH: Final = 120
MAX_HEADER_BYTES: Final = 120_000
"""A letter has under 200 kB with it."""
MAX_HEADER_PIXELS: Final = 12_000_000
MAX_LEGAL_COLUMNS: Final = 4
MAX_LEGAL_LINES: Final = 5
MAX_CONTACTS: Final = 5
MAX_LINE_LENGTH: Final = 60
HEADER_TYPES: Final = frozenset({"image/png", "image/jpeg", "image/svg+xml"})

_COLOUR: Final = re.compile(r"#[0-9a-fA-F]{6}")
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
# What fetches or runs something, grows when it is read or takes minutes to draw.
_SVG_REFUSED: Final = re.compile(
    r"<!(?:DOCTYPE|ENTITY)|<\s*(?:\w+:)?(?:script|foreignObject|iframe|use|image|filter)\b"
    r"|@import|url\(\s*['\"]?(?!#)|\bhref\s*=\s*['\"]?\s*(?!#)[^'\"\s]|\son\w+\s*=",
    re.IGNORECASE,
)
_SVG_SIZE: Final = re.compile(r"<svg\b", re.IGNORECASE)


class LookError(ValueError):
    """A look that no letter can have; ``args[0]`` is the message key."""


@dataclass(frozen=True, slots=True)
class Look:
    """``return_address`` is one line above the address; ``legal`` are columns of lines, ``contact``
    label and value. ``header`` is a picture in base64, "" for none. Colours are ``#rrggbb``.
    ``country`` is where the letters are posted (ISO 3166): it is not written on those that stay.

    Raises LookError `sender_invalid` `return_address_invalid` `colour_invalid` `legal_invalid`
    `contact_invalid` `country_invalid` `header_unreadable` `header_too_large`.
    """

    sender: str
    return_address: str
    header: str = ""
    header_type: str = ""
    ink: str = "#1b1d21"
    accent: str = "#1b1d21"
    legal: tuple[tuple[str, ...], ...] = ()
    contact: tuple[tuple[str, str], ...] = ()
    country: str = "DE"

    def __post_init__(self) -> None:
        if not 0 < len(self.sender.strip()) <= MAX_SENDER_LENGTH:
            raise LookError("sender_invalid")
        if not 0 < len(self.return_address.strip()) <= MAX_RETURN_ADDRESS_LENGTH:
            raise LookError("return_address_invalid")
        if not all(_COLOUR.fullmatch(colour) for colour in (self.ink, self.accent)):
            raise LookError("colour_invalid")
        if not _COUNTRY.fullmatch(self.country):
            raise LookError("country_invalid")
        _check_lines(self.legal, MAX_LEGAL_COLUMNS, MAX_LEGAL_LINES, "legal_invalid")
        _check_lines(self.contact, MAX_CONTACTS, 2, "contact_invalid")
        if self.header:
            header_svg(self.header, self.header_type)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Look:
        """What ``as_json`` made. Raises LookError, also for what is no look at all."""
        try:
            texts = {
                name: stored[name] or ""
                for name in ("sender", "return_address", "header", "header_type")
                if name in stored
            }
            colours = {
                name: stored[name] for name in ("ink", "accent", "country") if stored.get(name)
            }
            return cls(
                **texts,
                **colours,
                legal=tuple(tuple(column) for column in stored.get("legal") or ()),
                contact=tuple((label, value) for label, value in stored.get("contact") or ()),
            )
        except (TypeError, ValueError, AttributeError) as error:
            if isinstance(error, LookError):
                raise
            raise LookError("look_unreadable") from None

    def as_json(self) -> dict[str, Any]:
        return {
            "sender": self.sender,
            "return_address": self.return_address,
            "header": self.header,
            "header_type": self.header_type,
            "ink": self.ink,
            "accent": self.accent,
            "legal": [list(column) for column in self.legal],
            "contact": [list(pair) for pair in self.contact],
            "country": self.country,
        }


def header_svg(header: str, header_type: str) -> str:
    """The picture as SVG; a raster picture stands inside it. Raises LookError."""
    try:
        raw = base64.b64decode(header, validate=True)
    except (binascii.Error, ValueError):
        raise LookError("header_unreadable") from None
    if len(raw) > MAX_HEADER_BYTES:
        raise LookError("header_too_large")
    if header_type == "image/svg+xml":
        return _checked_svg(raw)
    if header_type not in HEADER_TYPES:
        raise LookError("header_unreadable")
    width, height = _png_size(raw) if header_type == "image/png" else _jpeg_size(raw)
    if not (width and height):
        raise LookError("header_unreadable")
    if width * height > MAX_HEADER_PIXELS:
        raise LookError("header_too_large")
    picture = escape(f"data:{header_type};base64,{header}", quote=True)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        f' width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f'<image width="{width}" height="{height}" xlink:href="{picture}"/></svg>'
    )


def _checked_svg(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise LookError("header_unreadable") from None
    if not _SVG_SIZE.search(text) or _SVG_REFUSED.search(text):
        raise LookError("header_unreadable")
    return text


def _png_size(raw: bytes) -> tuple[int, int]:
    """Of the first chunk (PNG, ISO/IEC 15948, 11.2.2); zeros if it is no PNG."""
    if not raw.startswith(b"\x89PNG\r\n\x1a\n") or raw[12:16] != b"IHDR":
        return 0, 0
    return int.from_bytes(raw[16:20], "big"), int.from_bytes(raw[20:24], "big")


_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def _jpeg_size(raw: bytes) -> tuple[int, int]:
    """Of the frame header (ISO/IEC 10918-1, B.2.2); zeros if there is none."""
    at = 2 if raw.startswith(b"\xff\xd8") else len(raw)
    while at + 9 < len(raw) and raw[at] == 0xFF:
        if raw[at + 1] in _FRAMES:
            height, width = raw[at + 5 : at + 7], raw[at + 7 : at + 9]
            return int.from_bytes(width, "big"), int.from_bytes(height, "big")
        at += 2 + int.from_bytes(raw[at + 2 : at + 4], "big")
    return 0, 0


def _check_lines(
    groups: tuple[tuple[str, ...], ...], most_groups: int, most_lines: int, key: str
) -> None:
    if len(groups) > most_groups:
        raise LookError(key)
    for lines in groups:
        if len(lines) > most_lines or any(len(line) > MAX_LINE_LENGTH for line in lines):
            raise LookError(key)
