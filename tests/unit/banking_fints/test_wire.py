"""Messages from anybody: read as far as the syntax goes, never slow, never a lost return code."""

from __future__ import annotations

import warnings
from contextlib import suppress

import pytest
from fints.types import SegmentSequence
from hypothesis import given
from hypothesis import strategies as st

from server.banking.fints import challenge, wire

HEAD = b"HNHBK:1:3+000000000100+300+D1+1'"


def replies(text: str):
    return wire.replies(wire.segments(f"HIRMS:3:2:4+{text}'".encode("iso-8859-1")))


def test_escapes_groups_and_binaries():
    found = list(wire.raw_segments(b"HIXYZ:1:2+a?+b?'??:c::d+@5@+:'?@++e'"))
    assert found == [[["HIXYZ", "1", "2"], ["a+b'?", "c", None, "d"], b"+:'?@", None, "e"]]


def test_the_same_as_the_library_where_that_can_read():
    message = HEAD + b"HIRMG:2:2+0010::Gut'HIBPA:3:3:4+17+280:12030000+Bank+3+1+300+0'"
    ours, theirs = wire.segments(message), SegmentSequence(message)
    assert ours.render_bytes() == theirs.render_bytes() == message


def test_a_text_longer_than_allowed_keeps_its_code():
    (found,) = replies("9942::" + "Die PIN ist falsch. " * 20)
    assert found.code == "9942"
    assert found.text.startswith("Die PIN ist falsch.")


def test_more_methods_than_the_standard_allows_keep_the_first_ten():
    (found,) = replies("3920::Verfahren:" + ":".join(str(900 + n) for n in range(15)))
    assert found.parameters[0] == "900"
    assert len(found.parameters) == 10


def test_what_the_library_does_not_know_stays_and_warns_nobody():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = wire.segments(b"HIUPD:3:6:4+broken'HIZZZ:4:9+a+@2@xx'")
    assert wire.raw(found.segments[0]) == [["HIUPD", "3", "6", "4"], "broken"]
    assert wire.raw(found.segments[1]) == [["HIZZZ", "4", "9"], "a", b"xx"]


@pytest.mark.parametrize("segment", ["HIKAZS:19:5:4+1+1+90:N:N", "HIKAZS:20:6:4+1+1+0+90:N:N"])
def test_older_parameters_have_no_security_class(segment):
    found = wire.segments(f"{segment}'".encode()).segments[0]
    assert wire.parameters(found) == ["90", "N", "N"]


def test_methods_with_empty_elements_are_read_as_savings_banks_write_them():
    name = "2:pushTAN-dec:Decoupled::pushTAN 2.0"
    one = f"922:{name}:::Aufforderung:2048:J:2:N:0:0:N:N:00:2:N:2:180:1:1:J:J"
    two = one.replace("922", "923").replace(":N:2:180", ":N:5:180")
    (found,) = wire.segments(f"HITANS:9:7:4+1+1+1+N:N:0:{one}:{two}'".encode()).segments
    methods = found.parameter.twostep_parameters
    assert [method.security_function for method in methods] == ["922", "923"]
    assert [method.supported_media_number for method in methods] == [2, 5]


@pytest.mark.parametrize(
    "message",
    [
        b"HNHBK:1:3+a",
        b"HNHBK:1:3+@99@short'",
        b"HNHBK:1:3+@2@xxy'",
        b"'",
        b"123:1:1'",
        b"HIRMS:x:y'",
        b"HIRMS:3:2+a?",
        b"HIRMS:3:2+@nonumber'",
    ],
)
def test_what_is_no_message_is_garbled(message):
    with pytest.raises(wire.Garbled):
        wire.segments(message)


def test_a_message_without_a_head_is_none_of_ours():
    with pytest.raises(wire.Garbled):
        wire.institute_message(b"HIRMG:2:2+0010::Gut'")


def test_what_is_sealed_is_opened_once():
    inner = b"HIRMG:2:2+0010::Gut'"
    once = b"HNVSD:999:1+@%d@%s'" % (len(inner), inner)
    twice = b"HNVSD:999:1+@%d@%s'" % (len(once), once)
    assert [one.code for one in wire.replies(wire.segments(once))] == ["0010"]
    assert wire.replies(wire.segments(twice)) == []


def test_a_flood_of_segments_is_refused(monkeypatch):
    monkeypatch.setattr(wire, "MAX_SEGMENTS", 10)
    with pytest.raises(wire.Garbled, match="too many"):
        wire.segments(b"HIXYZ:1:2'" * 11)


def test_a_flood_of_elements_is_refused(monkeypatch):
    monkeypatch.setattr(wire, "MAX_ELEMENTS", 1_000)
    with pytest.raises(wire.Garbled, match="too many"):
        wire.segments(b"HIXYZ:1:2" + b"+" * 5_000 + b"'")


@given(st.binary(max_size=200))
def test_any_bytes_are_segments_or_garbled(content):
    with suppress(wire.Garbled):
        assert wire.segments(b"HIRMS:3:2+" + content + b"'").segments


def hitan(elements: bytes, version: int = 7):
    return challenge.read(wire.segments(b"HITAN:4:%d:5+" % version + elements + b"'").segments[0])


def test_a_challenge_in_html_becomes_lines():
    found = hitan(b"4++T1+<p>Bitte <b>best\xe4tigen</b>&colon;</p><ul><li>Umsatz<li>heute</ul>")
    assert found.task == "T1"
    assert found.text == "Bitte bestätigen:\nUmsatz\nheute"


def test_a_challenge_whose_colons_were_not_escaped_is_whole():
    assert hitan(b"4++T1+Konto: 1: bitte freigeben").text == "Konto: 1: bitte freigeben"


def test_a_challenge_longer_than_allowed_is_cut_and_not_lost():
    found = hitan(b"4++T1+" + b"viel " * 1_000)
    assert found.task == "T1"
    assert 1_000 < len(found.text) <= challenge.MAX_TEXT


def test_the_picture_of_a_phototan_and_only_a_picture():
    def code(mime: bytes) -> bytes:
        picture = b"x" * 300
        matrix = len(mime).to_bytes(2, "big") + mime + len(picture).to_bytes(2, "big") + picture
        return b"4++T1+Bild+@%d@" % len(matrix) + matrix

    assert hitan(code(b"image/png")).picture.content == b"x" * 300
    assert hitan(code(b"text/html")).picture is None


def test_a_flickering_code_is_made_ready_to_flicker():
    code = b"2908881696281098765432100532,00"
    found = hitan(b"4++T1+chipTAN+@%d@" % len(code) + code)
    assert int(found.flicker[:2], 16) == len(found.flicker) // 2 - 1


def test_a_flickering_code_inside_the_sentence_is_cut_out():
    code = "2908881696281098765432100532,00"
    sentence = f"CHLGUC  {len(code):04d}{code}CHLGTEXT0005Bitte"
    found = hitan(f"4++T1+{sentence}".encode())
    assert found.text == "Bitte"
    assert found.flicker is not None


def test_a_code_that_is_none_is_left_out():
    assert hitan(b"4++T1+chipTAN+@3@abc").flicker is None


def test_a_challenge_survives_being_kept():
    matrix = b"\x00\x09image/png\x01\x2c" + b"x" * 300
    found = hitan(b"4++T1+Bild+@%d@" % len(matrix) + matrix + b"++Handy")
    assert found.medium == "Handy"
    assert challenge.from_json(challenge.to_json(found)) == found
