"""A look comes from a form: what it may hold and what it may not."""

from __future__ import annotations

import base64
import struct

import pytest

from server.letters.compose import check_look
from server.letters.look import Look, LookError, header_svg
from tests.unit.letters.samples import LOOK


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _png_head(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height)


def test_a_look_is_stored_and_read_again() -> None:
    assert Look.from_json(LOOK.as_json()) == LOOK
    assert Look.from_json({"sender": "A", "return_address": "B"}) == Look("A", "B")


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"sender": " "}, "sender_invalid"),
        ({"sender": "x" * 101}, "sender_invalid"),
        ({"return_address": ""}, "return_address_invalid"),
        ({"ink": "red"}, "colour_invalid"),
        ({"accent": "#12345"}, "colour_invalid"),
        ({"country": "Germany"}, "country_invalid"),
        ({"legal": [["x" * 61]]}, "legal_invalid"),
        ({"legal": [["x"]] * 5}, "legal_invalid"),
        ({"contact": [["x", "y"]] * 6}, "contact_invalid"),
        ({"contact": [["x"]]}, "look_unreadable"),
        ({"legal": 7}, "look_unreadable"),
        ({"header": "§", "header_type": "image/png"}, "header_unreadable"),
        ({"header": _encoded(b"GIF89a"), "header_type": "image/gif"}, "header_unreadable"),
        ({"header": _encoded(b"no png"), "header_type": "image/png"}, "header_unreadable"),
        ({"header": _encoded(b"no jpeg"), "header_type": "image/jpeg"}, "header_unreadable"),
        ({"header": _encoded(b"x" * 120_001), "header_type": "image/png"}, "header_too_large"),
        (
            {"header": _encoded(_png_head(9000, 9000)), "header_type": "image/png"},
            "header_too_large",
        ),
    ],
)
def test_what_no_letter_can_have(changes: dict[str, object], key: str) -> None:
    with pytest.raises(LookError, match=key):
        Look.from_json(LOOK.as_json() | changes)


@pytest.mark.parametrize(
    "inside",
    [
        '<image href="file:///etc/passwd"/>',
        '<image xlink:href="https://example.org/x.png"/>',
        "<script>1</script>",
        "<foreignObject/>",
        '<use href="other.svg#a"/>',
        "<style>@import 'x.css'</style>",
        '<rect fill="url(https://example.org/a)"/>',
        '<rect onload="x()"/>',
        '<filter id="f"><feGaussianBlur stdDeviation="99999"/></filter>',
    ],
)
def test_a_drawing_fetches_and_runs_nothing(inside: str) -> None:
    for text in (f"<svg>{inside}</svg>", f'<!DOCTYPE svg [<!ENTITY a "b">]><svg>{inside}</svg>'):
        with pytest.raises(LookError, match="header_unreadable"):
            header_svg(_encoded(text.encode()), "image/svg+xml")


def test_a_drawing_may_use_its_own_colours() -> None:
    svg = '<svg><linearGradient id="a"/><rect fill="url(#a)"/></svg>'
    assert header_svg(_encoded(svg.encode()), "image/svg+xml") == svg


def test_a_photograph_has_the_size_that_its_frame_names() -> None:
    frame = b"\xff\xc0" + struct.pack(">HBHH", 11, 8, 40, 160)
    photograph = b"\xff\xd8\xff\xe0\x00\x04ab" + frame + b"\x00" * 8
    assert 'width="160" height="40"' in header_svg(_encoded(photograph), "image/jpeg")


@pytest.mark.parametrize(
    "inside", ["<g>", "<g>" * 15_000 + "</g>" * 15_000, "<text y='9'>日</text>"]
)
def test_whoever_saves_a_look_hears_that_it_cannot_be_drawn(inside: str) -> None:
    check_look(LOOK)
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="30" height="10">{inside}</svg>'
    with pytest.raises(LookError, match="header_unreadable"):
        check_look(Look("A", "B", header=_encoded(svg.encode()), header_type="image/svg+xml"))
