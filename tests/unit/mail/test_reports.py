"""What comes back, read: every sample, and whatever else a stranger may send."""

from __future__ import annotations

import base64
import re
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from server.mail import parts
from server.mail.replies import classify
from server.mail.reports import MAX_WORDS, Report, read_report

SAMPLES = Path(__file__).parents[2] / "fixtures" / "bounces"
EXPECTED = tomllib.loads((SAMPLES / "expected.toml").read_text("utf-8"))
KINDS = {"bounced", "delayed", "delivered", "complaint", "auto_reply", "other"}


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.eml").read_bytes()


def test_there_are_enough_samples_and_each_is_expected():
    assert {path.stem for path in SAMPLES.glob("*.eml")} == set(EXPECTED)
    assert len(EXPECTED) >= 60


@pytest.mark.feature("S7")
@pytest.mark.parametrize("name", sorted(EXPECTED))
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_every_sample_says_what_it_says(name, line_end):
    expected = EXPECTED[name]
    found = read_report(sample(name).replace(b"\n", line_end))
    assert (found.kind, found.status_code) == (expected["kind"], expected["code"])
    assert expected["words"] in found.words
    for field, value in (
        ("message_id", found.original_message_id),
        ("reporter", found.reporter),
        ("path", found.return_path),
    ):
        assert value == expected.get(field, value)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_only_what_is_about_the_address_blocks_it(name):
    found = read_report(sample(name))
    code = int(found.status_code) if found.status_code.isdigit() else 0
    verdict = classify(code, f"{found.status_code} {found.words}")
    blocks = found.kind == "bounced" and bool(found.status_code) and verdict.suppress
    assert blocks == EXPECTED[name]["blocks"], verdict


@pytest.mark.feature("S8")
def test_what_is_no_report_says_nothing_of_the_mail():
    quiet = {name for name, said in EXPECTED.items() if said["kind"] in ("auto_reply", "other")}
    assert {"ooo_german", "challenge", "person_answers", "postfix_relayed", "newsletter"} <= quiet
    assert not any(EXPECTED[name]["blocks"] for name in quiet)


# --- strangers ----------------------------------------------------------------------------------

HOSTILE = {
    "nested": b"".join(
        b"Content-Type: multipart/mixed; boundary=n%d\n\n--n%d\n" % (n, n) for n in range(20_000)
    ),
    "rfc822 in rfc822": b"Content-Type: message/rfc822\n\n" * 30_000,
    "one boundary often": b"Content-Type: multipart/report; boundary=b\n\n" + b"--b\n\n" * 200_000,
    "fields": b"From: MAILER-DAEMON@example.com\n" * 30_000,
    "field without end": b"Subject: " + b"a" * 1_000_000,
    "folded for ever": b"Subject: a\n" + b" a\n" * 300_000,
    "encoded words": b"From: " + b"=?utf-8?q?=41?= " * 60_000,
    "quotes": b'Content-Type: multipart/mixed; boundary="' + b'\\"' * 400_000,
    "open brackets": b"From: mailer-daemon@x\nContent-Type: text/html\n\n" + b"<" * 1_000_000,
    "entities": b"From: mailer-daemon@x\nContent-Type: text/html\n\n" + b"&#x41" * 200_000,
    "digits": b"From: mailer-daemon@x\n\n" + b"5.1.1." * 170_000,
    "lines": b"From: mailer-daemon@x\n\n" + b"\n" * 1_000_000,
    "dashes": b"From: mailer-daemon@x\n\n" + b"-" * 1_000_000,
    "phrases": b"From: mailer-daemon@x\n\n" + b"address account mailbox user " * 40_000,
    "status groups": b"Content-Type: message/delivery-status\n\n" + b"Action: x\n\n" * 90_000,
    "comments": b"From: " + b"(" * 500_000 + b"mailer-daemon@x\n\n550 5.1.1",
    "commas": b"From: " + b"a@b," * 250_000,
    "nothing but zeros": bytes(1_000_000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_mails_are_read_in_few_steps(name):
    """Each line of our code is counted, which says more than a clock on a busy machine."""
    found, steps = counted(HOSTILE[name])
    assert found.kind in KINDS
    assert steps < 400_000


def counted(raw: bytes) -> tuple[Report, int]:
    steps = 0

    def count(frame, event, argument):
        nonlocal steps
        steps += 1
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        return read_report(raw), steps
    finally:
        sys.settrace(before)


@given(st.binary(max_size=3_000))
def test_any_bytes_at_all_are_answered(raw):
    check(read_report(raw))


MARKS = sorted({line for name in EXPECTED for line in sample(name).splitlines()[:40]})


@settings(max_examples=300)
@given(st.lists(st.sampled_from(MARKS) | st.binary(max_size=40), max_size=40), st.integers(0, 3))
@example([b"Content-Type: text/html", b"", b"<\n>< / ></"], 0)
def test_any_mixture_of_real_lines_is_answered(lines, seed):
    check(read_report(b"\n".join(lines)))


@given(st.sampled_from(sorted(EXPECTED)), st.data())
def test_a_sample_that_was_cut_or_changed_anywhere_is_answered(name, data):
    raw = sample(name)
    at = data.draw(st.integers(0, len(raw)))
    piece = data.draw(st.binary(max_size=20))
    check(read_report(raw[:at]))
    check(read_report(raw[:at] + piece + raw[at + len(piece) :]))


def check(found: Report) -> None:
    assert found.kind in KINDS
    assert re.fullmatch(r"(?:[245]\.\d{1,3}\.\d{1,3}|[45]\d\d)?", found.status_code)
    for text in (found.words, found.original_message_id, found.reporter, found.return_path):
        assert len(text) <= MAX_WORDS
        assert text.isprintable() or not re.search(r"[\x00-\x1f\x7f-\x9f\u202e]", text)
        text.encode("utf-8")


def test_only_the_first_mebibyte_is_read():
    told = sample("postfix_unknown_user")
    huge = told.replace(b"This is the mail system", b"x" * parts.MAX_READ_BYTES, 1)
    assert read_report(huge).kind == "other"
    with_picture = told + base64.encodebytes(bytes(2 * parts.MAX_READ_BYTES))
    assert read_report(with_picture) == read_report(told)
