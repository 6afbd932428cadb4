"""Repayments on the pages: arranging, holding, following, handing in to the bank, keeping."""

from __future__ import annotations

import csv
import html
import io
import re
from datetime import timedelta
from decimal import Decimal

import pytest

from server.dashboard.refund_list import COLUMNS
from server.dashboard.status import REFUND_WORDS
from server.db import db, now
from server.merchants.models import User
from server.orders import service
from server.orders.models import Order, OrderEvent, Refund
from server.refunds import batches
from server.refunds import service as refunds
from server.refunds.models import RefundBatch
from server.refunds.rules import HOLDS, MOVES, BankDetails
from tests.factories import make_merchant, make_order, make_posting, make_shop
from tests.server.dashboard.visitor import Visitor, member

ANNA, BERT = "anna@example.org", "bert@example.org"
PAYER_IBAN = "DE89370400440532013000"
OTHER_IBAN = "DE75512108001245126199"


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def shop(merchant):
    return make_shop(merchant)


@pytest.fixture
def anna(app, merchant):
    return member(app, merchant)


@pytest.fixture
def bert(app, merchant, anna):
    return member(app, merchant, BERT)


def words(answer) -> str:
    """What is read on a page, without its markup."""
    text = html.unescape(re.sub(r"<[^>]*>", " ", answer.text)).replace("\u00a0", " ")
    return " ".join(text.split())


def paid_order(merchant, shop, total: str = "20.00", paid: str = "20.00", **over) -> Order:
    order = make_order(shop, total=total)
    posting = make_posting(merchant, paid, order.number, **over)
    service.assign(merchant.id, posting.id, [(order.id, Decimal(paid))], actor=ANNA, at=now())
    db.session.commit()
    return order


def arranged(merchant, order: Order, amount: str, *, actor: str = ANNA, **over) -> Refund:
    row = refunds.arrange(
        merchant.id, order_id=order.id, amount=Decimal(amount), actor=actor, at=now(), **over
    )
    db.session.commit()
    return row


def ready(merchant, shop, amount: str = "30.00") -> Refund:
    """One that may go to the bank; each of another payer, so that none looks like another."""
    number = db.session.query(Order).count()
    order = paid_order(
        merchant, shop, amount, amount, counterparty_iban=None, counterparty_name=None
    )
    payee = BankDetails("Erika Mustermann", OTHER_IBAN)
    row = arranged(merchant, order, amount, payee=payee, reason=f"Storno {number}")
    if row.status == "held":
        refunds.approve(row, actor=BERT, at=now())
    if row.status == "planned":
        refunds.execute_now(row, actor=ANNA, at=now())
    assert row.status == "new"
    db.session.commit()
    return row


def made(merchant, *rows: Refund, channel: str = "pain001") -> RefundBatch:
    (group,) = batches.payable(merchant.id)
    batch = batches.make_batch(
        merchant.id,
        group.account.id,
        [row.id for row in rows],
        channel=channel,
        actor=ANNA,
        at=now(),
    )
    db.session.commit()
    return batch


def again(row):
    """As the server left it."""
    db.session.expire_all()
    return db.session.get_one(type(row), row.id)


def form_of(order: Order, **over: str) -> dict[str, str]:
    typed = {"seen": "0", "amount": "5,00", "name": "Erika Mustermann", "iban": PAYER_IBAN}
    return typed | over


def the_refund() -> Refund:
    db.session.expire_all()
    return db.session.query(Refund).one()


# --- arranging --------------------------------------------------------------------------------


@pytest.mark.feature("S78", "K57")
def test_the_form_proposes_the_surplus_and_where_it_came_from(merchant, shop, anna):
    order = paid_order(merchant, shop, "20.00", "25.00")
    assert "Erstattung veranlassen" in anna.get(f"/orders/{order.id}").text
    form = anna.get(f"/orders/{order.id}/repay")
    assert 'name="amount"' in form.text and 'value="5,00"' in form.text
    assert 'value="DE89 3704 0044 0532 0130 00"' in form.text
    assert "Höchstens 40,00 €. Eingegangen sind 25,00 €." in words(form)
    everything = anna.get(f"/orders/{order.id}/repay?amount=25.00")
    assert 'value="25,00"' in everything.text


@pytest.mark.feature("S78", "K58")
def test_an_order_is_repaid_in_part_and_shows_when_it_arrives(merchant, shop, anna):
    order = paid_order(merchant, shop, "20.00", "25.00")
    answer = anna.post(f"/orders/{order.id}/repay", form_of(order, reason="Zu viel bezahlt"))
    row = the_refund()
    assert answer.status_code == 303 and answer.location.startswith(f"/repayments/{row.id}")
    assert (row.amount, row.status, row.requested_by) == (Decimal("5.00"), "planned", ANNA)
    shown = words(anna.get(f"/repayments/{row.id}"))
    planned, arrival = refunds.arrival(row)
    assert planned is not None and arrival is not None and planned < arrival
    assert "Geplant" in shown and f"voraussichtlich {arrival.day}. " in shown
    of_order = words(anna.get(f"/orders/{order.id}"))
    assert "Geht zurück 5,00 €" in of_order and "Zu viel bezahlt" in of_order
    assert "Überzahlt" not in of_order


def test_a_double_click_arranges_once(merchant, shop, anna):
    order = paid_order(merchant, shop, "20.00", "25.00")
    first = anna.post(f"/orders/{order.id}/repay", form_of(order))
    second = anna.post(f"/orders/{order.id}/repay", form_of(order))
    assert (first.status_code, second.status_code) == (303, 303)
    assert first.location == second.location
    assert the_refund().amount == Decimal("5.00")


def test_a_form_from_before_another_repayment_is_shown_again(merchant, shop, anna):
    order = paid_order(merchant, shop, "20.00", "25.00")
    arranged(merchant, order, "5.00")
    answer = anna.post(f"/orders/{order.id}/repay", form_of(order, amount="3,00"))
    assert answer.status_code == 409
    assert "Inzwischen wurde hier eine andere Erstattung veranlasst" in words(answer)
    assert the_refund().amount == Decimal("5.00")


@pytest.mark.feature("K57")
@pytest.mark.parametrize(
    ("field", "typed", "said"),
    [
        ("amount", "viel", "„viel“ ist kein Betrag"),
        ("amount", "0,00", "größer als null"),
        ("amount", "40,01", "höchstens 40.00"),
        ("iban", "DE00 1234", "Diese IBAN stimmt nicht"),
        ("iban", "DE02120300000000202051", "Ihr eigenes Konto"),
        ("iban", "US64SVBKUS6S3300958879", "IBAN stimmt nicht"),
        ("name", "", "Nennen Sie den Kontoinhaber"),
        ("planned", "morgen", "kein Datum"),
        ("planned", "2001-01-01", "Datum"),
    ],
)
def test_what_is_typed_wrong_is_said_beside_its_field(merchant, shop, anna, field, typed, said):
    order = paid_order(merchant, shop, "20.00", "25.00")
    answer = anna.post(f"/orders/{order.id}/repay", form_of(order, **{field: typed}))
    assert answer.status_code == 422
    assert f'aria-describedby="{field}-error"' in answer.text
    assert said in words(answer) or field == "planned"
    assert db.session.query(Refund).count() == 0


def test_an_order_without_money_offers_no_repayment(merchant, shop, anna):
    order = make_order(shop)
    assert "Erstattung veranlassen" not in anna.get(f"/orders/{order.id}").text
    form = anna.get(f"/orders/{order.id}/repay")
    assert form.status_code == 200 and f"Für {order.number} ist nichts bezahlt" in words(form)
    assert anna.post(f"/orders/{order.id}/repay", form_of(order)).status_code == 409


def test_without_usable_details_the_customer_is_asked(merchant, shop, anna):
    order = paid_order(merchant, shop, counterparty_iban=None)
    assert "fragt Kontor die Kundschaft per E-Mail" in words(anna.get(f"/orders/{order.id}/repay"))
    form = form_of(order, amount="20,00", name="", iban="")
    assert anna.post(f"/orders/{order.id}/repay", form).status_code == 303
    row = the_refund()
    assert row.status == "bank_details_missing"
    shown = words(anna.get(f"/repayments/{row.id}"))
    assert "nach ihrer Bankverbindung gefragt" in shown and "Bankverbindung eintragen" in shown


@pytest.mark.feature("K55")
def test_money_that_pays_no_order_is_sent_back(merchant, anna):
    posting = make_posting(merchant, "33.00", "Irrtum")
    assert f"/postings/{posting.id}/send-back" in anna.get(f"/postings/{posting.id}").text
    form = anna.get(f"/postings/{posting.id}/send-back")
    assert 'value="33,00"' in form.text and 'value="Erika Mustermann"' in form.text
    typed = {"seen": "0", "amount": "33,00", "name": "Erika Mustermann", "iban": PAYER_IBAN}
    assert anna.post(f"/postings/{posting.id}/send-back", typed).status_code == 303
    row = the_refund()
    assert (row.order_id, row.posting_id, row.status) == (None, posting.id, "new")
    shown = words(anna.get(f"/postings/{posting.id}?state=all"))
    assert "Geht zurück" in shown and "Von diesem Geld geht zurück: 33,00 €" in shown
    assert "Zurücksenden" not in shown
    assert "1 Erstattung ist bereit für die Bank" in words(anna.get("/"))


@pytest.mark.feature("C14")
def test_money_is_kept_with_a_reason_and_nobody_is_asked_again(merchant, shop, anna):
    order = paid_order(merchant, shop, "20.00", "20.40")
    assert "Überzahlt" in words(anna.get(f"/orders/{order.id}"))
    assert anna.post(f"/orders/{order.id}/keep-money", {"reason": " "}).status_code == 422
    answer = anna.post(f"/orders/{order.id}/keep-money", {"reason": "Kunde verzichtet"})
    assert answer.status_code == 303
    row = the_refund()
    assert (row.amount, row.status) == (Decimal(0), "processed")
    shown = words(anna.get(f"/orders/{order.id}"))
    assert "Geld behalten" in shown and "Kunde verzichtet" in shown and "Überzahlt" not in shown
    assert "Keine." in words(anna.get("/credits"))
    assert "Als gescheitert markieren" not in words(anna.get(f"/repayments/{row.id}"))


# --- holding ----------------------------------------------------------------------------------


def held(merchant, shop, *, actor: str = ANNA) -> Refund:
    order = paid_order(merchant, shop)
    payee = BankDetails("Max Beispiel", OTHER_IBAN)
    row = arranged(merchant, order, "20.00", payee=payee, actor=actor)
    assert row.status == "held"
    return row


def approve(visitor: Visitor, row: Refund, **more: str):
    page = f"/repayments/{row.id}"
    seen = re.search(r'name="seen" value="([^"]+)"', visitor.get(page).text)
    form = {"seen": seen[1] if seen else ""} | more
    return visitor.post(f"{page}/approve", form)


@pytest.mark.feature("N9", "C18")
def test_why_it_is_held_is_said_with_the_evidence(merchant, shop, anna):
    row = held(merchant, shop)
    shown = words(anna.get(f"/repayments/{row.id}"))
    assert "jemand anderen gehen als den, der bezahlt hat" in shown
    assert "Bezahlt hat Erika Mustermann, DE89 3704 0044 0532 0130 00" in shown
    assert "Gehen soll es an Max Beispiel, DE75 5121 0800 1245 1261 99" in shown


@pytest.mark.feature("N9", "S78")
def test_the_history_of_the_order_says_it_in_plain_words(merchant, shop, anna):
    row = held(merchant, shop)
    shown = words(anna.get(f"/orders/{row.order_id}?show=payments"))
    assert "Erstattung von 20,00 € veranlasst" in shown
    assert "Erstattung angehalten: Empfänger ist nicht der Zahler; andere Bank" in shown
    assert "Freigeben" in shown
    refunds.approve(row, actor=BERT, at=now())
    refunds.mark_processed(row, actor=ANNA, at=now())
    refunds.mark_failed(row, "returned: AC04 closed", actor="Kontor", at=now())
    db.session.commit()
    shown = words(anna.get(f"/orders/{row.order_id}"))
    assert "gescheitert: Das Geld kam zurück: AC04 closed" in shown


@pytest.mark.feature("N9")
@pytest.mark.parametrize("hold", HOLDS)
def test_every_reason_to_hold_is_said_in_both_languages(merchant, shop, anna, hold):
    row = held(merchant, shop)
    row.holds = [hold]
    event = db.session.query(OrderEvent).filter_by(kind="refund_held").one()
    event.facts = {"holds": hold}
    db.session.commit()
    for language in ("de", "en"):
        db.session.query(User).one().language = language
        db.session.commit()
        page = anna.get(f"/repayments/{row.id}")
        assert page.status_code == 200 and hold not in page.text
        history = anna.get(f"/orders/{row.order_id}")
        assert history.status_code == 200 and hold not in history.text


@pytest.mark.feature("C18")
def test_another_person_approves_and_nobody_his_own(merchant, shop, anna, bert):
    row = held(merchant, shop)
    assert 'name="seen"' not in anna.get(f"/repayments/{row.id}").text
    assert approve(anna, row).status_code == 409
    assert again(row).status == "held"
    assert approve(bert, row).status_code == 303
    assert (again(row).status, row.approved_by) == ("planned", BERT)
    assert approve(bert, row).status_code == 409  # a second click


@pytest.mark.feature("C18")
def test_the_only_administrator_types_the_amount(merchant, shop, anna):
    row = held(merchant, shop)
    assert "Tippen Sie deshalb den Betrag ab: 20,00 €" in words(anna.get(f"/repayments/{row.id}"))
    for wrong in ("", "19,00", "zwanzig"):
        assert approve(anna, row, typed=wrong).status_code == 409
    assert again(row).status == "held"
    assert approve(anna, row, typed="20,00").status_code == 303
    assert again(row).status == "planned"


@pytest.mark.feature("C18", "N9")
def test_what_changed_after_it_was_looked_at_is_not_approved(merchant, shop, anna, bert):
    row = held(merchant, shop)
    seen = re.search(r'name="seen" value="([^"]+)"', bert.get(f"/repayments/{row.id}").text)
    refunds.change(row, payee=BankDetails("Eve Beispiel", OTHER_IBAN), actor=ANNA, at=now())
    db.session.commit()
    answer = bert.post(f"/repayments/{row.id}/approve", {"seen": seen[1]})
    assert answer.status_code == 409 and "hat sich geändert" in words(answer)
    assert again(row).status == "held"


# --- what may be done with one ----------------------------------------------------------------


@pytest.mark.feature("K10")
def test_every_state_has_a_word_a_badge_and_a_page(merchant, shop, anna):
    assert set(REFUND_WORDS) == set(MOVES)
    row = arranged(merchant, paid_order(merchant, shop), "5.00")
    for status in MOVES:
        row.status = status
        row.error = "Konto erloschen" if status == "failed" else None
        db.session.commit()
        assert anna.get(f"/repayments/{row.id}").status_code == 200
        assert anna.get(f"/orders/{row.order_id}").status_code == 200
        found = words(anna.get(f"/repayments?status={status}"))
        assert "5,00 €" in found and "1 Erstattung ·" in found


@pytest.mark.feature("K58")
def test_the_payee_is_changed_until_the_bank_has_it(merchant, shop, anna):
    row = arranged(merchant, paid_order(merchant, shop), "5.00")
    form = anna.get(f"/repayments/{row.id}/change")
    assert 'value="Erika Mustermann"' in form.text
    day = row.planned_for + timedelta(days=14)
    typed = {"name": "Erika Mustermann", "iban": "de75 5121 0800 1245 1261 99",
             "reason": "Rückgabe", "planned": day.isoformat()}  # fmt: skip
    wrong = anna.post(f"/repayments/{row.id}/change", typed | {"iban": "DE00"})
    assert wrong.status_code == 422 and 'aria-describedby="iban-error"' in wrong.text
    assert anna.post(f"/repayments/{row.id}/change", typed).status_code == 303
    assert (again(row).payee_iban, row.reason, row.status) == (OTHER_IBAN, "Rückgabe", "held")
    row.status = "in_process"
    db.session.commit()
    assert anna.post(f"/repayments/{row.id}/change", typed).status_code == 409


@pytest.mark.feature("K10", "K33")
def test_waiting_is_ended_and_a_failure_tried_again(merchant, shop, anna):
    row = arranged(merchant, paid_order(merchant, shop), "5.00")
    address = f"/repayments/{row.id}"
    assert anna.post(f"{address}/execute-now?back=order").location.startswith("/orders/")
    assert again(row).status == "new"
    assert anna.post(f"{address}/execute-now").status_code == 409
    assert anna.post(f"{address}/mark-processed").status_code == 303
    assert again(row).status == "processed"
    assert anna.post(f"{address}/mark-failed", {"why": ""}).status_code == 422
    assert anna.post(f"{address}/mark-failed", {"why": "Konto erloschen"}).status_code == 303
    shown = words(anna.get(address))
    assert "Die Erstattung ist gescheitert: Konto erloschen" in shown
    assert "Noch einmal versuchen" in shown
    before = again(row).reference
    assert anna.post(f"{address}/try-again").status_code == 303
    assert again(row).reference != before and row.status != "failed"


def test_a_cancelled_repayment_frees_the_money(merchant, shop, anna):
    order = paid_order(merchant, shop, "20.00", "25.00")
    row = arranged(merchant, order, "5.00")
    ask = anna.get(f"/repayments/{row.id}/cancel")
    assert "Erstattung abbrechen?" in words(ask)
    assert anna.post(f"/repayments/{row.id}/cancel").status_code == 303
    assert again(row).status == "cancelled"
    assert "Überzahlt" in words(anna.get(f"/orders/{order.id}"))
    assert anna.post(f"/repayments/{row.id}/cancel").status_code == 409
    assert "Das geht nicht mehr" in words(anna.get(f"/repayments/{row.id}/cancel"))


@pytest.mark.feature("C18")
def test_who_may_only_look_moves_no_money(merchant, shop, anna):
    row, batch_row = ready(merchant, shop), ready(merchant, shop)
    batch = made(merchant, batch_row)
    posting = make_posting(merchant, "33.00", "Irrtum")
    db.session.query(User).one().is_administrator = False
    db.session.commit()
    one, many, order = f"/repayments/{row.id}", f"/repayments/bank/{batch.id}", row.order_id
    forms = [f"{one}/{name}" for name in ("change", "cancel", "mark-processed", "mark-failed")]
    for path in (*forms, f"/orders/{order}/repay", f"/orders/{order}/keep-money",
                 f"/postings/{posting.id}/send-back"):  # fmt: skip
        assert anna.get(path).status_code == 403, path
        assert anna.post(path, {"seen": "0", "amount": "1,00", "reason": "x"}).status_code == 403
    acts = [f"{one}/{name}" for name in ("approve", "execute-now", "try-again")]
    steps = ("file", "sent", "drop", "fail", "begin", "answer", "accept", "refuse", "settle")
    for path in (*acts, "/repayments/bank", *(f"{many}/{name}" for name in steps)):
        assert anna.post(path, {"refund": str(row.id)}).status_code == 403, path
    for page in (one, many, "/repayments", "/repayments/bank", f"/orders/{order}",
                 f"/postings/{posting.id}"):  # fmt: skip
        shown = anna.get(page)
        assert shown.status_code == 200
        assert "Abbrechen …" not in shown.text and f'action="{many}/' not in shown.text
        assert "Zurücksenden" not in shown.text and "Datei für die Bank machen" not in shown.text
    assert (again(row).status, again(batch).status) == ("new", "made")


# --- the list ---------------------------------------------------------------------------------


@pytest.mark.feature("S78", "K10")
def test_the_list_is_filtered_searched_summed_and_paged(merchant, shop, anna, monkeypatch):
    monkeypatch.setattr("server.dashboard.refund_queries.A_PAGE", 2)
    assert "Noch keine Erstattung" in words(anna.get("/repayments"))
    orders = [paid_order(merchant, shop, paid="25.00") for _ in range(3)]
    rows = [
        arranged(merchant, order, "5.00", reason=f"Grund {n}") for n, order in enumerate(orders)
    ]
    page = anna.get("/repayments")
    assert "3 Erstattungen · Summe 15,00 €" in words(page)
    assert "Grund 2" in words(page) and "Grund 0" not in words(page)
    more = re.search(r'rel="next" href="([^"]+)"', page.text)
    assert "Grund 0" in words(anna.get(html.unescape(more[1])))
    for text, found in (
        (orders[1].number, "Grund 1"),
        (rows[0].reference, "Grund 0"),
        ("DE89 3704 0044", "Grund 2"),
        ("mustermann grund", "Grund 2"),
    ):
        assert found in words(anna.get("/repayments", query_string={"q": text}))
    assert "Nichts gefunden" in words(anna.get("/repayments?q=gibtesnicht&status=nonsense"))
    today = rows[0].requested_at.date()
    later = (today + timedelta(days=2)).isoformat()
    assert "Grund 2" not in words(anna.get(f"/repayments?from={later}"))
    assert "Grund 2" in words(anna.get(f"/repayments?to={later}&from=garbage"))


def test_the_list_is_exported_without_formulas(merchant, shop, anna):
    arranged(merchant, paid_order(merchant, shop), "5.00", reason="=1+1")
    answer = anna.get("/repayments/export.csv")
    head, row = csv.reader(io.StringIO(answer.text.lstrip("\ufeff")), delimiter=";")
    assert len(head) == len(COLUMNS) == len(row)
    assert "5,00" in row and "'=1+1" in row and "Geplant" in row
    assert anna.get("/repayments/export.xlsx", buffered=True).data[:2] == b"PK"


# --- to the bank ------------------------------------------------------------------------------


@pytest.mark.feature("C15")
def test_what_is_ready_becomes_one_file_however_often_the_button_is_pressed(merchant, shop, anna):
    rows = [ready(merchant, shop), ready(merchant, shop)]
    page = anna.get("/repayments/bank")
    assert "2 Erstattungen · 60,00 €" in words(page)
    (account,) = {one.account.id for one in batches.payable(merchant.id)}
    form = {"account": str(account), "group": str(account), "channel": "pain001",
            "refund": [str(row.id) for row in rows]}  # fmt: skip
    assert "2 bereit für die Bank" in words(anna.get("/repayments"))
    first = anna.post("/repayments/bank", form)
    second = anna.post("/repayments/bank", form)
    assert (first.status_code, second.status_code) == (303, 409)
    batch = db.session.query(RefundBatch).one()
    assert (batch.count, batch.total) == (2, Decimal("60.00"))
    assert {again(row).status for row in rows} == {"in_process"}
    shown = words(anna.get(f"/repayments/bank/{batch.id}"))
    assert "Wartet auf Einreichung" in shown and "noch nie" in shown


@pytest.mark.feature("C15")
@pytest.mark.parametrize(
    ("typed", "code"),
    [({"day": "gestern"}, 422), ({"day": "2001-01-01"}, 422), ({"refund": []}, 422),
     ({"account": "0"}, 409)],
)  # fmt: skip
def test_a_batch_that_cannot_be_made_is_said(merchant, shop, anna, typed, code):
    row = ready(merchant, shop)
    (group,) = batches.payable(merchant.id)
    form = {"account": str(group.account.id), "group": str(group.account.id),
            "refund": [str(row.id)], "channel": "pain001"}  # fmt: skip
    assert anna.post("/repayments/bank", form | typed).status_code == code
    assert db.session.query(RefundBatch).count() == 0
    assert again(row).status == "new"


@pytest.mark.feature("C15")
def test_a_refused_payment_stays_out_and_says_why(merchant, shop, anna):
    good, bad = ready(merchant, shop), ready(merchant, shop)
    bad.payee_name = "\u5f20\u4f1f"
    db.session.commit()
    (group,) = batches.payable(merchant.id)
    form = {"account": str(group.account.id), "channel": "pain001",
            "refund": [str(good.id), str(bad.id)]}  # fmt: skip
    assert anna.post("/repayments/bank", form).status_code == 303
    assert (again(good).status, again(bad).status) == ("in_process", "new")
    assert "Buchstaben, die eine Überweisung nicht tragen kann" in words(
        anna.get("/repayments/bank")
    )


@pytest.mark.feature("C15")
@pytest.mark.parametrize(("channel", "begins"), [("pain001", b"<?xml"), ("csv", b"\xef\xbb\xbf")])
def test_every_download_is_noted_and_a_second_one_warned_of(merchant, shop, anna, channel, begins):
    batch = made(merchant, ready(merchant, shop), ready(merchant, shop), channel=channel)
    address = f"/repayments/bank/{batch.id}"
    answer = anna.post(f"{address}/file")
    assert answer.status_code == 200 and answer.data.startswith(begins)
    assert batch.message_id in answer.headers["Content-Disposition"]
    assert "Reichen Sie sie nicht noch einmal ein" in words(anna.get(address))
    anna.post(f"{address}/file")
    noted = db.session.query(OrderEvent).filter_by(kind="refund_file_downloaded").all()
    assert len(noted) == 4 and {one.actor for one in noted} == {ANNA}
    assert "heruntergeladen (Auftrag Nr." in words(anna.get(f"/orders/{noted[0].order_id}"))


@pytest.mark.feature("C15", "K10")
def test_a_batch_is_handed_in_or_not_after_all_or_fails(merchant, shop, anna):
    first, second, third = (ready(merchant, shop) for _ in range(3))
    sent, dropped, failed = (made(merchant, row) for row in (first, second, third))
    assert anna.post(f"/repayments/bank/{sent.id}/sent").status_code == 303
    assert anna.post(f"/repayments/bank/{sent.id}/sent").status_code == 303
    assert (again(sent).status, sent.sent_by) == ("sent", ANNA)
    assert anna.post(f"/repayments/bank/{sent.id}/drop").status_code == 409
    assert anna.post(f"/repayments/bank/{dropped.id}/drop").status_code == 303
    assert (again(dropped).status, again(second).status) == ("dropped", "new")
    assert anna.post(f"/repayments/bank/{dropped.id}/file").status_code == 404
    address = f"/repayments/bank/{failed.id}"
    assert anna.post(f"{address}/fail", {"reason": ""}).status_code == 422
    assert anna.post(f"{address}/fail", {"reason": "Limit überschritten"}).status_code == 303
    assert (again(failed).status, again(third).status) == ("failed", "failed")
    assert "Limit überschritten" in words(anna.get(address))
    shown = words(anna.get("/repayments/bank"))
    assert "Eingereicht" in shown and "Nicht eingereicht" in shown and "Gescheitert" in shown


@pytest.mark.feature("C15")
def test_nobody_sends_the_repayments_of_another_merchant(app, merchant, shop, anna):
    theirs = ready(merchant, shop)
    (group,) = batches.payable(merchant.id)
    bob = member(app, make_merchant("Bobs Laden"), "bob@example.com")
    form = {"account": str(group.account.id), "group": str(group.account.id), "others": "yes",
            "last": str(theirs.id), "refund": str(theirs.id), "channel": "pain001"}  # fmt: skip
    answer = bob.post("/repayments/bank", form)
    assert answer.status_code == 409 and "Erika" not in answer.text
    assert again(theirs).status == "new" and db.session.query(RefundBatch).count() == 0


@pytest.mark.feature("C15")
def test_what_is_not_listed_goes_along_by_one_tick(merchant, shop, anna, monkeypatch):
    monkeypatch.setattr("server.dashboard.refund_batches.SHOWN", 1)
    rows = [ready(merchant, shop) for _ in range(3)]
    assert "und 2 weitere, die hier nicht stehen" in words(anna.get("/repayments/bank"))
    (group,) = batches.payable(merchant.id)
    form = {"account": str(group.account.id), "group": str(group.account.id),
            "last": str(rows[1].id), "refund": str(rows[0].id), "channel": "csv"}  # fmt: skip
    assert anna.post("/repayments/bank", form | {"others": "yes"}).status_code == 303
    # The third came after the page was shown.
    assert [again(row).status for row in rows] == ["in_process", "in_process", "new"]


def at_bank(merchant, shop, **step) -> RefundBatch:
    """A batch about which the bank asks something."""
    batch = made(merchant, ready(merchant, shop), channel="fints")
    stamp = {"since": now().isoformat(), "by": ANNA}
    batch.step, batch.dialog = step | stamp, None
    db.session.commit()
    return batch


@pytest.mark.feature("C15")
def test_what_the_bank_asks_is_shown(merchant, shop, anna):
    name = {"reference": "", "iban": OTHER_IBAN, "refund_id": None, "payee_name": None,
            "why": None, "name": "Max Beispiel"}  # fmt: skip
    results = ("close_match", "no_match", "not_possible", "unclear")
    steps = [
        ({"asks": "tan", "text": "Auftrag über 30,00", "is_decoupled": False,
          "picture": "iVBORw0KGgo=", "picture_mime": "image/png"}, "Auftrag über 30,00"),
        ({"asks": "tan", "text": "", "is_decoupled": True}, "Ich habe freigegeben"),
        ({"asks": "wait", "is_decoupled": True}, "Noch einmal fragen"),
        ({"asks": "payees", "notice": "Haftung", "checks": [name | {"result": one}
          for one in results]}, "Das Konto gehört: Max Beispiel"),
        ({"asks": "doubt"}, "Unklar, ob die Bank ihn hat"),
        ({"asks": "sending"}, "Gerade bei der Bank"),
    ]  # fmt: skip
    for step, said in steps:
        batch = at_bank(merchant, shop, **step)
        shown = anna.get(f"/repayments/bank/{batch.id}")
        assert said in words(shown)
        assert "Doch nicht einreichen" not in shown.text  # that is the conversation's to say
        picture = anna.get(f"/repayments/bank/{batch.id}/picture")
        assert picture.status_code == (200 if step.get("picture") else 404)


@pytest.mark.feature("C15")
def test_a_batch_in_doubt_is_settled_by_somebody_who_looked(merchant, shop, anna):
    batch = at_bank(merchant, shop, asks="doubt")
    address = f"/repayments/bank/{batch.id}"
    assert anna.post(f"{address}/begin").status_code == 409
    assert anna.post(f"{address}/settle", {"carried_out": "vielleicht"}).status_code == 409
    assert anna.post(f"{address}/settle", {"carried_out": "no"}).status_code == 303
    assert again(batch).status == "made" and "Noch nicht bei der Bank" in words(anna.get(address))
    assert anna.post(f"{address}/begin").status_code == 409  # this account has no access
    other = at_bank(merchant, shop, asks="doubt")
    assert (
        anna.post(f"/repayments/bank/{other.id}/settle", {"carried_out": "yes"}).status_code == 303
    )
    assert again(other).status == "sent"


@pytest.mark.feature("C15")
def test_a_tan_is_asked_for_where_none_was_typed(merchant, shop, anna):
    batch = at_bank(merchant, shop, asks="tan", text="", is_decoupled=False)
    answer = anna.post(f"/repayments/bank/{batch.id}/answer", {"tan": ""})
    assert answer.status_code == 422 and 'aria-describedby="tan-error"' in answer.text


# --- today ------------------------------------------------------------------------------------


@pytest.mark.feature("S78", "K31", "C18")
def test_today_names_what_waits_for_somebody(merchant, shop, anna):
    held(merchant, shop)
    ready(merchant, shop)
    failed = arranged(merchant, paid_order(merchant, shop), "5.00")
    refunds.mark_processed(failed, actor=ANNA, at=now())
    refunds.mark_failed(failed, "Konto erloschen", actor=ANNA, at=now())
    missing = arranged(merchant, paid_order(merchant, shop, counterparty_iban=None), "5.00")
    assert missing.status == "bank_details_missing"
    db.session.commit()
    shown = words(anna.get("/"))
    assert "1 Erstattung ist gescheitert" in shown and "1 Erstattung ist angehalten" in shown
    assert "1 Erstattung ist bereit für die Bank" in shown
    assert "wartet schon lange" not in shown
    missing.requested_at -= timedelta(days=8)
    db.session.commit()
    assert "wartet schon lange" not in words(anna.get("/")), "he was asked anew just now"
    missing.changed_at -= timedelta(days=8)
    db.session.commit()
    assert "1 Erstattung wartet schon lange auf eine Bankverbindung" in words(anna.get("/"))


@pytest.mark.feature("C15")
def test_today_reminds_of_a_file_that_nobody_handed_in(merchant, shop, anna):
    batch = made(merchant, ready(merchant, shop))
    assert "noch nicht eingereicht" not in words(anna.get("/"))
    batch.created_at -= timedelta(days=3)
    db.session.commit()
    assert "Ein Auftrag mit 1 Erstattung ist noch nicht eingereicht" in words(anna.get("/"))


# --- what the bank booked ---------------------------------------------------------------------


@pytest.mark.feature("C15", "S78")
def test_a_debit_that_was_a_repayment_is_called_one(merchant, shop, anna):
    row = ready(merchant, shop)
    debit = make_posting(merchant, "-30.00", row.reference, counterparty_name="Clara Beispiel")
    make_posting(merchant, "-9.00", "Gebühren", counterparty_name="Musterbank")
    refunds.mark_processed(row, actor="Kontor", at=now(), sent_posting_id=debit.id)
    db.session.commit()
    movements = f"/bank-accounts/{debit.account_id}/movements"
    only = words(anna.get(f"{movements}?type=refund"))
    assert "Clara Beispiel" in only and "Musterbank" not in only
    others = words(anna.get(f"{movements}?type=sent"))
    assert "Musterbank" in others and "Clara Beispiel" not in others
    shown = words(anna.get(f"/postings/{debit.id}?state=all"))
    assert "Diese Abbuchung ist eine Erstattung: 30,00 €, Erika Mustermann" in shown
