"""What is read of a stranger's mail, and what leaves: whatever it says, its body is as it came."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import SMTP

import dkim
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.mail.dkim import load_key, new_key, sign
from server.relay.heads import (
    MAX_FIELDS,
    MAX_HEAD_BYTES,
    MAX_SUBJECT,
    NotAccepted,
    Trace,
    outgoing,
    read_head,
    with_crlf,
)

AT = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
TRACE = Trace("kasse.example.org", "192.0.2.7", "relay.example.net", "ESMTPSA", "42", AT)
OURS = "<42.ours@shop.example.org>"
HELP = "https://shop.example.org/warum"
PKCS8, PUBLIC_KEY = new_key()
KEY = load_key("shop.example.org", "kontor1", PKCS8)
FROM = b"From: Buchung <buchung@shop.example.org>\r\n"


def left(raw: bytes, trace: Trace = TRACE, list_help: str = HELP) -> bytes:
    head = read_head(raw)
    return outgoing(raw, head, trace, message_id=head.message_id or OURS, list_help=list_help)


def halves(raw: bytes) -> tuple[bytes, bytes]:
    head, _, body = raw.partition(b"\r\n\r\n")
    return head, body


def is_verified(raw: bytes) -> bool:
    record = f"v=DKIM1; k=rsa; p={PUBLIC_KEY}".encode()
    wanted = b"kontor1._domainkey.shop.example.org."
    return bool(dkim.verify(raw, dnsfunc=lambda name, timeout=5: record if name == wanted else b""))


# --- what is read -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "address"),
    [
        (b"buchung@shop.example.org", "buchung@shop.example.org"),
        (b"Anna <Anna@SHOP.example.org>", "Anna@shop.example.org"),
        (b'"Antiquariat, Annas" <a@shop.example.org>', "a@shop.example.org"),
        (b"=?utf-8?q?Gr=C3=BC=C3=9Fe?= <a@shop.example.org>", "a@shop.example.org"),
        (b"Anna\r\n\t<a@shop.example.org>", "a@shop.example.org"),
        (b"\r\n a@shop.example.org", "a@shop.example.org"),
        ("Grüße <a@shop.example.org>".encode(), "a@shop.example.org"),
        ("Grüße <a@shop.example.org>".encode("latin-1"), "a@shop.example.org"),
        ("a@bücher.example.org".encode(), "a@xn--bcher-kva.example.org"),
        (b"a@shop.example.org (Anna (Antiquariat))", "a@shop.example.org"),
        (b"=?utf-8?b?broken <a@shop.example.org>", "a@shop.example.org"),
    ],
)
def test_the_sender_is_read_however_it_is_written(value, address):
    head = read_head(b"From: " + value + b"\r\n\r\nText\r\n")
    assert head.sender == address
    assert head.domain == address.rpartition("@")[2]


@pytest.mark.feature("S93")
@pytest.mark.parametrize(
    "head",
    [
        b"Subject: no sender\r\n",
        b"From: a@shop.example.org\r\nFrom: b@other.example.org\r\n",
        b"From: a@shop.example.org\r\nFROM : b@other.example.org\r\n",
        b"From: a@shop.example.org, b@other.example.org\r\n",
        b"From: <b@other.example.org> <a@shop.example.org>\r\n",
        b"From: Kunden: a@shop.example.org, b@shop.example.org;\r\n",
        b"From: Niemand: ;\r\n",
        b"From:\r\n",
        b"From: <>\r\n",
        b"From: Anna\r\n",
        b"From: a@b@shop.example.org\r\n",
        b"From: @other.example.org:a@shop.example.org\r\n",
        b"From: a@[127.0.0.1]\r\n",
        b"From: a@localhost\r\n",
        b"From: \xc3\xa4@shop.example.org\r\n",
        b"From: a\x00@shop.example.org\r\n",
        b"From: a@shop.example.org\x00.other.example.org\r\n",
        b"",
        b"\r\n",
        b" folded into nothing\r\nFrom: a@shop.example.org\r\n",
        b"From a@shop.example.org Mon Mar  2 10:00:00 2026\r\nFrom: a@shop.example.org\r\n",
        b"From: a@shop.example.org\r\nno field\r\n",
        b"From: a@shop.example.org\r\n: no name\r\n",
        b"From: a@shop.example.org\r\nGr\xc3\xbc\xc3\x9fe: x\r\n",
    ],
)
def test_a_mail_that_nobody_answers_for_is_refused(head):
    with pytest.raises(NotAccepted) as refused:
        read_head(head + b"\r\nText\r\n")
    assert refused.value.code == 550 and refused.value.words.startswith("5.")


@pytest.mark.feature("S93")
@pytest.mark.parametrize(
    ("value", "domains"),
    [
        (b'"a@shop.example.org" <b@other.example.org>', {"other.example.org"}),
        (b"a@shop.example.org <b@other.example.org>", {"other.example.org"}),
        (b"(a@shop.example.org) b@other.example.org", {"other.example.org"}),
        (b"=?utf-8?q?a=40shop.example.org?= <b@other.example.org>", {"other.example.org"}),
        (b"Gruppe: b@other.example.org;", {"other.example.org"}),
        (b"=?utf-8?q?=3Ca=40shop=2Eexample=2Eorg=3E=2C?= b@other.example.org",
         {"other.example.org"}),
    ],
)  # fmt: skip
def test_a_forger_does_not_pass_for_another(value, domains):
    """The sender is never the name that only stands beside the address."""
    try:
        found = read_head(b"From: " + value + b"\r\n\r\n").domain
    except NotAccepted:
        return
    assert found in domains


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"=?utf-8?q?Ihre_Buchung_f=C3=BCr_M=C3=A4rz?=", "Ihre Buchung für März"),
        (b"=?utf-8?q?Ihre?=\r\n =?utf-8?q?_Buchung?=", "Ihre Buchung"),
        ("Grüße".encode(), "Grüße"),
        (b"=?utf-8?q?half", "=?utf-8?q?half"),
        (b"=?martian?q?x=20y?=", "=?martian?q?x=20y?="),
        (b"=?utf-8?b?!!!?= x", "x"),
        (b"=?utf-8?q?a=0D=0ABcc=3A_b=40example.com=00?=", "a Bcc: b@example.com"),
        (b"x" * 3000, "x" * MAX_SUBJECT),
        (b"", ""),
    ],
)
def test_the_subject_is_read_as_people_see_it(written, read):
    head = read_head(FROM + b"Subject: " + written + b"\r\n\r\n")
    assert head.subject == read


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"<a@b>", "<a@b>"),
        (b"\r\n <a@b>", "<a@b>"),
        (b"a@b", ""),
        (b"<a b>", ""),
        (b"<>", ""),
        (b"<a\x00b@c>", ""),
        ("<ä@b>".encode(), ""),
        (b"<a\xff@b>", ""),
        (b"<" + b"x" * 989 + b">", ""),
    ],
)
def test_a_message_id_that_is_none_is_replaced(written, read):
    raw = FROM + b"Message-ID: " + written + b"\r\n\r\n"
    head = read_head(raw)
    assert head.message_id == read
    sent = message_from_bytes(left(raw), policy=SMTP)
    assert [value.strip() for value in sent.get_all("Message-ID")] == [read or OURS]


def test_a_head_has_its_limits():
    many = FROM + b"X: y\r\n" * MAX_FIELDS
    with pytest.raises(NotAccepted, match="too many"):
        read_head(many + b"\r\n")
    for ending in (b"\r\n\r\nText", b""):
        with pytest.raises(NotAccepted, match="too long"):
            read_head(FROM + b"X: " + b"y" * MAX_HEAD_BYTES + ending)
    assert read_head(FROM + b"X: y\r\n" * (MAX_FIELDS - 1) + b"\r\n").sender


def test_lines_get_their_ends_and_what_has_them_is_not_touched():
    assert with_crlf(b"a\nb\rc\r\nd\n\ne\r\r\nf") == b"a\r\nb\r\nc\r\nd\r\n\r\ne\r\n\r\nf"
    raw = FROM + b"\r\n\x00\xff.\r\n..\r\n"
    assert with_crlf(raw) is raw


# --- what leaves --------------------------------------------------------------------------------

names = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=":"),
    min_size=1,
    max_size=20,
).filter(lambda one: one.lower() not in ("from", "dkim-signature"))
words = st.binary(max_size=60).map(
    lambda one: one.translate(bytes(32 if n in b"\r\n" else n for n in range(256)))
)
values = st.lists(words, min_size=1, max_size=3).map(b"\r\n\t x".join)
fields = st.builds(lambda name, value: name.encode() + b": " + value + b"\r\n", names, values)
bodies = st.lists(
    st.one_of(st.binary(max_size=50).map(with_crlf), st.just(b"\r\n"), st.just(b" \t\r\n.\r\n"))
).map(b"".join).map(with_crlf)  # fmt: skip


@pytest.mark.feature("S87", "S101")
@settings(max_examples=80, deadline=None)
@given(before=st.lists(fields, max_size=4), after=st.lists(fields, max_size=4), body=bodies)
def test_whatever_it_says_the_body_is_as_it_came_and_the_signature_is_right(before, after, body):
    raw = b"".join([*before, FROM, *after]) + b"\r\n" + body
    head = read_head(raw)
    signed = sign(left(raw), KEY, AT)
    assert halves(signed)[1] == body
    # As after SMTP, which ends every mail with a line end.
    assert is_verified(signed if signed.endswith(b"\r\n") else signed + b"\r\n")
    kept = [field for name, field in head.fields if name not in (b"bcc", b"resent-bcc")]
    rest = halves(signed)[0] + b"\r\n"
    for field in kept:
        is_replaced = field.lower().startswith((b"message-id", b"return-path"))
        assert is_replaced or field in rest


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300).map(with_crlf))
def test_bytes_that_are_no_mail_are_refused_and_never_break_anything(raw):
    for one in (raw, FROM + raw):
        try:
            read_head(one)
        except NotAccepted:
            continue
        assert halves(left(one))[1] == halves(one)[1]


@pytest.mark.feature("S87")
@pytest.mark.parametrize(
    "field",
    [
        b"Bcc: chef@example.com\r\n",
        b"BCC: chef@example.com\r\n",
        b"bcc:chef@example.com\r\n",
        b"bCc : chef@example.com\r\n",
        b"Bcc:\r\n\tchef@example.com,\r\n chef@example.com\r\n",
        b"Resent-Bcc: chef@example.com\r\n",
        b"Return-Path: <chef@example.com>\r\n",
    ],
)
def test_hidden_recipients_stay_hidden(field):
    for raw in (field + FROM, FROM + field, FROM + field + b"To: a@example.com\r\n" + field):
        sent = left(raw + b"\r\nBcc: im Text\r\n")
        assert b"chef" not in sent and sent.endswith(b"\r\n\r\nBcc: im Text\r\n")


def test_what_is_there_is_not_added_and_what_is_missing_is():
    full = (
        FROM + b"date: Mon, 02 Mar 2026 10:00:00 +0100\r\nMESSAGE-ID: <1@a>\r\n"
        b"list-help: <mailto:hilfe@shop.example.org>\r\n"
    )
    sent = left(full + b"\r\n")
    assert sent.endswith(full + b"\r\n") and sent.count(b"\r\n", 0, -len(full) - 2) == 3
    bare = message_from_bytes(left(FROM + b"\r\n"), policy=SMTP)
    assert bare.keys() == ["Received", "Message-ID", "Date", "List-Help", "From"]
    assert bare["List-Help"] == f"<{HELP}>" and bare["Message-ID"] == OURS
    assert message_from_bytes(left(FROM + b"\r\n", list_help=""))["List-Help"] is None


def test_a_mail_that_is_only_a_head_gets_its_empty_line():
    for raw in (FROM, FROM.removesuffix(b"\r\n"), FROM + b"\r\n"):
        assert left(raw).endswith(FROM + b"\r\n")


@settings(max_examples=100, deadline=None)
@given(
    name=st.one_of(st.text(max_size=300), st.just("a\r\nBcc: b@example.com")),
    address=st.text(max_size=60),
)
def test_a_client_puts_nothing_in_by_its_name_or_address(name, address):
    trace = Trace(name, address, "relay.example.net", "ESMTPSA", "42", AT)
    sent = left(FROM + b"\r\nText\r\n", trace)
    assert message_from_bytes(sent, policy=SMTP).keys() == [
        "Received", "Message-ID", "Date", "List-Help", "From",
    ]  # fmt: skip
    lines = sent.partition(b"\r\nMessage-ID")[0].split(b"\r\n")
    assert len(lines) == 3 and lines[1] == b"\tby relay.example.net with ESMTPSA id 42;"
    assert lines[0].count(b"(") == lines[0].count(b")") == 1


def test_where_it_came_from_is_said_as_the_standard_has_it():
    ipv6 = Trace("2001:db8::7", "2001:db8::7", "relay.example.net", "HTTP", "42", AT)
    assert left(FROM + b"\r\n", ipv6).startswith(
        b"Received: from 2001:db8::7 ([IPv6:2001:db8::7])\r\n"
        b"\tby relay.example.net with HTTP id 42;\r\n"
        b"\tMon, 02 Mar 2026 09:30:00 +0000\r\n"
    )
