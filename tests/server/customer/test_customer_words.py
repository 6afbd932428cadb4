"""The words of the customer's page: six languages, the Swiss and the informal ones (S62, K20)."""

from __future__ import annotations

import re
import string

import pytest

from server.customer.words import TEXTS, language_tag, say, texts
from server.db import db, now
from server.mail.languages import EDITIONS, LANGUAGES
from server.merchants.service import change_setting
from tests.factories import make_merchant, make_order, make_shop
from tests.server.customer.test_customer_page import path_of


def marks(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.feature("S62", "N8")
@pytest.mark.parametrize("edition", EDITIONS)
def test_every_edition_has_every_sentence_with_its_values(edition):
    first, said = texts("en"), texts(edition)
    assert said.keys() == first.keys()
    for key, text in said.items():
        assert marks(text) == marks(first[key]), (edition, key)
        assert text.strip() == text and text


def test_every_file_is_read_and_says_only_what_differs():
    files = {path.stem for path in TEXTS.glob("*.toml")}
    assert set(LANGUAGES) <= files <= set(EDITIONS)
    assert texts("de-du")["how"] != texts("de")["how"]
    assert texts("de-CH")["iban"] == "Konto"


@pytest.mark.parametrize("edition", ["de-du", "de-CH-du"])
def test_who_is_addressed_informally_is_so_everywhere(edition):
    for key, text in texts(edition).items():
        assert not re.search(r"(?<!^)\b(?:Sie|Ihnen|Ihre?[nmrs]?)\b", text), (key, text)


def test_switzerland_knows_no_sharp_s():
    assert not [text for text in texts("de-CH").values() if "ß" in text]


def test_french_has_its_narrow_blanks():
    for text in texts("fr").values():
        plain = re.sub(r"\{\w+\}", "x", text)
        assert not re.search(r"[^\u00a0\u202f][;?!]|\w:| [:;?!]", plain), text


def test_values_are_escaped():
    assert "&lt;b&gt;" in say("de", "order", number="<b>")


@pytest.mark.feature("S62", "K20", "N8")
@pytest.mark.parametrize(
    ("language", "country", "form", "tag", "edition"),
    [
        ("de", "DE", "formal", "de", "de"),
        ("de", "DE", "informal", "de", "de-du"),
        ("de", "CH", "formal", "de-CH", "de-CH"),
        ("de", "LI", "informal", "de-CH", "de-CH-du"),
        ("en", "GB", "formal", "en", "en"),
        ("fr", "CH", "formal", "fr", "fr"),
        ("it", "IT", "formal", "it", "it"),
        ("nl", "NL", "formal", "nl", "nl"),
        ("es", "ES", "formal", "es", "es"),
    ],
)
def test_the_page_is_in_the_edition_of_the_mails(
    app, client, language, country, form, tag, edition
):
    merchant = make_merchant()
    change_setting(merchant.id, "address_form", form, actor="anna@example.org", at=now())
    db.session.commit()
    order = make_order(
        make_shop(merchant),
        customer={"email": "e@example.org", "language": language},
        billing_address={"last_name": "Mustermann", "country": country},
    )
    page = client.get(path_of(order)).text
    assert f'<html lang="{tag}">' in page and language_tag(edition) == tag
    for key in ("how", "have_paid", "more_title"):
        assert str(say(edition, key)) in page, key


@pytest.mark.feature("S62")
@pytest.mark.parametrize(
    ("accepted", "shown"), [("fr-CH, de;q=0.5", ["fr"]), ("", ["de", "en"]), ("ja", ["de", "en"])]
)
def test_an_unknown_link_is_answered_in_the_browsers_language(client, accepted, shown):
    headers = {"Accept-Language": accepted} if accepted else {}
    answer = client.get("/pay/nothing", headers=headers)
    assert answer.status_code == 404
    for language in LANGUAGES:
        assert (str(say(language, "error_404")) in answer.text) == (language in shown)
