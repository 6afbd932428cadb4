"""Header pictures: what is taken, what is refused, and how the world gets them."""

from __future__ import annotations

import zlib
from dataclasses import replace
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from server.config import install, installed
from server.db import db
from server.mail import pictures
from server.mail.models import Picture
from server.mail.pictures import (
    Sniffed,
    address_of,
    checked_picture,
    shown_height,
    store_picture,
    with_own_pictures,
)
from server.mail.theme import Theme
from tests.factories import AT, make_merchant


def png(width: int = 600, height: int = 120, extra: bytes = b"") -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return pack(">I", len(content)) + name + content + pack(">I", zlib.crc32(name + content))

    head = chunk(b"IHDR", pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    lines = zlib.compress((b"\x00" + bytes(-(-width // 8))) * min(height, 4000))
    middle = chunk(extra, b"12345678") if extra else b""
    return b"\x89PNG\r\n\x1a\n" + head + middle + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


def jpeg(width: int = 600, height: int = 120, frame: int = 0xC0) -> bytes:
    app0 = b"\xff\xe0" + pack(">H", 16) + b"JFIF\x00" + bytes(9)
    fill = b"\xff\xff\xdb" + pack(">H", 67) + bytes(65)
    start = bytes((0xFF, frame)) + pack(">HBHHB", 11, 8, height, width, 1) + bytes(3)
    return b"\xff\xd8" + app0 + fill + start + b"\xff\xda" + pack(">H", 8) + bytes(20) + b"\xff\xd9"


def gif(width: int = 600, height: int = 120, images: int = 1) -> bytes:
    head = b"GIF89a" + pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    note = b"\x21\xfe\x03abc\x00"
    image = b"\x2c" + pack("<HHHHB", 0, 0, width, height, 0x81) + bytes(12) + b"\x02\x02LZ\x00"
    return head + note + image * images + b"\x3b"


@pytest.mark.feature("S2")
@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (png(), "image/png"),
        (jpeg(), "image/jpeg"),
        (jpeg(frame=0xC2), "image/jpeg"),
        (gif(), "image/gif"),
    ],
)
def test_still_pictures_are_known_by_their_bytes(content, kind):
    assert checked_picture(content) == Sniffed(kind, 600, 120)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "picture_unknown"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "picture_unknown"),
        (b"%PDF-1.7", "picture_unknown"),
        (b"GIF89a", "picture_unknown"),
        (png()[:-8], "picture_unknown"),
        (jpeg()[:-2], "picture_unknown"),
        (gif()[:-1], "picture_unknown"),
        (gif(images=0), "picture_unknown"),
        (png(width=0), "picture_unknown"),
        (png(extra=b"acTL"), "picture_moves"),
        (gif(images=2), "picture_moves"),
        (png(2401, 100), "picture_too_wide"),
        (png(2400, 1201), "picture_too_wide"),
        (jpeg(299, 40), "picture_too_narrow"),
        (jpeg(600, 301), "picture_too_high"),
        (png() + bytes(500_000), "picture_too_large"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_its_reason(content, problem):
    with pytest.raises(ValueError, match=f"^{problem}$"):
        checked_picture(content)


@given(st.sampled_from([png(), jpeg(), gif()]), st.data())
def test_broken_pictures_never_break_anything_else(whole, data):
    cut = data.draw(st.integers(0, len(whole)))
    wrong = data.draw(st.binary(max_size=40))
    for content in (whole[:cut], whole[:cut] + wrong, whole[:cut] + wrong + whole[cut:]):
        try:
            found = checked_picture(content)
        except ValueError as refused:
            assert str(refused).startswith("picture_")
        else:
            assert 300 <= found.width <= 2400


def test_a_picture_is_as_wide_as_the_mail():
    assert (shown_height(1200, 300), shown_height(600, 120), shown_height(2400, 1)) == (150, 120, 1)


@pytest.mark.feature("S2")
def test_a_picture_is_handed_out_without_cookies_and_kept_for_good(app, client):
    row = store_picture(make_merchant().id, png(1200, 240), AT)
    db.session.commit()
    address = address_of(row)
    assert Theme(header_image=address).header_image == address
    assert len(row.token) == 43
    answer = client.get(address.removeprefix(installed().url))
    assert answer.status_code == 200 and answer.data == png(1200, 240)
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert "immutable" in answer.headers["Cache-Control"]
    assert "Set-Cookie" not in answer.headers
    assert client.get("/bilder/" + "A" * 43).status_code == 404


def test_the_same_picture_is_kept_once_a_merchant(app):
    anna, bob = make_merchant(), make_merchant("Bobs Laden")
    rows = [store_picture(one.id, png(), AT) for one in (anna, anna, bob) if not db.session.flush()]
    assert rows[0] is rows[1] and rows[2].token != rows[0].token


def test_nobody_fills_the_house_with_pictures(app, monkeypatch):
    monkeypatch.setattr(pictures, "MAX_PICTURES", 2)
    anna = make_merchant()
    for width in (600, 610):
        store_picture(anna.id, png(width), AT)
        db.session.flush()
    with pytest.raises(ValueError, match="picture_too_many"):
        store_picture(anna.id, png(620), AT)
    assert store_picture(anna.id, png(610), AT).width == 610
    assert db.session.scalar(select(func.count()).select_from(Picture)) == 2


def test_without_tls_only_this_very_machine_shows_pictures(app, settings):
    anna = make_merchant()
    try:
        install(replace(settings, url="http://kontor.example.org"))
        with pytest.raises(ValueError, match="picture_needs_https"):
            store_picture(anna.id, png(), AT)
        install(replace(settings, url="https://kontor.example.org"))
        row = store_picture(anna.id, png(), AT)
        assert address_of(row).startswith("https://kontor.example.org/bilder/")
    finally:
        install(settings)


def test_in_a_frame_our_own_pictures_stand_in_the_page(app):
    row = store_picture(make_merchant().id, png(), AT)
    db.session.commit()
    html = f'<img src="{address_of(row)}"><img src="https://shop.example.org/x.png">'
    shown = with_own_pictures(html)
    assert '<img src="data:image/png;base64,iVBOR' in shown
    assert '"https://shop.example.org/x.png"' in shown
    unknown = html.replace(row.token, "B" * 43)
    assert with_own_pictures(unknown) == unknown
