"""The relay's pages: connecting a system, its numbers, the log, the quota, the operator's plans."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import event

from server.config import install
from server.dashboard import words
from server.db import db, now
from server.mail import domains
from server.merchants.models import User
from server.relay import connections, counting, intake, quota
from server.relay.intake import Origin, password_hash
from server.relay.models import (
    RelayAccount,
    RelayConnection,
    RelayDelivery,
    RelayDomain,
    RelayEvent,
    RelayMessage,
    RelayPlan,
    RelayStat,
)
from tests.factories import make_merchant
from tests.server.dashboard.visitor import Visitor, member
from tests.server.relay.systems import DOMAIN, System, a_mail, make_system, prove

ROOT = Path(__file__).parents[3]
TO = "erika@example.com"
FORM_PAGE = "/relay"


@pytest.fixture
def system(app) -> System:
    return make_system()


@pytest.fixture
def anna(app, system) -> Visitor:
    return member(app, system.merchant)


@pytest.fixture
def reader(app, system) -> Visitor:
    """Somebody who may look and not change."""
    visitor = member(app, system.merchant, "leser@example.org")
    db.session.query(User).filter_by(email="leser@example.org").one().is_administrator = False
    db.session.commit()
    return visitor


@pytest.fixture
def host(app):
    """An installation that takes mails by SMTP."""
    before = app.config["SETTINGS"]
    after = replace(before, relay_bind="0.0.0.0:2587", relay_host="relay.kontor.example.org")
    app.config["SETTINGS"] = after
    install(after)
    yield after
    app.config["SETTINGS"] = before
    install(before)


def hand_in(system: System, raw: bytes | None = None, *recipients: str) -> int:
    caller = intake.caller_now(system.connection.id)
    assert caller is not None
    number = intake.accept(
        caller,
        raw or a_mail(),
        sender=f"buchung@{DOMAIN}",
        recipients=recipients or (TO,),
        origin=Origin("smtp", "192.0.2.7", "kasse.example.org"),
        at=now(),
    )
    db.session.commit()
    return number


def show(system: System) -> str:
    return f"/relay/{system.connection.id}"


# --- connecting a system ------------------------------------------------------------------------


@pytest.mark.feature("S89")
def test_without_a_system_the_page_explains_what_it_is_for(app):
    page = member(app, make_merchant()).get("/relay").text
    assert "Noch kein System verbunden" in page and 'href="/relay/new"' in page
    assert "KONTOR_RELAY_BIND" in page


@pytest.mark.feature("S89", "S90", "S92")
def test_from_the_name_to_the_access_data(app, host):
    merchant = make_merchant()
    anna = member(app, merchant)
    own = domains.add(merchant.id, DOMAIN, now())
    own.checked_at = now()  # nobody asks the DNS
    db.session.commit()
    made = anna.post("/relay/new", {"name": "Kasse"})
    assert made.status_code == 303
    path = made.location.partition("?")[0]
    page = anna.get(path).text
    assert "relay.kontor.example.org" not in page and "Zugangsdaten</h2>" not in page
    form = {"domain": str(own.id), "help": "own", "list_help": "https://shop.example.org/mails"}
    assert anna.post(f"{path}/domains", form).status_code == 303
    page = anna.get(path).text
    assert "https://shop.example.org/mails" in page and "_domainkey" in page
    assert "DKIM fehlt" in page and "relay.kontor.example.org" not in page
    prove(own)
    db.session.commit()
    page = anna.get(path).text
    assert "DKIM im DNS" in page and "relay.kontor.example.org" in page and "2587" in page
    shown = anna.post(f"{path}/password").text
    password = re.search(r'id="smtp-password"[^>]*>([^<]+)<', shown)
    assert password
    row = db.session.query(RelayConnection).one()
    assert row.password_hash == password_hash(password[1])
    assert row.user_name in shown and shown.count("data-copy=") > 4
    assert password[1] not in anna.get(path).text


@pytest.mark.feature("S92")
def test_without_a_key_in_the_dns_there_is_no_password(system, anna):
    prove(system.domain, "missing")
    db.session.commit()
    answer = anna.post(f"{show(system)}/password")
    assert answer.status_code == 409 and "smtp-password" not in answer.text
    assert system.user not in answer.text


@pytest.mark.feature("S89", "S90")
@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({"name": "neu.example", "help": "own", "list_help": "http://neu.example"}, "https://"),
        ({"name": "neu.example", "help": "own", "list_help": "mailto:niemand"}, "mailto:"),
        ({"name": "neu.example", "help": "own", "list_help": "https://a b"}, "Leerzeichen"),
        ({"name": "neu.example", "help": "own", "list_help": ""}, "Geben Sie die Adresse an"),
        ({"name": "gmail.com"}, "E-Mail-Anbieter"),
        ({"name": ""}, "keine Domain"),
        ({"domain": "999999999"}, "gibt es nicht mehr"),
        ({"domain": "1", "name": "gmail.com"}, "E-Mail-Anbieter"),
    ],
)
def test_a_domain_or_list_help_that_cannot_be_changes_nothing(system, anna, form, why):
    before = (db.session.query(RelayDomain).count(), len(domains.domains_of(system.merchant.id)))
    answer = anna.post(f"{show(system)}/domains", form)
    assert answer.status_code == 422 and why in answer.text
    after = (db.session.query(RelayDomain).count(), len(domains.domains_of(system.merchant.id)))
    assert before == after


@pytest.mark.feature("S90", "S91")
def test_where_list_help_leads_can_be_changed_and_the_page_is_offered(system, anna):
    page = anna.get(show(system)).text
    assert re.search(r'href="http[^"]*/relay/why/[^"]+"', page)
    form = {"domain": str(system.domain.id), "help": "own", "list_help": "mailto:hilfe@example.org"}
    assert anna.post(f"{show(system)}/domains", form).status_code == 303
    assert db.session.query(RelayDomain).one().list_help == "mailto:hilfe@example.org"
    anna.post(f"{show(system)}/domains", {"domain": str(system.domain.id), "help": "page"})
    assert db.session.query(RelayDomain).one().list_help is None


def test_a_domain_is_taken_out_and_a_wrong_one_is_not(system, anna):
    assert anna.post(f"{show(system)}/domains/remove", {"domain": "77"}).status_code == 409
    row = db.session.query(RelayDomain).one()
    assert anna.post(f"{show(system)}/domains/remove", {"domain": str(row.id)}).status_code == 303
    assert db.session.query(RelayDomain).count() == 0


def test_who_removes_a_sending_domain_hears_which_systems_send_from_it(system, anna):
    path = f"/settings/domains/{system.domain.id}/remove"
    assert "von: Buchungssystem" in anna.get(path).text
    connections.remove(system.connection, now())
    db.session.commit()
    assert "Buchungssystem" not in anna.get(path).text
    assert anna.post(path).status_code == 303
    assert anna.get("/relay").status_code == 200


@pytest.mark.feature("S92")
def test_the_old_password_holds_for_a_day_and_can_be_ended(system, anna):
    page = anna.post(f"{show(system)}/password").text
    assert "gilt noch bis" in page and "Altes Passwort jetzt beenden" in page
    assert intake.log_in(system.user, system.password, now()) is not None
    anna.post(f"{show(system)}/password/end-old")
    db.session.expire_all()
    assert intake.log_in(system.user, system.password, now()) is None
    assert "Altes Passwort" not in anna.get(show(system)).text


@pytest.mark.feature("S95")
def test_pausing_shows_at_a_glance_and_ends(system, anna):
    assert "bereit" in anna.get("/relay").text
    anna.post(f"{show(system)}/switch", {"on": "no"})
    assert "angehalten" in anna.get("/relay").text
    caller = intake.caller_now(system.connection.id)
    assert caller is not None and caller.is_paused
    anna.post(f"{show(system)}/switch", {"on": "yes"})
    intake.note_used(system.connection.id, now())
    db.session.commit()
    db.session.expire_all()
    assert "aktiv" in anna.get("/relay").text


@pytest.mark.feature("S93", "S95")
def test_today_says_whose_mails_are_refused(system, anna):
    prove(system.domain, "missing")
    db.session.commit()
    assert "E-Mails werden abgelehnt" not in anna.get("/").text  # nothing was ever sent
    system.connection.last_used_at = now()
    db.session.commit()
    page = anna.get("/").text
    assert "Buchungssystem: E-Mails werden abgelehnt" in page and f'href="{show(system)}"' in page
    assert "abgelehnt, bis er wieder da ist" in anna.get(show(system)).text
    connections.pause(system.connection, now())
    db.session.commit()
    assert "E-Mails werden abgelehnt" not in anna.get("/").text


def test_many_systems_are_asked_for_together(system, anna):
    def asked(path: str) -> int:
        anna.get(path)  # what is asked only once
        count = 0

        def note(*_: object) -> None:
            nonlocal count
            count += 1

        event.listen(db.engine, "before_cursor_execute", note)
        try:
            assert anna.get(path).status_code == 200
        finally:
            event.remove(db.engine, "before_cursor_execute", note)
        return count

    system.connection.last_used_at = now()
    paths = ("/relay", "/")
    before = [asked(path) for path in paths]
    for number in range(4):
        row = connections.add_connection(system.merchant.id, f"Kasse {number}", actor="", at=now())
        connections.set_domain(row, system.domain.id, "", now())
        row.last_used_at = now()
    db.session.commit()
    assert [asked(path) for path in paths] == before


def test_its_settings_are_checked(system, anna):
    wrong = anna.post(f"{show(system)}/settings", {"title": "Kasse", "days": "91"})
    assert wrong.status_code == 422 and "0 bis 90" in wrong.text
    assert anna.post(f"{show(system)}/settings", {"title": " ", "days": "3"}).status_code == 422
    assert anna.post(f"{show(system)}/settings", {"title": "Kasse", "days": "3"}).status_code == 303
    db.session.expire_all()
    assert (system.connection.name, system.connection.keep_content_days) == ("Kasse", 3)


def test_it_is_removed_by_its_name_only(system, anna):
    hand_in(system)
    assert anna.post(f"{show(system)}/remove", {"name": "Falsch"}).status_code == 422
    assert anna.post(f"{show(system)}/remove", {"name": "Buchungssystem"}).status_code == 303
    assert anna.get(show(system)).status_code == 404
    assert intake.log_in(system.user, system.password, now()) is None
    assert "Buchungssystem" in anna.get("/relay/log").text


@pytest.mark.feature("S89")
def test_examples_are_filled_in(system, anna, host):
    page = anna.get(show(system)).text
    for line in (
        "relayhost = [relay.kontor.example.org]:2587",
        f"MAILER_DSN=smtp://{system.user}:IHR-PASSWORT@relay.kontor.example.org:2587",
        "SMTP-Port: 2587\nVerschlüsselung: STARTTLS\nAuthentifizierung: ja\n",
        f"Benutzer: {system.user}",
        f"from shop@{DOMAIN}",
        "smtp.starttls(context=ssl.create_default_context())",
    ):
        assert line in page.replace("&#34;", '"'), line


def test_who_may_only_look_changes_nothing_and_sees_no_access_data(system, reader, host):
    hand_in(system)
    page = reader.get(show(system)).text
    assert system.user not in page and "form-column" not in page
    before = _everything()
    number = db.session.query(RelayMessage).one().id
    for path in (
        "/relay/new",
        *(
            f"{show(system)}/{one}"
            for one in (
                "domains", "domains/remove", "check", "password", "password/end-old", "switch",
                "settings", "remove",
            )
        ),
        f"/relay/log/{number}/resend",
        "/relay/quota/plan",
        "/relay/quota/end",
        "/relay/quota/threshold",
    ):  # fmt: skip
        assert reader.post(path, {"name": "Buchungssystem"}).status_code == 403, path
    assert reader.get("/relay/new").status_code == 403
    assert _everything() == before


def _everything() -> list[object]:
    db.session.expire_all()
    tables = (RelayConnection, RelayDomain, RelayMessage, RelayDelivery, RelayPlan)
    return [list(map(tuple, db.session.execute(db.select(one.__table__)))) for one in tables]


@pytest.mark.parametrize(
    "path",
    ["", "/remove", "/domains", "/domains/remove", "/check", "/password", "/password/end-old",
     "/switch", "/settings"],
)  # fmt: skip
def test_a_stranger_finds_no_connection(app, system, path):
    bob = member(app, make_merchant("Bobs Laden"), "bob@example.org")
    before = _everything()
    if path in ("", "/remove"):
        assert bob.get(f"{show(system)}{path}").status_code == 404
    if path:
        own = {"domain": str(system.domain.id), "name": "Buchungssystem", "on": "no"}
        assert bob.post(f"{show(system)}{path}", own).status_code == 404
    assert _everything() == before


def test_a_domain_of_another_merchant_cannot_be_chosen(app, system):
    bob = make_system("bob.example.com")
    visitor = member(app, bob.merchant, "bob@example.org")
    answer = visitor.post(f"/relay/{bob.connection.id}/domains", {"domain": str(system.domain.id)})
    assert answer.status_code == 422 and DOMAIN not in answer.text


# --- numbers ------------------------------------------------------------------------------------


@pytest.mark.feature("S96")
def test_numbers_by_hour_and_day_with_their_moment(system, anna):
    hand_in(system, None, TO, "max@example.com")
    page = anna.get(show(system)).text
    assert "In diesem Zeitraum kam keine E-Mail" in page
    while counting.count(now())[0]:
        db.session.commit()
    at = now().astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    for hours, bounced in ((30, 5), (31 * 24, 7)):
        db.session.add(
            RelayStat(
                merchant_id=system.merchant.id,
                connection_id=system.connection.id,
                domain=DOMAIN,
                hour=at - timedelta(hours=hours),
                received=bounced,
                bounced=bounced,
            )
        )
    db.session.commit()
    by_hour = anna.get(show(system)).text
    assert f'data-label="Angenommen">{2}<' in by_hour and 'data-label="Unzustellbar">0<' in by_hour
    by_day = anna.get(f"{show(system)}?span=days").text
    assert 'data-label="Angenommen">7<' in by_day and 'data-label="Unzustellbar">5<' in by_day
    assert "E-Mails je Tag" in by_day and "Stand " in by_day
    assert 'data-label="Angenommen heute">2<' in anna.get("/relay").text


# --- the log ------------------------------------------------------------------------------------


def a_rich_mail(number: int = 1) -> bytes:
    """HTML with a picture from elsewhere, one of its own, and an attachment."""
    return (
        f"From: Buchung <buchung@{DOMAIN}>\r\nTo: {TO}\r\nSubject: Rechnung {number}\r\n"
        f"Message-ID: <rechnung-{number}@{DOMAIN}>\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/mixed; boundary=m\r\n\r\n"
        "--m\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n"
        "--a\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"
        "Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe\r\n"
        '--a\r\nContent-Type: text/html\r\n\r\n<p>Hallo</p><img src="https://spy.example/x.png">'
        '<img src="cid:logo@shop"><script>alert(1)</script>\r\n--a--\r\n'
        "--m\r\nContent-Type: image/png\r\nContent-ID: <logo@shop>\r\n"
        "Content-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n"
        "--m\r\nContent-Type: application/pdf\r\n"
        'Content-Disposition: attachment; filename="rechnung.pdf"\r\n\r\n%PDF-1.7\r\n--m--\r\n'
    ).encode()


@pytest.mark.feature("S96")
def test_mails_are_found_by_recipient_subject_message_id_and_state(system, anna):
    first = hand_in(system)
    second = hand_in(system, a_rich_mail(), "max@example.net")
    [row] = db.session.query(RelayDelivery).filter_by(relay_message_id=second)
    row.give_up("550 5.1.1 unknown", now())
    db.session.commit()

    def found(query: str) -> set[int]:
        page = anna.get(f"/relay/log?{query}").text
        return {int(one) for one in re.findall(r'href="/relay/log/(\d+)"', page)}

    assert found("") == {first, second}
    assert found("q=max@EXAMPLE") == found("q=rechnung") == {second}
    assert found(f"q=rechnung-1@{DOMAIN}") == found(f"q=%3Crechnung-1@{DOMAIN}%3E") == {second}
    assert found("q=MAX@example.net") == found("q=@example.net") == {second}
    assert found("q=%25") == found("q=x@example.net") == set()
    assert found("state=failed") == found("state=wrong") == {second}
    assert found("state=waiting") == {first}
    assert found("state=nonsense&period=x&before=x&connection=99") == {first, second}
    assert found(f"connection={system.connection.id}&period=1") == {first, second}


def test_the_log_goes_on_by_pages(system, anna):
    numbers = [hand_in(system, a_rich_mail(number)) for number in range(52)]
    page = anna.get("/relay/log").text
    assert page.count('class="go"') == 50 and "52 E-Mails" in page
    older = re.search(r'rel="next" href="([^"]+)"', page)
    assert older
    second = anna.get(older[1].replace("&amp;", "&")).text
    assert f'href="/relay/log/{numbers[0]}"' in second and second.count('class="go"') == 2
    newer = re.search(r'rel="prev" href="([^"]+)"', second)
    assert newer and anna.get(newer[1].replace("&amp;", "&")).text.count('class="go"') == 50


@pytest.mark.feature("S87", "S96")
def test_the_path_of_each_recipient_is_told_in_the_servers_words(system, anna):
    number = hand_in(system, None, TO, "max@example.com")
    first, second = db.session.query(RelayDelivery).order_by(RelayDelivery.id)
    first.give_up("550 5.1.1 <b>User unknown</b>", now())
    first.failure = "no_such_mailbox"
    second.withhold("complaint")
    second.failure = "blocked"
    for row, kind, words_ in ((first, "bounced", "550 5.1.1 <b>User unknown</b>"),
                              (second, "suppressed", "complaint")):  # fmt: skip
        db.session.add(
            RelayEvent(
                merchant_id=row.merchant_id,
                connection_id=row.connection_id,
                delivery_id=row.id,
                kind=kind,
                words=words_,
                host="mx.example.com",
            )
        )
    db.session.commit()
    page = anna.get(f"/relay/log/{number}").text
    assert "550 5.1.1 &lt;b&gt;User unknown" in page and "mx.example.com" in page
    assert "Dieses Postfach gibt es nicht" in page
    assert 'href="/settings/suppressions?q=max@example.com"' in page
    assert "kasse.example.org" in page and "&lt;buchung-1@shop.example.org&gt;" in page


@pytest.mark.feature("S87", "S94")
def test_the_content_is_shown_without_power_and_loaded_byte_for_byte(system, anna):
    raw = a_rich_mail()
    number = hand_in(system, raw)
    page = anna.get(f"/relay/log/{number}").text
    assert "<iframe" in page and "sandbox" in page and "rechnung.pdf" in page
    assert "spy.example" not in page and "logo@shop" not in page
    framed = anna.get(f"/relay/log/{number}/content")
    policy = framed.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "img-src data:" in policy and "sandbox;" in policy
    assert "data:image/png;base64,iVBORw0KGgo=" in framed.text
    assert "Grüße" in anna.get(f"/relay/log/{number}?view=text").text
    assert "multipart/mixed" in anna.get(f"/relay/log/{number}?view=headers").text
    source = anna.get(f"/relay/log/{number}/source.eml")
    assert source.data == raw and "attachment" in source.headers["Content-Disposition"]


@pytest.mark.parametrize(
    "raw",
    [
        a_mail().replace(b"Subject:", b"Content-Type: text/html; charset=klingonisch\r\nSubject:"),
        a_mail().replace(b"Subject:", b"Content-Type: multipart/mixed\r\nSubject:"),
        a_mail("\x00\udcff".encode("utf-8", "surrogatepass").decode("latin-1")),
        a_mail().replace(b"Subject:", b"Content-Type: text/plain; name*=x'\xff\r\nSubject:"),
        a_mail().replace(
            b"Subject:", b"Content-Type: a/b\r\nContent-Transfer-Encoding: base64\r\nSubject:"
        ),
    ],
)
def test_a_mail_that_is_badly_made_can_be_looked_at(system, anna, raw):
    number = hand_in(system, raw)
    for path in ("", "?view=text", "?view=headers", "/content", "/source.eml"):
        assert anna.get(f"/relay/log/{number}{path}").status_code == 200, path


@pytest.mark.feature("S96")
def test_after_its_days_only_the_envelope_is_left(system, anna):
    number = hand_in(system)
    row = db.session.get_one(RelayMessage, number)
    row.content = None
    db.session.commit()
    page = anna.get(f"/relay/log/{number}").text
    assert "nur der Umschlag" in page and "buchung@" in page and "Noch einmal senden" not in page
    assert anna.get(f"/relay/log/{number}/content").status_code == 404
    assert anna.get(f"/relay/log/{number}/source.eml").status_code == 404
    assert anna.post(f"/relay/log/{number}/resend").status_code == 409


def end_all() -> None:
    for row in db.session.query(RelayDelivery):
        row.succeed(now())
    db.session.commit()


def test_a_mail_is_sent_again_as_one_of_its_own(system, anna):
    number = hand_in(system, None, TO, "max@example.com")
    assert "Noch einmal senden" not in anna.get(f"/relay/log/{number}").text
    assert "noch unterwegs" in anna.post(f"/relay/log/{number}/resend").text
    end_all()
    [one, _] = db.session.query(RelayDelivery).order_by(RelayDelivery.id)
    answer = anna.post(f"/relay/log/{number}/resend", {"delivery": str(one.id)})
    assert answer.status_code == 303
    new = db.session.query(RelayMessage).order_by(RelayMessage.id.desc()).first()
    assert (new.resent_from_id, new.origin, new.content) == (number, "resent", a_mail())
    assert new.client_name == "kasse.example.org"  # who clicked is nobody's business
    sent = db.session.query(RelayDelivery).filter_by(relay_message_id=new.id).all()
    assert [row.recipient for row in sent] == [TO]
    assert f'href="/relay/log/{new.id}"' in anna.get(f"/relay/log/{number}").text
    new.received_at -= timedelta(minutes=5)
    end_all()
    assert anna.post(f"/relay/log/{number}/resend").status_code == 303
    assert db.session.query(RelayDelivery).count() == 5


def test_two_clicks_send_a_mail_again_once(system, anna):
    """Also where the first copy has left before the second click."""
    number = hand_in(system, None, TO, "max@example.com")
    end_all()
    one = db.session.query(RelayDelivery).filter_by(recipient=TO).one()
    assert anna.post(f"/relay/log/{number}/resend", {"delivery": str(one.id)}).status_code == 303
    for _ in range(2):
        second = anna.post(f"/relay/log/{number}/resend", {"delivery": str(one.id)})
        assert second.status_code == 409 and "noch unterwegs" in second.text
        end_all()
    assert anna.post(f"/relay/log/{number}/resend").status_code == 303, "the other had none"
    rows = db.session.query(RelayDelivery).order_by(RelayDelivery.id)
    assert [row.recipient for row in rows] == [TO, "max@example.com", TO, "max@example.com"]


@pytest.mark.feature("S95")
@pytest.mark.parametrize("hindered", ["paused", "key", "removed", "other", "erased"])
def test_what_hinders_sending_again_is_said(system, anna, hindered):
    number = hand_in(system)
    end_all()
    form = {}
    row = db.session.query(RelayDelivery).one()
    if hindered == "paused":
        connections.pause(system.connection, now())
    elif hindered == "key":
        prove(system.domain, "missing")
    elif hindered == "removed":
        connections.remove(system.connection, now())
    elif hindered == "other":
        form = {"delivery": str(row.id + 1)}
    else:
        row.recipient = f"#{row.id}"
    db.session.commit()
    answer = anna.post(f"/relay/log/{number}/resend", form)
    assert answer.status_code == 409 and 'role="alert"' in answer.text
    assert db.session.query(RelayMessage).count() == 1


def test_a_removed_address_is_not_shown(system, anna):
    number = hand_in(system)
    row = db.session.query(RelayDelivery).one()
    row.recipient = f"#{row.id}"
    db.session.commit()
    for path in ("/relay/log", f"/relay/log/{number}"):
        assert "Adresse gelöscht" in anna.get(path).text


@pytest.mark.parametrize("path", ["", "/content", "/source.eml", "/resend"])
def test_a_stranger_finds_no_mail(app, system, path):
    number = hand_in(system)
    bob = member(app, make_merchant("Bobs Laden"), "bob@example.org")
    ask = bob.post if path == "/resend" else bob.get
    assert ask(f"/relay/log/{number}{path}").status_code == 404
    assert TO not in bob.get(f"/relay/log?connection={system.connection.id}&period=all").text


# --- the quota ----------------------------------------------------------------------------------


@pytest.fixture
def plan(app) -> RelayPlan:
    row = quota.add_plan("Klein", 25_000, Decimal("19.00"), now())
    db.session.commit()
    return row


@pytest.mark.feature("S97", "S98")
def test_the_demo_then_a_block_that_renews_and_ends(anna, system, plan):
    page = anna.get("/relay/quota").text
    assert "1.000" in page and "Zum Kennenlernen" in page and "25.000 E-Mails für 19,00" in page
    assert anna.post("/relay/quota/plan", {"plan": str(plan.id)}).status_code == 303
    page = anna.get("/relay/quota").text
    assert "beginnt der nächste Zeitraum mit Klein" in page and "Verfallen" in page
    again = anna.post("/relay/quota/plan", {"plan": str(plan.id)})
    assert "relay_booked_next" in again.location
    anna.post("/relay/quota/end")
    assert "wird nicht verlängert" in anna.get("/relay/quota").text
    assert anna.post("/relay/quota/plan", {"plan": "99"}).status_code == 422
    assert anna.post("/relay/quota/plan").status_code == 422


@pytest.mark.feature("S99")
def test_below_zero_is_said_in_plain_words_and_listed_for_the_operator(app, anna, system, plan):
    quota.use(system.merchant.id, {date(2026, 3, 1): 3_000}, now())
    db.session.commit()
    page = anna.get("/relay/quota").text
    assert "2.000 E-Mails mehr als enthalten" in page and "1,90" in page
    assert "0,00095\u00a0€" in page
    assert anna.get("/relay/plans").status_code == 404
    anna.post("/relay/quota/plan", {"plan": str(plan.id)})
    operator = make_merchant("Betreiber")
    operator.is_operator = True
    db.session.commit()
    owner = member(app, operator, "owner@example.org")
    page = owner.get("/relay/plans").text
    assert "Annas Antiquariat" in page and "2.000" in page and "1,90" in page
    lines = owner.get("/relay/plans/excess.csv").text.splitlines()
    assert len(lines) == 2 and f"Annas Antiquariat ({system.merchant.id})" in lines[1]
    assert lines[1].endswith(";2000;1,90")


@pytest.mark.feature("S100")
@pytest.mark.parametrize(
    ("typed", "status", "stored"),
    [("5.000", 303, 5_000), ("", 303, None), ("0", 422, 7), ("viele", 422, 7), ("-3", 422, 7)],
)
def test_the_threshold(anna, system, typed, status, stored):
    quota.set_threshold(system.merchant.id, 7, now())
    db.session.commit()
    assert anna.post("/relay/quota/threshold", {"threshold": typed}).status_code == status
    db.session.expire_all()
    assert db.session.query(RelayAccount).one().threshold == stored


@pytest.mark.feature("S98")
def test_the_ledger_leaves_as_csv_and_xlsx(anna, system, plan):
    quota.use(system.merchant.id, {date(2026, 3, 1): 12}, now())
    quota.book(system.merchant.id, plan.id, actor="=anna@example.org", at=now())
    db.session.commit()
    lines = anna.get("/relay/quota.csv").text.splitlines()
    assert len(lines) == 5  # head, block, expiry, use, demo
    assert lines[1].endswith(";Gebucht;25000;19,00;Klein;'=anna@example.org")
    assert lines[3] == "2026-03-01;Versendet;-12;;;"
    sheet = anna.get("/relay/quota.xlsx", buffered=True)
    assert sheet.status_code == 200 and sheet.data[:2] == b"PK"


# --- the operator -------------------------------------------------------------------------------


@pytest.fixture
def owner(app, system, anna) -> Visitor:
    system.merchant.is_operator = True
    db.session.commit()
    return anna


@pytest.mark.feature("S97")
def test_the_operator_offers_and_withdraws_plans(owner, system):
    form = {"name": "Mittel", "block": "100.000", "price": "69,50"}
    assert owner.post("/relay/plans", form).status_code == 303
    row = db.session.query(RelayPlan).one()
    assert (row.block, row.price, row.unit_price) == (
        100_000,
        Decimal("69.50"),
        Decimal("0.000695"),
    )
    assert "0,000695" in owner.get("/relay/plans").text
    for wrong in ({"block": "24.999"}, {"price": "x"}, {"name": ""}, {"price": "-1"}):
        assert owner.post("/relay/plans", form | wrong).status_code == 422, wrong
    assert owner.post("/relay/plans/withdraw", {"plan": "99"}).status_code == 422
    assert owner.post("/relay/plans/withdraw", {"plan": str(row.id)}).status_code == 303
    assert "keinen Tarif" in owner.get("/relay/quota").text


@pytest.mark.feature("S97")
def test_the_operator_sets_a_merchants_plan_at_once(owner, system, plan):
    other = make_merchant("Claras Comics")
    form = {"merchant": f"Claras Comics ({other.id})", "plan": str(plan.id)}
    assert owner.post("/relay/plans/merchant", form).status_code == 303
    account = db.session.get(RelayAccount, other.id)
    assert account is not None and (account.plan_id, account.granted) == (plan.id, 25_000)
    for wrong in ({"merchant": "niemand"}, {"merchant": "987654321"}, {"plan": "99"}):
        assert owner.post("/relay/plans/merchant", form | wrong).status_code == 422, wrong


@pytest.mark.feature("S97")
def test_two_clicks_of_the_operator_bill_one_block(owner, plan):
    other = make_merchant("Claras Comics")
    form = {"merchant": str(other.id), "plan": str(plan.id)}
    assert [owner.post("/relay/plans/merchant", form).status_code for _ in range(2)] == [303, 303]
    kinds = [row.kind for row in quota.entries_of(other.id, limit=10)]
    assert kinds == ["block", "expiry", "demo"]


def test_operators_pages_are_there_for_nobody_else(anna, system, plan):
    assert anna.get("/relay/plans/excess.csv").status_code == 404
    for path in ("/relay/plans", "/relay/plans/withdraw", "/relay/plans/merchant"):
        form = {"plan": str(plan.id), "merchant": str(system.merchant.id)}
        assert anna.post(path, form).status_code == 404, path
    db.session.expire_all()
    assert plan.is_offered


def test_every_message_key_of_the_relay_has_a_text():
    key = re.compile(r'(?:NotPossible\(|return )"(relay_[a-z_]+)"')
    files = [
        *(ROOT / "server" / "relay").glob("*.py"),
        *(ROOT / "server" / "dashboard").glob("relay*.py"),
    ]
    found = {one for file in files for one in key.findall(file.read_text("utf-8"))}
    assert {"relay_no_name", "relay_is_paused", "relay_merchant_unknown"} <= found
    assert {one for one in found if not words.has_text(f"relay_problem.{one}")} == set()


def test_hours_are_those_of_the_merchant(system, anna):
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    db.session.add(
        RelayStat(
            merchant_id=system.merchant.id,
            connection_id=system.connection.id,
            domain=DOMAIN,
            hour=hour,
            received=1,
        )
    )
    system.merchant.timezone = "Asia/Tokyo"
    db.session.commit()
    shown = f'<th scope="row">{(hour + timedelta(hours=9)):%H:%M}</th>'
    assert shown in anna.get(show(system)).text
