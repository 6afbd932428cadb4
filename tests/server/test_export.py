"""Tables that programs fetch with a key of their own (K34)."""

from __future__ import annotations

import csv
import io
import re
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from server.api import exports
from server.dashboard import export_keys as page
from server.db import db, now
from server.mail.models import Mail
from server.merchants import service as merchants
from server.merchants.models import ApiKey
from server.orders.models import Reminder
from server.orders.service import assign, undo
from server.orders.tables import Dialect, Period, csv_lines
from server.refunds import service as refunds
from server.relay import counting, intake
from server.relay.intake import Origin
from tests.factories import (
    AT,
    bearer,
    make_key,
    make_merchant,
    make_order,
    make_posting,
    make_shop,
)
from tests.server.relay.systems import DOMAIN, a_mail, make_system

pytestmark = pytest.mark.feature("K34")

PERIOD = "from=2026-03-01&to=2026-03-31"


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def shop(merchant):
    return make_shop(merchant)


@pytest.fixture
def key(merchant):
    return key_of(merchant)


def key_of(merchant) -> dict[str, str]:
    _, shown = merchants.create_export_key(merchant.id, "Steuerbüro", actor="anna", at=AT)
    db.session.commit()
    return bearer(shown)


def fetch(client, key, name: str, query: str = PERIOD):
    return client.get(f"/export/{name}.csv?{query}", headers=key)


def rows_of(answer) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


# --- what is in the tables ----------------------------------------------------------------------


def test_orders_with_what_was_paid_and_paid_back(client, merchant, shop, key):
    order = make_order(
        shop,
        total="30.00",
        ordered_at="2026-03-02T09:00:00+00:00",
        invoices=[{"number": "R-1"}, {"number": "R-2"}],
    )
    posting = make_posting(merchant, "12.5")
    assign(merchant.id, posting.id, [(order.id, Decimal("12.5"))], actor="anna", at=AT)
    order.fee_total = Decimal("2.5")
    db.session.commit()
    answer = fetch(client, key, "orders")
    [row] = rows_of(answer)
    assert (row["shop"], row["number"], row["external_id"]) == (
        "Laden",
        order.number,
        order.external_id,
    )
    assert (row["total"], row["paid_total"], row["refunded_total"]) == ("30.00", "12.50", "0.00")
    assert (row["fee_total"], row["currency"], row["invoices"]) == ("2.50", "EUR", "R-1 R-2")
    assert (row["payment_status"], row["ordered_at"]) == ("partially_paid", "2026-03-02T09:00:00Z")
    assert row["reminder_level"] == "0"
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
    assert "orders-2026-03-01-2026-03-31.csv" in answer.headers["Content-Disposition"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_days_are_those_of_the_merchant(client, shop, key):
    for number, moment in enumerate(
        ("2026-02-28T22:59:59", "2026-02-28T23:00:00", "2026-03-31T21:59:59", "2026-03-31T22:00:00")
    ):
        make_order(shop, number=f"N-{number}", ordered_at=f"{moment}+00:00")
    db.session.commit()
    numbers = [row["number"] for row in rows_of(fetch(client, key, "orders"))]
    assert numbers == ["N-1", "N-2"]  # Berlin: winter time at the begin, summer time at the end


def test_fees_say_which_count(client, merchant, shop, key):
    order = make_order(shop)
    db.session.add_all(
        Reminder(
            merchant_id=merchant.id, order_id=order.id, level=level, sent_on=date(2026, 3, level),
            fee=Decimal("2.50"), interest=Decimal("0.31"), mail_id=mail_id,
        )
        for level, mail_id in ((1, None), (2, mail_of(merchant, "failed")),
                               (3, mail_of(merchant, "withheld")))
    )  # fmt: skip
    db.session.commit()
    found = [
        (row["level"], row["sent_on"], row["fee"], row["interest"], row["state"])
        for row in rows_of(fetch(client, key, "fees"))
    ]
    assert found == [
        ("1", "2026-03-01", "2.50", "0.31", "told"),
        ("2", "2026-03-02", "2.50", "0.31", "lost"),
        ("3", "2026-03-03", "2.50", "0.31", "withheld"),
    ]


def mail_of(merchant, status: str) -> int:
    mail = Mail(
        merchant_id=merchant.id, kind="reminder", language="de", recipient="erika@example.com",
        once=status, facts={}, theme={}, sender_name="Anna", status=status,
        message_id=f"<{status}@example.org>",
    )  # fmt: skip
    db.session.add(mail)
    db.session.flush()
    return mail.id


def test_postings_and_which_order_they_pay(client, merchant, shop, key):
    order = make_order(shop)
    posting = make_posting(merchant, "25.00", "für die Bestellung")
    (booked,) = assign(merchant.id, posting.id, [(order.id, order.total)], actor="anna", at=AT)
    undo(merchant.id, booked.id, actor="anna", at=AT)
    assign(merchant.id, posting.id, [(order.id, order.total)], actor="anna", at=AT)
    db.session.commit()
    day = posting.booking_date.isoformat()
    [row] = rows_of(fetch(client, key, "postings", f"from={day}&to={day}"))
    assert (row["posting_id"], row["amount"], row["assigned"]) == (
        str(posting.id), "25.00", "19.90",
    )  # fmt: skip
    assert row["remittance_information"] == "für die Bestellung"
    today = AT.astimezone(ZoneInfo("Europe/Berlin")).date().isoformat()
    lines = rows_of(fetch(client, key, "assignments", f"from={today}&to={today}"))
    assert [(one["amount"], one["reverses_id"]) for one in lines] == [
        ("19.90", ""),
        ("-19.90", str(booked.id)),
        ("19.90", ""),
    ]
    assert {(one["number"], one["posting_id"], one["decided_by"]) for one in lines} == {
        (order.number, str(posting.id), "anna")
    }


def test_repayments(client, merchant, shop, key):
    order = make_order(shop, total="30.00")
    posting = make_posting(merchant, "30.00")
    assign(merchant.id, posting.id, [(order.id, Decimal("30.00"))], actor="anna", at=AT)
    made = refunds.arrange(
        merchant.id, order_id=order.id, amount=Decimal("5.00"), actor="anna", at=AT
    )
    db.session.commit()
    day = AT.date().isoformat()
    [row] = rows_of(fetch(client, key, "repayments", f"from={day}&to={day}"))
    assert (row["reference"], row["number"], row["amount"]) == (
        made.reference, order.number, "5.00",
    )  # fmt: skip
    assert (row["status"], row["requested_by"]) == (made.status, "anna")


@pytest.mark.feature("S96", "S98")
def test_the_ledger_and_the_numbers_of_the_relay(client, merchant, key):
    system = make_system(merchant=merchant)
    intake.accept(
        intake.caller_now(system.connection.id), a_mail(), sender="",
        recipients=["erika@example.com", "max@example.com"], origin=Origin("smtp"),
        at=datetime.fromisoformat("2026-03-02T23:30:00+00:00"),
    )  # fmt: skip
    counting.count(AT)
    db.session.commit()
    [row] = rows_of(fetch(client, key, "relay-numbers"))
    assert row == {
        "day": "2026-03-03", "connection": "Buchungssystem", "domain": DOMAIN, "received": "2",
        "delivered": "0", "deferred": "0", "bounced": "0", "complained": "0", "suppressed": "0",
    }  # fmt: skip
    day = AT.astimezone(ZoneInfo(merchant.timezone)).date()
    [demo] = rows_of(fetch(client, key, "relay-ledger", f"from={day}&to={day}"))
    assert (demo["kind"], demo["mails"], demo["price"]) == ("demo", "1000", "")
    [use] = rows_of(fetch(client, key, "relay-ledger", "from=2026-03-03&to=2026-03-03"))
    assert (use["kind"], use["mails"], use["day"]) == ("use", "-2", "2026-03-03")


def test_every_table_can_be_fetched_and_is_named_on_the_page(client, key):
    assert tuple(exports.EXPORTS) == page.FILES
    for name in exports.EXPORTS:
        answer = fetch(client, key, name)
        assert answer.status_code == 200 and answer.text.count("\r\n") == 1


def test_every_table_is_documented():
    api = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `/export/(\S+).csv` \|", api, re.MULTILINE)) == set(exports.EXPORTS)


# --- how it is written --------------------------------------------------------------------------


def test_what_strangers_wrote_stays_text(client, shop, key):
    make_order(
        shop,
        number="=HYPERLINK(1)",
        ordered_at="2026-03-02T09:00:00+00:00",
        billing_address={"first_name": "+Erika", "last_name": 'Muster"mann, geb. X'},
    )
    db.session.commit()
    answer = fetch(client, key, "orders")
    [row] = rows_of(answer)
    assert row["number"] == "'=HYPERLINK(1)"
    assert row["customer_name"] == "'+Erika Muster\"mann, geb. X"


def test_dialects():
    cells = [Decimal("-1.5"), Decimal("0.000950"), 7, date(2026, 3, 2), None, "a;b", "-x"]
    assert "".join(csv_lines([cells])) == "-1.50,0.000950,7,2026-03-02,,a;b,'-x\r\n"
    people = Dialect(delimiter=";", has_bom=True, decimal_comma=True)
    assert "".join(csv_lines([cells], people)) == (
        '\ufeff-1,50;0,000950;7;2026-03-02;;"a;b";\'-x\r\n'
    )


def test_a_long_table_comes_in_parts():
    parts = list(csv_lines([["x" * 1000]] * 200))
    assert len(parts) == 4
    assert "".join(parts).count("\r\n") == 200


def test_a_period_of_one_day_over_the_change_of_the_clock():
    begin, end = Period(date(2026, 3, 29), date(2026, 3, 29), ZoneInfo("Europe/Berlin")).times
    assert end.timestamp() - begin.timestamp() == 23 * 3600


# --- who may, and how much ----------------------------------------------------------------------


def test_a_stranger_s_key_shows_a_stranger_s_tables(client, merchant, shop, key):
    make_order(shop, ordered_at="2026-03-02T09:00:00+00:00")
    make_posting(merchant)
    make_system(merchant=merchant)
    db.session.commit()
    other = key_of(make_merchant("Bobs Basar"))
    for name in exports.EXPORTS:
        assert rows_of(fetch(client, other, name, "from=2026-01-01&to=2026-12-31")) == []


def test_keys_are_for_one_thing(client, merchant, shop, key):
    for scope, of_shop in (("shop", shop), ("bank", None)):
        answer = fetch(client, bearer(make_key(merchant, scope, of_shop)[1]), "orders")
        assert answer.status_code == 403
    for path in ("orders", "postings", "payment-updates"):
        assert client.get(f"/api/v1/{path}", headers=key).status_code == 403
    assert client.post("/export/orders.csv", headers=key).status_code == 405


@pytest.mark.parametrize("given", [{}, {"Authorization": "Bearer kontor_abc_def"}])
def test_without_a_key_nothing_is_shown(client, app, given):
    answer = fetch(client, given, "orders")
    assert answer.status_code == 401
    assert answer.content_type == "application/problem+json"
    assert "Bearer" in answer.headers["WWW-Authenticate"]


def test_a_revoked_key_is_refused_at_once(client, merchant, key):
    assert fetch(client, key, "orders").status_code == 200
    [row] = merchants.export_keys(merchant.id)
    assert db.session.get_one(ApiKey, row.id).last_used_at is not None
    merchants.revoke_export_key(row, actor="anna", at=now())
    db.session.commit()
    assert fetch(client, key, "orders").status_code == 401


def test_a_key_in_the_address_is_refused_with_a_reason(client, key):
    shown = key["Authorization"].split()[1]
    assert client.get(f"/export/orders.csv?key={shown}").status_code == 401
    answer = fetch(client, key, "orders", f"key={shown}")
    assert answer.status_code == 422 and "Authorization" in answer.json["detail"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("from=gestern", "no date"),
        ("to=2026-02-30", "no date"),
        ("from=0001-01-01", "no date"),
        ("from=2026-03-02&to=2026-03-01", "not after"),
        ("from=2025-01-01&to=2026-01-02", "366 days"),
        ("since=2026-03-02", "not known"),
    ],
)
def test_a_period_that_is_none_is_refused(client, key, query, said):
    answer = fetch(client, key, "orders", query)
    assert answer.status_code == 422 and said in answer.json["detail"]


def test_without_a_period_the_last_31_days(client, shop, key):
    today = now().astimezone(ZoneInfo("Europe/Berlin"))
    for days in (0, 30, 31):
        make_order(shop, number=f"N-{days}", ordered_at=(today - timedelta(days=days)).isoformat())
    db.session.commit()
    found = [row["number"] for row in rows_of(client.get("/export/orders.csv", headers=key))]
    assert found == ["N-30", "N-0"]


def test_there_is_no_other_table(client, key):
    answer = fetch(client, key, "users")
    assert answer.status_code == 404 and answer.content_type == "application/problem+json"


def test_too_many_rows_are_refused_before_the_first(client, shop, key, monkeypatch):
    monkeypatch.setattr(exports, "MOST_ROWS", 1)
    make_order(shop, ordered_at="2026-03-02T09:00:00+00:00")
    assert fetch(client, key, "orders").status_code == 200
    make_order(shop, ordered_at="2026-03-02T09:00:00+00:00")
    db.session.commit()
    answer = fetch(client, key, "orders")
    assert answer.status_code == 422 and "shorter period" in answer.json["detail"]


def test_a_key_fetches_only_so_many_an_hour(client, merchant, key, monkeypatch):
    monkeypatch.setattr(exports.FILES_OF_KEY, "amount", 2)
    assert [fetch(client, key, "orders").status_code for _ in range(3)] == [200, 200, 429]
    assert int(fetch(client, key, "orders").headers["Retry-After"]) == 3600
    assert fetch(client, key_of(merchant), "orders").status_code == 200


def test_whoever_guesses_is_not_even_asked(client, key, monkeypatch):
    monkeypatch.setattr(exports.FAILURES, "amount", 3)
    wrong = bearer("kontor_abcdefghijkl_" + "x" * 43)
    assert [fetch(client, wrong, "orders").status_code for _ in range(4)] == [401] * 3 + [429]
    assert fetch(client, key, "orders").status_code == 429
