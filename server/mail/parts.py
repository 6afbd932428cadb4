"""A mail from a stranger, cut into its parts. Pure.

By hand, because the standard library's parser recurses as deep as a mail is nested and keeps every
line of it: here at most ``MAX_PARTS`` parts, ``MAX_DEPTH`` deep, are cut from the first MiB, each
piece of text is short, and every step takes time in proportion to what it reads. Nothing raises.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header
from html import unescape
from typing import Final

MAIL_TYPES: Final = ("message/rfc822", "message/global")
MAX_READ_BYTES: Final = 1024**2
MAX_PARTS: Final = 40
MAX_DEPTH: Final = 5
MAX_HEAD_BYTES: Final = 64 * 1024
MAX_GROUPS: Final = 20
MAX_FIELD: Final = 2_000
MAX_TEXT: Final = 32 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a mail: ``head`` by names in small letters, the first of each name.

    ``is_quoted``: it belongs to a mail within the mail, such as the one that is returned.
    """

    content_type: str
    head: Mapping[str, str]
    body: bytes
    is_quoted: bool


def parts_of(raw: bytes) -> list[Part]:
    """A mail and all that is in it, outermost first: never an empty list."""
    return list(_parts(raw[:MAX_READ_BYTES].replace(b"\r\n", b"\n"), 0, [MAX_PARTS], False))


def _parts(raw: bytes, depth: int, left: list[int], is_quoted: bool) -> Iterator[Part]:
    """A mail and what is in it, outermost first. ``left`` is how many more may come."""
    if left[0] <= 0:
        return
    left[0] -= 1
    head_bytes, body = _split_head(raw)
    head = _fields(head_bytes)
    line = head.get("content-type", "text/plain")
    content_type = line.partition(";")[0].strip().lower()
    boundary = _parameter(line, "boundary")
    yield Part(content_type, head, body, is_quoted)
    if depth >= MAX_DEPTH:
        return
    if content_type.startswith("multipart/") and boundary:
        for piece in _pieces(body, boundary.encode("utf-8", "replace")):
            yield from _parts(piece, depth + 1, left, is_quoted)
    elif content_type in MAIL_TYPES:
        yield from _parts(_decoded(body, head), depth + 1, left, True)


def _split_head(raw: bytes) -> tuple[bytes, bytes]:
    if raw.startswith(b"\n"):
        return b"", raw[1:]
    head, _, body = raw.partition(b"\n\n")
    return head[:MAX_HEAD_BYTES], body


def _fields(block: bytes) -> dict[str, str]:
    """Unfolded. Of a field that stands twice the first counts."""
    found: dict[str, list[str]] = {}
    value: list[str] = []
    for line in _text(block, "utf-8").split("\n"):
        if line[:1] in (" ", "\t"):
            value.append(line.strip())
            continue
        name, colon, rest = line.partition(":")
        value = [rest.strip()]
        if colon:
            found.setdefault(name.strip().lower()[:80], value)
    return {name: " ".join(lines)[:MAX_FIELD] for name, lines in found.items()}


def _parameter(line: str, name: str) -> str:
    """``boundary`` or ``charset`` of a Content-Type; RFC 2045, 5.1."""
    _, found, rest = line.partition(f"{name}=")
    if not found:  # written in capitals
        at = line.lower().find(f"{name}=")
        rest = line[at + len(name) + 1 :] if at >= 0 else ""
    if rest.startswith('"'):
        return rest[1:].partition('"')[0][:200]
    return rest.partition(";")[0].strip()[:200]


def _pieces(body: bytes, boundary: bytes) -> list[bytes]:
    """Between the boundaries; what is cut off in the middle still counts."""
    pieces = (b"\n" + body).split(b"\n--" + boundary, MAX_PARTS + 1)[1:]
    found = []
    for piece in pieces:
        if piece.startswith(b"--"):
            break
        found.append(piece.partition(b"\n")[2])
    return found


def _decoded(body: bytes, head: Mapping[str, str]) -> bytes:
    encoding = head.get("content-transfer-encoding", "").lower()
    with suppress(binascii.Error):  # broken on its way: read as it is
        if encoding == "base64":
            return binascii.a2b_base64(body + b"===")  # it may be cut
        if encoding == "quoted-printable":
            return binascii.a2b_qp(body)
    return body


_CHARSETS: Final = {
    "iso-8859-1": "cp1252",
    "iso-8859-15": "iso-8859-15",
    "latin1": "cp1252",
    "us-ascii": "utf-8",
    "utf-8": "utf-8",
    "windows-1252": "cp1252",
}
"""Only these: some of the others take their time with hostile input."""


def _text(raw: bytes, charset: str) -> str:
    name = _CHARSETS.get(charset.lower(), "utf-8")
    try:
        return raw.decode(name)
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def fields_within(part: Part) -> list[Mapping[str, str]]:
    """The groups of fields in its body, such as those of a delivery status; at least one."""
    content = _decoded(part.body[:MAX_HEAD_BYTES], part.head).replace(b"\r\n", b"\n")
    blocks = content.strip(b"\n").split(b"\n\n", MAX_GROUPS)
    return [_fields(block.strip(b"\n")) for block in blocks[:MAX_GROUPS]]


def text_of(part: Part) -> str:
    """What it says to people, without the tags of HTML."""
    body = _decoded(part.body[: 2 * MAX_TEXT], part.head)
    text = _text(body, _parameter(part.head.get("content-type", ""), "charset"))
    if part.content_type == "text/html":
        text = _without_tags(text)
    return text[:MAX_TEXT]


_BLOCK_TAGS: Final = frozenset("br p div tr li h1 h2 h3 h4 table td".split())


def _without_tags(html: str) -> str:
    """By cutting at the signs, which takes the same time whatever stands there."""
    first, *rest = html.split("<")
    words = [first]
    for piece in rest:
        tag, _, text = piece.partition(">")
        name = tag.replace("/", " ").partition(" ")[0].lower()
        if name in ("style", "script"):
            continue
        words.append(("\n" if name in _BLOCK_TAGS or tag[:1] == "/" else " ") + text)
    return unescape("".join(words))


_UNPRINTABLE: Final = re.compile(r"[\x00-\x20\x7f-\xa0\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")


def one_line(text: str, length: int) -> str:
    """One line that can be stored and shown."""
    return _UNPRINTABLE.sub(" ", text[: 4 * length]).strip()[:length]


def words_of_field(value: str) -> str:
    """A field with its encoded words read (RFC 2047)."""
    try:
        pieces = decode_header(value[:MAX_FIELD])
    except (HeaderParseError, ValueError):
        return value
    return "".join(
        piece if isinstance(piece, str) else _text(piece, charset or "utf-8")
        for piece, charset in pieces
    )


def author_of(value: str) -> tuple[str, str]:
    """Name and address of a From field; the standard library's reader can be made to recurse."""
    text = words_of_field(value)
    name, opened, rest = text.rpartition("<")
    if opened:
        return name.strip(' "'), rest.partition(">")[0].strip()
    words = text.split()
    address = next((word for word in words if "@" in word), words[0] if words else "")
    return text.replace(address, " ").strip(' ()"'), address.strip("()<>,;")
