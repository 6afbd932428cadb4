"""What a mail of another system says, as people look at it: whatever it is made of."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.relay import reading
from server.relay.reading import Attached, Content, read_content

HEAD = "From: a@shop.example.org\r\nMIME-Version: 1.0\r\n"
PNG = base64.b64encode(b"\x89PNG").decode()


def part(kind: str, body: str, more: str = "") -> str:
    return f"--m\r\nContent-Type: {kind}\r\n{more}\r\n{body}\r\n"


def mixed(*parts: str) -> bytes:
    head = f"{HEAD}Content-Type: multipart/mixed; boundary=m\r\n\r\n"
    return (head + "".join(parts) + "--m--\r\n").encode()


def test_text_html_and_what_is_attached_are_told_apart():
    found = read_content(
        mixed(
            part("text/plain; charset=iso-8859-1", "Gr=FC=DFe", "Content-Transfer-Encoding: "
                 "quoted-printable\r\n"),
            part("text/html", "<p>Hallo</p>"),
            part("text/plain", "kein Text", "Content-Disposition: attachment; filename=a.txt\r\n"),
            part("application/pdf", "%PDF", "Content-Disposition: attachment;\r\n"
                 " filename=\"=?utf-8?q?Rechnung_M=C3=A4rz.pdf?=\"\r\n"),
        )
    )  # fmt: skip
    assert (found.text, found.html) == ("Grüße", "<p>Hallo</p>")
    assert [one.name for one in found.attached] == ["a.txt", "Rechnung März.pdf"]
    assert found.attached[1] == Attached("Rechnung März.pdf", "application/pdf", 4)
    assert found.head.startswith("From: a@shop.example.org")


def test_only_the_pictures_of_the_mail_itself_are_put_into_it():
    base64_ = "Content-Transfer-Encoding: base64\r\n"
    found = read_content(
        mixed(
            part("text/html", '<img src="cid:eins"><img src="cid:zwei"><img src="cid:drei">'),
            part("image/png", PNG, f"Content-ID: <eins>\r\n{base64_}"),
            part("image/svg+xml", "<svg onload='x'/>", "Content-ID: <zwei>\r\n"),
        )
    )
    assert found.html == (
        f'<img src="data:image/png;base64,{PNG}"><img src="cid:zwei"><img src="cid:drei">'
    )
    assert [one.kind for one in found.attached] == ["image/svg+xml"]


def test_pictures_end_where_there_is_no_more_room(monkeypatch):
    monkeypatch.setattr(reading, "MAX_PICTURE_BYTES", 3)
    found = read_content(
        mixed(
            part("text/html", '<img src="cid:eins">'),
            part("image/png", "1234", "Content-ID: <eins>\r\n"),
        )
    )
    assert found.html == '<img src="cid:eins">' and len(found.attached) == 1


@pytest.mark.parametrize("charset", ["klingonisch", "utf-8\x00", "idna", "undefined", "hex"])
def test_a_charset_that_cannot_be_is_read_with_gaps(charset):
    found = read_content(f"{HEAD}Content-Type: text/plain; charset={charset}\r\n\r\nabc".encode())
    assert found.text == "abc"


def test_a_long_text_is_cut():
    found = read_content(HEAD.encode() + b"\r\n" + b"x" * (reading.MAX_CHARACTERS + 9))
    assert found.text is not None and len(found.text) == reading.MAX_CHARACTERS


def test_what_was_made_to_keep_readers_busy_is_not_taken_apart():
    many = mixed(part("text/plain", "x") * (reading.MAX_BOUNDARIES + 1))
    deep = "".join(
        f"Content-Type: multipart/mixed; boundary=b{one}\r\n\r\n--b{one}\r\n" for one in range(1500)
    )
    for raw in (many, (HEAD + deep + "\r\nx").encode()):
        found = read_content(raw)
        assert found == Content(found.head, None, None, ()) and found.head.startswith("From:")


@given(st.binary(max_size=400), st.integers(0, 10_000))
def test_whatever_stands_in_it_it_can_be_looked_at(noise: bytes, place: int):
    whole = mixed(
        part("text/html", '<img src="cid:eins">'),
        part("image/png", PNG, "Content-ID: <eins>\r\nContent-Transfer-Encoding: base64\r\n"),
        part("a/b", "x", "Content-Disposition: attachment; filename*0*=utf-8''%41\r\n"),
    )
    cut = place % len(whole)
    found = read_content(whole[:cut] + noise + whole[cut:])
    assert "\x00" not in (found.text or "") + (found.html or "")
