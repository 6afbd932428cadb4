"""The relay's pages that anybody may read: why a mail came, and what a refusal means."""

from __future__ import annotations

import re
import tomllib

import pytest

from server.config import installed
from server.customer import relay_help
from server.customer.words import TEXTS
from server.db import db, now
from server.relay import connections, intake, links
from server.relay.heads import NotAccepted, read_head
from server.relay.models import RelayDomain
from tests.server.relay.systems import DOMAIN, a_mail, make_system


@pytest.fixture
def system(app):
    return make_system()


def path_of(row: RelayDomain) -> str:
    return links.help_url(row.id).removeprefix(installed().url)


@pytest.fixture
def path(system) -> str:
    return path_of(db.session.query(RelayDomain).one())


@pytest.mark.feature("S90", "S91")
@pytest.mark.parametrize(
    ("accepted", "language", "words"),
    [
        ("de-AT,de;q=0.9", "de", "Warum kam diese E-Mail?"),
        ("en-GB,de;q=0.5", "en", "Why did this e-mail come?"),
        ("fr", "en", "no link to unsubscribe"),
        (None, "de", "keinen Link zum Abbestellen"),
    ],
)
def test_why_a_mail_came_is_said_in_the_readers_language(client, path, accepted, language, words):
    headers = {"Accept-Language": accepted} if accepted else {}
    answer = client.get(path, headers=headers)
    assert answer.status_code == 200 and f'<html lang="{language}"' in answer.text
    assert words in answer.text and DOMAIN in answer.text and "Annas Antiquariat" in answer.text
    assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "<form" not in answer.text and "Set-Cookie" not in answer.headers


def test_the_other_language_is_a_link_away(client, path):
    shown = client.get(path, headers={"Accept-Language": "de"}).text
    link = re.search(r'href="(\?language=en)"', shown)
    assert link and "Why did" in client.get(path + link[1]).text
    assert client.get(f"{path}?language=%3Cb%3E").status_code == 200


@pytest.mark.parametrize("token", ["x", "MQ.forged", "1", "a" * 2000])
def test_a_forged_link_shows_nothing(client, system, token):
    answer = client.get(f"/relay/why/{token}")
    assert answer.status_code == 404 and DOMAIN not in answer.text


def test_guessing_is_slowed_down(client, system, path):
    codes = {client.get(f"/relay/why/{number}").status_code for number in range(61)}
    assert codes == {404, 429}
    assert client.get(path).status_code == 429


def test_a_domain_that_was_taken_out_has_no_page_any_more(client, system, path):
    row = db.session.query(RelayDomain).one()
    connections.remove_domain(system.connection, row.id)
    db.session.commit()
    assert client.get(path).status_code == 404


def test_what_a_merchant_is_called_is_text(client, system, path):
    system.merchant.name = "<b>{domain}</b>"
    db.session.commit()
    assert "&lt;b&gt;{domain}&lt;/b&gt;" in client.get(path).text


@pytest.mark.feature("S93")
@pytest.mark.parametrize("language", relay_help.LANGUAGES)
def test_refusals_are_explained_where_they_lead(client, system, language):
    connections.pause(system.connection, now())
    db.session.commit()
    caller = intake.caller_now(system.connection.id)
    assert caller is not None
    with pytest.raises(NotAccepted) as refused:
        intake.check_may_send(caller, read_head(a_mail()))
    link = re.search(r"see (\S+)", str(refused.value))
    assert link
    answer = client.get(
        link[1].removeprefix(installed().url), headers={"Accept-Language": language}
    )
    assert answer.status_code == 200
    for code in ("530", "535", "550 5.7.1", "550 5.6.0", "552", "452", "553", "451"):
        assert code in answer.text, code
    assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"


def test_both_languages_say_the_same_and_nothing_is_left_over():
    german, english = (
        tomllib.loads((TEXTS / "relay" / f"{one}.toml").read_text("utf-8"))
        for one in relay_help.LANGUAGES
    )
    assert german.keys() == english.keys()
    used = {"other", "other_code", "why", "help", "help_intro", *relay_help.REASONS}
    used |= {f"help_{one}{end}" for one in relay_help.REFUSALS for end in ("", "_text")}
    assert used == german.keys()
    for text in german.values():
        assert not re.search(r"\b(Sie|Ihr\w*|du|dein\w*)\b(?! sind)", text) or "Sie sind" in text
