"""The pages of the callbacks: added, tested, looked at, sent again, switched off, removed."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from server.callbacks import rules, service
from server.callbacks.models import CALLBACK_LIFETIME, Callback, CallbackUrl
from server.dashboard import words as texts
from server.dashboard.callbacks import LOOKS, MESSAGE_LOOKS
from server.db import db, now
from server.jobs import drain
from server.merchants.models import User
from server.orders.service import assign
from tests.factories import make_merchant, make_order, make_posting, make_shop
from tests.server.dashboard.test_order_pages import words
from tests.server.dashboard.visitor import member

pytestmark = pytest.mark.feature("K79")

PAGE = "/settings/callbacks"
SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{43}=")
AN_HOUR = timedelta(hours=1)


@pytest.fixture
def anna(app, merchant, allowed):
    return member(app, merchant)


@pytest.fixture
def english(anna):
    db.session.query(User).filter_by(email="anna@example.org").one().language = "en"
    db.session.commit()
    return anna


def paid_order(merchant, shop):
    order = make_order(shop)
    posting = make_posting(merchant)
    assign(merchant.id, posting.id, [(order.id, Decimal("19.90"))], actor="anna", at=now())
    db.session.commit()
    return order


def typed_in(url: str, shop_id: int | str = "") -> dict[str, str]:
    """The form as it is shown at first."""
    return {"url": url, "shop": str(shop_id), "kind": rules.STATUS_CHANGED}


def newest() -> Callback:
    return db.session.scalars(select(Callback).order_by(Callback.id.desc())).first()


def test_the_secret_is_shown_once_and_signs_what_comes(anna, merchant, shop, receiver):
    answer = anna.post(PAGE, typed_in(receiver.url), page=PAGE)
    (secret,) = set(SECRET.findall(answer.text))
    row = db.session.scalar(select(CallbackUrl))
    assert (row.created_by, row.shop_id) == ("anna@example.org", None)
    for path in (PAGE, f"{PAGE}/{row.id}"):
        assert not SECRET.search(anna.get(path).text)
    order = paid_order(merchant, shop)
    drain("callback")
    assert receiver.received[0].is_signed_with(secret)
    shown = words(anna.get(f"{PAGE}/{row.id}"))
    assert f"Bestellung {order.number}" in shown
    assert "Bezahlt" in shown
    assert "kommt an" in shown
    message = anna.get(f"{PAGE}/messages/{newest().id}").text
    assert "thank you" in message
    assert "Antwort 200" in message
    assert receiver.received[0].id in message


def test_an_address_of_one_shop(anna, shop, receiver):
    anna.post(PAGE, typed_in(receiver.url, shop.id), page=PAGE)
    assert db.session.scalar(select(CallbackUrl.shop_id)) == shop.id
    assert "Laden" in words(anna.get(PAGE))


def test_a_shop_of_somebody_else_is_none(anna, receiver):
    other = make_shop(make_merchant("Bobs Basar"), "Basar")
    answer = anna.post(PAGE, typed_in(receiver.url, other.id), page=PAGE)
    assert answer.status_code == 404
    assert db.session.scalar(select(CallbackUrl)) is None


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("erp.example", "Das ist keine Adresse im Web"),
        ("https://anna:pin@erp.example/", "weder Benutzer noch Passwort"),
        ("https://10.0.0.1/", "führt in ein privates Netz"),
        ("https://8.8.8.8:25/", "An diesem Port"),
        ("https://erp.example/" + "x" * 600, "Das ist keine Adresse im Web"),
        ("", "Das ist keine Adresse im Web"),
        ("https://erp.example/\x00", None),
    ],
)
def test_what_cannot_be_called_is_refused_with_a_reason(anna, typed, said):
    answer = anna.post(PAGE, typed_in(typed), page=PAGE)
    if said is None:
        assert answer.status_code == 200
        return
    assert answer.status_code == 422
    assert said in words(answer)
    assert 'aria-invalid="true"' in answer.text
    assert db.session.scalar(select(CallbackUrl)) is None


def test_without_leave_of_the_operator_only_https(app, merchant):
    visitor = member(app, merchant)
    answer = visitor.post(PAGE, typed_in("http://erp.example/"), page=PAGE)
    assert "muss mit https:// beginnen" in words(answer)


def test_the_same_address_twice_and_too_many(anna, merchant, url):
    assert "haben Sie schon" in anna.post(PAGE, typed_in(url.url), page=PAGE).text
    for number in range(service.MAX_URLS - 1):
        anna.post(PAGE, typed_in(f"https://a{number}.example/"), page=PAGE)
    answer = anna.post(PAGE, typed_in("https://last.example/"), page=PAGE)
    assert "Mehr Adressen sind nicht möglich" in answer.text


def test_a_test_is_sent_and_its_answer_shown(anna, url, secret, receiver):
    receiver.answer(500, words=b"<b>kein Anschluss</b>")
    answer = anna.post(f"{PAGE}/{url.id}/test", page=f"{PAGE}/{url.id}")
    path = answer.location
    waiting = anna.get(path)
    assert 'hx-trigger="every 1s"' in waiting.text
    assert "wartet" in words(waiting)
    drain("callback")
    shown = anna.get(path)
    assert "hx-trigger" not in shown.text.split("<main")[1]
    assert "nicht angekommen" in words(shown)
    assert "Antwort 500 statt 2xx" in words(shown)
    assert "&lt;b&gt;kein Anschluss&lt;/b&gt;" in shown.text
    assert receiver.received[0].is_signed_with(secret)


def test_what_ended_is_sent_again(anna, merchant, shop, url, receiver):
    receiver.answer(410)
    paid_order(merchant, shop)
    drain("callback")
    path = f"{PAGE}/messages/{newest().id}"
    assert "Noch einmal senden" not in anna.get(path).text  # the address is off
    assert "hat sich abgemeldet" in anna.get(f"{PAGE}/{url.id}").text
    anna.post(f"{path}/again", page=PAGE)
    assert newest().status == "failed"
    anna.post(f"{PAGE}/{url.id}/switch", {"on": "yes"}, page=f"{PAGE}/{url.id}")
    receiver.answer(204)
    assert "Noch einmal senden" in anna.get(path).text
    assert anna.post(f"{path}/again", page=path).location == path
    drain("callback")
    assert "Antwort 204" in anna.get(path).text
    assert len({one.id for one in receiver.received}) == 1


def test_a_new_secret_and_the_old_one_for_a_day(anna, merchant, shop, url, secret, receiver):
    answer = anna.post(f"{PAGE}/{url.id}/secret", page=f"{PAGE}/{url.id}")
    (newer,) = set(SECRET.findall(answer.text))
    assert newer != secret
    assert "unterschreibt auch das alte Geheimnis" in words(answer)
    paid_order(merchant, shop)
    drain("callback")
    assert receiver.received[0].is_signed_with(secret)
    assert receiver.received[0].is_signed_with(newer)


def test_switched_off_on_and_removed(anna, merchant, shop, url):
    page = f"{PAGE}/{url.id}"
    anna.post(f"{page}/switch", {"on": "no"}, page=page)
    paid_order(merchant, shop)
    assert newest() is None
    assert "abgeschaltet" in words(anna.get(page))
    anna.post(f"{page}/switch", {"on": "yes"}, page=page)
    paid_order(merchant, shop)
    assert newest().status == "queued"
    assert "Geheimnis" in words(anna.get(f"{page}/remove"))
    assert anna.post(f"{page}/remove", page=f"{page}/remove").location.startswith(PAGE)
    assert newest() is None
    assert anna.get(page).status_code == 404


def test_only_administrators(app, anna, url):
    user = db.session.query(User).filter_by(email="anna@example.org").one()
    user.is_administrator = False
    db.session.commit()
    for path in (PAGE, f"{PAGE}/{url.id}"):
        assert anna.get(path).status_code == 403
    assert anna.post(PAGE, typed_in("https://erp.example/")).status_code == 403
    assert db.session.query(CallbackUrl).count() == 1


def test_a_stranger_finds_nothing(app, merchant, shop, url, allowed):
    paid_order(merchant, shop)
    bob = member(app, make_merchant("Bobs Basar"), "bob@example.org")
    for path in (f"{PAGE}/{url.id}", f"{PAGE}/{url.id}/remove", f"{PAGE}/messages/{newest().id}"):
        assert bob.get(path).status_code == 404
    for more in (f"{url.id}/test", f"{url.id}/secret", f"{url.id}/switch", f"{url.id}/remove"):
        assert bob.post(f"{PAGE}/{more}").status_code == 404
    assert bob.post(f"{PAGE}/messages/{newest().id}/again").status_code == 404
    assert url.url not in bob.get(PAGE).text


def test_the_pages_in_english(english, merchant, shop, url, receiver):
    receiver.answer(302, Location="https://elsewhere.example/")
    paid_order(merchant, shop)
    drain("callback")
    assert "does not deliver" in words(english.get(PAGE))
    shown = words(english.get(f"{PAGE}/{url.id}"))
    assert "Answer 302: the address redirects" in shown
    assert "being repeated" in shown
    assert "Paid" in shown


def test_today_tells_of_what_fails_long(anna, merchant, shop, url, receiver):
    receiver.answer(500)
    paid_order(merchant, shop)
    drain("callback")
    title = f"Callbacks an {url.url} kommen nicht an"
    assert title not in words(anna.get("/"))
    row = db.session.scalars(select(CallbackUrl)).one()
    row.failing_since = now() - service.TELL_AFTER - AN_HOUR
    db.session.commit()
    assert title in words(anna.get("/"))
    user = db.session.query(User).filter_by(email="anna@example.org").one()
    user.is_administrator = False
    db.session.commit()
    assert title not in words(anna.get("/"))


def test_today_tells_of_who_signed_off_and_of_what_was_given_up(
    anna, merchant, shop, url, receiver
):
    paid_order(merchant, shop)
    row = newest()
    row.queued_at = now() - CALLBACK_LIFETIME
    db.session.commit()
    drain("callback")
    assert receiver.received == []
    assert "Ein Callback ist nicht angekommen" in words(anna.get("/"))
    service.switch_off(db.session.scalars(select(CallbackUrl)).one(), "gone", now())
    db.session.commit()
    assert f"{url.url} will keine Callbacks mehr" in words(anna.get("/"))


@pytest.mark.parametrize("language", ["de", "en"])
def test_everything_that_can_happen_has_words(language):
    known = texts.texts(language)
    for outcome in rules.OUTCOMES:
        assert f"callback.outcome_{outcome}" in known
    for refused in (*rules.FORBIDDEN, "already_there", "too_many"):
        assert f"callback.refused_{refused}" in known
    assert {f"callback.is_{state}" for state in LOOKS} <= known.keys()
    assert {f"callback.message_{state}" for state in MESSAGE_LOOKS} <= known.keys()
