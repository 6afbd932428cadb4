"""A merchant's own words: what is kept, what is inherited, and which template a mail gets."""

from __future__ import annotations

from datetime import date

import pytest
from sqlalchemy import event, func, select

from server.db import db
from server.mail import texts
from server.mail.delivery import Desk, write_letter
from server.mail.kinds import KINDS
from server.mail.models import Mail, MailText
from server.mail.own_words import BlockError, blocks_of
from server.mail.rules import compose
from server.mail.samples import sample_facts
from server.mail.service import queue_mail
from server.mail.theme import Theme
from tests.factories import AT, make_merchant, make_shop

KIND, EDITION = "payment_information", "de"
WHO = {"actor": "anna@example.org", "at": AT}
OWN = {"title": "Bitte bezahlen Sie {amount_due}"}


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def shop(merchant):
    return make_shop(merchant)


def title_of(template) -> str:
    facts = sample_facts(KIND, EDITION, date(2026, 11, 18))
    html = compose(KIND, EDITION, facts, Theme(), template).html
    return html.split("<h1", 1)[1].split(">", 1)[1].split("</h1>")[0]


def in_force(merchant, shop_id=None, kind=KIND, edition=EDITION) -> dict[str, str] | None:
    row = texts.in_force(merchant.id, shop_id, kind, edition)
    return row.words if row else None


def mail_of(merchant, shop_id: int | None, edition: str = EDITION) -> Mail:
    count = db.session.scalar(select(func.count()).select_from(Mail))
    once = f"own words {count}"
    queue_mail(
        KIND,
        merchant_id=merchant.id,
        shop_id=shop_id,
        order_id=None,
        language=edition,
        recipient="erika@example.org",
        once=once,
        facts=sample_facts(KIND, edition, date(2026, 11, 18)),
        theme=Theme(),
        sender_name="Annas Antiquariat",
        sender_address="system@kontor.example.org",
    )
    return db.session.scalars(select(Mail).where(Mail.once == once)).one()


@pytest.mark.feature("K39")
def test_a_shops_words_stand_before_those_of_all_shops_and_these_before_kontors(merchant, shop):
    other = make_shop(merchant, "Zweiter Laden")
    texts.save(merchant.id, None, KIND, EDITION, OWN, **WHO)
    texts.save(merchant.id, shop.id, KIND, EDITION, {"title": "Nur hier"}, **WHO)
    assert in_force(merchant, shop.id) == {"title": "Nur hier"}
    assert in_force(merchant, other.id) == in_force(merchant) == OWN
    assert in_force(merchant, None, KIND, "en") is None
    mails = [mail_of(merchant, one) for one in (shop.id, other.id, None)]
    english = mail_of(merchant, shop.id, "en")
    found = texts.own_templates([*mails, english])
    assert set(found) == {one.id for one in mails}
    assert [title_of(found[one.id]) for one in mails] == [
        "Nur hier", "Bitte bezahlen Sie 1.284,60\u00a0€", "Bitte bezahlen Sie 1.284,60\u00a0€",
    ]  # fmt: skip
    texts.reset(merchant.id, shop.id, KIND, EDITION, **WHO)
    assert in_force(merchant, shop.id) == OWN
    assert title_of(texts.own_templates(mails)[mails[0].id]).startswith("Bitte bezahlen")
    texts.reset(merchant.id, None, KIND, EDITION, **WHO)
    assert in_force(merchant) is None and texts.own_templates(mails) == {}


@pytest.mark.feature("K39")
def test_versions_are_kept_with_who_and_when_and_come_back(merchant):
    first = texts.save(merchant.id, None, KIND, EDITION, OWN, **WHO)
    texts.save(merchant.id, None, KIND, EDITION, {"title": "Zweiter"}, actor="bert", at=AT)
    texts.reset(merchant.id, None, KIND, EDITION, **WHO)
    rows = texts.versions(merchant.id, None, KIND, EDITION)
    assert [row.words for row in rows] == [None, {"title": "Zweiter"}, OWN]
    assert [row.created_by for row in rows] == ["anna@example.org", "bert", "anna@example.org"]
    old = texts.version_of(merchant.id, first.id)
    texts.save(merchant.id, None, KIND, EDITION, old.words, **WHO)
    assert in_force(merchant) == OWN
    assert texts.version_of(make_merchant("Bobs Laden").id, first.id) is None


@pytest.mark.feature("K39", "S3")
def test_what_is_sent_says_it_in_the_merchants_words(merchant, shop):
    own = {"title": "Bitte bezahlen", "intro": "Danke **sehr**."}
    texts.save(merchant.id, None, KIND, EDITION, own, **WHO)
    mails = [mail_of(merchant, shop.id), mail_of(merchant, shop.id, "en")]
    desk = Desk.of(mails, AT)
    german, english = (write_letter(mail, desk).message for mail in mails)
    assert "Danke <strong>sehr</strong>." in german.html and "Danke sehr." in german.text
    assert title_of(desk.templates[mails[0].id]) == "Bitte bezahlen"
    assert "Bitte bezahlen" not in english.html


def test_only_the_newest_versions_are_kept(merchant, monkeypatch):
    monkeypatch.setattr(texts, "VERSIONS_KEPT", 3)
    for number in range(5):
        texts.save(merchant.id, None, KIND, EDITION, {"title": f"Nummer {number}"}, **WHO)
    texts.save(merchant.id, None, "reminder", EDITION, OWN, **WHO)
    kept = [row.words["title"] for row in texts.versions(merchant.id, None, KIND, EDITION)]
    assert kept == ["Nummer 4", "Nummer 3", "Nummer 2"]
    assert in_force(merchant, None, "reminder") == OWN


def test_what_says_what_kontor_says_is_not_kept(merchant, shop):
    default = blocks_of(KIND, EDITION)
    typed = {name: text.replace("\n", "\r\n") + " \n" for name, text in default.items()}
    assert texts.changed_words(KIND, EDITION, typed) == {}
    assert texts.changed_words(KIND, EDITION, typed | {"title": "Neu", "intro": " \r\n"}) == {
        "title": "Neu"
    }
    assert texts.changed_words(KIND, EDITION, {"nonsense": "Neu"}) == {}
    for shop_id in (None, shop.id):
        assert texts.save(merchant.id, shop_id, KIND, EDITION, {}, **WHO) is None
    texts.save(merchant.id, None, KIND, EDITION, OWN, **WHO)
    assert texts.save(merchant.id, None, KIND, EDITION, OWN, **WHO) is None
    assert texts.save(merchant.id, shop.id, KIND, EDITION, OWN, **WHO) is None
    assert db.session.scalar(select(func.count()).select_from(MailText)) == 1


def test_one_shop_may_go_back_to_kontors_words_while_the_others_have_their_own(merchant, shop):
    texts.save(merchant.id, None, KIND, EDITION, OWN, **WHO)
    assert texts.save(merchant.id, shop.id, KIND, EDITION, {}, **WHO) is not None
    assert in_force(merchant, shop.id) == {} and in_force(merchant) == OWN
    mail = mail_of(merchant, shop.id)
    assert title_of(texts.own_templates([mail])[mail.id]) == title_of(None)


def test_words_that_make_no_mail_are_refused_and_not_kept(merchant):
    with pytest.raises(BlockError, match="title: .*no fact"):
        texts.save(merchant.id, None, KIND, EDITION, {"title": "{password}"}, **WHO)
    assert in_force(merchant) is None


def test_words_that_fit_no_more_give_way_to_kontors(merchant, shop, caplog):
    row = MailText(
        merchant_id=merchant.id, kind=KIND, language=EDITION, words={"once": "was a block"}
    )
    db.session.add(row)
    db.session.commit()
    mail = mail_of(merchant, shop.id)
    assert texts.own_templates([mail]) == {}
    assert texts.own_template(merchant.id, None, KIND, EDITION) is None
    assert "fit no more" in caplog.text


def test_a_stranger_has_other_words(merchant, shop):
    texts.save(merchant.id, None, KIND, EDITION, OWN, **WHO)
    bob = make_merchant("Bobs Laden")
    theirs = mail_of(bob, make_shop(bob).id)
    assert texts.own_templates([theirs]) == {}
    assert texts.changed_kinds(bob.id, None) == set()


@pytest.mark.feature("K39")
def test_the_list_knows_where_there_are_own_words(merchant, shop):
    texts.save(merchant.id, None, KIND, EDITION, OWN, **WHO)
    texts.save(merchant.id, None, "reminder", "fr", {"title": "Un rappel"}, **WHO)
    texts.save(merchant.id, shop.id, KIND, "en", {"title": "Please pay"}, **WHO)
    texts.reset(merchant.id, None, "reminder", "fr", **WHO)
    assert texts.changed_kinds(merchant.id, None) == {(KIND, EDITION)}
    assert texts.changed_kinds(merchant.id, shop.id) == {(KIND, "en")}


def test_a_batch_of_mails_costs_one_query(merchant, shop):
    texts.save(merchant.id, None, KIND, EDITION, OWN, **WHO)
    mails = [mail_of(merchant, shop.id) for _ in range(20)]
    asked: list[str] = []
    engine = db.session.connection().engine

    def note(*statement) -> None:
        asked.append(statement[2])

    event.listen(engine, "before_cursor_execute", note)
    try:
        assert len(texts.own_templates(mails)) == 20
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert len(asked) == 1
    assert texts.own_templates([]) == {}


def test_merchants_kinds_have_no_words_to_replace():
    for kind, known in KINDS.items():
        assert bool(blocks_of(kind, "de")) is (known.reader == "customer"), kind
