"""The bytes that leave: structure, line lengths, and headers that nobody can forge."""

from __future__ import annotations

import email
from dataclasses import replace
from datetime import UTC, datetime
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import default
from email.utils import parseaddr
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.mail.kinds import KINDS
from server.mail.languages import editions_for
from server.mail.rules import (
    AddressError,
    HeaderError,
    Message,
    build_mime,
    checked_address,
    clean,
    compose,
    mailbox,
)
from tests.unit.mail.samples import facts_for, theme_for

PAYMENT = compose(
    "payment_information",
    "de",
    facts_for("payment_information", "de"),
    theme_for("payment_information"),
)


def raw_mail(message: Message = PAYMENT, **over: Any) -> bytes:
    arguments: dict[str, Any] = {
        "sender": mailbox("shop@example.org", "Annas Antiquariat"),
        "recipient": mailbox("erika@example.org", "Erika Mustermann"),
        "reply_to": mailbox("anna@example.org"),
        "message_id": "<4nB8wK2t@example.org>",
        "date": datetime(2026, 11, 14, 9, 30, tzinfo=UTC),
        "extra_headers": {"List-Help": "<https://kontor.example.org/why>"},
    }
    return build_mime(message, **{**arguments, **over})


def read(raw: bytes) -> EmailMessage:
    return email.message_from_bytes(raw, policy=default)


def test_structure() -> None:
    mail = read(raw_mail())
    assert mail.get_content_type() == "multipart/alternative"
    text, related = mail.iter_parts()
    html, image = cast(EmailMessage, related).iter_parts()
    kinds = [part.get_content_type() for part in (text, related, html, image)]
    assert kinds == ["text/plain", "multipart/related", "text/html", "image/png"]
    assert cast(EmailMessage, text).get_content().replace("\r\n", "\n").strip() == (
        PAYMENT.text.strip()
    )
    assert cast(EmailMessage, html).get_content().replace("\r\n", "\n").strip() == (
        PAYMENT.html.strip()
    )
    assert image["Content-ID"] == "<girocode@kontor>"
    assert image.get_content_disposition() == "inline"
    assert cast(EmailMessage, image).get_content() == PAYMENT.inline[0].png
    assert not any(part.defects for part in mail.walk())


def test_headers() -> None:
    mail = read(raw_mail())
    assert mail["Subject"] == PAYMENT.subject
    assert mail["From"] == "Annas Antiquariat <shop@example.org>"
    assert mail["To"] == "Erika Mustermann <erika@example.org>"
    assert mail["Reply-To"] == "anna@example.org"
    assert mail["Message-ID"] == "<4nB8wK2t@example.org>"
    assert mail["Date"] == "Sat, 14 Nov 2026 09:30:00 +0000"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["X-Auto-Response-Suppress"] == "OOF, AutoReply"
    assert mail["List-Help"] == "<https://kontor.example.org/why>"
    assert mail["Reply-To"] is not None
    assert read(raw_mail(reply_to=None))["Reply-To"] is None


def test_without_a_picture_there_is_no_related_part() -> None:
    mail = read(raw_mail(replace(PAYMENT, inline=())))
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]


@pytest.mark.parametrize(
    ("kind", "edition"),
    [(name, edition) for name, kind in KINDS.items() for edition in editions_for(kind.reader)],
)
def test_lines_fit_smtp(kind: str, edition: str) -> None:
    raw = raw_mail(compose(kind, edition, facts_for(kind, edition), theme_for(kind)))
    assert raw.isascii()
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert b"\r" not in raw.replace(b"\r\n", b"")
    assert max(len(line) for line in raw.split(b"\r\n")) <= 76
    assert not any(line == b"." for line in raw.split(b"\r\n"))


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=300),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=80),
)
def test_any_text_survives(text: str, name: str) -> None:
    body = text.replace("\n", " ") + "\n.\nFrom here\n-- \n--=_kontor_alternative\nend\n"
    raw = raw_mail(
        Message(f"An {name}: „x“, x „x“ x", body, "<p>x</p>", ()),
        sender=mailbox("shop@example.org", name),
    )
    mail = read(raw)
    first = cast(EmailMessage, next(iter(mail.iter_parts())))
    kept = first.get_payload(decode=True)
    assert isinstance(kept, bytes)
    assert kept.decode().replace("\r\n", "\n") == body.rstrip("\n")
    assert mail["Subject"].split() == clean(f"An {name}: „x“, x „x“ x").split()
    # The standard's other reader: EmailMessage keeps blanks between encoded words of a name.
    sender = parseaddr(email.message_from_bytes(raw)["From"])[0]
    assert str(make_header(decode_header(sender))).split() == clean(name).split()
    assert len(mail["From"].addresses) == 1
    assert mail["From"].addresses[0].addr_spec == "shop@example.org"
    assert max(len(line) for line in raw.split(b"\r\n")) <= 998


BREAKING = [
    "\r\nBcc: bob@example.org",
    "\nBcc: bob@example.org",
    "\x00",
    "\u2028Bcc: x",
    "\r",
    "\x85",
]


@pytest.mark.parametrize("breaking", BREAKING)
def test_no_header_can_be_smuggled_in(breaking: str) -> None:
    mail = read(
        raw_mail(
            replace(PAYMENT, subject=f"Rechnung{breaking}"),
            sender=mailbox("shop@example.org", f"Anna{breaking}"),
            recipient=mailbox("erika@example.org", f"Erika{breaking}"),
        )
    )
    assert mail["Bcc"] is None
    assert [address.addr_spec for address in mail["To"].addresses] == ["erika@example.org"]
    assert [address.addr_spec for address in mail["From"].addresses] == ["shop@example.org"]
    with pytest.raises(HeaderError):
        raw_mail(extra_headers={"List-Help": f"<https://example.org/>{breaking}"})
    with pytest.raises(HeaderError):
        raw_mail(extra_headers={f"List-Help{breaking}": "<https://example.org/>"})
    with pytest.raises(HeaderError):
        raw_mail(message_id=f"<a@example.org>{breaking}")
    with pytest.raises(AddressError):
        mailbox(f"erika@example.org{breaking}")


@pytest.mark.parametrize("name", ["Subject", "to", "Content-Type", "MIME-VERSION", "", "A B", "X:"])
def test_headers_of_the_mail_cannot_be_doubled(name: str) -> None:
    with pytest.raises(HeaderError):
        raw_mail(extra_headers={name: "x"})


@pytest.mark.parametrize(
    "subject",
    [
        "Annas Antiquariat: Bestellung 10482 bitte von Hand auf „bezahlt“ setzen",
        "Rechnung " * 20,
        "Bücher " * 20,
        "=?utf-8?q?x?=",
        "ß" * 200,
    ],
)
def test_a_subject_arrives_as_it_is(subject: str) -> None:
    raw = raw_mail(replace(PAYMENT, subject=subject.strip()))
    assert read(raw)["Subject"] == subject.strip()
    assert max(len(line) for line in raw.split(b"\r\n")) <= 76


def test_a_name_cannot_bring_a_second_address() -> None:
    mail = read(raw_mail(recipient=mailbox("erika@example.org", 'x" <bob@example.org>, "y')))
    assert [address.addr_spec for address in mail["To"].addresses] == ["erika@example.org"]


@pytest.mark.feature("S5")
@pytest.mark.parametrize(
    "address",
    [
        "erika@example.org, bob@example.org",
        "erika@@example.org",
        "erika mustermann@example.org",
        "erika@example..org",
        "erika@localhost",
        "örika@example.org",
        "a" * 65 + "@example.org",
        "erika@example.org\n",
        "eri\x00ka@example.org",
        "<erika@example.org>",
        "",
    ],
)
def test_not_an_address(address: str) -> None:
    with pytest.raises(AddressError, match="is not a mail address"):
        checked_address(address)


def test_a_domain_with_umlauts_becomes_ascii() -> None:
    assert checked_address("erika@bücher.example.org") == "erika@xn--bcher-kva.example.org"
