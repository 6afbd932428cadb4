"""Who a mail comes from, what signs it, what its head says, and that it can be shown as sent."""

from __future__ import annotations

import email
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import default
from random import Random
from typing import Any

import dkim
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flask import Flask

from plugin_sdk.errors import Misconfigured
from server import vault
from server.db import db, now
from server.mail.delivery import (
    UNSETTLED_DOMAIN,
    Desk,
    settle_message_ids,
    source_of,
    write_letter,
)
from server.mail.dkim import SigningKey, load_key, new_key
from server.mail.kinds import KINDS
from server.mail.models import DkimKey, Mail, SendingDomain
from server.mail.smtp import NotEver, NotSetUp, SmtpSession
from server.mail.verp import mail_id_of
from tests.factories import make_merchant
from tests.fakes.one_mail import deliver_mail
from tests.server.mail.sink import Sink
from tests.server.mail.test_mail_deliver import make_mail
from tests.unit.mail.samples import facts_for

AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
SYSTEM = ("Kontor", "system@kontor.example.net")
SECRET = "a secret of thirty-two characters or more"
SHOP, HOUSE = (
    load_key(domain, "kontor1", new_key()[0]) for domain in ("example.org", "kontor.example.net")
)
NOTHING_PROVEN = Desk(at=AT, system=SYSTEM)
SHOP_PROVEN = replace(NOTHING_PROVEN, keys={(7, "example.org"): SHOP})
BOTH_PROVEN = replace(NOTHING_PROVEN, keys={(7, "example.org"): SHOP, (None, HOUSE.domain): HOUSE})


def of_shop(kind: str = "payment_information", **over: Any) -> Mail:
    return make_mail(kind, **{"merchant_id": 7, "shop_id": 3, **over})


def read(raw: bytes) -> EmailMessage:
    message = email.message_from_bytes(raw, policy=default)
    assert isinstance(message, EmailMessage)
    return message


def published(*keys: SigningKey) -> Callable[..., bytes]:
    """What dkimpy finds when it looks for the keys in the DNS."""
    records = {}
    for key in keys:
        public = key.private_key.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
        name = f"{key.selector}._domainkey.{key.domain}.".encode()
        records[name] = b"v=DKIM1; k=rsa; p=" + b64encode(public)
    return lambda name, timeout=5: records[name]


# --- from ---------------------------------------------------------------------------------------


@pytest.mark.feature("S13", "S17")
def test_from_the_shops_address_only_if_its_domain_is_proven() -> None:
    mail = of_shop(reply_to=None)
    before, after = (read(write_letter(mail, desk).raw) for desk in (NOTHING_PROVEN, SHOP_PROVEN))
    assert before["From"] == "Annas Antiquariat <system@kontor.example.net>"
    assert before["Reply-To"] == "shop@example.org"
    assert before["DKIM-Signature"] is None
    assert after["From"] == "Annas Antiquariat <shop@example.org>"
    assert after["Reply-To"] is None
    assert "d=example.org;" in after["DKIM-Signature"]


@pytest.mark.feature("S2", "S17")
def test_answers_go_where_the_shop_wants_them() -> None:
    for desk in (NOTHING_PROVEN, SHOP_PROVEN):
        assert read(write_letter(of_shop(), desk).raw)["Reply-To"] == "anna@example.org"


@pytest.mark.feature("S17")
@pytest.mark.parametrize("own", ["", "system@kontor.example.net"])
def test_without_an_own_address_it_is_the_systems(own: str) -> None:
    mail = of_shop(sender_address=own, reply_to=None)
    said = read(write_letter(mail, BOTH_PROVEN).raw)
    assert said["From"] == "Annas Antiquariat <system@kontor.example.net>"
    assert said["Reply-To"] is None
    assert "d=kontor.example.net;" in said["DKIM-Signature"]
    of_nobody = of_shop(sender_address=own, sender_name="")
    assert read(write_letter(of_nobody, BOTH_PROVEN).raw)["From"] == (
        "Kontor <system@kontor.example.net>"
    )


@pytest.mark.feature("S17")
def test_a_domain_that_another_merchant_has_proven_is_not_his() -> None:
    said = read(write_letter(of_shop(merchant_id=8), BOTH_PROVEN).raw)
    assert said["From"] == "Annas Antiquariat <system@kontor.example.net>"
    assert "d=kontor.example.net;" in said["DKIM-Signature"]


def test_the_domain_is_compared_as_domains_are() -> None:
    said = read(write_letter(of_shop(sender_address="Shop@EXAMPLE.org"), SHOP_PROVEN).raw)
    assert said["From"].addresses[0].domain.lower() == "example.org"
    assert said["DKIM-Signature"]


# --- signatures ---------------------------------------------------------------------------------


@pytest.fixture
def session(sink: Sink) -> Iterator[SmtpSession]:
    with SmtpSession(f"smtp://127.0.0.1:{sink.port}") as opened:
        yield opened


WORDS = (
    "Erika Müller-Lüdenscheidt Bücher & Co. Straße 17 Ωmega 東京 O'Neill . .. From: x "
    "a  b\ttab trailing  " + "x" * 120
).split(" ")


def random_mail(chance: Random) -> Mail:
    """Of any kind, with words that are hard to fold and to encode."""
    kind = chance.choice([name for name, kind in KINDS.items() if kind.reader == "customer"])
    facts = dict(facts_for(kind, "de"))
    for name in ("recipient_name", "shop_name", "order_number"):
        if name in facts:
            facts[name] = " ".join(chance.choices(WORDS, k=chance.randint(1, 9))) or "x"
    return of_shop(kind, facts=facts, sender_name=" ".join(chance.choices(WORDS, k=3)))


@pytest.mark.feature("S13")
@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.torture)])
def test_every_signature_holds_as_the_bytes_arrive(
    sink: Sink, session: SmtpSession, count: int
) -> None:
    """Read by an independent verifier from what the mail server got."""
    chance, dns = Random(count), published(SHOP, HOUSE)
    for number in range(count):
        mail = random_mail(chance)
        if number % 3 == 0:
            mail.sender_address = ""
        deliver_mail(mail, BOTH_PROVEN, session)
        content = bytes(sink.received[-1].content or b"")
        assert dkim.verify(content, dnsfunc=dns), f"mail {number}"
        assert source_of(mail) == content, f"mail {number}"
    assert len(sink.received) == count
    forged = content.replace(b"\r\nTo: ", b"\r\nBcc: bob@example.org\r\nTo: ").replace(
        b"\r\nSubject:", b"\r\nSubject: Neue IBAN\r\nSubject:"
    )
    assert not dkim.verify(forged, dnsfunc=dns)


@pytest.mark.feature("S4")
def test_a_mail_is_shown_as_it_was_sent_also_after_its_words_have_changed(
    sink: Sink, session: SmtpSession
) -> None:
    mail = of_shop()
    assert source_of(mail) is None, "not sent yet"
    deliver_mail(mail, SHOP_PROVEN, session)
    content = bytes(sink.received[0].content or b"")
    assert b"image/png" in content
    mail.theme = {**mail.theme, "primary": "#123456"}
    mail.facts = {**mail.facts, "recipient_name": "Somebody else"}
    assert source_of(mail) == content
    mail.html = None
    assert source_of(mail) is None, "erased"


@pytest.mark.feature("S13", "S17")
def test_the_keys_come_from_the_domains_that_are_proven(app: Flask) -> None:
    """One batch, one look; a domain that is not proven is as good as none."""
    ours, other = make_merchant().id, make_merchant().id
    for merchant_id, name, is_proven in (
        (ours, "example.org", True),
        (other, "example.com", False),
    ):
        pkcs8, public = new_key()
        domain = SendingDomain(
            merchant_id=merchant_id, name=name, proven_at=now() if is_proven else None
        )
        db.session.add(domain)
        db.session.flush()
        db.session.add(
            DkimKey(
                sending_domain_id=domain.id,
                selector="kontor1",
                private_key=vault.installed().seal_bytes(pkcs8),
                public_key=public,
                status="current",
            )
        )
    db.session.flush()
    mails = [
        of_shop(merchant_id=ours),
        of_shop(merchant_id=other, sender_address="b@example.com"),
        of_shop(merchant_id=other),
        of_shop(merchant_id=ours, sender_address="no address"),
    ]
    desk = Desk.of(mails, AT, replace(app.config["SETTINGS"], mail_from="K <k@example.net>"))
    assert set(desk.keys) == {(ours, "example.org")}
    assert desk.system == ("K", "k@example.net")
    senders = [read(write_letter(mail, desk).raw)["From"].addresses[0] for mail in mails[:3]]
    assert [sender.addr_spec for sender in senders] == [
        "shop@example.org",
        "k@example.net",
        "k@example.net",
    ]
    with pytest.raises(Misconfigured, match="Sender or reply address"):
        write_letter(mails[3], desk)


def test_a_wrong_address_of_the_house_is_said(app: Flask) -> None:
    with pytest.raises(NotSetUp, match="KONTOR_MAIL_FROM"):
        Desk.of([], AT, replace(app.config["SETTINGS"], mail_from="Kontor"))


# --- the head -----------------------------------------------------------------------------------


@pytest.mark.feature("S11", "S12")
@pytest.mark.parametrize(
    "kind", [name for name, kind in KINDS.items() if kind.reader == "customer"]
)
def test_only_optional_kinds_can_be_unsubscribed(kind: str) -> None:
    """Even where a link to it stands in the facts of a mandatory one."""
    facts = {**facts_for(kind, "de"), "help_url": "https://kontor.example.org/why"}
    facts["unsubscribe_url"] = "https://kontor.example.org/u/4nB8wK2t"
    mail = of_shop(kind, facts=facts)
    if "unsubscribe_url" not in KINDS[kind].facts:
        del facts["unsubscribe_url"]
    said = read(write_letter(mail, SHOP_PROVEN).raw)
    if KINDS[kind].is_optional:
        assert said["List-Unsubscribe"] == "<https://kontor.example.org/u/4nB8wK2t>"
        assert said["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        assert "List-Unsubscribe:List-Unsubscribe:" in re.sub(r"\s", "", said["DKIM-Signature"])
    else:
        assert said["List-Help"] == "<https://kontor.example.org/why>"
        assert said["List-Unsubscribe"] is None
        assert said["List-Unsubscribe-Post"] is None


@pytest.mark.feature("S11")
def test_one_click_is_only_offered_where_it_is_safe() -> None:
    facts = {**facts_for("payment_received", "de"), "unsubscribe_url": "http://127.0.0.1:8000/u/x"}
    said = read(write_letter(of_shop("payment_received", facts=facts), SHOP_PROVEN).raw)
    assert said["List-Unsubscribe"] == "<http://127.0.0.1:8000/u/x>"
    assert said["List-Unsubscribe-Post"] is None


@pytest.mark.feature("K38")
@pytest.mark.parametrize(
    "kind", [name for name, kind in KINDS.items() if kind.reader == "merchant"]
)
def test_a_notice_is_stopped_by_one_click_in_the_mail_program(kind: str) -> None:
    stop = "https://kontor.example.org/stop-notice/8fQ2vX7nR4kT"
    is_notice = "stop_url" in KINDS[kind].facts
    facts = facts_for(kind, "de") | ({"stop_url": stop} if is_notice else {})
    said = read(write_letter(of_shop(kind, facts=facts), SHOP_PROVEN).raw)
    assert said["List-Unsubscribe"] == (f"<{stop}>" if is_notice else None)
    assert said["List-Unsubscribe-Post"] == ("List-Unsubscribe=One-Click" if is_notice else None)


@pytest.mark.feature("K66", "S9")
@pytest.mark.parametrize("over", [{"redirected_to": "anna@example.org"}, {"once": "test:1"}])
def test_the_tester_is_not_offered_to_unsubscribe_the_customer(over: dict[str, str]) -> None:
    link = {"unsubscribe_url": "https://kontor.example.org/u/4nB8wK2t"}
    facts = {**facts_for("payment_received", "de"), **link}
    said = read(write_letter(of_shop("payment_received", facts=facts, **over), SHOP_PROVEN).raw)
    assert said["List-Unsubscribe"] is None
    assert said["List-Unsubscribe-Post"] is None


@pytest.mark.feature("K66", "S11")
def test_the_link_in_what_a_tester_reads_has_no_power() -> None:
    link = "https://kontor.example.org/unsubscribe/4nB8wK2t.aQ.x7"
    facts = {**facts_for("payment_received", "de"), "unsubscribe_url": link}
    tried, real = (
        write_letter(of_shop("payment_received", facts=facts, redirected_to=to), SHOP_PROVEN)
        for to in ("anna@example.org", None)
    )
    for words in (tried.message.html, tried.message.text):
        assert "4nB8wK2t" not in words
        assert "https://kontor.example.org/unsubscribe/test-de" in words
    assert link in real.message.html
    assert link in real.message.text


@pytest.mark.parametrize(
    ("desk", "domain"), [(NOTHING_PROVEN, "kontor.example.net"), (SHOP_PROVEN, "example.org")]
)
def test_the_message_id_is_of_the_domain_that_the_mail_leaves_from(desk: Desk, domain: str) -> None:
    mail = of_shop(message_id=f"<4nB8wK2t@{UNSETTLED_DOMAIN}>")
    assert settle_message_ids([mail], desk)
    said = read(write_letter(mail, desk).raw)
    assert said["Message-ID"] == f"<4nB8wK2t@{domain}>"
    assert said["From"].addresses[0].domain == domain
    for later in (NOTHING_PROVEN, SHOP_PROVEN):
        assert not settle_message_ids([mail], later)
        assert read(write_letter(mail, later).raw)["Message-ID"] == f"<4nB8wK2t@{domain}>"


def test_a_sender_that_is_no_address_gets_its_message_id_once_it_is_put_right() -> None:
    mail = of_shop(message_id=f"<4nB8wK2t@{UNSETTLED_DOMAIN}>", sender_address="anna at home")
    assert not settle_message_ids([mail], SHOP_PROVEN)
    mail.sender_address = "shop@example.org"
    assert settle_message_ids([mail], SHOP_PROVEN)


def test_machines_are_told_that_a_machine_wrote() -> None:
    said = read(write_letter(of_shop(), SHOP_PROVEN).raw)
    assert said["Auto-Submitted"] == "auto-generated"
    assert said["X-Auto-Response-Suppress"] == "OOF, AutoReply"
    assert said["Feedback-ID"] == "payment_information:7:3:kontor"
    assert said["Date"].datetime == AT
    signed = re.search(r"h=([^;]*);", re.sub(r"\s", "", said["DKIM-Signature"]))
    assert signed is not None
    assert {"Feedback-ID", "List-Help", "Auto-Submitted", "Message-ID"} <= set(signed[1].split(":"))


# --- the envelope -------------------------------------------------------------------------------


@pytest.mark.feature("S7")
def test_what_comes_back_comes_to_an_address_that_names_the_mail(
    sink: Sink, session: SmtpSession
) -> None:
    desk = replace(SHOP_PROVEN, bounce_domain="bounce.kontor.example.net", secret=SECRET)
    deliver_mail(of_shop(id=4711), desk, session)
    deliver_mail(of_shop(id=4711), SHOP_PROVEN, session)
    deliver_mail(of_shop(id=4711), NOTHING_PROVEN, session)
    signed, own, system = (str(kept.mail_from) for kept in sink.received)
    assert mail_id_of(signed, SECRET, "bounce.kontor.example.net") == 4711
    assert own == "shop@example.org"
    assert system == "system@kontor.example.net"


def test_a_nul_in_an_address_ends_there() -> None:
    """The database stores none, so this one never comes from a row."""
    with pytest.raises(NotEver, match="is not a mail address"):
        write_letter(of_shop(recipient="erika@example.org\x00"), SHOP_PROVEN)


def test_what_is_written_down(sink: Sink, session: SmtpSession) -> None:
    mail = of_shop()
    deliver_mail(mail, SHOP_PROVEN, session)
    assert mail.sent_via == "127.0.0.1"
    assert mail.smtp_response == "250 2.0.0 Ok: queued as 0"
    assert (mail.delivery, mail.failure) == ("accepted", None)
    content = bytes(sink.received[0].content or b"")
    assert str(mail.headers).encode() == content.partition(b"\r\n\r\n")[0]
