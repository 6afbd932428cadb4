"""The links of a mail's foot: unsubscribe, why it arrived, stop a notice (S11, S12, S91, K38)."""

from __future__ import annotations

import re
import string

import pytest

from server.customer.choices import CHANGES_PER_LINK
from server.customer.pages import CONTENT_SECURITY_POLICY, UNKNOWN_PER_ADDRESS
from server.customer.words import TEXTS
from server.customer.words import group_texts as texts
from server.db import db, now
from server.forgetting.service import erase_personal_data
from server.mail import suppression
from server.mail.kinds import KINDS
from server.mail.languages import LANGUAGES, MERCHANT_LANGUAGES
from server.mail.models import Mail, Suppression
from server.merchants.models import NoticeChoice
from server.orders import links, service
from tests.factories import make_merchant, make_order, make_posting, make_shop, make_user
from tests.server.mail.rows import sent_mail

ERIKA = "erika@example.org"
OPTIONAL = sorted(kind for kind, known in KINDS.items() if known.is_optional)
NOTICES = sorted(kind for kind, known in KINDS.items() if known.footer == "notice")
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def shop(merchant):
    return make_shop(merchant, "Papier & <Feder>")


@pytest.fixture
def order(shop):
    return make_order(shop)


def path_of(url: str) -> str:
    return "/" + url.partition("://")[2].partition("/")[2]


def link_of(order, kind: str = "payment_received", address: str = ERIKA) -> str:
    return path_of(links.unsubscribe_url(order.id, address, kind))


def words_of(answer) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


def has_opted_out(order, kind: str = "payment_received", address: str = ERIKA) -> bool:
    db.session.expire_all()
    return suppression.has_opted_out(order.merchant_id, address, kind, now())


# --- unsubscribe --------------------------------------------------------------------------------


@pytest.mark.feature("S11")
@pytest.mark.parametrize("method", ["get", "head", "options"])
def test_opening_the_link_asks_and_changes_nothing(client, order, method):
    answer = getattr(client, method)(link_of(order))
    assert answer.status_code in (200, 204)
    assert not has_opted_out(order)


@pytest.mark.feature("S11")
@pytest.mark.parametrize("kind", OPTIONAL)
def test_the_page_unsubscribes_and_takes_it_back(client, order, kind):
    link = link_of(order, kind)
    asked = client.get(link)
    assert "Papier &amp; &lt;Feder&gt;" in asked.text and 'value="stop"' in asked.text
    done = client.post(link, data={"choice": "stop"}, follow_redirects=True)
    assert done.status_code == 200 and "Abbestellt" in words_of(done)
    assert has_opted_out(order, kind)
    (row,) = db.session.query(Suppression)
    assert (row.kind, row.reason, row.created_by) == (kind, "opt_out", "")
    client.post(link, data={"choice": "again"})
    assert not has_opted_out(order, kind)


@pytest.mark.feature("S11")
@pytest.mark.parametrize("how", ["application/x-www-form-urlencoded", "multipart/form-data"])
def test_one_click_needs_no_cookie_no_origin_and_gets_no_redirect(app, order, how):
    stranger = app.test_client(use_cookies=False)
    sent_from = {"Origin": "https://webmail.example.net"}
    for _ in range(2):  # programs send it again
        answer = stranger.post(link_of(order), data=ONE_CLICK, content_type=how, headers=sent_from)
        assert (answer.status_code, answer.data) == (200, b"")
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Set-Cookie" not in answer.headers and "Location" not in answer.headers
    assert has_opted_out(order)
    assert db.session.query(Suppression).count() == 1
    asked = stranger.options(link_of(order), headers=sent_from)
    assert asked.status_code == 204 and "POST" in asked.headers["Access-Control-Allow-Methods"]


@pytest.mark.feature("S11", "S12")
def test_the_next_mail_of_that_kind_is_blocked_and_others_are_not(client, order):
    client.post(link_of(order), data=ONE_CLICK)
    mails = [sent_mail(order.merchant_id, kind, order_id=order.id) for kind in KINDS]
    found = suppression.blocked(mails, now())
    assert [mail.kind for mail in mails if mail.id in found] == ["payment_received"]


@pytest.mark.feature("S12")
@pytest.mark.parametrize("kind", sorted(KINDS.keys() - set(OPTIONAL)))
def test_there_is_no_link_for_a_mandatory_kind(client, order, kind):
    with pytest.raises(AssertionError):
        links.unsubscribe_url(order.id, ERIKA, kind)
    forged = links._signer("unsubscribe").dumps([order.id, kind, "0" * 16])
    assert client.post(f"/unsubscribe/{forged}", data=ONE_CLICK).status_code == 404
    assert db.session.query(Suppression).count() == 0


@pytest.mark.parametrize("data", [{}, {"choice": "maybe"}, {"List-Unsubscribe": "Two-Click"}])
def test_a_post_that_asks_for_nothing_changes_nothing(client, order, data):
    assert client.post(link_of(order), data=data).status_code == 400
    assert not has_opted_out(order)


def test_it_is_the_address_that_got_the_mail_that_is_unsubscribed(client, order):
    sent_mail(order.merchant_id, "payment_received", order_id=order.id, recipient="bob@example.org")
    link = link_of(order, address="bob@example.org")
    client.post(link, data=ONE_CLICK)
    assert has_opted_out(order, address="bob@example.org") and not has_opted_out(order)


@pytest.mark.feature("S86")
def test_after_personal_data_was_removed_there_is_nothing_to_unsubscribe(client, order):
    link = link_of(order)
    erase_personal_data(order.merchant_id, order.id, actor="anna@example.org", at=now())
    db.session.commit()
    assert "nichts mehr" in words_of(client.get(link))
    assert client.post(link, data=ONE_CLICK).status_code == 200
    assert db.session.query(Suppression).count() == 0


@pytest.mark.feature("S11", "S62")
@pytest.mark.parametrize(
    ("told", "shown"), [*((one, one) for one in LANGUAGES), ("fr-CH", "fr"), ("pl", "de")]
)
def test_the_page_is_in_the_orders_language(client, shop, told, shown):
    order = make_order(shop, customer={"email": ERIKA, "language": told})
    answer = client.get(link_of(order))
    assert f'<html lang="{shown}">' in answer.text
    assert texts("choices", shown)["ask"] in answer.text


@pytest.mark.feature("K66", "S11")
@pytest.mark.parametrize(
    ("edition", "shown"), [("de-CH-du", "de"), ("fr", "fr"), ("%00", "de"), ("x" * 500, "de")]
)
def test_the_link_of_a_test_mail_says_that_it_was_one(client, edition, shown):
    answer = client.get(f"/unsubscribe/test-{edition}")
    assert texts("choices", shown)["test"] in answer.text
    assert "<form" not in answer.text
    assert client.post(f"/unsubscribe/test-{edition}", data=ONE_CLICK).status_code == 404
    assert db.session.query(Suppression).count() == 0


@pytest.mark.parametrize("base", ["/unsubscribe/", "/why/", "/stop-notice/"])
def test_unknown_links_lead_nowhere_and_guessing_is_slowed_down(client, order, base):
    good = link_of(order).rpartition("/")[2]
    wrong = [good[:-1], good[:-4] + "AAAA", "x" * 300, "null", "🙂"]
    if base != "/unsubscribe/":
        wrong.append(good)  # signed, but for another purpose
    for token in wrong:
        assert client.get(base + token).status_code == 404
    for _ in range(UNKNOWN_PER_ADDRESS.amount):
        last = client.get(f"{base}nobody")
    assert last.status_code == 429


def test_one_link_is_not_pressed_for_ever(client, order):
    link = link_of(order)
    codes = {
        client.post(link, data={"choice": "stop"}).status_code
        for _ in range(CHANGES_PER_LINK.amount + 1)
    }
    assert codes == {303, 429}


def test_the_headers_keep_the_link_to_itself(client, order):
    headers = client.get(link_of(order)).headers
    assert headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert headers["Referrer-Policy"] == "no-referrer" and headers["Cache-Control"] == "no-store"
    large = client.post(link_of(order), data={"choice": "stop", "x": "x" * 100_000})
    assert large.status_code == 413


# --- in the mails -------------------------------------------------------------------------------


def facts_of(order, kind: str) -> dict[str, str]:
    return db.session.query(Mail).filter_by(order_id=order.id, kind=kind).one().facts


@pytest.mark.feature("S11", "S12")
def test_optional_mails_carry_the_link_and_mandatory_ones_say_why_there_is_none(
    client, merchant, order
):
    asked = facts_of(order, "payment_information")
    assert "unsubscribe_url" not in asked
    assert client.get(path_of(asked["help_url"])).status_code == 200
    posting = make_posting(merchant, "19.90", order.number)
    service.assign(
        order.merchant_id, posting.id, [(order.id, posting.amount)], actor="anna", at=now()
    )
    db.session.commit()
    thanks = facts_of(order, "payment_received")
    assert client.post(path_of(thanks["unsubscribe_url"]), data=ONE_CLICK).status_code == 200
    assert has_opted_out(order)


# --- why it arrived -----------------------------------------------------------------------------


@pytest.mark.feature("S12")
@pytest.mark.parametrize("edition", ["de-CH-du", "en", "fr", "it", "nl", "es"])
def test_the_help_page_says_who_writes_and_why(client, shop, edition):
    answer = client.get(path_of(links.help_url(shop.id, edition)))
    assert answer.status_code == 200
    assert f'<html lang="{edition[:2]}">' in answer.text
    assert answer.text.count("Papier &amp; &lt;Feder&gt;") >= 3
    assert texts("choices", edition[:2])["help_mandatory"] in answer.text


def test_the_help_page_of_a_shop_that_is_gone(client, shop):
    assert client.get(path_of(links.help_url(shop.id + 1, "de"))).status_code == 404


# --- stop a notice ------------------------------------------------------------------------------


@pytest.mark.feature("K38")
@pytest.mark.parametrize("language", MERCHANT_LANGUAGES)
def test_a_user_stops_a_notice_and_takes_it_back(client, merchant, language):
    user = make_user(merchant)
    user.language = language
    db.session.commit()
    link = path_of(links.stop_url(user.id, "shop_error"))
    asked = client.get(link)
    assert texts("notices", language)["shop_error"] in words_of(asked)
    assert "anna@example.org" in asked.text
    assert db.session.query(NoticeChoice).count() == 0
    done = client.post(link, data={"choice": "stop"}, follow_redirects=True)
    assert texts("notices", language)["done"] in words_of(done)
    choice = db.session.query(NoticeChoice).one()
    assert (choice.user_id, choice.kind, choice.is_wanted) == (user.id, "shop_error", False)
    client.post(link, data={"choice": "again"})
    assert db.session.query(NoticeChoice).count() == 0


@pytest.mark.feature("K38", "K42")
@pytest.mark.parametrize(
    ("kind", "is_administrator", "left"),
    [("shop_error", True, None), ("shop_error", False, True), ("order_paid", True, True)],
)
def test_who_takes_it_back_gets_it_again_and_takes_it_from_nobody(
    client, merchant, kind, is_administrator, left
):
    user = make_user(merchant)
    user.is_administrator = is_administrator
    db.session.commit()
    link = path_of(links.stop_url(user.id, kind))
    client.post(link, data={"choice": "stop"})
    client.post(link, data={"choice": "again"})
    db.session.expire_all()
    choice = db.session.get(NoticeChoice, (user.id, kind))
    assert (choice.is_wanted if choice else None) is left


@pytest.mark.feature("K38")
def test_one_click_stops_a_notice(app, merchant):
    user = make_user(merchant)
    link = path_of(links.stop_url(user.id, "shop_error"))
    stranger = app.test_client(use_cookies=False)
    sent_from = {"Origin": "https://webmail.example.net"}
    assert stranger.options(link, headers=sent_from).status_code == 204
    assert stranger.post(link, data=ONE_CLICK, headers=sent_from).status_code == 200
    assert not db.session.get(NoticeChoice, (user.id, "shop_error")).is_wanted


def test_only_notices_can_be_stopped(client):
    with pytest.raises(AssertionError):
        links.stop_url(1, "password_reset")
    forged = links._signer("stop notice").dumps([1, "password_reset"])
    assert client.get(f"/stop-notice/{forged}").status_code == 404
    assert client.get(path_of(links.stop_url(10**9, "shop_error"))).status_code == 404


# --- the words ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "languages", "kinds"),
    [("choices", LANGUAGES, OPTIONAL), ("notices", MERCHANT_LANGUAGES, NOTICES)],
)
def test_every_language_has_every_sentence(group, languages, kinds):
    assert {path.stem for path in (TEXTS / group).glob("*.toml")} == set(languages)
    first = texts(group, "de")
    for language in languages:
        said = texts(group, language)
        assert said.keys() == first.keys() and set(kinds) <= said.keys()
        for key, text in said.items():
            assert _marks(text) == _marks(first[key]), (language, key)


def _marks(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_the_german_words_suit_every_edition():
    for text in texts("choices", "de").values():
        assert not re.search(r"\b(?:Sie|Ihre?|du|dein\w*)\b|ß", text.replace("Sie enth", "")), text
