"""The list of addresses that get no mail: seen, searched, added to, lifted, exported."""

from __future__ import annotations

import csv
import io
import re

import pytest

from server.dashboard import suppressions as suppression_pages
from server.db import db, now
from server.mail import suppression
from server.mail.models import Suppression
from server.merchants.models import User
from tests.factories import make_merchant
from tests.server.dashboard.visitor import member

PAGE = "/settings/suppressions"
ERIKA = "erika@example.org"


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def anna(app, merchant):
    return member(app, merchant)


def block(merchant, address: str = ERIKA, reason: str = "complaint", **more) -> Suppression:
    row = suppression.suppress(merchant.id, address, reason, at=now(), **more)
    db.session.commit()
    return row


def words_of(answer) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text.replace("<wbr>", "")).split())


def held() -> list[tuple[str, str]]:
    db.session.expire_all()
    rows = db.session.query(Suppression).filter(Suppression.ended_at.is_(None))
    return [(row.address, row.reason) for row in rows]


@pytest.mark.feature("S10", "S11")
def test_the_list_says_who_why_since_when_and_until_when(anna, merchant):
    block(merchant, evidence="Feedback-Type: abuse <script>")
    block(merchant, "bob@example.org", "bounced", evidence="550 5.1.1 unknown")
    suppression.opt_out(merchant.id, "carla@example.org", "payment_received", at=now())
    db.session.commit()
    answer = anna.get(PAGE)
    said = words_of(answer)
    assert answer.status_code == 200
    assert said.index("carla@example.org") < said.index("bob@example.org") < said.index(ERIKA)
    for text in ("Als Spam gemeldet", "auf Dauer", "550 5.1.1 unknown", "Abbestellt: Zahlung erha"):
        assert text in said
    assert "&lt;script&gt;" in answer.text and "<script>" not in answer.text.split("<main")[1]


def test_an_address_is_found_by_a_part_and_as_a_whole_where_it_was_removed(anna, merchant):
    block(merchant, "bob_1@example.org")
    row = block(merchant)
    row.address = ""
    db.session.commit()
    assert "bob_1@" in words_of(anna.get(f"{PAGE}?q=OB_1"))
    assert "Nichts gefunden" in words_of(anna.get(f"{PAGE}?q=bobx1"))
    assert "Adresse entfernt" in words_of(anna.get(f"{PAGE}?q=Erika@example.org"))
    assert "Nichts gefunden" in words_of(anna.get(f"{PAGE}?q=erika"))
    assert anna.get(f"{PAGE}?q=%00%25").status_code == 200


def test_long_lists_go_on_and_end(anna, merchant, monkeypatch):
    monkeypatch.setattr(suppression_pages, "SHOWN", 2)
    for number in range(5):
        block(merchant, f"c{number}@example.org")
    seen, page = [], PAGE
    while page:
        answer = anna.get(page)
        seen += re.findall(r"(c\d)@", answer.text.split("</table>")[0].split("<tbody>")[1])
        older = re.search(r'href="([^"]*before=\d+)"', answer.text)
        page = older[1].replace("&amp;", "&") if older else ""
    assert list(dict.fromkeys(seen)) == ["c4", "c3", "c2", "c1", "c0"]


@pytest.mark.feature("S10")
def test_an_address_is_blocked_by_hand(anna, merchant):
    done = anna.post(PAGE, {"address": " Erika@Example.ORG ", "note": "am Telefon"}, page=PAGE)
    assert done.status_code == 303
    row = db.session.query(Suppression).one()
    assert (row.address, row.reason, row.evidence) == ("Erika@example.org", "manual", "am Telefon")
    assert row.created_by == "anna@example.org" and row.expires_at is None
    anna.post(PAGE, {"address": ERIKA}, page=PAGE)
    assert len(held()) == 1


@pytest.mark.parametrize("typed", ["", "erika", "a@b, c@d.example", "x" * 400 + "@example.org"])
def test_what_is_no_address_is_refused_and_stays_typed(anna, typed):
    answer = anna.post(PAGE, {"address": typed, "note": "<b>"}, page=PAGE)
    assert answer.status_code == 422 and "keine E-Mail-Adresse" in words_of(answer)
    assert "&lt;b&gt;" in answer.text and not held()


@pytest.mark.parametrize("reason", ["complaint", "bounced", "manual", "opt_out"])
def test_a_block_is_lifted_after_a_question(anna, merchant, reason):
    if reason == "opt_out":
        suppression.opt_out(merchant.id, ERIKA, "overpaid", at=now())
        db.session.commit()
        row = db.session.query(Suppression).one()
    else:
        row = block(merchant, reason=reason)
    question = f"{PAGE}/{row.id}/end"
    asked = anna.get(question)
    assert ERIKA in words_of(asked) and held() == [(ERIKA, reason)]
    assert anna.post(question, page=question).status_code == 303
    assert held() == []
    assert (row.ended_by, row.ended_at is not None) == ("anna@example.org", True)
    assert ERIKA not in words_of(anna.get(PAGE))
    assert anna.get(question).status_code == 404
    assert anna.post(question).status_code == 404


def test_the_table_is_exported_and_holds_no_formulas(anna, merchant):
    block(merchant, evidence="=cmd()")
    suppression.opt_out(merchant.id, "bob@example.org", "overpaid", at=now())
    db.session.commit()
    answer = anna.get(f"{PAGE}.csv")
    assert answer.content_type == "text/csv; charset=utf-8"
    rows = list(csv.reader(io.StringIO(answer.text.removeprefix("\ufeff")), delimiter=";"))
    assert rows[0] == ["Adresse", "Grund", "Art", "Seit", "Bis", "Worte", "Von"]
    assert [row[:3] for row in rows[1:]] == [
        ["bob@example.org", "Abbestellt", "Zu viel gezahlt"],
        [ERIKA, "Als Spam gemeldet", ""],
    ]
    assert rows[2][5] == "'=cmd()"


def test_a_stranger_sees_and_lifts_nothing(app, anna, merchant):
    row = block(merchant)
    stranger = member(app, make_merchant("Bobs Basar"), "bob@example.org")
    assert ERIKA not in stranger.get(PAGE).text
    assert ERIKA not in stranger.get(f"{PAGE}.csv").text
    assert stranger.get(f"{PAGE}/{row.id}/end").status_code == 404
    assert stranger.post(f"{PAGE}/{row.id}/end").status_code == 404
    assert held() == [(ERIKA, "complaint")]


def test_only_administrators_see_it(anna, merchant):
    row = block(merchant)
    db.session.query(User).one().is_administrator = False
    db.session.commit()
    for path in (PAGE, f"{PAGE}.csv", f"{PAGE}/{row.id}/end"):
        assert anna.get(path).status_code == 403
    assert anna.post(PAGE, {"address": "bob@example.org"}).status_code == 403
    assert held() == [(ERIKA, "complaint")]
