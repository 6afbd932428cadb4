"""Sending domains: added, published, checked live, keys changed, removed; the warning on Today."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from server import config
from server.dashboard import words as texts
from server.db import db, now
from server.mail import domains
from server.mail.domain_rules import (
    REASONS,
    STATES,
    WARNINGS,
    Home,
    PublishedKey,
    Report,
    judge,
)
from server.mail.models import Mail, SendingDomain
from server.mail.spf import Answer
from server.merchants.models import User
from tests.factories import make_merchant, make_order, make_shop
from tests.fakes.dns_server import FakeDns
from tests.server.dashboard.test_order_pages import words
from tests.server.dashboard.visitor import member

HOUSE = "kontor.example.org"


@pytest.fixture
def dns(app) -> Iterator[FakeDns]:
    before = config.installed()
    with FakeDns() as running:
        running.put(HOUSE, "TXT", "v=spf1 ip4:192.0.2.1 -all")
        config.install(
            replace(before, dns_servers=(running.server,), bounce_domain="bounces.example.org")
        )
        yield running
    config.install(before)


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def anna(app, merchant, dns):
    return member(app, merchant)


@pytest.fixture
def row(merchant, dns) -> SendingDomain:
    made = domains.add(merchant.id, "laden.example", now())
    db.session.commit()
    return made


def publish(dns: FakeDns, row: SendingDomain) -> None:
    for record in domains.records_of(row):
        dns.put(record.name, record.kind, record.value)


def path(row: SendingDomain, more: str = "") -> str:
    return f"/settings/domains/{row.id}{more}"


def check(visitor, row: SendingDomain) -> str:
    row.checked_at = None
    db.session.commit()
    answer = visitor.post(path(row, "/check"))
    assert answer.location == f"{path(row)}?done=domain_checked"
    return words(visitor.get(path(row)))


@pytest.mark.feature("S13", "S15")
def test_a_domain_is_added_and_its_records_are_shown_ready_to_copy(anna, merchant, dns) -> None:
    assert "Noch keine Domain" in words(anna.get("/settings/domains"))
    dns.put("laden.example", "TXT", "v=spf1 mx -all")
    answer = anna.post("/settings/domains", {"name": "anna@Laden.Example"})
    row = domains.domains_of(merchant.id)[0]
    assert answer.location == f"/settings/domains/{row.id}?done=domain_added"
    page = anna.get(path(row)).text
    for key in domains.keys_of(row):
        assert f"v=DKIM1; k=rsa; p={key.public_key}<" in page
        assert f">{key.selector}._domainkey<" in page
    assert f">v=spf1 mx include:{HOUSE} -all<" in page
    assert ">bounces.example.org<" in page
    assert ">v=DMARC1; p=none<" in page
    copied = re.findall(r'data-copy="([^"]+)"', page)
    assert len(copied) == 15
    assert all(f'id="{one}"' in page for one in copied)
    assert "noch nicht nachgewiesen" in words(anna.get("/settings/domains"))


@pytest.mark.feature("S13", "S17", "N14")
def test_check_now_says_what_is_right(anna, row, dns) -> None:
    assert "noch nicht geprüft" in words(anna.get(path(row)))
    publish(dns, row)
    shown = check(anna, row)
    assert "nachgewiesen" in shown
    assert "SPF-Abfragen: 1 von höchstens 10" in shown
    assert "bestehen DMARC" in shown
    assert domains.state_of(row) == "proven"


@pytest.mark.feature("N14")
def test_what_is_wrong_is_said_in_words(anna, row, dns) -> None:
    publish(dns, row)
    name = "kontor1._domainkey.laden.example"
    value = dns.records[(name, "TXT")][0]
    dns.put(name, "TXT", value[:255])
    assert "Der Schlüssel ist abgeschnitten: 237 von 392 Zeichen" in check(anna, row)
    dns.put(name, "TXT", f"{value}", "v=DKIM1; k=rsa; p=abc")
    assert "Es gibt 2 solche Einträge" in check(anna, row)
    dns.remove(name, "TXT")
    dns.put(f"{name}.laden.example", "TXT", value)
    assert f"Der Eintrag steht unter {name}.laden.example" in check(anna, row)
    dns.put("laden.example", "TXT", f"v=spf1 +all include:{HOUSE}")
    shown = check(anna, row)
    assert "steht hinter „all“" in shown
    assert "erlaubt jedem" in shown
    dns.faults["laden.example"] = "SERVFAIL"
    assert "Das DNS hat gerade nicht geantwortet" in check(anna, row)


def test_what_strangers_wrote_into_their_dns_is_only_text(anna, row, dns) -> None:
    dns.put("_dmarc.laden.example", "TXT", "<script>alert(1)</script> {name} {0}")
    dns.put("laden.example", "TXT", "v=spf1 <b>{why}</b> -all")
    check(anna, row)
    page = anna.get(path(row)).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "&lt;b&gt;{why}" in page


def test_looking_again_at_once_asks_nobody(anna, row, dns) -> None:
    anna.post(path(row, "/check"))
    count = len(dns.asked)
    assert count > 0
    anna.post(path(row, "/check"))
    assert len(dns.asked) == count


@pytest.mark.feature("S14")
@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("anna@gmx.de", "Sie gehört einem E-Mail-Anbieter"),
        ("laden", "Das ist keine Domain"),
        ("co.uk", "Unter dieser Endung"),
        ("laden.example", "haben Sie schon"),
    ],
)
def test_what_is_refused_says_why(anna, row, typed, why) -> None:
    answer = anna.post("/settings/domains", {"name": typed})
    assert answer.status_code == 422
    assert why in words(answer)
    assert f'value="{typed}"' in answer.text
    assert len(domains.domains_of(row.merchant_id)) == 1


@pytest.mark.feature("N14")
def test_a_break_is_told_by_whoever_finds_it(anna, row, dns) -> None:
    publish(dns, row)
    check(anna, row)
    dns.remove("laden.example", "TXT")
    assert "Ein Eintrag stimmt nicht mehr" in check(anna, row)
    row.failing_since = now() - timedelta(hours=25)
    assert "nicht mehr nachgewiesen" in check(anna, row)
    assert db.session.scalar(select(Mail.kind)) == "domain_broken"


@pytest.mark.feature("N14")
def test_keys_are_changed_when_the_next_one_is_seen(anna, row, dns) -> None:
    refused = anna.post(path(row, "/keys"))
    assert refused.status_code == 422
    assert "noch nicht richtig zu sehen" in words(refused)
    publish(dns, row)
    answer = anna.post(path(row, "/keys"))
    assert answer.location == f"{path(row)}?done=keys_changed"
    shown = words(anna.get(path(row)))
    assert "Lassen Sie den alten Schlüssel bis" in shown
    assert domains.current_selector(domains.keys_of(row)) == "kontor2"


def test_a_domain_is_removed_after_a_question(anna, row) -> None:
    assert "laden.example entfernen?" in words(anna.get(path(row, "/remove")))
    assert anna.post(path(row, "/remove")).location == "/settings/domains?done=domain_removed"
    assert domains.domains_of(row.merchant_id) == []
    assert anna.get(path(row)).status_code == 404


# --- who ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", ["", "/check", "/keys", "/remove"])
def test_a_stranger_finds_nothing(app, dns, row, more) -> None:
    bob = member(app, make_merchant("Bob"), "bob@example.com")
    answer = bob.post(path(row, more)) if more else bob.get(path(row))
    assert answer.status_code == 404
    assert domains.state_of(row) == "new"


def test_only_administrators_come_in(app, anna, row) -> None:
    user = db.session.scalar(select(User))
    assert user is not None
    user.is_administrator = False
    db.session.commit()
    for wanted in ("/settings/domains", path(row), path(row, "/remove")):
        assert anna.get(wanted).status_code == 403
    for wanted in ("/settings/domains", path(row, "/check"), path(row, "/remove")):
        assert anna.post(wanted).status_code == 403
    assert domains.domains_of(row.merchant_id) == [row]


@pytest.mark.parametrize("page", ["/settings/domains", "/settings/suppressions", "/settings/look"])
def test_the_menu_says_that_these_are_settings(anna, page) -> None:
    link = re.search(r'<a href="/settings/assignment"([^>]*)>', anna.get(page).text)
    assert link is not None and link[1] == ' aria-current="true"'


def test_a_form_without_its_token_does_nothing(anna, row) -> None:
    answer = anna.client.post(path(row, "/remove"), headers={"Origin": "http://localhost"})
    assert answer.status_code == 403
    assert domains.domains_of(row.merchant_id) == [row]


# --- Today --------------------------------------------------------------------------------------


@pytest.mark.feature("S17")
def test_the_warning_stands_on_today_until_the_domain_is_proven(anna, merchant, row, dns) -> None:
    make_order(make_shop(merchant, "Buchladen", sender_address="anna@laden.example"))
    make_shop(merchant, "Ohne Absender")
    shown = words(anna.get("/"))
    assert "E-Mails von Buchladen gehen von Kontors Adresse ab" in shown
    assert "Ohne Absender gehen" not in shown
    assert f'href="{path(row)}"' in anna.get("/").text
    publish(dns, row)
    check(anna, row)
    assert "Kontors Adresse" not in words(anna.get("/"))
    dns.remove("laden.example", "TXT")
    check(anna, row)
    assert "Ein DNS-Eintrag von laden.example stimmt nicht mehr" in words(anna.get("/"))
    row.failing_since = now() - timedelta(hours=25)
    check(anna, row)
    assert "Einträge für laden.example im DNS stimmen nicht mehr" in words(anna.get("/"))


@pytest.mark.feature("S17")
def test_the_warning_stands_beside_the_first_steps_as_well(anna, merchant) -> None:
    make_shop(merchant, "Buchladen", sender_address="anna@laden.example")
    shown = words(anna.get("/"))
    assert "Ersten Kontoauszug hochladen" in shown
    assert "Wartet auf Sie" in shown
    assert "E-Mails von Buchladen gehen von Kontors Adresse ab" in shown


@pytest.mark.feature("S14", "S17")
def test_a_freemail_sender_is_advised_against(anna, merchant) -> None:
    make_order(make_shop(merchant, "Buchladen", sender_address="anna@gmail.com"))
    make_shop(merchant, "Nebenladen", sender_address="anna@neben.example")
    shown = words(anna.get("/"))
    assert "Unter einer Adresse von gmail.com kann kein Shop senden" in shown
    assert "wenn die Einträge für neben.example im DNS stimmen" in shown


# --- words --------------------------------------------------------------------------------------


def test_every_state_and_reason_has_a_sentence(app) -> None:
    wanted = [
        *(f"reason_{one}" for one in REASONS),
        *(f"warning_{one}" for one in WARNINGS),
        *(f"state_{one}" for one in (*STATES, "new")),
        *(f"refused_{one}" for one in "invalid freemail shared already_there too_many".split()),
        *(f"is_{one}" for one in "new waiting proven failing broken".split()),
    ]
    assert [one for one in wanted if not texts.has_text(f"sending_domain.{one}")] == []


RECORDS = st.one_of(
    st.text(max_size=80),
    st.lists(
        st.sampled_from(
            "v=spf1 +all -all ~all mx a ptr include:a.example include:b.example redirect=a.example"
            " exists:%{i}.x.example ip4:192.0.2.1 ip4:x v=DKIM1; k=rsa; p= p=AAAA h=sha1; t=y; s=x;"
            ' v=DMARC1; p=none p=reject; rua=mailto:a@b.example \\ " {name} {0} %s'.split()
        ),
        max_size=12,
    ).map(" ".join),
)
NAMES = ("laden.example", "a.example", "b.example", "_dmarc.laden.example") + tuple(
    f"kontor{number}._domainkey.laden.example" for number in (1, 2)
)
ANSWERS = st.one_of(
    st.sampled_from([Answer("unknown", why="why"), Answer("no_data"), Answer("no_such_name")]),
    st.lists(RECORDS, min_size=1, max_size=3).map(lambda texts: Answer("found", tuple(texts))),
)


@given(st.fixed_dictionaries(dict.fromkeys(NAMES, ANSWERS)))
@settings(max_examples=300, deadline=None)
def test_whatever_the_dns_says_there_is_a_sentence_for_it(zone: dict[str, Answer]) -> None:
    keys = [PublishedKey("kontor1", "AAAA", "current"), PublishedKey("kontor2", "BBBB", "next")]
    home = Home("b.example", "bounces.example.org")
    report = judge(
        "laden.example", keys, home, lambda name, _: zone.get(name, Answer("no_such_name"))
    )
    for one in report.checks:
        assert one.state in STATES
        assert (one.state == "ok") == (not one.reason)
        for language in texts.LANGUAGES:
            if one.reason:
                sentence = texts.texts(language)[f"sending_domain.reason_{one.reason}"]
                assert isinstance(sentence, str)
                assert sentence.format(**one.facts)
    assert Report.from_json(json.loads(json.dumps(report.as_json()))) == report


def test_an_installation_without_a_domain_says_so(app, merchant, dns, row) -> None:
    config.install(replace(config.installed(), mail_from="Kontor <kontor@localhost.localdomain>"))
    anna = member(app, merchant)
    assert "keine eigene Domain" in words(anna.get("/settings/domains"))
    assert "keine eigene Domain" in words(anna.get(path(row)))
