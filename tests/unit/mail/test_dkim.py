"""Our signatures, judged by dkimpy, which knows nothing of us."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

import dkim as judge
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from server.mail.dkim import SIGNED_ONCE_MORE, SigningKey, load_key, new_key, sign

AT = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)
PKCS8, PUBLIC_KEY = new_key()
KEY = load_key("laden.example", "kontor1", PKCS8)

MAIL = (
    b"From: Annas Antiquariat <anna@laden.example>\r\n"
    b"To: Erika Mustermann <erika@example.org>\r\n"
    b"Subject: Your order AA-10037\r\n"
    b"Date: Sun, 01 Mar 2026 10:00:00 +0000\r\n"
    b"Message-ID: <1@laden.example>\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"\r\n"
    b"Please pay 19.90 EUR.\r\n"
)


def published(public_key: str = PUBLIC_KEY) -> Callable[..., bytes]:
    """A DNS in which only our record exists."""

    def answer(name: bytes, timeout: int = 5) -> bytes:
        is_ours = name.rstrip(b".") == b"kontor1._domainkey.laden.example"
        return f"v=DKIM1; k=rsa; p={public_key}".encode() if is_ours else b""

    return answer


def is_valid(raw: bytes) -> bool:
    return bool(judge.verify(raw, dnsfunc=published()))


@pytest.mark.feature("S13")
def test_an_independent_verifier_accepts_what_we_sign() -> None:
    signed = sign(MAIL, KEY, AT)
    assert signed.endswith(MAIL)
    assert is_valid(signed)


blanks = st.text(" \t", min_size=1, max_size=4)
words = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=":"),
    min_size=1,
    max_size=30,
)
values = st.lists(st.tuples(words, blanks), max_size=8).map(
    lambda parts: "".join(word + blank for word, blank in parts) + "end"
)
folded = st.lists(values, min_size=1, max_size=4).map("\r\n\t".join)
fields = st.dictionaries(
    st.sampled_from(
        ["To", "SUBJECT", "Reply-To", "date", "Message-ID", "Feedback-ID", "List-Help"]
        + ["List-Unsubscribe", "List-Unsubscribe-Post", "MIME-Version", "Content-Type", "X-Other"]
    ),
    folded,
)
lines = st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=90)
bodies = st.lists(st.one_of(lines, st.sampled_from(["", " ", "\t \t"])), max_size=12)


@settings(max_examples=300, deadline=None)
@given(fields, folded, bodies)
def test_mails_of_any_shape_verify(others: dict[str, str], sender: str, body: list[str]) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in others.items())
    raw = f"{head}From: {sender}\r\n\r\n".encode() + "".join(f"{line}\r\n" for line in body).encode(
        "latin-1"
    )
    assert is_valid(sign(raw, KEY, AT))


@pytest.mark.parametrize("name", sorted(SIGNED_ONCE_MORE))
@pytest.mark.parametrize("place", ["top", "bottom"])
def test_a_field_that_is_added_on_the_way_breaks_it(name: str, place: str) -> None:
    """Also where the mail had none: nobody can add a Reply-To of his own."""
    signed = sign(MAIL, KEY, AT)
    added = f"{name}: stranger@example.com\r\n".encode()
    if place == "top":
        changed = added + signed
    else:
        changed = signed.replace(b"\r\n\r\n", b"\r\n" + added + b"\r\n", 1)
    assert not is_valid(changed)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"19.90", b"99.90"),
        (b"anna@laden", b"bob@laden"),
        (b"erika@", b"bob@"),
        (b"Your order", b"Your  offer"),
        (b"text/plain", b"text/html"),
        (b"EUR.\r\n", b"EUR.\r\n\r\nmore\r\n"),
        (b"d=laden.example", b"d=other.example"),
    ],
)
def test_what_was_changed_is_noticed(before: bytes, after: bytes) -> None:
    signed = sign(MAIL, KEY, AT)
    assert before in signed
    assert not is_valid(signed.replace(before, after))


def test_what_servers_do_on_the_way_does_no_harm() -> None:
    signed = sign(MAIL, KEY, AT)
    received = b"Received: from a by b; Sun, 01 Mar 2026 10:00:01 +0000\r\n"
    refolded = signed.replace(b"Erika Mustermann <", b"Erika   Mustermann\r\n <")
    assert is_valid(received + refolded + b"\r\n\r\n")


def test_several_fields_of_one_name_are_all_signed() -> None:
    raw = MAIL.replace(b"To: E", b"To: bob@example.com\r\nTo: E")
    signed = sign(raw, KEY, AT)
    assert is_valid(signed)
    assert not is_valid(signed.replace(b"bob@example.com", b"eve@example.com"))


def test_another_key_does_not_verify() -> None:
    other = published(new_key()[1])
    assert not judge.verify(sign(MAIL, KEY, AT), dnsfunc=other)


def test_the_field_is_folded_and_says_when() -> None:
    head = sign(MAIL, KEY, AT).split(b"\r\nFrom:")[0]
    assert all(len(line) <= 78 for line in head.split(b"\r\n"))
    assert b"t=1772359200;" in head
    assert re.search(rb"h=From:\s*From:", head)


def test_an_empty_body_verifies() -> None:
    assert is_valid(sign(MAIL.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", KEY, AT))


@pytest.mark.parametrize(
    "raw", [MAIL.replace(b"\r\n", b"\n"), MAIL + b"a\rb\r\n", b"To: a@example.org\r\n\r\nHi\r\n"]
)
def test_what_would_not_arrive_as_it_was_signed_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"CRLF|From"):
        sign(raw, KEY, AT)


@pytest.mark.parametrize("domain", ["", "a b.example", "x;d=y.example", "a\r\nb", "-a.example"])
def test_a_name_that_is_none_never_comes_into_a_header(domain: str) -> None:
    with pytest.raises(ValueError, match="no name of a domain"):
        SigningKey(domain, "kontor1", KEY.private_key)


def test_only_strong_rsa_keys_are_loaded() -> None:
    weak = rsa.generate_private_key(65_537, 1024)
    curve = ec.generate_private_key(ec.SECP256R1())
    for key in (weak, curve):
        pkcs8 = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        with pytest.raises(ValueError, match="2048"):
            load_key("laden.example", "kontor1", pkcs8)


def test_a_key_does_not_show_itself() -> None:
    assert "RSAPrivateKey" not in repr(KEY)
