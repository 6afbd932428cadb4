"""Accounts that several merchants share: the operator's pages, the members', and the walls."""

from __future__ import annotations

import csv
import io
import re
import threading
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from lxml import etree

from server.banking import sharing
from server.banking.models import AccountMovement, BankAccount, Posting
from server.dashboard import shared_queries, words
from server.db import db, now
from server.jobs import drain_match_request
from server.merchants.models import Merchant
from server.orders import service
from server.orders.models import Order
from tests.factories import (
    AT,
    IBAN,
    make_account,
    make_merchant,
    make_order,
    make_posting,
    make_shop,
)
from tests.server.dashboard.visitor import member

PAYOUT_IBAN = "DE02500105170137075030"
OTHER_IBAN = "DE89370400440532013000"
SHARING = Path(sharing.__file__)


@pytest.fixture
def operator(app):
    row = make_merchant("Betreiber GmbH")
    row.is_operator = True
    db.session.commit()
    return row


@pytest.fixture
def shared(operator):
    account = account_of(operator)
    sharing.share_account(operator, account.id)
    db.session.commit()
    return account


@pytest.fixture
def anna(operator, shared):
    return joined(operator, shared, "Annas Antiquariat")


@pytest.fixture
def bob(operator, shared):
    return joined(operator, shared, "Bobs Bohrer")


@pytest.fixture
def desk(app, operator):
    """Somebody of the operator."""
    return member(app, operator, "op@example.org")


def joined(operator, shared, name):
    merchant = make_merchant(name, account=False)
    sharing.add_member(operator, shared.id, merchant.id)
    db.session.commit()
    return merchant


def account_of(merchant):
    return db.session.query(BankAccount).filter_by(merchant_id=merchant.id).one()


def given(posting, merchant):
    copy = sharing.pass_on(posting, merchant.id)
    db.session.commit()
    return copy


def balances(operator, shared):
    return {one.merchant.name: one.balance for one in sharing.members(operator, shared.id)}


def pays_to(merchant, iban=PAYOUT_IBAN, name="Anna Beispiel"):
    sharing.set_payout(merchant.id, account_of(merchant).id, iban, name)
    db.session.commit()


def seen(page):
    found = re.search(r'name="seen" value="(\w+)"', page.text)
    assert found
    return found[1]


def text_of(page):
    return " ".join(re.sub(r"<[^>]*>", " ", page.text).split()).replace("\xa0", " ")


# --- the operator -----------------------------------------------------------------------------


@pytest.mark.feature("S20")
def test_an_account_is_shared_after_a_question(desk, operator):
    account = account_of(operator)
    assert "Nur für Sie" in desk.get("/shared-accounts").text
    assert desk.get(f"/shared-accounts/{account.id}").status_code == 404
    asked = desk.get(f"/shared-accounts/{account.id}/share")
    assert "lässt sich nicht zurücknehmen" in asked.text
    desk.post(f"/shared-accounts/{account.id}/share")
    assert "Noch kein Händler" in desk.get(f"/shared-accounts/{account.id}").text


def test_an_account_without_holder_is_not_shared(desk, operator):
    account = account_of(operator)
    account.creditor_name = None
    db.session.commit()
    answer = desk.post(f"/shared-accounts/{account.id}/share")
    assert answer.status_code == 422 and "fehlt die IBAN oder der Kontoinhaber" in answer.text
    assert not account_of(operator).is_shared


@pytest.mark.feature("S20")
def test_the_list_says_what_is_owed_and_what_waits(desk, operator, shared, anna, bob):
    given(make_posting(operator, "1200.50", "eins"), anna)
    make_posting(operator, "7.00", "ohne Nummer")
    page = text_of(desk.get("/shared-accounts"))
    assert "Guthaben der Händler 1.200,50 €" in page
    assert "Händler 2" in page and "1 Umsatz" in page


@pytest.mark.feature("S20")
def test_members_are_found_by_name_or_number_added_and_removed(desk, operator, shared, app):
    merchant = make_merchant("Annas Antiquariat", account=False)
    order = make_order(make_shop(merchant))
    path = f"/shared-accounts/{shared.id}"
    for typed in ("antiquar", str(merchant.id)):
        assert f'value="{merchant.id}"' in desk.get(f"{path}?find={typed}").text
    assert "Kein Händler mit diesem Namen" in desk.get(f"{path}?find=%25").text
    desk.post(f"{path}/members", {"merchant": str(merchant.id)})
    assert account_of(merchant).shared_account_id == shared.id
    from server.mail.models import Mail

    mail = db.session.query(Mail).filter_by(order_id=order.id).one()
    assert mail.facts["iban"].replace(" ", "") == IBAN, "who waited is asked for money now"
    assert "Kein Händler mit diesem Namen" in desk.get(f"{path}?find=antiquar").text
    asked = desk.get(f"{path}/members/{merchant.id}/remove")
    assert "Annas Antiquariat von" in asked.text
    desk.post(f"{path}/members/{merchant.id}/remove")
    assert not account_of(merchant).is_payee
    page = desk.get(path)
    assert "entfernt" in page.text
    assert f'value="{merchant.id}"' in desk.get(f"{path}?find=antiquar").text, "may come back"


def test_wrong_merchants_are_refused_in_words(desk, operator, shared):
    own = make_merchant("Mit eigenem Konto")
    path = f"/shared-accounts/{shared.id}"
    for typed, said in (
        (str(operator.id), "Diesen Händler gibt es nicht"),
        ("999999", "Diesen Händler gibt es nicht"),
        ("Anna", "Diesen Händler gibt es nicht"),
        (str(own.id), "führt das Konto schon als sein eigenes"),
    ):
        answer = desk.post(f"{path}/members", {"merchant": typed})
        assert answer.status_code == 422 and said in answer.text, typed


@pytest.mark.feature("K50")
def test_what_is_nobodys_is_given_to_the_likely_merchant_in_one_click(
    desk, operator, shared, anna, bob
):
    order = make_order(make_shop(anna), number="AA-1001", at=AT, total="19.90")
    make_order(make_shop(bob), number="BB-1", at=AT, total="50.00")
    posting = make_posting(operator, "15.00", "AA-1001", needs_match=False)
    page = desk.get(f"/shared-accounts/{shared.id}").text
    choice = f"Annas Antiquariat ({anna.id})"
    assert f'<option value="{choice}" selected>' in page and "wahrscheinlich" in page
    form = {f"to-{posting.id}": choice, "one": str(posting.id)}
    answer = desk.post(f"/shared-accounts/{shared.id}/give", form)
    assert answer.location.endswith("done=given&n=1")
    assert "1 Umsatz weitergegeben" in desk.get(answer.location).text
    drain_match_request()
    db.session.expire_all()
    assert balances(operator, shared)["Annas Antiquariat"] == Decimal(15)
    assert db.session.get(Order, order.id).payment_status in ("unpaid", "partially_paid")
    page = text_of(desk.get(f"/shared-accounts/{shared.id}"))
    assert "Jeder Umsatz gehört jemandem" in page


@pytest.mark.feature("K50")
def test_several_are_given_at_once_and_only_what_was_pressed(desk, operator, shared, anna, bob):
    first, second, third = (make_posting(operator, f"{n}.00", f"Text {n}") for n in (1, 2, 3))
    both = {f"to-{first.id}": str(anna.id), f"to-{second.id}": f"Bobs Bohrer ({bob.id})"}
    path = f"/shared-accounts/{shared.id}/give"
    desk.post(path, {**both, f"to-{third.id}": "", "one": str(second.id)})
    assert balances(operator, shared) == {"Annas Antiquariat": 0, "Bobs Bohrer": 2}
    desk.post(path, {f"to-{first.id}": str(anna.id), f"to-{third.id}": str(anna.id)})
    assert balances(operator, shared) == {"Annas Antiquariat": 4, "Bobs Bohrer": 2}


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({}, "Wählen Sie zuerst, wem"),
        ({"to-{mine}": "Irgendwer"}, "der auf diesem Konto ist"),
        ({"to-{mine}": "{stranger}"}, "der auf diesem Konto ist"),
        ({"to-{theirs}": "{anna}"}, "gibt es auf diesem Konto nicht"),
        ({"to-{mine}": "{anna}", "to-{theirs}": "{anna}"}, "Es ist nichts geschehen"),
        ({"to-{taken}": "{anna}"}, "inzwischen vergeben"),
    ],
)
def test_giving_is_all_or_nothing_and_never_of_others(
    desk, operator, shared, anna, bob, form, said
):
    stranger = make_merchant("Fremd")
    ids = {
        "mine": make_posting(operator, "1.00", "a").id,
        "theirs": make_posting(stranger, "2.00", "b").id,
        "taken": make_posting(operator, "3.00", "c").id,
        "anna": anna.id,
        "stranger": stranger.id,
    }
    given(db.session.get(Posting, ids["taken"]), bob)
    filled = {name.format(**ids): value.format(**ids) for name, value in form.items()}
    answer = desk.post(f"/shared-accounts/{shared.id}/give", filled)
    assert answer.status_code == 422 and said in answer.text
    assert balances(operator, shared) == {"Annas Antiquariat": 0, "Bobs Bohrer": 3}


def test_a_return_may_be_given_and_what_is_settled_is_not_offered(desk, operator, shared, anna):
    make_posting(operator, "-5.00", "zurück", is_return=True)
    make_posting(operator, "-80.00", "Miete")
    make_posting(operator, "4.00", "angekündigt", is_pending=True, is_open=False)
    page = text_of(desk.get(f"/shared-accounts/{shared.id}"))
    assert "Noch niemandes 1" in page and "−5,00 €" in page and "80,00" not in page


def test_with_many_members_a_merchant_is_typed(desk, operator, shared, anna, monkeypatch):
    monkeypatch.setattr("server.dashboard.shared_accounts.MEMBERS_IN_A_LIST", 0)
    posting = make_posting(operator, "1.00", "a")
    page = desk.get(f"/shared-accounts/{shared.id}").text
    assert f'<datalist id="all-members"><option value="Annas Antiquariat ({anna.id})">' in page
    form = {f"to-{posting.id}": f"Annas Antiquariat ({anna.id})"}
    desk.post(f"/shared-accounts/{shared.id}/give", form)
    assert balances(operator, shared) == {"Annas Antiquariat": 1}


@pytest.mark.feature("K50")
def test_what_was_passed_on_is_taken_back_for_good(app, desk, operator, shared, anna, bob):
    make_order(make_shop(anna), number="AA-1001", at=AT)
    posting = make_posting(operator, "19.90", "AA-1001")
    copy = given(posting, anna)
    page = desk.get(f"/shared-accounts/{shared.id}").text
    assert "Zuletzt weitergegeben" in page
    desk.post(f"/shared-accounts/{shared.id}/take-back", {"posting": str(posting.id)})
    for _ in range(3):
        drain_match_request()
    db.session.expire_all()
    assert db.session.get(Posting, posting.id).is_open, "Kontor does not give it away again"
    assert balances(operator, shared) == {"Annas Antiquariat": 0, "Bobs Bohrer": 0}
    # Nor can the merchant bring the money back that was never theirs.
    visitor = member(app, anna)
    visitor.post(f"/postings/{copy.id}/unignore")
    (order,) = db.session.query(Order).all()
    visitor.post(f"/postings/{copy.id}/assign", {f"amount-{order.id}": "19,90"})
    db.session.expire_all()
    assert balances(operator, shared)["Annas Antiquariat"] == 0
    assert db.session.get(Order, order.id).payment_status == "unpaid"
    assert "gehört zu einem anderen Händler" in visitor.get(f"/postings/{copy.id}").text
    assert "Noch keine Bewegung" in visitor.get(
        f"/bank-accounts/{account_of(anna).id}/movements"
    ).text  # fmt: skip


def test_what_the_merchant_has_assigned_is_not_taken_back(desk, operator, shared, anna):
    order = make_order(make_shop(anna), number="AA-1001", at=AT)
    posting = make_posting(operator, "19.90", "AA-1001")
    copy = given(posting, anna)
    service.assign(anna.id, copy.id, [(order.id, Decimal("19.90"))], actor="", at=AT)
    db.session.commit()
    path = f"/shared-accounts/{shared.id}"
    assert f'name="posting" value="{posting.id}"' not in desk.get(path).text
    answer = desk.post(f"{path}/take-back", {"posting": str(posting.id)})
    assert answer.status_code == 422 and "schon einer Bestellung zugeordnet" in answer.text
    for wrong in ("", "x", "999999"):
        assert desk.post(f"{path}/take-back", {"posting": wrong}).status_code == 422


# --- movements and payouts ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "amount", "booked"),
    [
        ("fee", "12,50", ("fee", Decimal("-12.50"))),
        ("refund", "3", ("refund", Decimal(-3))),
        ("payout", "1.000,00", ("payout", Decimal(-1000))),
        ("credit", "0,01", ("correction", Decimal("0.01"))),
        ("debit", "0.01", ("correction", Decimal("-0.01"))),
    ],
)
def test_a_movement_is_booked_with_the_sign_of_its_kind(
    desk, operator, shared, anna, kind, amount, booked
):
    path = f"/shared-accounts/{shared.id}/movement"
    assert f'value="Annas Antiquariat ({anna.id})" selected' in desk.get(
        f"{path}?merchant={anna.id}"
    ).text  # fmt: skip
    form = {"merchant": str(anna.id), "kind": kind, "amount": amount, "reference": " Gebühr  März ",
            "on": words.today().isoformat()}  # fmt: skip
    assert desk.post(path, form).status_code == 303
    row = db.session.query(AccountMovement).one()
    assert (row.kind, row.amount) == booked
    assert (row.reference, row.created_by) == ("Gebühr März", "op@example.org")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"merchant": ""}, "merchant"),
        ({"merchant": "{stranger}"}, "merchant"),
        ({"kind": "gift"}, "kind"),
        ({"amount": "viel"}, "amount"),
        ({"amount": "-5"}, "amount"),
        ({"amount": "0"}, "amount"),
        ({"amount": "99999999999"}, "amount"),
        ({"on": "gestern"}, "on"),
        ({"on": "1999-01-01"}, "on"),
        ({"reference": "KONTOR-1-20260101000000 x y"}, "reference"),
    ],
)
def test_a_wrong_movement_is_shown_again_with_the_field_marked(
    desk, operator, shared, anna, wrong, field
):
    stranger = make_merchant("Fremd")
    form = {"merchant": str(anna.id), "kind": "fee", "amount": "5", "reference": "Silber",
            "on": words.today().isoformat()}  # fmt: skip
    form |= {name: value.format(stranger=stranger.id) for name, value in wrong.items()}
    answer = desk.post(f"/shared-accounts/{shared.id}/movement", form)
    assert answer.status_code == 422
    marked = re.search(rf'id="{field}"[^>]*aria-invalid="true"', answer.text)
    assert marked and f'id="{field}-error"' in answer.text
    assert db.session.query(AccountMovement).count() == 0


@pytest.mark.feature("K50")
def test_a_payout_is_shown_made_once_and_made_again_byte_for_byte(
    desk, operator, shared, anna, bob
):
    given(make_posting(operator, "100.00", "eins"), anna)
    given(make_posting(operator, "7.00", "zwei"), bob)
    pays_to(anna)
    path = f"/shared-accounts/{shared.id}/payout"
    preview = desk.get(path)
    said = text_of(preview)
    assert "1 Überweisung · 100,00 €" in said and "noch nie" in said
    assert re.search("Nicht in der Datei.*Bobs Bohrer Auszahlungskonto fehlt", said)
    form = {"seen": seen(preview), "on": words.today().isoformat()}
    made = desk.post(path, form)
    assert made.status_code == 200 and made.mimetype == "application/xml"
    assert made.headers["Content-Disposition"].startswith("attachment; filename=KONTOR-")
    tree = etree.fromstring(made.data)
    told = {e.tag.rpartition("}")[2]: e.text for e in tree.iter() if (e.text or "").strip()}
    assert (told["InstdAmt"], told["NbOfTxs"]) == ("100.00", "1")
    assert balances(operator, shared) == {"Annas Antiquariat": 0, "Bobs Bohrer": 7}
    # The button pressed once more, or the page sent again: nothing is paid twice.
    again = desk.post(path, form)
    assert again.status_code == 422 and "es ist nichts ausgezahlt" in again.text
    assert db.session.query(AccountMovement).count() == 1
    # The file stays, and is the same even if the merchant's account is another one now.
    pays_to(anna, OTHER_IBAN, "Jemand anders")
    link = re.search(r'href="(/shared-accounts/\d+/payouts/[^"]+)"',
                     desk.get(f"/shared-accounts/{shared.id}").text)  # fmt: skip
    assert link
    assert desk.get(link[1]).data == made.data


def test_what_changed_since_the_preview_is_not_paid_out(desk, operator, shared, anna):
    given(make_posting(operator, "10.00", "a"), anna)
    pays_to(anna)
    path = f"/shared-accounts/{shared.id}/payout"
    form = {"seen": seen(desk.get(path)), "on": words.today().isoformat()}
    pays_to(anna, OTHER_IBAN)
    assert desk.post(path, form).status_code == 422
    given(make_posting(operator, "5.00", "b"), anna)
    assert desk.post(path, form).status_code == 422
    assert db.session.query(AccountMovement).count() == 0


@pytest.mark.parametrize("on", ["", "2020-01-01", "2999-01-01", "31.12.2026"])
def test_a_payout_needs_a_day_that_banks_take(desk, operator, shared, anna, on):
    given(make_posting(operator, "10.00", "a"), anna)
    pays_to(anna)
    path = f"/shared-accounts/{shared.id}/payout"
    answer = desk.post(path, {"seen": seen(desk.get(path)), "on": on})
    assert answer.status_code == 422 and 'id="on-error"' in answer.text
    assert db.session.query(AccountMovement).count() == 0


def test_a_payout_that_cannot_be_written_says_so_and_books_nothing(desk, operator, shared, anna):
    given(make_posting(operator, "10.00", "a"), anna)
    pays_to(anna)
    shared.creditor_name = "Оператор"
    db.session.commit()
    path = f"/shared-accounts/{shared.id}/payout"
    form = {"seen": seen(desk.get(path)), "on": words.today().isoformat()}
    answer = desk.post(path, form)
    assert answer.status_code == 422 and 'role="alert"' in answer.text
    assert db.session.query(AccountMovement).count() == 0
    shared.currency = "CHF"
    db.session.commit()
    assert "nur in Euro" in desk.get(path).text


def test_nothing_to_pay_out_is_said(desk, operator, shared, anna):
    assert "Nichts auszuzahlen" in desk.get(f"/shared-accounts/{shared.id}/payout").text


def test_a_file_of_another_account_or_of_nobody_is_not_there(desk, operator, shared, anna):
    given(make_posting(operator, "10.00", "a"), anna)
    pays_to(anna)
    sharing.pay_out(operator, shared.id, at=now(), on=date(2026, 3, 6), actor="op")
    other = make_account(operator, OTHER_IBAN)
    sharing.share_account(operator, other.id)
    db.session.commit()
    (made,) = sharing.payouts(operator, shared.id, limit=5)
    assert (
        desk.get(f"/shared-accounts/{shared.id}/payouts/{made.message_id}.xml").status_code == 200
    )
    for account, name in (
        (other, made.message_id),
        (shared, f"{made.message_id}0"),
        (shared, "KONTOR-%"),
        (shared, f"KONTOR-{shared.id}-20200101000000"),
    ):
        assert desk.get(f"/shared-accounts/{account.id}/payouts/{name}.xml").status_code == 404


@pytest.mark.real_commits
def test_two_payouts_at_the_same_moment_pay_once(app, operator, shared, anna):
    given(make_posting(operator, "10.00", "a"), anna)
    pays_to(anna)
    ids, results = (operator.id, shared.id), []
    gate = threading.Barrier(4)

    def pay():
        with app.app_context():
            merchant = db.session.get_one(Merchant, ids[0])
            gate.wait()
            try:
                sharing.pay_out(merchant, ids[1], at=now(), on=date(2026, 3, 6), actor="op")
                db.session.commit()
                results.append("paid")
            except ValueError as refused:
                db.session.rollback()
                results.append(str(refused))
            finally:
                db.session.remove()

    threads = [threading.Thread(target=pay) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["no_payments"] * 3 + ["paid"]
    assert db.session.query(AccountMovement).count() == 1


def test_a_fraction_of_a_cent_stays_and_no_more_than_is_owed_is_paid(operator, shared, anna):
    given(make_posting(operator, "10.009", "a"), anna)
    pays_to(anna)
    (line,) = sharing.payout_plan(operator, shared.id)
    assert line.amount == Decimal("10.00")


@pytest.mark.parametrize("name", ["", " ", "x" * 141, "Пётр"])
def test_a_payout_account_needs_a_name_that_banks_can_write(anna, name):
    with pytest.raises(ValueError, match="payout_name"):
        sharing.set_payout(anna.id, account_of(anna).id, PAYOUT_IBAN, name)


def test_every_message_key_of_sharing_has_a_text():
    keys = set(re.findall(r'ValueError\("([a-z_]+)"\)', SHARING.read_text("utf-8")))
    assert len(keys) > 10
    assert {
        key for key in keys - {"account_unknown"} if not words.has_text(f"problem.{key}")
    } == set()


# --- the member -------------------------------------------------------------------------------


@pytest.fixture
def moved(operator, shared, anna, bob):
    """What Anna and Bob were given, and what was paid out to Anna."""
    given(make_posting(operator, "60.50", "Bestellung AA-1", booking_date=date(2026, 3, 2)), anna)
    given(make_posting(operator, "-10.00", "zurück", booking_date=date(2026, 3, 3), is_return=True),
          anna)  # fmt: skip
    given(make_posting(operator, "7.00", "Bohrfutter", counterparty_name="Max Muster"), bob)
    make_posting(operator, "99.00", "Niemandes", counterparty_name="Nora Niemand")
    fee = {"kind": "fee", "reference": "=Gebühr März", "on": date(2026, 3, 4), "actor": "op"}
    sharing.add_movement(operator, shared.id, anna.id, amount=Decimal("-0.50"), **fee)
    pays_to(anna)
    sharing.pay_out(operator, shared.id, at=now(), on=date(2026, 3, 6), actor="op")
    db.session.commit()
    return f"/bank-accounts/{account_of(anna).id}"


@pytest.mark.feature("K52")
def test_a_member_sees_balance_and_movements_of_their_own_only(app, moved, anna):
    page = member(app, anna).get(f"{moved}/movements")
    said = text_of(page)
    assert "Ihr Guthaben 0,00 € Das schuldet Ihnen Betreiber GmbH." in said
    rows = re.findall(r"<tr>.*?</tr>", page.text, re.S)[1:]
    told = [" ".join(re.sub(r"<[^>]*>", " ", row).split()).replace("\xa0", " ") for row in rows]
    assert len(told) == 4
    assert told[0].startswith("Auszahlung 6.3. An Anna Beispiel, DE02 5001")
    assert told[0].endswith("−50,00 € 0,00 €")
    assert told[1].endswith("−0,50 € 50,00 €")
    assert told[2].startswith("Rückgabe") and told[2].endswith("−10,00 € 50,50 €")
    assert told[3].startswith("Eingang") and told[3].endswith("60,50 € 60,50 €")
    assert "4 Bewegungen · Eingang 60,50 € · Ausgang −60,50 € · Summe 0,00 €" in said
    assert not {"Muster", "Niemand", "Bohr", "KONTOR-"} & set(re.findall(r"\w+-?", said))
    link = re.search(r'href="(/postings/\d+[^"]*)"', page.text)
    assert link and member(app, anna, "zwei@example.org").get(link[1]).status_code == 200


@pytest.mark.feature("K52")
def test_movements_are_narrowed_in_the_url(app, moved, anna):
    visitor = member(app, anna)
    for query, count in (
        ("type=fee", 1),
        ("type=return", 1),
        ("type=received", 1),
        ("from=2026-03-03&to=2026-03-04", 2),
        ("text=gebühr", 1),
        ("text=AA-1", 1),
        ("text=erika+bestellung", 1),
        ("text=%25", 0),
        ("type=sent", 4),  # not a kind of this list: left out
        ("type=fee&from=2026-03-05", 0),
        ("from=gestern&type=<b>", 4),
        ("after=xxx", 4),
    ):
        said = text_of(visitor.get(f"{moved}/movements?{query}"))
        expected = {0: "Nichts gefunden", 1: "1 Bewegung "}.get(count, f"{count} Bewegungen")
        assert expected in said, query


@pytest.mark.feature("K52")
def test_pages_follow_one_another_and_hold_every_movement_once(app, operator, anna, shared,
                                                               monkeypatch):  # fmt: skip
    account = account_of(anna)
    days = [date(2026, 3, 1), None, date(2026, 3, 1), date(2026, 2, 1), None, date(2026, 3, 1)]
    for at, day in enumerate(days):
        given(make_posting(operator, f"{at + 1}.00", "x", booking_date=day), anna)
    fee = {"kind": "fee", "reference": "f", "on": date(2026, 3, 1), "actor": "op"}
    sharing.add_movement(operator, shared.id, anna.id, amount=Decimal(-1), **fee)
    db.session.commit()
    wanted = shared_queries.MovementFilter()
    whole, _ = shared_queries.movement_page(account, wanted)
    assert [row.booked_on for row in whole][-3:] == [date(2026, 2, 1), None, None]
    pieces, after, more = [], None, True
    while more:
        rows, more = shared_queries.movement_page(account, wanted, after, 2)
        pieces += rows
        after = rows[-1].cursor
    assert pieces == whole and len(whole) == 7
    assert list(shared_queries.all_movements(account, wanted)) == whole
    running = Decimal(0)
    for row in reversed(whole):
        running += row.amount
        assert row.balance == running
    monkeypatch.setattr(shared_queries.movement_page, "__defaults__", (None, 3))
    visitor, path, shown = member(app, anna), f"/bank-accounts/{account.id}/movements", 0
    while path:
        page = visitor.get(path).text
        shown += len(re.findall(r"<tr>", page)) - 1
        found = re.search(r'rel="next" href="([^"]+)"', page)
        path = found[1].replace("&amp;", "&") if found else ""
    assert shown == 7


@pytest.mark.feature("K52")
def test_movements_are_exported_as_filtered_and_formulas_stay_text(app, moved, anna):
    visitor = member(app, anna)
    answer = visitor.get(f"{moved}/movements/export.csv?type=fee")
    assert "attachment" in answer.headers["Content-Disposition"]
    head, row = csv.reader(io.StringIO(answer.data.decode("utf-8-sig")), delimiter=";")
    assert head[:5] == ["Tag", "Art", "Betrag", "Währung", "Guthaben danach"]
    assert row == ["2026-03-04", "Gebühr", "-0,50", "EUR", "50,00", "", "", "'=Gebühr März"]
    whole = visitor.get(f"{moved}/movements/export.csv").data.decode("utf-8-sig")
    assert len(whole.splitlines()) == 5 and "Bohrfutter" not in whole
    assert visitor.get(f"{moved}/movements/export.xlsx").data.startswith(b"PK")


def test_an_export_that_is_too_large_is_refused_in_words(app, moved, anna, monkeypatch):
    monkeypatch.setattr("server.dashboard.export.MOST_ROWS", 3)
    visitor = member(app, anna)
    for ending in ("csv", "xlsx"):
        answer = visitor.get(f"{moved}/movements/export.{ending}")
        assert answer.status_code == 422 and "Grenzen Sie den Zeitraum ein" in answer.text


@pytest.mark.feature("K50")
def test_the_payout_account_is_named_and_changed_by_the_member(app, anna, shared):
    account = account_of(anna)
    visitor, path = member(app, anna), f"/bank-accounts/{account.id}"
    assert f'href="{path}/movements"' in visitor.get(path).text
    assert "Solange wird Ihr Guthaben nicht ausgezahlt" in visitor.get(f"{path}/movements").text
    typed = {"payout_iban": "DE02 5001 0517 0137 0750 30", "payout_name": " Anna  Beispiel "}
    assert visitor.post(f"{path}/payout-account", typed).status_code == 303
    db.session.expire_all()
    assert (account.payout_iban, account.payout_name) == (PAYOUT_IBAN, "Anna Beispiel")
    assert "noch nie" in visitor.get(f"{path}/movements").text
    for wrong, field in (
        ({"payout_iban": "DE00 1"}, "payout_iban"),
        ({"payout_name": ""}, "payout_name"),
        ({"payout_name": "Пётр"}, "payout_name"),
    ):
        answer = visitor.post(f"{path}/payout-account", typed | wrong)
        assert answer.status_code == 422 and f'id="{field}-error"' in answer.text
        db.session.expire_all()
        assert account.payout_iban == PAYOUT_IBAN


@pytest.mark.feature("K52")
def test_an_account_of_ones_own_has_its_list_too(app):
    merchant = make_merchant()
    other = make_account(merchant, OTHER_IBAN)
    make_posting(merchant, "10.00", "a", booking_date=date(2026, 3, 1))
    make_posting(merchant, "-4.00", "Miete", booking_date=date(2026, 3, 2))
    make_posting(merchant, "5.00", "angekündigt", is_pending=True)
    make_posting(merchant, "6.00", "Summe", is_replaced=True)
    make_posting(merchant, "7.00", "doppelt", ignored_at=AT, ignored_because="double")
    make_posting(merchant, "8.00", "ignoriert", ignored_at=AT, ignored_because="person")
    account = db.session.query(BankAccount).filter_by(iban=IBAN).one()
    visitor, path = member(app, merchant), f"/bank-accounts/{account.id}"
    said = text_of(visitor.get(f"{path}/movements"))
    assert "3 Bewegungen · Eingang 18,00 € · Ausgang −4,00 € · Summe 14,00 €" in said
    assert "Ihr Guthaben" not in said and "Auszahlungskonto" not in said
    assert "1 Bewegung " in text_of(visitor.get(f"{path}/movements?type=sent"))
    there = visitor.get(f"{path}/movements?account={other.id}&type=sent")
    assert there.location == f"/bank-accounts/{other.id}/movements?type=sent"
    assert "Noch keine Bewegung" in visitor.get(f"/bank-accounts/{other.id}/movements").text
    refused = visitor.post(f"{path}/payout-account")
    assert refused.status_code == 422 and "ist kein Sammelkonto" in refused.text
    head = visitor.get(f"{path}/movements/export.csv").text.splitlines()[0]
    assert "Guthaben" not in head


# --- walls ------------------------------------------------------------------------------------


def test_only_an_operator_has_these_pages(app, operator, shared, anna):
    given(make_posting(operator, "10.00", "a"), anna)
    pays_to(anna)
    sharing.pay_out(operator, shared.id, at=now(), on=date(2026, 3, 6), actor="op")
    (made,) = sharing.payouts(operator, shared.id, limit=1)
    stranger = make_merchant("Zweiter Betreiber")
    stranger.is_operator = True
    db.session.commit()
    visitors = [member(app, anna), member(app, stranger, "zwei@example.org")]
    path, values = f"/shared-accounts/{shared.id}", {"merchant": str(anna.id)}
    routes = [rule for rule in app.url_map.iter_rules() if "shared_accounts" in rule.endpoint]
    assert len(routes) >= 13
    for rule in routes:
        ids = {"account_id": shared.id, "merchant_id": anna.id, "message_id": made.message_id}
        url = app.url_map.bind("localhost").build(
            rule.endpoint, {name: ids[name] for name in rule.arguments}
        )
        for visitor in visitors if rule.arguments else visitors[:1]:
            for method in rule.methods & {"GET", "POST"}:
                answer = visitor.get(url) if method == "GET" else visitor.post(url, values)
                assert answer.status_code == 404, (method, url)
                assert "Betreiber GmbH" not in answer.text
    assert "Sammelkonten" not in visitors[0].get("/account").text
    assert "Sammelkonten" in visitors[1].get("/account").text
    # A member's own row is no account of the operator's either.
    own = account_of(anna).id
    assert member(app, operator, "op@example.org").get(f"/shared-accounts/{own}").status_code == 404
    assert visitors[0].get(path).status_code == 404


def test_movements_of_others_are_not_there(app, moved, anna, bob, operator):
    for number, merchant in enumerate((bob, operator)):
        visitor = member(app, merchant, f"{number}@example.org")
        for path in ("/movements", "/movements/export.csv", "/movements/export.xlsx"):
            assert visitor.get(moved + path).status_code == 404
        typed = {"payout_iban": OTHER_IBAN, "payout_name": "Bob"}
        assert visitor.post(f"{moved}/payout-account", typed).status_code == 404
    db.session.expire_all()
    assert account_of(anna).payout_iban == PAYOUT_IBAN


def test_forms_without_their_token_change_nothing(app, desk, operator, shared, anna, moved):
    visitor = member(app, anna)
    before = db.session.query(AccountMovement).count()
    for client, path in (
        (desk.client, f"/shared-accounts/{shared.id}/payout"),
        (desk.client, f"/shared-accounts/{shared.id}/movement"),
        (visitor.client, f"{moved}/payout-account"),
    ):
        answer = client.post(path, data={}, headers={"Origin": "http://localhost"})
        assert answer.status_code == 403
    assert db.session.query(AccountMovement).count() == before
