"""Handing in transfers over real HTTP: names, TANs, refusals, and answers that never came."""

from __future__ import annotations

import zlib
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from plugin_sdk.errors import Misconfigured, Rejected, Temporary
from server.banking import fints
from server.banking.payments.pain001 import CreditTransfer, Payer, credit_transfer_file
from tests.fakes.fints_bank import PHOTO_TAN, PUSH_TAN, FakeAccount, FakeFintsBank
from tests.fakes.fints_payments import FakePayments, Paid

IBAN = "DE02120300000000202051"
ERIKA = "DE89370400440532013000"
BOB = "AT611904300234573201"
ACCOUNT = FakeAccount(IBAN, "202051", allowed=("HKCAZ", "HKKAZ", "HKSPA", "HKCCS", "HKCCM"))


@pytest.fixture
def bank():
    payments = FakePayments()
    with FakeFintsBank(accounts=(ACCOUNT,), sca_days=None, payments=payments) as running:
        yield running
    assert running.complaints == []


def credentials(bank: FakeFintsBank) -> fints.Credentials:
    return fints.Credentials(
        bank_code=bank.bank_code,
        url=bank.url,
        user=bank.user,
        pin=bank.pin,
        product_id=bank.product_id,
        allows_loopback=True,
    )


def file_of(*ibans: str, iban: str = IBAN) -> bytes:
    payments = [
        CreditTransfer(f"R-{n}", ("Erika Mustermann", "Bob")[n % 2], to, Decimal("19.90") + n)
        for n, to in enumerate(ibans)
    ]
    return credit_transfer_file(
        Payer("Annas Antiquariat", iban, "BYLADEM1001"),
        payments,
        message_id="KONTOR-1",
        created_at=datetime(2026, 11, 20, 9, tzinfo=UTC),
        execution_date=date(2026, 11, 20),
    )


def connected(bank: FakeFintsBank) -> bytes:
    step = fints.start(credentials(bank))
    assert isinstance(step, fints.Connected)
    return step.state


def send(bank: FakeFintsBank, *ibans: str) -> fints.Step:
    return fints.transfer(credentials(bank), connected(bank), IBAN, file_of(*ibans))


def answer(bank: FakeFintsBank, step: fints.Step) -> fints.Step:
    """What the merchant would do who agrees with everything."""
    mine = credentials(bank)
    for _ in range(20):
        if isinstance(step, fints.ConfirmPayees):
            step = fints.accept(mine, step.state)
        elif isinstance(step, fints.NeedsTan):
            step = fints.confirm(mine, step.state, None if step.is_decoupled else bank.tan)
        elif isinstance(step, fints.NeedsTime):
            step = fints.confirm(mine, step.state)
        else:
            return step
    raise AssertionError("the bank is never content")


ERIKA_PAID = Paid("R-0", "Erika Mustermann", ERIKA, Decimal("19.90"))
BOB_PAID = Paid("R-1", "Bob", BOB, Decimal("20.90"))


@pytest.mark.feature("S78", "C15")
@pytest.mark.parametrize("method", [PHOTO_TAN, PUSH_TAN])
@pytest.mark.parametrize("names", [None, "inline", "report", "polled"])
@pytest.mark.parametrize("insists", [False, True])
def test_one_payment_with_whatever_a_bank_wants(bank, method, names, insists):
    bank.methods, bank.payments.names, bank.payments.insists = (method,), names, insists
    done = answer(bank, send(bank, ERIKA))
    assert isinstance(done, fints.Transferred)
    assert "ausgefuehrt" in done.said
    assert bank.payments.paid == [ERIKA_PAID]
    assert bank.payments.submitted[0].kind == "HKCCS"


@pytest.mark.feature("C15")
@pytest.mark.parametrize("names", [None, "report", "polled"])
@pytest.mark.parametrize("needs_total", [True, False])
def test_two_payments_are_one_order_with_its_sum(bank, names, needs_total):
    bank.payments.names, bank.payments.needs_total = names, needs_total
    answer(bank, send(bank, ERIKA, BOB))
    assert bank.payments.paid == [ERIKA_PAID, BOB_PAID]
    assert {one.kind for one in bank.payments.submitted} == {"HKCCM"}


def test_the_log_in_and_the_order_want_a_tan_each(bank):
    state = connected(bank)
    bank.sca_days = 0
    mine = credentials(bank)
    login = fints.transfer(mine, state, IBAN, file_of(ERIKA))
    assert isinstance(login, fints.NeedsTan)
    assert bank.payments.submitted == []
    order = fints.confirm(mine, login.state, bank.tan)
    assert isinstance(order, fints.NeedsTan)
    assert bank.payments.paid == []
    assert isinstance(fints.confirm(mine, order.state, bank.tan), fints.Transferred)
    assert bank.payments.paid == [ERIKA_PAID]


def test_a_bank_that_wants_no_tan_and_no_check(bank):
    bank.payments.names, bank.payments.needs_no_check = "inline", True
    bank.payments.wants_tan = False
    assert isinstance(send(bank, ERIKA), fints.Transferred)
    assert bank.payments.paid == [ERIKA_PAID]


@pytest.mark.feature("S78")
@pytest.mark.parametrize("names", ["inline", "report", "polled"])
@pytest.mark.parametrize("asks_along", [True, False])
@pytest.mark.parametrize(
    ("code", "more", "result", "name", "why"),
    [
        ("RVMC", "Erika M. Mustermann", "close_match", "Erika M. Mustermann", None),
        ("RVNM", "", "no_match", None, None),
        ("RVNA", "AG03", "not_possible", None, "AG03"),
        ("RVXX", "", "unclear", None, None),
    ],
)
def test_a_name_that_differs_wants_a_person(bank, names, asks_along, code, more, result, name, why):
    bank.payments.names, bank.payments.asks_along = names, asks_along
    bank.payments.results = {ERIKA: (code, more)}
    step = send(bank, ERIKA)
    while isinstance(step, fints.NeedsTime):
        assert step.poll_after_seconds == 2
        step = fints.confirm(credentials(bank), step.state)
    assert isinstance(step, fints.ConfirmPayees)
    (check,) = step.checks
    assert (check.result, check.iban, check.name, check.why) == (result, ERIKA, name, why)
    assert check.end_to_end_id == (None if names == "inline" else "R-0")
    assert step.notice == "Die Bank haftet nicht, wenn der Name abweicht."
    assert bank.payments.paid == []
    with pytest.raises(Rejected, match="decide"):
        fints.confirm(credentials(bank), replace(step).state, bank.tan)
    assert isinstance(answer(bank, step), fints.Transferred)
    assert bank.payments.paid == [ERIKA_PAID]


def test_only_the_names_that_differ_are_shown(bank):
    bank.payments.names, bank.payments.results = "report", {BOB: ("RVNM", "")}
    step = send(bank, ERIKA, BOB)
    assert isinstance(step, fints.ConfirmPayees)
    assert [one.iban for one in step.checks] == [BOB]


@pytest.mark.feature("S78")
@pytest.mark.parametrize("asks_along", [True, False])
def test_a_person_who_refuses_pays_nothing(bank, asks_along):
    bank.payments.names, bank.payments.asks_along = "inline", asks_along
    bank.payments.results = {ERIKA: ("RVNM", "")}
    step = send(bank, ERIKA)
    fints.refuse(credentials(bank), step.state)
    assert bank.asked[-1] == "HKEND" or asks_along
    assert bank.payments.paid == []


def test_giving_up_before_the_tan_pays_nothing_but_an_app_may_have_been_used(bank):
    fints.refuse(credentials(bank), send(bank, ERIKA).state)
    bank.methods = (PUSH_TAN,)
    step = send(bank, ERIKA)
    with pytest.raises(fints.InDoubt):
        fints.refuse(credentials(bank), step.state)
    assert bank.payments.paid == []
    bank.complaints.clear()  # a good-bye while a TAN is waited for


@pytest.mark.feature("C15")
def test_a_refusal_is_one_with_the_bank_s_code_and_words(bank):
    bank.payments.refusal = "9380::Konto nicht gedeckt"
    with pytest.raises(Rejected, match="9380 Konto nicht gedeckt") as refused:
        send(bank, ERIKA)
    assert not isinstance(refused.value, fints.NotConfirmed)
    assert bank.payments.paid == []


@pytest.mark.parametrize("method", [PHOTO_TAN, PUSH_TAN])
def test_a_wrong_tan_or_a_no_in_the_app_pays_nothing(bank, method):
    bank.methods, bank.refuses_in_app = (method,), True
    step = send(bank, ERIKA)
    with pytest.raises(fints.NotConfirmed):
        fints.confirm(credentials(bank), step.state, "999999")
    assert bank.payments.paid == []


@pytest.mark.feature("C15")
@pytest.mark.parametrize("at", ["order", "tan"])
def test_an_answer_that_never_came_leaves_the_order_in_doubt(bank, at):
    bank.payments.loses, bank.payments.wants_tan = at, at == "tan"
    with pytest.raises(fints.InDoubt, match="cannot be reached"):
        answer(bank, send(bank, ERIKA))
    assert bank.payments.paid == [ERIKA_PAID]


@pytest.mark.parametrize("wants_tan", [True, False])
def test_a_bank_that_does_not_say_that_it_took_the_order_leaves_it_in_doubt(bank, wants_tan):
    bank.payments.mumbles, bank.payments.wants_tan = True, wants_tan
    with pytest.raises(fints.InDoubt, match="does not say"):
        answer(bank, send(bank, ERIKA))
    assert bank.payments.paid == [ERIKA_PAID]


@pytest.mark.parametrize("trouble", ["503", "cut", "html", "redirect"])
def test_trouble_after_the_order_is_doubt_and_trouble_before_it_is_not(bank, trouble):
    state = connected(bank)
    mine = credentials(bank)
    bank.trouble = trouble
    with pytest.raises((Temporary, Misconfigured)) as before:
        fints.transfer(mine, state, IBAN, file_of(ERIKA))
    assert not isinstance(before.value, fints.InDoubt)
    bank.trouble = None
    step = fints.transfer(mine, state, IBAN, file_of(ERIKA))
    bank.trouble = trouble
    with pytest.raises(fints.InDoubt):
        fints.confirm(mine, step.state, bank.tan)
    bank.complaints.clear()


def test_a_busy_bank_after_the_tan_is_no_refusal(bank):
    step = send(bank, ERIKA)
    bank.refusal = ("9010::Zeitüberschreitung",)
    with pytest.raises(fints.InDoubt, match="9010"):
        fints.confirm(credentials(bank), step.state, bank.tan)


def test_a_tan_that_was_not_announced_does_not_send_the_order_twice(bank):
    bank.announces_tan_for_orders = False
    bank.payments.names = "inline"
    with pytest.raises(Misconfigured, match="has not said before") as refused:
        send(bank, ERIKA)
    assert not isinstance(refused.value, fints.InDoubt)
    assert len(bank.payments.submitted) == 1
    bank.complaints.clear()


def test_the_state_holds_no_pin_and_no_tan(bank):
    step = send(bank, ERIKA)
    opened = zlib.decompress(step.state).decode()
    assert bank.pin not in opened
    assert bank.tan not in opened
    assert "geheim" not in repr(step)


# --- what a bank offers --------------------------------------------------------------------------


def most(bank: FakeFintsBank, iban: str = IBAN) -> int:
    return fints.most_payments(credentials(bank), connected(bank), iban)


@pytest.mark.feature("C15")
def test_how_many_payments_a_bank_takes(bank):
    assert most(bank) == 100
    bank.payments.names = "report"
    assert most(bank) == 50
    bank.payments.kinds = ("HKCCS",)
    assert most(bank) == 1
    bank.payments.kinds = ()
    assert most(bank) == 0
    assert most(bank, "DE89370400440532013000") == 0


def test_what_the_user_may_not_do_is_not_offered(bank):
    bank.accounts = (replace(ACCOUNT, allowed=("HKCAZ",)),)
    assert most(bank) == 0
    with pytest.raises(Rejected, match="takes no transfers"):
        send(bank, ERIKA)


@pytest.mark.parametrize(
    ("formats", "found"),
    [
        (("urn:iso:std:iso:20022:tech:xsd:pain.001.001.03",), 0),
        (("sepade.pain.001.001.09.xsd",), 100),
        ((), 100),
    ],
)
def test_a_bank_that_takes_only_older_files(bank, formats, found):
    bank.payments.formats = formats
    assert most(bank) == found


def test_more_payments_than_the_bank_takes_are_refused_before_it_is_asked(bank):
    bank.payments.most = 1
    with pytest.raises(Rejected, match="at most 1 payments"):
        send(bank, ERIKA, BOB)
    assert bank.payments.submitted == []


@pytest.mark.parametrize("content", [b"<x/>", b"no file", file_of(ERIKA, iban=BOB)])
def test_a_file_that_is_not_an_order_of_this_account(bank, content):
    with pytest.raises(Rejected):
        fints.transfer(credentials(bank), connected(bank), IBAN, content)


def test_nothing_to_accept(bank):
    with pytest.raises(Rejected, match="Nothing waits"):
        fints.accept(credentials(bank), connected(bank))
    fints.refuse(credentials(bank), connected(bank))
    step = send(bank, ERIKA)
    with pytest.raises(Rejected, match="Nothing waits"):
        fints.accept(credentials(bank), step.state)
