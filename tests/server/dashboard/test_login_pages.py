"""Coming in: sessions, form tokens, limits, forgotten passwords (issue 2, part 3)."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import select

from server.config import Settings
from server.dashboard import access
from server.dashboard.access import FAILURES_PER_ACCOUNT, safe_next
from server.db import db, now
from server.mail.models import Mail
from server.merchants import service as merchants
from server.merchants.models import UserSession
from server.merchants.rules import token_hash
from server.visitors import AttemptLimits, client_network
from tests.factories import make_merchant, make_user
from tests.server.dashboard.visitor import PASSWORD, Visitor, member


@pytest.fixture
def anna(app):
    return make_user(make_merchant(), "anna@example.org", PASSWORD)


def test_the_right_password_opens_a_session_of_which_only_a_hash_is_stored(app, anna):
    visitor = Visitor(app)
    answer = visitor.log_in("anna@example.org")
    assert (answer.status_code, answer.location) == (303, "/")
    cookie = visitor.client.get_cookie("kontor")
    assert cookie.http_only and cookie.same_site == "Lax"
    stored = db.session.scalars(select(UserSession.token_hash)).one()
    assert stored == token_hash(cookie.value)
    assert visitor.get("/").status_code == 200


def test_over_https_the_cookie_is_bound_to_the_host(app, anna, monkeypatch):
    https = Settings(**{**vars(app.config["SETTINGS"]), "url": "https://kontor.example.org"})
    monkeypatch.setitem(app.config, "SETTINGS", https)
    visitor = Visitor(app)
    answer = visitor.log_in("anna@example.org")
    header = next(
        value
        for value in answer.headers.getlist("Set-Cookie")
        if value.startswith("__Host-kontor=")
    )
    assert "Secure" in header and "HttpOnly" in header and "Path=/" in header
    assert "Domain" not in header
    assert "max-age=31536000" in answer.headers["Strict-Transport-Security"]


def test_unknown_address_and_wrong_password_get_the_same_answer(app, anna):
    wrong = Visitor(app).log_in("anna@example.org", "falsch geraten")
    unknown = Visitor(app).log_in("bob@example.org", "falsch geraten")
    assert wrong.status_code == unknown.status_code == 422
    neutral = re.compile(r"[0-9a-f]{64}|(?:anna|bob)@example\.org")
    assert neutral.sub("", wrong.text) == neutral.sub("", unknown.text)


def test_a_new_log_in_ends_the_session_that_the_browser_had(app, anna):
    visitor = Visitor(app)
    visitor.log_in("anna@example.org")
    before = visitor.client.get_cookie("kontor").value
    fields = {"email": "anna@example.org", "password": PASSWORD}
    visitor.post("/login", fields, page="/account")
    assert visitor.client.get_cookie("kontor").value != before
    assert merchants.session_of(before, now()) is None


def test_log_out_ends_the_session_on_the_server(app, anna):
    visitor = Visitor(app)
    visitor.log_in("anna@example.org")
    token = visitor.client.get_cookie("kontor").value
    assert visitor.post("/logout").status_code == 303
    assert visitor.client.get_cookie("kontor") is None
    assert merchants.session_of(token, now()) is None


def test_log_out_everywhere_ends_the_others_too(app, anna):
    one, other = Visitor(app), Visitor(app)
    one.log_in("anna@example.org")
    other.log_in("anna@example.org")
    one.post("/account/log-out-everywhere")
    assert other.get("/").status_code == 303


def test_an_idle_session_is_over(app, anna):
    visitor = Visitor(app)
    visitor.log_in("anna@example.org")
    row = db.session.scalars(select(UserSession)).one()
    row.seen_at -= timedelta(minutes=61)
    db.session.commit()
    assert visitor.get("/").location.startswith("/login")
    assert db.session.scalars(select(UserSession)).all() == []


def test_strangers_see_the_log_in_and_come_back_to_what_they_wanted(app, anna):
    visitor = Visitor(app)
    answer = visitor.get("/orders?status=paid")
    assert answer.location == "/login?next=/orders?status%3Dpaid"
    assert 'name="next" value="/orders?status=paid"' in visitor.get(answer.location).text
    back = visitor.log_in("anna@example.org", next="/orders?status=paid")
    assert back.location == "/orders?status=paid"


@pytest.mark.parametrize(
    "path", ["//evil.example", "/\\evil.example", "https://evil.example", "orders", "/a\r\nb", ""]
)
def test_the_way_back_never_leaves_this_server(path):
    assert safe_next(path) is None


@pytest.mark.parametrize("origin", ["https://evil.example", "null", None, "http://localhost:81"])
def test_forms_of_other_origins_are_refused(app, anna, origin):
    visitor = Visitor(app)
    visitor.log_in("anna@example.org")
    answer = visitor.post("/logout", origin=origin)
    assert answer.status_code == 403
    assert "Die Seite ist zu alt" in answer.text
    assert visitor.get("/").status_code == 200


def test_a_form_without_the_token_of_this_session_is_refused(app, anna):
    visitor, other = Visitor(app), Visitor(app)
    visitor.log_in("anna@example.org")
    other.log_in("anna@example.org")
    assert visitor.post("/logout", {"form_token": "0" * 64}).status_code == 403
    assert visitor.post("/logout", {"form_token": other.token("/account")}).status_code == 403


def test_the_log_in_form_needs_its_cookie(app, anna):
    visitor = Visitor(app)
    token = visitor.token()
    visitor.client.delete_cookie("kontor-form")
    answer = visitor.client.post(
        "/login",
        data={"form_token": token, "email": "anna@example.org", "password": PASSWORD},
        headers={"Origin": "http://localhost"},
    )
    assert answer.status_code == 403


def test_guessing_is_stopped_for_the_account_and_told_so(app, anna):
    for _ in range(FAILURES_PER_ACCOUNT.amount):
        assert Visitor(app).log_in("anna@example.org", "falsch geraten").status_code == 422
    stopped = Visitor(app).log_in("anna@example.org")
    assert stopped.status_code == 429 and "Zu viele Versuche" in stopped.text


def test_a_log_in_forgets_the_failures_before_it(app, anna):
    for _ in range(FAILURES_PER_ACCOUNT.amount - 1):
        Visitor(app).log_in("anna@example.org", "falsch geraten")
    assert Visitor(app).log_in("anna@example.org").status_code == 303
    assert Visitor(app).log_in("anna@example.org", "falsch geraten").status_code == 422


def test_log_in_works_while_redis_is_away_and_guessing_is_still_stopped(app, anna, monkeypatch):
    away = AttemptLimits("redis://127.0.0.1:1/0")
    monkeypatch.setitem(app.extensions, "kontor.attempt_limits", away)
    for _ in range(FAILURES_PER_ACCOUNT.amount):
        assert Visitor(app).log_in("anna@example.org", "falsch geraten").status_code == 422
    assert Visitor(app).log_in("anna@example.org").status_code == 429
    make_user(make_merchant("Bobs Laden"), "bob@example.org", PASSWORD)
    assert Visitor(app).log_in("bob@example.org").status_code == 303


def test_ipv6_guests_are_counted_by_network(app):
    with app.test_request_context(environ_base={"REMOTE_ADDR": "2001:db8:1:2:3:4:5:6"}):
        assert client_network() == "2001:db8:1:2::/64"


def test_a_forgotten_password_is_set_by_a_mailed_link_that_works_once(app, anna):
    member_before = Visitor(app)
    member_before.log_in("anna@example.org")
    visitor = Visitor(app)
    answer = visitor.post("/forgotten-password", {"email": "ANNA@example.org"}, page="/login")
    assert answer.status_code == 200
    mail = db.session.scalars(select(Mail).where(Mail.kind == "password_reset")).one()
    link = mail.facts["reset_url"].removeprefix(app.config["SETTINGS"].url)
    assert "anna@example.org" in visitor.get(link).text
    short = visitor.post(link, {"password": "kurz"}, page=link)
    assert short.status_code == 422 and "zu kurz" in short.text
    done = visitor.post(link, {"password": "noch ein guter satz"}, page=link)
    assert done.location == "/login?done=password_set"
    assert visitor.get(link).status_code == 410
    assert member_before.get("/").status_code == 303
    assert Visitor(app).log_in("anna@example.org", "noch ein guter satz").status_code == 303


def test_asking_for_a_link_does_not_tell_who_has_an_account(app, anna):
    known = Visitor(app).post("/forgotten-password", {"email": "anna@example.org"}, page="/login")
    unknown = Visitor(app).post("/forgotten-password", {"email": "erik@example.org"}, page="/login")
    assert known.text.replace("anna@", "erik@") == unknown.text
    assert len(db.session.scalars(select(Mail)).all()) == 1


def test_nobody_is_flooded_with_links(app, anna):
    for _ in range(5):
        Visitor(app).post("/forgotten-password", {"email": "anna@example.org"}, page="/login")
    assert len(db.session.scalars(select(Mail)).all()) == access.RESETS_PER_ACCOUNT.amount


def test_the_mail_with_the_link_is_nobody_elses_to_read(app, anna):
    visitor = member(app, make_merchant("Bobs Laden"), "bob@example.org")
    Visitor(app).post("/forgotten-password", {"email": "bob@example.org"}, page="/login")
    mail = db.session.scalars(select(Mail).where(Mail.kind == "password_reset")).one()
    assert visitor.get(f"/mails/{mail.id}").status_code == 404
    assert visitor.get(f"/mails/{mail.id}/content").status_code == 404
