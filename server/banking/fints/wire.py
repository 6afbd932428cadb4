"""FinTS messages to segments: what `fints` does, safe for bytes from anybody.

The library's own reader copies the rest of the message for every token, warns (with the bank's
data in the warning) about what it does not know, and loses the return codes of a segment whose
text is longer than allowed. Segments that cannot be read stay as raw elements, none is dropped.

Standard: FinTS 3.0 Formals, chapter H (syntax). Character set ISO 8859-1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from fints.formals import SegmentHeader
from fints.message import FinTSInstituteMessage
from fints.parser import FinTS3Parser
from fints.segments.base import FinTS3Segment
from fints.segments.message import HNHBK3, HNVSD1
from fints.types import SegmentSequence

from server.banking.fints.answers import Reply

CHARSET = "iso-8859-1"
MAX_SEGMENTS = 20_000
MAX_ELEMENTS = 500_000
MAX_TEXT = 80
MAX_PARAMETERS = 10
MAX_CHALLENGE = 2048

# A segment's elements; a group of elements is a list, bytes come from binary elements.
Raw = list[Any]

_TOKEN = re.compile(
    rb"(?P<text>(?:[^?:+@']++|\?.)++)|(?P<mark>[+:'])|@(?P<length>\d{1,9})@", re.DOTALL
)
_ESCAPED = re.compile(rb"\?(.)", re.DOTALL)
_HEADER = re.compile(r"[A-Z]{4,6}")


class Garbled(ValueError):
    """These bytes are no FinTS message."""


def segments(message: bytes) -> SegmentSequence:
    """The segments of a message, what was sealed in HNVSD included. Raises Garbled."""
    return _segments(message, may_be_sealed=True)


def institute_message(message: bytes) -> FinTSInstituteMessage:
    """What a bank sent. Raises Garbled."""
    found = segments(message)
    if not found.segments or not isinstance(found.segments[0], HNHBK3):
        raise Garbled("a message without a head")
    answer = FinTSInstituteMessage()
    answer.segments = found.segments
    return answer


def raw(segment: Any) -> Raw:
    """The elements of a segment that ``segments`` read, the header first, as they came."""
    found: Raw = segment._elements
    return found


def parameters(segment: Any) -> Raw:
    """The last group of a parameter segment; the older ones have no security class before it."""
    last = raw(segment)[-1]
    return last if isinstance(last, list) else [last]


def element(segment: Raw, *path: int) -> Any:
    """The element at a place, or None: ``element(raw, 4, 1)`` is the second of the fourth."""
    found: Any = segment
    for at in path:
        if not isinstance(found, list):
            found = [found]
        found = found[at] if at < len(found) else None
    return found


def text(segment: Raw, *path: int) -> str:
    """Like ``element``, as text; bytes are read as ISO 8859-1, nothing is an empty text."""
    found = element(segment, *path)
    if isinstance(found, bytes):
        return found.decode(CHARSET)
    return found.strip() if isinstance(found, str) else ""


def replies(message: SegmentSequence, to: int | None = None) -> list[Reply]:
    """The return codes in a message: all of them, or those to one segment of what was sent."""
    found = []
    for segment in message.find_segments(("HIRMG", "HIRMS")):
        if to is not None and segment.header.reference != to:
            continue
        for one in getattr(segment, "responses", ()):
            more = tuple(str(each) for each in one.parameters if each is not None)
            found.append(Reply(str(one.code or ""), str(one.text or ""), more))
    return found


def raw_segments(message: bytes) -> Iterator[Raw]:
    """Each segment as its elements, the header first. Raises Garbled."""
    segment: Raw = []
    group: Raw = []
    element: Any = None
    elements = 0
    for kind, value in _tokens(message):
        if kind == "value":
            if element is not None:
                raise Garbled("two values without a separator")
            element = value
            continue
        elements += 1
        if elements > MAX_ELEMENTS:
            raise Garbled("too many elements")
        group.append(element)
        element = None
        if kind == ":":
            continue
        segment.append(_without_empty_end(group) if len(group) > 1 else group[0])
        group = []
        if kind == "'":
            yield _without_empty_end(segment)
            segment = []
    if segment or group or element is not None:
        raise Garbled("the message ends inside a segment")


def _tokens(message: bytes) -> Iterator[tuple[str, Any]]:
    at = 0
    while at < len(message):
        match = _TOKEN.match(message, at)
        if match is None:
            raise Garbled("no FinTS syntax")
        at = match.end()
        if match["text"] is not None:
            yield "value", _ESCAPED.sub(rb"\1", match["text"]).decode(CHARSET)
        elif match["mark"] is not None:
            yield match["mark"].decode(), None
        else:
            end = at + int(match["length"])
            yield "value", message[at:end]
            at = end


def _without_empty_end(values: Raw) -> Raw:
    while len(values) > 1 and values[-1] is None:
        values.pop()
    return values


def _segments(message: bytes, may_be_sealed: bool) -> SegmentSequence:
    found = [_segment(each, may_be_sealed) for each in raw_segments(message)]
    if len(found) > MAX_SEGMENTS:
        raise Garbled("too many segments")
    return SegmentSequence(found)


def _segment(found: Raw, may_be_sealed: bool) -> FinTS3Segment:
    kind = text(found, 0, 0)
    if not _HEADER.fullmatch(kind):
        raise Garbled("a segment without a name")
    if kind == "HNVSD" and may_be_sealed and isinstance(element(found, 1), bytes):
        inner = HNVSD1(data=_segments(found[1], may_be_sealed=False))
        inner.header = _header(found[0])
        return inner
    shortened = _within_limits(kind, found)
    known = _classes().get((kind, text(found, 0, 2)), FinTS3Segment)
    if kind == "HNVSD":  # sealed inside what was sealed; the library would go on opening it
        known = FinTS3Segment
    try:
        segment = FinTS3Parser()._parse_segment_as_class(known, shortened)
    except (ValueError, TypeError, LookupError, AttributeError):
        segment = FinTS3Segment(header=_header(found[0]))
        segment._additional_data = found[1:]
    segment._elements = shortened
    return segment


@cache
def _classes() -> dict[tuple[str, str], type[FinTS3Segment]]:
    """The segments that the library knows; it looks through all of them for each one it reads."""
    found = (one for one in FinTS3Segment._all_subclasses() if one.TYPE is not None)
    return {(one.TYPE, str(one.VERSION)): one for one in found}


def _header(raw: Raw) -> SegmentHeader:
    try:
        number, version = int(raw[1]), int(raw[2])
        reference = int(raw[3]) if len(raw) > 3 and raw[3] else None
        return SegmentHeader(str(raw[0]), number, version, reference)
    except (ValueError, TypeError, LookupError):
        raise Garbled("a segment with a broken header") from None


def _within_limits(kind: str, raw: Raw) -> Raw:
    """Banks write longer texts than the standard allows; those must not cost the codes."""
    if kind in {"HIRMG", "HIRMS"}:
        return [raw[0], *(_short_reply(one) for one in raw[1:])]
    if kind == "HITAN" and len(raw) > 4 and raw[4] is not None:
        # Some banks forget to escape the colons of their sentence.
        words = raw[4] if isinstance(raw[4], list) else [raw[4]]
        whole = ":".join(str(word or "") for word in words)
        return [*raw[:4], whole[:MAX_CHALLENGE], *raw[5:]]
    return raw


def _short_reply(raw: Any) -> Any:
    if not isinstance(raw, list) or len(raw) < 3:
        return raw
    code, place, words, *more = raw
    kept = [str(each)[:35] if each is not None else None for each in more[:MAX_PARAMETERS]]
    return [code, str(place or "")[:7], str(words or "")[:MAX_TEXT], *kept]
