"""From a row to what the mail server received."""

from __future__ import annotations

import email
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from email.policy import default
from typing import Any

import pytest
from aiosmtpd.smtp import Envelope

from plugin_sdk.errors import Misconfigured, Rejected, Temporary
from server.mail.delivery import Desk
from server.mail.dkim import load_key, new_key
from server.mail.languages import MERCHANT_LANGUAGES
from server.mail.models import Mail
from server.mail.rules import KINDS, MAX_SUBJECT_LENGTH, FactError
from server.mail.service import preview_mail, sender_of
from server.mail.smtp import SmtpSession
from tests.fakes.one_mail import deliver_mail
from tests.server.mail.sink import Sink
from tests.unit.mail.samples import REFERENCE, facts_for, theme_for

AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
KEY = new_key()[0]
DESK = Desk(
    at=AT,
    system=("Kontor", "system@kontor.example.net"),
    keys={(None, name): load_key(name, "kontor1", KEY) for name in ("example.org", "example.com")},
)
"""Both shops' domains are proven."""


@pytest.fixture
def session(sink: Sink) -> Iterator[SmtpSession]:
    with SmtpSession(f"smtp://127.0.0.1:{sink.port}") as opened:
        yield opened


def make_mail(kind: str = "payment_information", language: str = "de", **over: Any) -> Mail:
    columns: dict[str, Any] = {
        "kind": kind,
        "language": language,
        "recipient": "erika@example.org",
        "facts": facts_for(kind, language),
        "theme": asdict(theme_for(kind)),
        "sender_name": "Annas Antiquariat",
        "sender_address": "shop@example.org",
        "reply_to": "anna@example.org",
        "message_id": "<4nB8wK2t@example.org>",
        "once": "order:17:mail",
    }
    return Mail(**{**columns, **over})


@pytest.mark.feature("S1", "K40")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("language", MERCHANT_LANGUAGES)
def test_every_kind_arrives_as_it_is_kept(
    sink: Sink, session: SmtpSession, kind: str, language: str
) -> None:
    mail = make_mail(kind, language)
    deliver_mail(mail, DESK, session)
    (kept,) = sink.received
    assert (kept.mail_from, kept.rcpt_tos) == ("shop@example.org", ["erika@example.org"])
    read = email.message_from_bytes(_bytes(kept), policy=default)
    assert read["Subject"] == mail.subject
    assert read["Message-ID"] == "<4nB8wK2t@example.org>"
    parts = {part.get_content_type(): part for part in read.walk()}
    assert _text(parts["text/plain"]) == mail.text
    assert _text(parts["text/html"]) == mail.html
    assert mail.smtp_response == "250 2.0.0 Ok: queued as 0"


def test_headers_for_lists(sink: Sink, session: SmtpSession) -> None:
    deliver_mail(make_mail("payment_received"), DESK, session)
    deliver_mail(make_mail("payment_information"), DESK, session)
    one, two = (email.message_from_bytes(_bytes(kept), policy=default) for kept in sink.received)
    assert one["List-Unsubscribe"] == "<https://kontor.example.org/unsubscribe/4nB8wK2t>"
    assert one["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert two["List-Help"] == "<https://kontor.example.org/why>"
    assert two["List-Unsubscribe"] is None


@pytest.mark.feature("S5")
@pytest.mark.parametrize(
    "recipient",
    ["erika mustermann@example.org", "erika@@example.org", "a@example.org, b@example.org"],
)
def test_an_invalid_address_never_reaches_the_mail_server(
    sink: Sink, session: SmtpSession, recipient: str
) -> None:
    with pytest.raises(Rejected, match="is not a mail address"):
        deliver_mail(make_mail(recipient=recipient), DESK, session)
    assert sink.connections == 0


def test_a_missing_fact_is_named_and_nothing_is_sent(sink: Sink, session: SmtpSession) -> None:
    facts = {**facts_for("payment_information", "de"), "creditor": ""}
    with pytest.raises(Rejected, match="'creditor'"):
        deliver_mail(make_mail(facts=facts), DESK, session)
    assert sink.connections == 0


@pytest.mark.parametrize("column", ["sender_address", "reply_to"])
def test_a_wrong_sender_is_for_a_person(sink: Sink, session: SmtpSession, column: str) -> None:
    with pytest.raises(Misconfigured, match="Sender or reply address"):
        deliver_mail(make_mail(**{column: "shop"}), DESK, session)
    assert sink.connections == 0


def test_a_second_attempt_is_the_same_mail(sink: Sink, session: SmtpSession) -> None:
    mail = make_mail()
    sink.answers["DOT"] = ["451 4.3.0 Try again"]
    with pytest.raises(Temporary, match="451"):
        deliver_mail(mail, DESK, session)
    assert mail.smtp_response is None
    assert REFERENCE in str(mail.text)
    deliver_mail(mail, DESK, session)
    (kept,) = sink.received
    assert b"Message-ID: <4nB8wK2t@example.org>" in _bytes(kept)


def test_two_shops_two_senders(sink: Sink, session: SmtpSession) -> None:
    deliver_mail(make_mail(), DESK, session)
    deliver_mail(
        make_mail(sender_name="Büchertruhe", sender_address="b@example.com"), DESK, session
    )
    senders = [
        str(email.message_from_bytes(_bytes(kept), policy=default)["From"])
        for kept in sink.received
    ]
    assert senders == ["Annas Antiquariat <shop@example.org>", "Büchertruhe <b@example.com>"]
    assert sink.connections == 1


CHANGED = {"To", "Subject", "Date", "DKIM-Signature"}


@pytest.mark.feature("K66")
@pytest.mark.parametrize(
    ("language", "words"), [("de", "Test an"), ("en", "Test to")], ids=["de", "en"]
)
def test_a_shop_in_test_mode_writes_to_no_customer(
    sink: Sink, session: SmtpSession, language: str, words: str
) -> None:
    real, test = make_mail(language=language), make_mail(language=language)
    test.redirected_to = "anna@example.com"
    deliver_mail(real, DESK, session)
    deliver_mail(test, DESK, session)
    to_customer, to_merchant = sink.received
    assert to_merchant.rcpt_tos == ["anna@example.com"]
    read, other = (
        email.message_from_bytes(_bytes(kept), policy=default)
        for kept in (to_merchant, to_customer)
    )
    assert read["To"] == "anna@example.com"
    assert read["Subject"] == test.subject == f"[{words} erika@example.org] {real.subject}"
    assert preview_mail(test).subject == test.subject
    assert (test.html, test.text) == (real.html, real.text)
    assert {name: read[name] for name in read if name not in CHANGED} == {
        name: other[name] for name in other if name not in CHANGED
    }
    assert test.recipient == "erika@example.org"


def test_an_unsent_test_mail_is_shown_with_its_mark() -> None:
    mail = make_mail(redirected_to="anna@example.com")
    assert preview_mail(mail).subject.startswith("[Test an erika@example.org] Zahlungs")


def test_test_mode_hides_no_mistake(sink: Sink, session: SmtpSession) -> None:
    """What would not reach the customer is not sent to the merchant as if it had."""
    with pytest.raises(Rejected, match="is not a mail address"):
        deliver_mail(make_mail(recipient="erika@", redirected_to="anna@example.com"), DESK, session)
    with pytest.raises(Misconfigured, match="test mode"):
        deliver_mail(make_mail(redirected_to=""), DESK, session)
    assert sink.connections == 0


def test_a_long_address_leaves_the_subject_one_line(sink: Sink, session: SmtpSession) -> None:
    long = f"{'e' * 60}@{'a' * 60}.{'b' * 40}.example.org"
    mail = make_mail(recipient=long, redirected_to="anna@example.com")
    deliver_mail(mail, DESK, session)
    assert str(mail.subject).startswith(f"[Test an {long}]")
    assert len(str(mail.subject)) <= MAX_SUBJECT_LENGTH


def test_preview_shows_what_was_sent_even_if_texts_changed() -> None:
    mail = make_mail()
    assert preview_mail(mail).subject == "Zahlungsinformationen zu Ihrer Bestellung 10482"
    mail.subject, mail.text, mail.html = "Damals", "Damals", "<p>Damals</p>"
    shown = preview_mail(mail)
    assert (shown.subject, shown.text, shown.html) == ("Damals", "Damals", "<p>Damals</p>")
    assert len(shown.inline) == 1
    with pytest.raises(FactError):
        preview_mail(make_mail(facts={}))


def test_sender_of_the_settings() -> None:
    assert sender_of("Kontor <kontor@example.org>") == ("Kontor", "kontor@example.org")
    assert sender_of("kontor@example.org") == ("", "kontor@example.org")
    with pytest.raises(ValueError, match="is not a mail address"):
        sender_of("Kontor")


def _text(part: Any) -> str:
    kept = part.get_payload(decode=True).decode()
    return str(kept).replace("\r\n", "\n") + "\n"


def _bytes(kept: Envelope) -> bytes:
    assert isinstance(kept.content, bytes)
    return kept.content
