"""What comes back is written on its mail, once, and strangers can change nothing (S7, S8, S10)."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from server.config import install, installed
from server.db import db, now
from server.mail import bounces, suppression
from server.mail.bounces import MAX_REPORTS_OF_MAIL, MAX_UNMATCHED, UNMATCHED_LIFETIME
from server.mail.models import Mail, MailReport, Suppression
from server.mail.verp import return_path
from tests.factories import make_merchant
from tests.server.mail.rows import sent_mail

SAMPLES = Path(__file__).parents[2] / "fixtures" / "bounces"
DOMAIN = "bounce.example.org"
WRITTEN_TO = b"b+ci.aaaaaaaaaaaaaaaa@bounce.example.org"
AT = now()


def sample(name: str, mail: Mail | None = None) -> bytes:
    """A sample, about this mail."""
    raw = (SAMPLES / f"{name}.eml").read_bytes()
    return raw.replace(WRITTEN_TO, path_of(mail).encode()) if mail else raw


def path_of(mail: Mail) -> str:
    return return_path(mail.id, installed().secret_key, DOMAIN)


def report(name: str, mail: Mail, at=AT) -> MailReport | None:
    return bounces.receive(sample(name, mail), path_of(mail), at)


@pytest.fixture(autouse=True)
def with_bounce_domain(app):
    before = installed()
    install(replace(before, bounce_domain=DOMAIN))
    yield
    install(before)


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def mail(merchant):
    return sent_mail(merchant.id)


def blocks() -> list[Suppression]:
    return db.session.query(Suppression).all()


@pytest.mark.feature("S7")
def test_a_bounce_shows_on_its_mail_in_the_words_of_the_server(mail):
    kept = report("postfix_unknown_user", mail)
    assert kept is not None and (kept.kind, kept.status_code) == ("bounced", "5.1.1")
    assert (kept.mail_id, kept.merchant_id) == (mail.id, mail.merchant_id)
    db.session.expire_all()
    assert (mail.status, mail.delivery) == ("done", "bounced")
    assert "User unknown in virtual mailbox table" in mail.delivery_words
    assert bounces.reports_of(mail) == [kept]
    (block,) = blocks()
    assert (block.reason, block.address, block.mail_id) == ("bounced", mail.recipient, mail.id)
    assert block.expires_at == AT + timedelta(days=90) and "User unknown" in block.evidence


@pytest.mark.feature("S7")
@pytest.mark.parametrize("name", ["postfix_mailbox_full", "postfix_expired", "gmail_reputation"])
def test_what_is_not_about_the_address_does_not_block_it(mail, name):
    report(name, mail)
    assert mail.delivery == "bounced" and mail.delivery_words
    assert not blocks()


@pytest.mark.feature("S10")
@pytest.mark.parametrize("name", ["arf_abuse", "arf_yahoo_redacted", "arf_headers_only"])
def test_a_complaint_blocks_for_good(mail, name):
    report(name, mail)
    assert mail.delivery == "complained"
    later = sent_mail(mail.merchant_id, "reminder")
    found = suppression.blocked([later], AT + timedelta(days=10_000))
    assert found[later.id].reason == "complaint" and "abuse" in found[later.id].words


@pytest.mark.feature("S10")
def test_a_complaint_that_went_to_another_address_names_the_return_path(mail):
    kept = bounces.receive(sample("arf_abuse", mail), "fbl@example.org", AT)
    assert kept is not None and kept.mail_id == mail.id
    assert mail.delivery == "complained"


@pytest.mark.feature("S8")
@pytest.mark.parametrize(
    "name",
    ["ooo_german", "ooo_english", "ooo_french", "challenge", "person_answers", "postfix_relayed"],
)
def test_answers_are_kept_and_change_nothing(mail, name):
    kept = report(name, mail)
    assert kept is not None and kept.mail_id == mail.id
    assert (mail.delivery, mail.delivery_words) == ("accepted", None)
    assert not blocks()


def test_delays_and_deliveries_are_told_and_news_do_not_turn_back(mail):
    report("postfix_delayed", mail)
    assert mail.delivery == "delayed" and "refused" in mail.delivery_words
    report("postfix_delivered", mail)
    assert (mail.delivery, mail.delivered_at) == ("delivered", AT)
    report("gmail_delayed", mail)
    assert mail.delivery == "delivered"
    report("gmail_unknown_user", mail)
    assert mail.delivery == "bounced"
    report("arf_abuse", mail)
    report("exim_unknown_user", mail)
    assert mail.delivery == "complained"
    assert len(bounces.reports_of(mail)) == 6


def test_the_same_report_counts_once_however_it_travelled(mail):
    raw = sample("postfix_unknown_user", mail)
    assert bounces.receive(raw, path_of(mail), AT) is not None
    suppressed = blocks()[0]
    suppression.end(mail.merchant_id, suppressed.id, at=AT, by="anna@example.org")
    again = b"Received: from mx.example.com\r\n" + raw.replace(b"\n", b"\r\n")
    assert bounces.receive(raw, path_of(mail), AT) is None
    assert bounces.receive(again, path_of(mail).upper(), AT) is None
    other = sent_mail(mail.merchant_id, recipient="bob@example.org")
    assert suppression.blocked([mail], AT) == {}
    assert bounces.receive(raw, path_of(other), AT) is not None


def test_a_forged_report_changes_nothing(mail):
    forged = path_of(mail).replace(".", ".a", 1).replace("a@", "@")
    for address in (forged, "b+ci.aaaaaaaaaaaaaaaa@bounce.example.org", "shop@example.org"):
        kept = bounces.receive(sample("postfix_unknown_user"), address, AT)
        assert kept is None or kept.mail_id is None
    assert mail.delivery == "accepted" and not blocks()


def test_a_report_about_one_mail_says_nothing_of_another(mail, merchant):
    other = sent_mail(merchant.id, recipient="bob@example.org")
    raw = sample("postfix_unknown_user", mail)
    bounces.receive(raw, path_of(other), AT)
    assert (mail.delivery, other.delivery) == ("accepted", "bounced")
    assert [block.address for block in blocks()] == ["bob@example.org"]


def test_reports_of_nobody_are_few_and_forgotten(mail):
    for number in range(3):
        raw = sample("postfix_unknown_user").replace(b"User unknown", b"User %d" % number)
        bounces.receive(raw, "b+ci.x@bounce.example.org", AT - UNMATCHED_LIFETIME)
    report("postfix_unknown_user", mail, AT - 2 * UNMATCHED_LIFETIME)
    later = AT + timedelta(seconds=1)
    assert bounces.forget_old_reports(later) == 3
    assert db.session.query(MailReport).one().mail_id == mail.id
    many = [
        {
            "kind": "other",
            "raw": b"",
            "digest": number.to_bytes(32, "big"),
            "received_at": AT,
        }
        for number in range(MAX_UNMATCHED + 7)
    ]
    db.session.execute(MailReport.__table__.insert(), many)
    assert bounces.forget_old_reports(AT) == 7


def test_nobody_can_fill_our_disk_with_reports_of_one_mail(mail):
    for number in range(MAX_REPORTS_OF_MAIL + 3):
        raw = sample("postfix_unknown_user", mail) + b"%d" % number + bytes(300_000)
        kept = bounces.receive(raw, path_of(mail), AT)
        assert (kept is not None) == (number < MAX_REPORTS_OF_MAIL)
    assert {len(row.raw) for row in bounces.reports_of(mail)} == {bounces.KEPT_BYTES}


@pytest.mark.feature("K66", "S10")
@pytest.mark.parametrize(
    ("name", "known"), [("postfix_unknown_user", "bounced"), ("arf_abuse", "complained")]
)
def test_of_a_shop_in_test_mode_it_is_shown_and_blocks_nobody(merchant, name, known):
    mail = sent_mail(merchant.id, redirected_to="anna@example.org")
    report(name, mail)
    assert mail.delivery == known and mail.delivery_words
    assert not blocks()


def test_a_mail_that_was_erased_keeps_its_bounce_and_blocks_nobody(merchant):
    mail = sent_mail(merchant.id, recipient="")
    report("postfix_unknown_user", mail)
    assert mail.delivery == "bounced" and not blocks()


def test_without_a_domain_for_bounces_no_mail_is_found(mail):
    path = path_of(mail)
    install(replace(installed(), bounce_domain=None))
    assert bounces.mail_of([path]) is None


@pytest.mark.real_commits
def test_the_same_report_from_two_servers_at_once_is_one(app):
    mail = sent_mail(make_merchant().id)
    raw, path = sample("postfix_unknown_user", mail), path_of(mail)
    begin = threading.Barrier(4)
    kept = []

    def hand_in() -> None:
        with app.app_context():
            begin.wait(10)
            kept.append(bounces.receive(raw, path, AT) is not None)
            db.session.commit()

    threads = [threading.Thread(target=hand_in) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(kept) == [False, False, False, True]
    assert len(blocks()) == 1
