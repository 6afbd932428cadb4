"""Settings, "Fetching": keys with which programs fetch tables (K34)."""

from __future__ import annotations

import re

import pytest

from server.db import db
from server.merchants import service as merchants
from server.merchants.models import SettingChange, User
from tests.factories import bearer, make_key, make_merchant
from tests.server.dashboard.test_order_pages import words
from tests.server.dashboard.visitor import member

pytestmark = pytest.mark.feature("K34")

PAGE = "/settings/export"
KEY = re.compile(r"kontor_[a-z0-9]{12}_[\w-]{43}")


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def anna(app, merchant):
    return member(app, merchant)


def test_a_key_is_shown_once_and_fetches_tables(client, anna, merchant):
    assert "Noch kein Schlüssel" in words(anna.get(PAGE))
    answer = anna.post(PAGE, {"name": "Steuerbüro"}, page=PAGE)
    (key,) = set(KEY.findall(answer.text))
    assert not KEY.search(anna.get(PAGE).text)
    assert "Steuerbüro" in words(anna.get(PAGE))
    assert client.get("/export/orders.csv", headers=bearer(key)).status_code == 200
    assert "kontor.example" in anna.get(PAGE).text or "/export/orders.csv" in anna.get(PAGE).text


def test_it_is_revoked_after_a_question(client, anna, merchant):
    row, key = make_key(merchant, "export")
    ask = f"{PAGE}/{row.id}/revoke"
    assert "sofort abgewiesen" in words(anna.get(ask))
    assert anna.post(ask, page=PAGE).status_code == 303
    assert client.get("/export/orders.csv", headers=bearer(key)).status_code == 401
    assert "gesperrt" in words(anna.get(PAGE))


def test_who_made_and_revoked_it_stands_in_the_log(anna, merchant):
    anna.post(PAGE, {"name": "Steuerbüro"}, page=PAGE)
    [row] = merchants.export_keys(merchant.id)
    for _ in range(2):
        anna.post(f"{PAGE}/{row.id}/revoke", page=PAGE)
    lines = db.session.query(SettingChange).order_by(SettingChange.id).all()
    assert [(one.changed_by, one.value["is_valid"]) for one in lines] == [
        ("anna@example.org", True),
        ("anna@example.org", False),
    ]
    shown = words(anna.get("/settings/changes"))
    assert "Schlüssel zum Abruf: Steuerbüro: gilt" in shown
    assert "Schlüssel zum Abruf: Steuerbüro: gesperrt" in shown


@pytest.mark.parametrize("name", ["", "  \x00 ", "x" * 101])
def test_it_needs_a_name(anna, merchant, name):
    answer = anna.post(PAGE, {"name": name}, page=PAGE)
    assert answer.status_code == 422 and 'aria-invalid="true"' in answer.text
    assert merchants.export_keys(merchant.id) == []


def test_only_so_many_work_at_once(anna, merchant):
    rows = [make_key(merchant, "export")[0] for _ in range(merchants.MAX_EXPORT_KEYS)]
    answer = anna.post(PAGE, {"name": "noch einer"}, page=PAGE)
    assert answer.status_code == 422 and "Zwanzig Schlüssel" in words(answer)
    anna.post(f"{PAGE}/{rows[0].id}/revoke", page=PAGE)
    assert anna.post(PAGE, {"name": "noch einer"}, page=PAGE).status_code == 200


def test_other_keys_do_not_stand_here_nor_these_elsewhere(anna, merchant):
    bank, export = make_key(merchant, "bank")[0], make_key(merchant, "export")[0]
    assert bank.id not in anna.get(PAGE).text and export.id in anna.get(PAGE).text
    assert export.id not in anna.get("/bank-accounts").text
    for path in (f"{PAGE}/{bank.id}/revoke", f"/bank-accounts/keys/{export.id}/revoke"):
        assert anna.get(path).status_code == 404
        assert anna.post(path, page=PAGE).status_code == 404


def test_it_is_for_administrators(anna, merchant):
    row = make_key(merchant, "export")[0]
    db.session.query(User).one().is_administrator = False
    db.session.commit()
    ask = f"{PAGE}/{row.id}/revoke"
    assert [anna.get(path).status_code for path in (PAGE, ask)] == [403, 403]
    assert [anna.post(path, {"name": "x"}).status_code for path in (PAGE, ask)] == [403, 403]
