"""No posting twice, none lost: whatever files tell of the same money, in whatever order."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import permutations
from threading import Barrier, Thread

import pytest

from server.banking.intake import StatementImport
from server.banking.models import (
    AccountDay,
    BankAccount,
    Posting,
    PostingAlias,
    Statement,
    StatementPeriod,
)
from server.banking.service import retry_statement, store_statement
from server.db import db, now
from server.jobs import drain_match_request, drain_statement
from server.orders.models import Order, Suggestion
from server.orders.service import NotPossible, assign, decide_duplicate
from tests.bank_files import KINDS, Paid, batch, camt, csv, mt940, write
from tests.factories import IBAN, make_account, make_merchant, make_order, make_shop

PAID = (
    Paid(end_to_end_id="E2E-4711"),
    Paid("35.00", "Rechnung 2002, danke", "Max Beispiel", "DE02120300000000202051"),
    Paid("-12.50", "Rueckzahlung 77", "Lieferant GmbH", "DE02500105170137075030"),
    Paid(
        "19.90",
        "Ein langer Text, den die Bank nach 27 Zeichen mitten im Wort zerschneidet 1003",
        "Roswitha Freifrau von und zu Langenhausen-Beispielstein",
        "DE88100900001234567892",
    ),
)
REFERENCES = (
    "2026030500000001XYZ",
    "2026030500000002XYZ",
    "2026030500000003XYZ",
    "20260305000004AB",
)
REFERENCED = tuple(replace(p, reference=r) for p, r in zip(PAID, REFERENCES, strict=True))


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def bring(merchant):
    """A delivery, read to its end."""

    def bring(content, size=500, **over):
        statement = store_statement(merchant.id, "f", content, uploaded_by="Anna", **over)
        importing = StatementImport(statement)
        while importing.step(size):
            db.session.commit()
        db.session.commit()
        return statement

    return bring


def postings():
    db.session.expire_all()
    return db.session.query(Posting).order_by(Posting.id).all()


def total():
    return sum((row.amount for row in postings()), Decimal(0))


def doubtful():
    return [row for row in postings() if row.duplicate_of_id is not None]


# --- the same money ----------------------------------------------------------------------------


@pytest.mark.feature("K46", "C4")
@pytest.mark.parametrize(("first", "second"), list(permutations(KINDS, 2)))
@pytest.mark.parametrize("paid", [PAID, REFERENCED], ids=["plain", "with bank references"])
def test_the_same_payments_in_two_kinds_of_files_are_one(bring, first, second, paid):
    bring(write(first, *paid))
    told = bring(write(second, *paid))
    assert (told.postings_new, told.postings_known, len(postings())) == (0, 4, 4)
    assert (doubtful(), total()) == ([], Decimal("62.30"))
    again = bring(write(second, *paid))
    assert (again.postings_new, again.postings_known, len(postings())) == (0, 4, 4)


def test_all_five_kinds_in_any_order_and_in_slices_of_one(bring):
    for kind in (*KINDS, *reversed(KINDS)):
        bring(write(kind, *REFERENCED), size=1)
    assert (len(postings()), doubtful()) == (4, [])


@pytest.mark.feature("K46")
@pytest.mark.parametrize(("first", "second"), list(permutations(KINDS, 2)))
def test_two_honest_equal_payments_stay_two(bring, first, second):
    twice = (PAID[0], PAID[0])
    bring(write(first, *twice))
    assert len(postings()) == 2
    bring(write(second, *twice))
    assert (len(postings()), doubtful()) == (2, [])


@pytest.mark.parametrize(("first", "second"), list(permutations(KINDS, 2)))
def test_the_second_of_two_equal_payments_comes_with_the_later_file(bring, first, second):
    bring(write(first, PAID[0]))
    told = bring(write(second, PAID[0], PAID[0]))
    assert (told.postings_new, told.postings_known) == (1, 1)
    assert (len(postings()), total()) == (2, Decimal("39.80"))


def test_a_number_inside_a_longer_one_is_not_the_same_text(bring):
    bring(csv(Paid(text="Bestellung 100")))
    bring(mt940(Paid(text="Bestellung 1001")))
    assert (len(postings()), len(doubtful())) == (2, 1)


def test_what_the_first_file_did_not_tell_is_filled_in(bring):
    bare = csv(Paid(iban="", name="Erika Mustermann"))
    bring(bare)
    assert postings()[0].counterparty_iban is None
    bring(camt("camt.053", replace(PAID[0], reference="2026030500000001XYZ")))
    (row,) = postings()
    assert (row.counterparty_iban, row.end_to_end_id) == (PAID[0].iban, "E2E-4711")
    assert (row.bank_reference, row.source) == ("2026030500000001XYZ", "CSV")
    assert db.session.query(PostingAlias).count() == 1


def test_two_accounts_never_share_a_posting(bring):
    other = "DE75512108001245126199"
    bring(camt("camt.053", PAID[0]))
    bring(camt("camt.053", PAID[0], iban=other))
    assert [row.amount for row in postings()] == [Decimal("19.90")] * 2


def test_two_currencies_of_one_iban_are_two_accounts(bring, merchant):
    bring(camt("camt.053", PAID[0]))
    bring(camt("camt.053", PAID[0]).replace(b'Ccy="EUR"', b'Ccy="CHF"'))
    accounts = db.session.query(BankAccount).filter_by(merchant_id=merchant.id).all()
    assert sorted(row.currency for row in accounts) == ["CHF", "EUR"]
    assert len({row.account_id for row in postings()}) == 2


# --- what only looks the same ------------------------------------------------------------------


@pytest.fixture
def pair(bring):
    """A payment, and one that looks like it, told by another kind of file."""
    bring(camt("camt.053", Paid(text="Bestellung 1001")))
    told = bring(mt940(Paid(text="Rechnung 5500")))
    assert told.postings_doubtful == 1
    return postings()


@pytest.mark.feature("K46")
def test_what_looks_the_same_is_linked_and_not_assigned_by_itself(merchant, pair):
    first, second = pair
    assert second.duplicate_of_id == first.id
    shop = make_shop(merchant)
    one, two = make_order(shop, number="1001"), make_order(shop, number="5500")
    drain_match_request()
    db.session.expire_all()
    assert [db.session.get(Order, o.id).payment_status for o in (one, two)] == ["paid", "unpaid"]
    (suggestion,) = db.session.query(Suggestion).all()
    assert (suggestion.posting_id, suggestion.vetoes) == (second.id, ["possible_duplicate"])


@pytest.mark.feature("K46")
def test_a_person_says_that_it_is_another_payment(merchant, pair):
    order = make_order(make_shop(merchant), number="5500")
    drain_match_request()
    decide_duplicate(merchant.id, pair[1].id, is_same=False, actor="Anna", at=now())
    db.session.commit()
    drain_match_request()
    db.session.expire_all()
    assert (db.session.get(Order, order.id).payment_status, doubtful()) == ("paid", [])


@pytest.mark.feature("K46")
def test_a_person_says_that_it_is_the_same_payment(merchant, pair, bring):
    decide_duplicate(merchant.id, pair[1].id, is_same=True, actor="Anna", at=now())
    db.session.commit()
    row = postings()[1]
    assert (row.is_open, row.ignored_because, row.ignored_by) == (False, "duplicate", "Anna")
    told = bring(mt940(Paid(text="Rechnung 5500")))
    assert (told.postings_known, len(postings())) == (1, 2)
    with pytest.raises(NotPossible, match="not_a_duplicate"):
        decide_duplicate(merchant.id, pair[0].id, is_same=True, actor="Anna", at=now())


def test_money_that_is_assigned_already_cannot_be_called_a_duplicate(merchant, pair):
    order = make_order(make_shop(merchant), number="9")
    assign(merchant.id, pair[1].id, [(order.id, Decimal("19.90"))], actor="Anna", at=now())
    with pytest.raises(NotPossible, match="duplicate_is_assigned"):
        decide_duplicate(merchant.id, pair[1].id, is_same=True, actor="Anna", at=now())


@pytest.mark.parametrize("days", [1, 3])
def test_another_day_in_another_kind_of_file_is_asked_about(bring, days):
    bring(camt("camt.053", PAID[0]))
    bring(csv(replace(PAID[0], on=PAID[0].on + timedelta(days=days))))
    assert len(doubtful()) == 1


def test_the_same_bank_books_on_two_days_what_was_paid_twice(bring):
    bring(camt("camt.053", PAID[0]))
    bring(camt("camt.053", replace(PAID[0], on=PAID[0].on + timedelta(days=1))))
    bring(csv(replace(PAID[0], on=PAID[0].on + timedelta(days=9))))
    assert (len(postings()), doubtful()) == (3, [])


@pytest.mark.parametrize(
    "other",
    [
        replace(PAID[0], iban="DE02120300000000202051"),
        replace(PAID[0], end_to_end_id="E2E-9999", text="etwas anderes"),
        replace(PAID[0], amount="19.91"),
        replace(PAID[0], name="Bob Fremd", iban="", text="etwas anderes"),
    ],
    ids=["other account", "other end-to-end id", "other amount", "other person"],
)
def test_what_contradicts_is_another_payment(bring, other):
    bring(camt("camt.053", PAID[0]))
    bring(csv(other))
    assert (len(postings()), doubtful()) == (2, [])


@pytest.mark.parametrize(
    ("name", "is_same"),
    [("Bärbel Müller", True), ("MULLER BARBEL", True), ("Mueller, Baerbel", True), ("Bob", False)],
)
def test_names_as_formats_mangle_them(bring, name, is_same):
    bring(camt("camt.053", Paid(name="Bärbel Müller")))
    bring(csv(Paid(name=name, iban="")))
    assert (len(postings()), len(doubtful())) == ((1, 0) if is_same else (2, 1))


@pytest.mark.parametrize("over", [{"end_to_end_id": "E2E-9999"}, {"name": "Bob", "iban": ""}])
def test_the_same_words_on_the_same_day_are_asked_about_whatever_else_differs(bring, over):
    bring(camt("camt.053", PAID[0]))
    bring(csv(replace(PAID[0], **over)))
    assert (len(postings()), len(doubtful())) == (2, 1)


def test_two_like_payments_of_one_delivery_are_never_each_others_duplicates(bring):
    two = (Paid(text="Bestellung 1001"), Paid(text="Bestellung 1002"))
    bring(camt("camt.053", two[1]))
    bring(mt940(*two), size=1)
    assert (len(postings()), doubtful()) == (2, [])


@pytest.mark.feature("K46")
def test_what_one_bank_sends_again_under_another_reference_is_asked_about(bring):
    bring(camt("camt.053", replace(PAID[0], reference="2026030500000001XYZ")))
    bring(camt("camt.053", replace(PAID[0], reference="2026030600000009ABC")))
    assert (len(postings()), len(doubtful())) == (2, 1)
    bring(camt("camt.053", replace(PAID[0], reference="2026030600000010ABC", text="AA-9")))
    assert (len(postings()), len(doubtful())) == (3, 1)


@pytest.mark.feature("K46")
def test_an_account_may_drop_what_its_bank_sends_twice(bring, merchant):
    db.session.query(BankAccount).update({"ignores_doubles": True})
    db.session.commit()
    bring(camt("camt.053", replace(PAID[0], reference="2026030500000001XYZ")))
    bring(camt("camt.053", replace(PAID[0], reference="2026030600000009ABC")))
    first, second = postings()
    assert (first.is_open, second.is_open, second.ignored_because) == (True, False, "double")


# --- announced and booked ----------------------------------------------------------------------


@pytest.mark.feature("C8")
def test_an_announced_payment_becomes_the_booked_one_and_is_paid_once(bring, merchant):
    order = make_order(make_shop(merchant), number="1001")
    told = bring(camt("camt.052", replace(PAID[0], status="PDNG")))
    assert (told.postings_pending, told.postings_new) == (1, 0)
    drain_match_request()
    (announced,) = postings()
    assert (announced.is_pending, announced.is_open) == (True, False)
    with pytest.raises(NotPossible, match="assign_posting_not_final"):
        assign(merchant.id, announced.id, [(order.id, Decimal(1))], actor="Anna", at=now())
    db.session.rollback()
    bring(camt("camt.052", replace(PAID[0], status="PDNG")))
    later = replace(PAID[0], on=PAID[0].on + timedelta(days=1), text="Bestellung 1001 gebucht")
    told = bring(camt("camt.053", later))
    (booked,) = postings()
    assert (booked.id > announced.id, booked.is_pending, booked.is_open) == (True, False, True)
    assert (booked.booking_date, booked.remittance_information) == (later.on, later.text)
    assert (told.postings_new, booked.statement_id) == (1, told.id)


@pytest.mark.feature("C8")
def test_what_is_booked_already_is_not_announced_again(bring):
    bring(camt("camt.053", PAID[0]))
    bring(camt("camt.052", replace(PAID[0], status="PDNG")))
    assert [row.is_pending for row in postings()] == [False]


@pytest.mark.feature("C8")
def test_what_was_announced_long_ago_and_never_booked_leaves_the_list(bring):
    bring(camt("camt.052", replace(PAID[0], status="PDNG"), replace(PAID[1], status="PDNG")))
    postings()[0].created_at = now() - timedelta(days=31)
    db.session.commit()
    bring(camt("camt.053", Paid("1.00", "etwas anderes")))
    assert [(row.amount, row.is_pending) for row in postings()] == [(35, True), (1, False)]


# --- batches -----------------------------------------------------------------------------------


LEAVES = (PAID[0], PAID[1])


@pytest.mark.parametrize("reference", ["", "BATCH-20260305-77"])
def test_a_batch_in_one_sum_is_replaced_by_its_payments(bring, reference):
    bring(batch("camt.053", *LEAVES, is_split=False, reference=reference))
    (sum_,) = postings()
    assert (sum_.is_batch_total, sum_.is_open) == (True, True)
    told = bring(batch("camt.054", *LEAVES, is_split=True, reference=reference), size=1)
    sum_, *leaves = postings()
    assert (sum_.is_replaced, sum_.is_open, told.postings_new) == (True, False, 2)
    assert [(row.amount, row.is_open) for row in leaves] == [(Decimal("19.9"), True), (35, True)]
    again = bring(batch("camt.053", *LEAVES, is_split=False, reference=reference))
    assert (again.postings_known, len(postings())) == (1, 3)


def test_a_sum_that_comes_after_its_payments_counts_nothing(bring):
    bring(batch("camt.054", *LEAVES, is_split=True))
    bring(batch("camt.053", *LEAVES, is_split=False))
    assert [(row.is_replaced, row.is_open) for row in postings()] == [
        (False, True),
        (False, True),
        (True, False),
    ]


def test_two_equal_batches_are_replaced_one_by_one(bring):
    for reference in ("BATCH-20260305-77", "BATCH-20260305-78"):
        bring(batch("camt.053", *LEAVES, is_split=False, reference=reference))
    bring(batch("camt.054", *LEAVES, is_split=True, reference="BATCH-20260305-78"))
    assert [row.is_replaced for row in postings() if row.is_batch_total] == [False, True]


def test_a_sum_that_somebody_has_assigned_is_asked_about(bring, merchant):
    bring(batch("camt.053", *LEAVES, is_split=False))
    order = make_order(make_shop(merchant), number="9", total="54.90")
    (sum_,) = postings()
    assign(merchant.id, sum_.id, [(order.id, Decimal("54.90"))], actor="Anna", at=now())
    db.session.commit()
    bring(batch("camt.054", *LEAVES, is_split=True))
    sum_ = postings()[0]
    assert (sum_.is_replaced, sum_.duplicate_of_id is not None) == (False, True)


# --- the first days ----------------------------------------------------------------------------


@pytest.mark.feature("K11")
def test_what_is_older_than_the_first_day_is_kept_without_assignment(bring, merchant):
    db.session.query(BankAccount).update({"assign_from": date(2026, 3, 5)})
    db.session.commit()
    order = make_order(make_shop(merchant), number="1001")
    bring(camt("camt.053", replace(PAID[0], on=date(2026, 3, 4))))
    drain_match_request()
    (row,) = postings()
    assert (row.no_assignment, row.is_open, order.payment_status) == (True, False, "unpaid")
    assert db.session.query(Suggestion).count() == 0


def test_days_are_counted_by_delivery(bring):
    first = bring(camt("camt.053", *PAID))
    bring(mt940(*PAID))
    rows = db.session.query(AccountDay).all()
    assert [(row.day, row.statement_id, row.postings) for row in rows] == [
        (date(2026, 3, 5), first.id, 4)
    ]


def test_an_account_that_is_printed_without_its_iban_is_found(bring, merchant):
    account = make_account(merchant, "DE68210501700012345678")
    bring(mt940(PAID[1]).replace(f":25:{IBAN}".encode(), b":25:21050170/12345678"))
    assert [row.account_id for row in postings()] == [account.id]


@pytest.mark.feature("S20")
def test_a_file_that_names_no_account_asks_which_of_several_it_is(merchant):
    other = make_account(merchant, "DE68210501700012345678")
    content = csv(PAID[0]).replace(IBAN.encode(), b"")
    statement = store_statement(merchant.id, "u.csv", content, uploaded_by="Anna")
    db.session.commit()
    drain_statement()
    assert (statement.status, statement.asks_account, postings()) == ("failed", True, [])
    retry_statement(merchant.id, statement.id, None, now(), account_id=other.id)
    db.session.commit()
    drain_statement()
    assert [row.account_id for row in postings()] == [other.id]
    assert (statement.status, statement.asks_account) == ("done", False)


@pytest.mark.real_commits
def test_two_files_of_the_same_money_at_the_same_moment_are_one(app):
    merchant = make_merchant()
    many = [Paid(f"{n}.00", f"Bestellung {n}") for n in range(1, 121)]
    ids = []
    for kind in ("camt.053", "MT940"):
        ids.append(store_statement(merchant.id, kind, write(kind, *many), uploaded_by="").id)
        db.session.commit()
    barrier = Barrier(2)

    def read(statement_id):
        with app.app_context():
            importing = StatementImport(db.session.get(Statement, statement_id))
            barrier.wait(10)
            while importing.step(20):
                db.session.commit()
            db.session.commit()
            db.session.remove()

    threads = [Thread(target=read, args=(statement_id,)) for statement_id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (len(postings()), doubtful()) == (120, [])


def test_lines_without_an_account_belong_to_the_account_that_the_file_names(bring, merchant):
    make_account(merchant, "DE68210501700012345678")
    head, first, second = csv(PAID[0], PAID[3]).split(b"\r\n")
    content = b"\r\n".join([head, first, second.replace(IBAN.encode(), b"", 1)])
    told = bring(content)
    assert (told.postings_new, len({row.account_id for row in postings()})) == (2, 1)
    assert db.session.query(StatementPeriod).count() == 0  # of which of the two is not told


def test_a_file_of_several_accounts_is_read_to_its_end(bring):
    content = csv(PAID[0], PAID[1]).replace(IBAN.encode(), b"12345678", 1)
    told = bring(content)
    assert (told.postings_new, len({row.account_id for row in postings()})) == (2, 2)


@pytest.mark.parametrize(("first", "second"), [("CSV", "MT940"), ("camt.053", "MT940")])
def test_a_delivery_that_is_broken_off_again_and_again_is_read_once(merchant, bring, first, second):
    bring(write(first, PAID[0], PAID[0], *PAID))
    content = write(second, PAID[0], PAID[0], *PAID, Paid("7.77", "ganz neu"))
    statement = store_statement(merchant.id, "f", content, uploaded_by="Anna")
    db.session.commit()
    more = True
    while more:
        db.session.expire_all()
        more = StatementImport(db.session.get(Statement, statement.id)).step(1)
        db.session.commit()
    assert (statement.postings_new, statement.postings_known) == (1, 6)
    assert (len(postings()), doubtful()) == (7, [])
    totals = {row.statement_id: row.booked_total for row in db.session.query(StatementPeriod)}
    assert totals[statement.id] == total()
