"""The conversation with a bank, from the first PIN to parsed postings, over real HTTP."""

from __future__ import annotations

import io
import logging
import threading
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from plugin_sdk.errors import Misconfigured, Rejected, Temporary
from server.banking import fints, formats
from server.banking.fints import connection, orders, talk
from tests.fakes.fints_bank import (
    CAMT_02,
    CHIP_TAN,
    PHOTO_TAN,
    PNG,
    PUSH_TAN,
    FakeAccount,
    FakeFintsBank,
    FakeMethod,
)

TODAY = date(2026, 11, 21)
IBAN = "DE02120300000000202051"
ACCOUNT = FakeAccount(IBAN, "202051", owner="Anna Beispiel + Söhne")


def credentials(bank: FakeFintsBank, **over: object) -> fints.Credentials:
    mine = fints.Credentials(
        bank_code=bank.bank_code,
        url=bank.url,
        user=bank.user,
        pin=bank.pin,
        product_id=bank.product_id,
        allows_loopback=True,
    )
    return replace(mine, **over)


def camt(day: date, amount: str = "19.90", status: str = "BOOK") -> bytes:
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.052.001.08"><BkToCstmrAcctRpt>
<GrpHdr><MsgId>M1</MsgId><CreDtTm>2026-11-21T08:00:00</CreDtTm></GrpHdr>
<Rpt><Id>R1</Id><Acct><Id><IBAN>{IBAN}</IBAN></Id><Ccy>EUR</Ccy></Acct>
<Ntry><Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>{status}</Cd></Sts>
<BookgDt><Dt>{day}</Dt></BookgDt><ValDt><Dt>{day}</Dt></ValDt>
<NtryDtls><TxDtls><RltdPties><Dbtr><Pty><Nm>Erika Mustermann</Nm></Pty></Dbtr></RltdPties>
<RmtInf><Ustrd>Bestellung 1001 ?+:'@</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>
</Rpt></BkToCstmrAcctRpt></Document>""".encode()


def mt940(day: date) -> bytes:
    return (
        ":20:STARTUMS\r\n:25:12030000/202051\r\n:28C:1/1\r\n"
        f":60F:C{day:%y%m%d}EUR100,00\r\n:61:{day:%y%m%d}{day:%m%d}C19,90NTRFNONREF\r\n"
        ":86:166?00GUTSCHRIFT?20Bestellung 1001?32Jörg Müller\r\n"
        f":62F:C{day:%y%m%d}EUR119,90\r\n-\r\n"
    ).encode("iso-8859-1")


def days(*ago: int) -> list[date]:
    return [TODAY - timedelta(days=day) for day in ago]


@pytest.fixture
def bank():
    content = {day: camt(day, f"{10 + n}.00") for n, day in enumerate(days(1, 2, 3))}
    with FakeFintsBank(accounts=(ACCOUNT,), camt=content) as running:
        yield running
    assert running.complaints == []


def connect(bank: FakeFintsBank, **over: object) -> fints.Connected:
    """Through the wizard, whatever the bank wants, as the merchant would do it."""
    mine = credentials(bank, **over)
    return finish(bank, fints.start(mine), mine)


def finish(bank: FakeFintsBank, step: fints.Step, mine: fints.Credentials | None = None):
    mine = mine or credentials(bank)
    for _ in range(50):
        if isinstance(step, fints.ChooseMethod):
            medium = step.media[0] if step.media else None
            step = fints.choose_method(mine, step.state, step.methods[0].id, medium)
        elif isinstance(step, fints.NeedsTan):
            step = fints.confirm(mine, step.state, None if step.is_decoupled else bank.tan)
        else:
            return step
    raise AssertionError("the bank is never content")


def fetch(bank: FakeFintsBank, state: bytes, since: date = TODAY - timedelta(days=30)):
    return fints.fetch(credentials(bank), state, IBAN, since, today=TODAY)


def postings(files):
    found = []
    for file in files:
        items = formats.parse(io.BytesIO(file.content), file.name)
        found += [one for one in items if isinstance(one, formats.ParsedPosting)]
    return found


# --- connecting ----------------------------------------------------------------------------------


@pytest.mark.feature("C3")
def test_connect_with_a_picture_then_fetch_what_our_reader_understands(bank):
    step = fints.start(credentials(bank))
    assert isinstance(step, fints.NeedsTan)
    assert not step.is_decoupled
    assert step.picture.mime == "image/png"
    assert step.picture.content == PNG
    assert step.challenge_text == "Bitte best+tigen Sie:\nUmsatzabfrage : 'heute'"

    connected = fints.confirm(credentials(bank), step.state, " 123 456 ")
    (account,) = connected.accounts
    assert account == fints.FoundAccount(
        iban=IBAN,
        bic="BYLADEM1001",
        number="202051",
        subaccount=None,
        bank_code="12030000",
        owner="Anna Beispiel + Söhne",
        currency="EUR",
    )
    assert connected.was_confirmed

    bank.sca_days = 180
    fetched = fetch(bank, connected.state)
    assert not fetched.was_confirmed
    assert [p.amount for p in postings(fetched.files)] == [
        Decimal("12.00"),
        Decimal("11.00"),
        Decimal("10.00"),
    ]
    assert postings(fetched.files)[0].remittance_information == "Bestellung 1001 ?+:'@"
    assert postings(fetched.files)[0].counterparty_name == "Erika Mustermann"


def test_several_methods_are_a_choice(bank):
    bank.methods = (PHOTO_TAN, PUSH_TAN, CHIP_TAN)
    step = fints.start(credentials(bank))
    assert isinstance(step, fints.ChooseMethod)
    assert sorted(step.methods, key=lambda one: one.id) == [
        fints.Method("902", "photoTAN", False),
        fints.Method("912", "chipTAN 1.4", False),
        fints.Method("922", "pushTAN 2.0", True),
    ]
    assert step.media == ()
    asked = fints.choose_method(credentials(bank), step.state, "912")
    assert isinstance(asked, fints.NeedsTan)
    assert asked.picture is None
    assert isinstance(fints.confirm(credentials(bank), asked.state, bank.tan), fints.Connected)


def test_a_method_that_the_bank_does_not_offer_is_refused(bank):
    bank.methods = (PHOTO_TAN, PUSH_TAN)
    step = fints.start(credentials(bank))
    with pytest.raises(Rejected):
        fints.choose_method(credentials(bank), step.state, "999")


def test_an_app_is_asked_until_it_was_used(bank):
    bank.methods = (PUSH_TAN,)
    step = fints.start(credentials(bank))
    assert step.is_decoupled
    assert (step.poll_after_seconds, step.may_poll) == (2, True)
    waiting = fints.confirm(credentials(bank), step.state)
    assert isinstance(waiting, fints.NeedsTan)
    assert waiting.challenge_text == step.challenge_text
    assert waiting.poll_after_seconds == 1
    waiting = fints.confirm(credentials(bank), waiting.state, "")
    assert isinstance(fints.confirm(credentials(bank), waiting.state, None), fints.Connected)
    assert bank.tans_rung == 1


def test_a_refusal_in_the_app_ends_it(bank):
    bank.methods, bank.refuses_in_app = (PUSH_TAN,), True
    step = fints.start(credentials(bank))
    with pytest.raises(fints.NotConfirmed):
        fints.confirm(credentials(bank), step.state)


@pytest.mark.parametrize(
    ("names", "asked"), [(("iPhone von Anna", "Tablet"), True), (("A+B",), False)]
)
def test_the_phone_is_chosen_where_the_bank_wants_to_know(bank, names, asked):
    bank.methods = (FakeMethod("923", "mobileTAN", media=names, hktan=6),)
    bank.sca_days = None
    step = fints.start(credentials(bank))
    if asked:
        assert isinstance(step, fints.ChooseMethod)
        assert step.media == names
        bank.sca_days = 0
        step = fints.choose_method(credentials(bank), step.state, "923", "Tablet")
        assert isinstance(step, fints.NeedsTan)
        assert step.medium == "Tablet"
        step = fints.confirm(credentials(bank), step.state, bank.tan)
    assert isinstance(step, fints.Connected)


def test_a_bank_that_rings_before_it_was_told_which_phone_rings_once(bank):
    bank.methods = (FakeMethod("923", "mobileTAN", media=("iPhone", "Tablet"), hktan=6),)
    step = fints.start(credentials(bank))
    assert isinstance(step, fints.NeedsTan)
    assert isinstance(fints.confirm(credentials(bank), step.state, bank.tan), fints.Connected)
    assert bank.tans_rung == 1


def test_a_bank_without_a_list_of_accounts_names_them_with_the_user(bank):
    bank.offers_spa = False
    (account,) = connect(bank).accounts
    assert (account.iban, account.bic) == (IBAN, "BYLADEM1001")
    assert "HKSPA" not in bank.asked


def test_a_bank_that_refuses_the_list_of_accounts_named_them_before(bank):
    bank.refuses_spa = True
    assert connect(bank).accounts[0].iban == IBAN


def test_methods_that_nobody_speaks_here_are_named(bank):
    bank.methods = (FakeMethod("977", "chipTAN", hktan=1),)
    with pytest.raises(Misconfigured, match="977"):
        fints.start(credentials(bank))


def test_a_bank_with_a_pin_alone_asks_for_nothing_else(bank):
    bank.methods = ()
    connected = fints.start(credentials(bank))
    assert isinstance(connected, fints.Connected)
    assert not connected.was_confirmed
    assert len(postings(fetch(bank, connected.state).files)) == 3


def test_a_bank_that_no_longer_takes_the_pin_alone_asks_for_a_person(bank):
    bank.methods = ()
    connected = connect(bank)
    bank.methods = (PHOTO_TAN,)
    with pytest.raises(Misconfigured, match="confirmed again"):
        fetch(bank, connected.state)


def test_a_method_that_is_gone_is_to_be_chosen_again(bank):
    connected = connect(bank)
    bank.methods = (PUSH_TAN,)
    with pytest.raises(Misconfigured):
        fetch(bank, connected.state)
    assert isinstance(
        finish(bank, fints.start(credentials(bank), connected.state)), fints.Connected
    )


def test_blanks_around_what_was_typed_do_not_matter(bank):
    typed = {"bank_code": "120 300 00", "user": f" {bank.user} ", "customer_id": " "}
    bank.sca_days = None
    connected = connect(bank, **typed)
    mine = credentials(bank, **typed)
    assert (
        len(fints.fetch(mine, connected.state, IBAN, TODAY - timedelta(9), today=TODAY).files) == 3
    )
    assert isinstance(fetch(bank, connected.state), fints.Fetched)


@pytest.mark.parametrize(("answer", "expected"), [("J", True), ("N", False), ("", True)])
def test_the_bank_says_whether_to_ask_without_a_click(bank, answer, expected):
    bank.methods = (replace(PUSH_TAN, automatic=answer),)
    assert fints.start(credentials(bank)).may_poll is expected


def test_ing_names_methods_and_takes_the_pin_alone(bank):
    bank.bank_code, bank.takes_only_pin = "50010517", True
    connected = fints.start(credentials(bank))
    assert isinstance(connected, fints.Connected)
    assert len(postings(fetch(bank, connected.state).files)) == 3


def test_connecting_again_shows_what_is_new_at_the_bank(bank):
    first = connect(bank)
    bank.methods = (PHOTO_TAN, PUSH_TAN)
    step = fints.start(credentials(bank), first.state)
    assert isinstance(step, fints.ChooseMethod)
    assert len(step.methods) == 2


def test_connecting_again_keeps_the_device_and_takes_a_new_pin(bank):
    first = connect(bank)
    bank.pin = "neu€"[:3]
    step = fints.start(credentials(bank), first.state)
    assert isinstance(finish(bank, step), fints.Connected)
    assert len(bank.system_ids) == 1


def test_the_registration_number_is_sent_every_time(bank):
    connect(bank)
    assert set(bank.products) == {bank.product_id}


# --- fetching ------------------------------------------------------------------------------------


@pytest.mark.feature("C3")
def test_postings_in_pieces_are_whole(bank):
    bank.days_per_answer = 1
    bank.sca_days = None
    fetched = fetch(bank, connect(bank).state)
    assert len(fetched.files) == len(postings(fetched.files)) == 3
    assert bank.asked.count("HKCAZ") == 3


def test_a_tan_for_every_piece_loses_nothing(bank):
    bank.sca_days, bank.request_sca, bank.days_per_answer = None, True, 1
    step = fetch(bank, connect(bank).state)
    assert isinstance(step, fints.NeedsTan)
    fetched = finish(bank, step)
    assert fetched.was_confirmed
    assert len(postings(fetched.files)) == 3
    assert bank.tans_rung == 3


def test_an_app_may_confirm_the_request_as_well(bank):
    bank.methods, bank.sca_days, bank.request_sca = (PUSH_TAN,), None, True
    step = fetch(bank, connect(bank).state)
    assert step.is_decoupled
    assert len(postings(finish(bank, step).files)) == 3


def test_one_fetch_may_need_two_tans(bank):
    bank.request_sca = True
    step = fetch(bank, connect(bank).state)
    again = fints.confirm(credentials(bank), step.state, bank.tan)
    assert isinstance(again, fints.NeedsTan)
    fetched = fints.confirm(credentials(bank), again.state, bank.tan)
    assert len(postings(fetched.files)) == 3


SECOND = FakeAccount("DE19120300001234567000", "1234567000")


def test_several_accounts_cost_one_log_in_and_one_tan(bank):
    bank.accounts, bank.days_per_answer = (ACCOUNT, SECOND), 2
    state = connect(bank).state
    logins, rung = bank.logins, bank.tans_rung
    since = TODAY - timedelta(days=9)
    step = fints.fetch(credentials(bank), state, [IBAN, SECOND.iban], since, today=TODAY)
    fetched = fints.confirm(credentials(bank), step.state, bank.tan)
    assert [file.iban for file in fetched.files] == [IBAN] * 3 + [SECOND.iban] * 3
    assert fetched.refusals == ()
    assert (bank.logins - logins, bank.tans_rung - rung) == (1, 1)


def test_a_tan_for_each_of_several_accounts_loses_nothing(bank):
    bank.accounts, bank.sca_days, bank.request_sca = (ACCOUNT, SECOND), None, True
    state, since = connect(bank).state, TODAY - timedelta(days=9)
    step = fints.fetch(credentials(bank), state, [IBAN, SECOND.iban], since, today=TODAY)
    fetched = finish(bank, step)
    assert [file.iban for file in fetched.files] == [IBAN] * 3 + [SECOND.iban] * 3
    assert bank.tans_rung == 2


@pytest.mark.parametrize("ends", [False, True])
def test_one_account_that_is_refused_does_not_hide_the_others(bank, ends):
    third = FakeAccount("DE45120300000000202053", "202053")
    bank.accounts, bank.sca_days = (ACCOUNT, SECOND, third), None
    bank.refused_ibans, bank.refusal_ends_dialog = (SECOND.iban,), ends
    state, since = connect(bank).state, TODAY - timedelta(days=9)
    wanted = [IBAN, SECOND.iban, third.iban]
    fetched = fints.fetch(credentials(bank), state, wanted, since, today=TODAY)
    came = [IBAN] * 3 if ends else [IBAN] * 3 + [third.iban] * 3
    assert [file.iban for file in fetched.files] == came
    refused, *unasked = fetched.refusals
    assert refused.iban == SECOND.iban
    assert "nicht berechtigt" in refused.why
    assert [one.iban for one in unasked] == ([third.iban] if ends else [])


def test_an_account_alone_that_is_refused_is_an_error(bank):
    bank.sca_days, bank.refused_ibans = None, (IBAN,)
    with pytest.raises(Rejected, match="nicht berechtigt"):
        fetch(bank, connect(bank).state)


def test_an_unattended_fetch_says_that_a_person_is_needed(bank):
    bank.sca_days = 90
    connected = connect(bank)
    assert isinstance(fetch(bank, connected.state), fints.Fetched)
    bank.today += timedelta(days=90)
    assert isinstance(fetch(bank, connected.state), fints.NeedsTan)


def test_only_the_newer_of_two_formats_is_asked_for(bank):
    bank.sca_days = None
    connected = connect(bank)
    assert len(fetch(bank, connected.state).files) == 3
    bank.camt_formats = (CAMT_02,)
    assert len(fetch(bank, connect(bank).state).files) == 3


def test_announced_payments_come_as_files_of_their_own(bank):
    bank.sca_days, bank.camt_pending = None, camt(TODAY, "5.00", "PDNG")
    fetched = fetch(bank, connect(bank).state)
    assert [file.is_pending for file in fetched.files] == [False, False, False, True]
    assert [p.is_pending for p in postings(fetched.files[3:])] == [True]


@pytest.mark.parametrize("version", [5, 6, 7])
def test_mt940_where_the_bank_has_no_camt(bank, version):
    bank.sca_days, bank.offers_camt, bank.mt940_version = None, False, version
    bank.mt940 = {day: mt940(day) for day in days(1, 2, 3)}
    bank.days_per_answer = 2
    fetched = fetch(bank, connect(bank).state)
    (file,) = fetched.files
    assert file.name.endswith("booked.sta")
    assert [p.amount for p in postings([file])] == [Decimal("19.90")] * 3
    assert postings([file])[0].counterparty_name == "Jörg Müller"


def test_mt940_where_the_user_may_not_ask_for_camt(bank):
    bank.sca_days, bank.mt940 = None, {TODAY: mt940(TODAY).replace(b"\r\n", b"@@")}
    bank.accounts = (replace(ACCOUNT, allowed=("HKKAZ",)),)
    assert len(postings(fetch(bank, connect(bank).state).files)) == 1
    assert "HKCAZ" not in bank.asked


def test_a_bank_with_neither_is_refused(bank):
    bank.sca_days, bank.offers_camt, bank.mt940_version = None, False, None
    with pytest.raises(Rejected, match="neither"):
        fetch(bank, connect(bank).state)


def test_nothing_new_is_no_file(bank):
    bank.sca_days, bank.camt = None, {}
    assert fetch(bank, connect(bank).state).files == ()


def test_the_days_are_those_asked_for_as_far_as_the_bank_keeps_them(bank):
    bank.sca_days, bank.storage_days = None, 90
    connected = connect(bank)
    fetched = fetch(bank, connected.state, TODAY - timedelta(days=400))
    assert fetched.since == TODAY - timedelta(days=90)
    mine = credentials(bank)
    since, until = TODAY - timedelta(days=10), TODAY - timedelta(days=3)
    fints.fetch(mine, connected.state, f" {IBAN.lower()} ", since, until, today=TODAY)
    assert bank.ranges == [(TODAY - timedelta(days=90), None), (since, until)]


def test_an_access_that_was_never_connected_fetches_nothing(bank):
    bank.methods = (PHOTO_TAN, PUSH_TAN)
    step = fints.start(credentials(bank))
    with pytest.raises(Misconfigured):
        fetch(bank, step.state)


def test_an_account_of_somebody_else_is_refused(bank):
    connected = connect(bank)
    mine, logins = credentials(bank), bank.logins
    with pytest.raises(Rejected):
        fints.fetch(mine, connected.state, "DE89370400440532013000", TODAY, today=TODAY)
    assert bank.logins == logins


def test_a_bank_that_forgot_the_device_gets_a_new_one(bank):
    bank.sca_days = None
    connected = connect(bank)
    bank.forgets_devices = True
    fetched = fetch(bank, connected.state)
    assert len(fetched.files) == 3
    assert len(fetch(bank, fetched.state).files) == 3


def test_fetches_at_once_do_not_mix(bank):
    """`fints` hides PINs in logs by a switch of all threads; nobody's PIN becomes stars here."""
    bank.sca_days = None
    state = connect(bank).state
    found: list[object] = []

    def one() -> None:
        found.append(fetch(bank, state))

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(one.files) for one in found] == [3] * 4
    assert bank.wrong_pins == 0


# --- what goes wrong -----------------------------------------------------------------------------


def test_a_wrong_pin_is_tried_once_and_shown_to_nobody(bank):
    with pytest.raises(fints.WrongPin) as caught:
        connect(bank, pin="falsch77")
    assert bank.wrong_pins == 1
    assert "falsch77" not in str(caught.value)
    assert "•••" in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_locked_access_says_so_even_with_the_right_pin(bank):
    for _ in range(3):
        with pytest.raises(fints.WrongPin):
            connect(bank, pin="falsch")
    with pytest.raises(fints.AccessLocked):
        connect(bank)


def test_a_wrong_pin_later_is_tried_once_too(bank):
    bank.sca_days = None
    connected = connect(bank)
    bank.pin = "changed"
    mine = credentials(bank, pin="geheim?+'5")
    with pytest.raises(fints.WrongPin):
        fints.fetch(mine, connected.state, IBAN, TODAY, today=TODAY)
    assert bank.wrong_pins == 1


def test_a_wrong_tan_ends_it_and_another_try_works(bank):
    step = fints.start(credentials(bank))
    with pytest.raises(fints.NotConfirmed) as caught:
        fints.confirm(credentials(bank), step.state, "000000")
    assert "000000" not in str(caught.value)
    assert isinstance(connect(bank), fints.Connected)


@pytest.mark.parametrize("tan", ["", "   ", None, "1" * 100, "12€"])
def test_a_tan_that_is_none_is_not_sent(bank, tan):
    step = fints.start(credentials(bank))
    with pytest.raises(Rejected):
        fints.confirm(credentials(bank), step.state, tan)
    assert isinstance(fints.confirm(credentials(bank), step.state, bank.tan), fints.Connected)


def test_nothing_waits_for_a_tan(bank):
    connected = connect(bank)
    with pytest.raises(Rejected):
        fints.confirm(credentials(bank), connected.state, "123456")


def test_software_that_the_bank_does_not_know_names_the_setting(bank):
    with pytest.raises(Misconfigured, match="KONTOR_FINTS_PRODUCT_ID"):
        connect(bank, product_id="0000000000000000000000000")


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"bank_code": "1203"}, "8 digits"),
        ({"product_id": ""}, "KONTOR_FINTS_PRODUCT_ID"),
        ({"product_id": "x" * 26}, "KONTOR_FINTS_PRODUCT_ID"),
        ({"user": " "}, "user"),
        ({"user": "x" * 31}, "user"),
        ({"pin": ""}, "PIN"),
        ({"pin": "geheim\x00"}, "PIN"),
        ({"pin": "geheim€"}, "PIN"),
        ({"customer_id": "x" * 31}, "customer id"),
        ({"url": "https://"}, "address"),
    ],
)
def test_what_no_bank_could_take_is_not_sent(bank, over, words):
    with pytest.raises(Misconfigured, match=words) as caught:
        fints.start(credentials(bank, **over))
    assert bank.logins == 0
    assert "geheim" not in str(caught.value)


def test_another_bank_s_address_is_a_bank_that_cannot_answer(bank):
    with pytest.raises(Temporary, match="Institut unbekannt"):
        connect(bank, bank_code="50010517")


@pytest.mark.parametrize(
    ("trouble", "kind", "words"),
    [
        ("500", Temporary, "500"),
        ("503", Temporary, "503"),
        ("429", Temporary, "429"),
        ("404", Misconfigured, "404"),
        ("redirect", Misconfigured, "moved"),
        ("html", Temporary, "no FinTS message"),
        ("cut", Temporary, "cut off"),
        ("short", Temporary, "cannot be reached"),
    ],
)
def test_a_bank_that_is_out_of_order(bank, trouble, kind, words):
    bank.sca_days = None
    state = connect(bank).state
    bank.trouble = trouble
    with pytest.raises(kind, match=words):
        fetch(bank, state)
    bank.trouble = None
    assert len(fetch(bank, state).files) == 3
    bank.complaints.clear()


def test_maintenance_is_temporary(bank):
    bank.sca_days = None
    state = connect(bank).state
    bank.refusal = ("9010::Wegen Wartungsarbeiten nicht erreichbar",)
    with pytest.raises(Temporary, match="Wartungsarbeiten"):
        fetch(bank, state)


def test_what_the_library_throws_stops_and_asks_and_leaves_a_trace_without_the_pin(bank, caplog):
    mine = credentials(bank)
    strange = pytest.raises(Misconfigured, match="cannot be understood")
    with strange as caught, talk.bank_client(mine, None):
        raise LookupError(f"PIN {mine.pin}")
    assert f"bank 12030000 stops us: LookupError in {Path(__file__).name}:" in caplog.text
    assert mine.pin not in f"{caplog.text} {caught.value}"


def test_an_answer_has_a_largest_size(bank, monkeypatch):
    monkeypatch.setattr(connection, "MAX_ANSWER_BYTES", 1_000)
    bank.trouble = "huge"
    with pytest.raises(Temporary, match="more than"):
        connect(bank)


def test_a_bank_that_never_ends_its_answer_is_cut_off(bank, monkeypatch):
    monkeypatch.setattr(connection, "DEADLINE_SECONDS", 0.1)
    bank.trouble = "slow"
    with pytest.raises(Temporary, match="cannot be reached"):
        connect(bank)


def test_a_bank_that_is_not_there_is_temporary(bank):
    with pytest.raises(Temporary, match="cannot be reached"):
        connect(bank, url="http://127.0.0.1:9/fints")


@pytest.mark.parametrize(("limit", "value"), [("MAX_FETCHED_BYTES", 100), ("MAX_CONTINUATIONS", 1)])
def test_postings_have_a_largest_amount(bank, monkeypatch, limit, value):
    bank.sca_days, bank.days_per_answer = None, 1
    state = connect(bank).state
    monkeypatch.setattr(orders, limit, value)
    with pytest.raises(Rejected, match="shorter time"):
        fetch(bank, state)


def test_no_proxy_of_the_environment_sees_the_pin(bank, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert isinstance(connect(bank), fints.Connected)


def test_a_bank_that_repeats_itself_is_stopped(bank, monkeypatch):
    bank.sca_days, bank.days_per_answer = None, 0
    bank.camt = {day: camt(day) for day in days(1, 2)}
    state = connect(bank).state
    original = FakeFintsBank._write_postings

    def again(self, request, is_camt, out):
        request.touchdown_point = None
        self.days_per_answer = 1
        original(self, request, is_camt, out)

    monkeypatch.setattr(FakeFintsBank, "_write_postings", again)
    with pytest.raises(Temporary, match="again and again"):
        fetch(bank, state)


# --- what is kept, and who sees what -------------------------------------------------------------


def test_no_pin_and_no_tan_in_what_is_kept_logged_or_printed(bank, caplog):
    import json
    import zlib

    caplog.set_level(logging.DEBUG)
    bank.request_sca = True
    mine = credentials(bank)
    step: object = fints.start(mine)
    seen = [repr(mine), repr(step)]
    kept = [step.state]
    step = fints.confirm(mine, step.state, bank.tan)
    kept.append(step.state)
    step = fetch(bank, step.state)
    kept.append(step.state)
    seen += [repr(step), caplog.text]
    seen += [json.dumps(json.loads(zlib.decompress(one)), ensure_ascii=False) for one in kept]
    assert kept[0] != kept[1]
    for text in seen:
        assert bank.pin not in text
        assert bank.tan not in text
        assert "geheim" not in text


def test_what_is_kept_belongs_to_one_access(bank):
    state = connect(bank).state
    for over in ({"user": "bob"}, {"bank_code": "50010517"}, {"customer_id": "7"}):
        with pytest.raises(Misconfigured, match="changed"):
            fints.fetch(credentials(bank, **over), state, IBAN, TODAY, today=TODAY)


@pytest.mark.parametrize("state", [b"", b"x", b"x\x9c\x03\x00\x00\x00\x00\x01"])
def test_what_is_kept_and_damaged_is_an_answer(bank, state):
    with pytest.raises(Misconfigured, match="damaged"):
        fetch(bank, state)


@pytest.mark.parametrize(
    "url",
    [
        "http://fints.example.org/",
        "https://user:pass@fints.example.org/",
        "https://127.0.0.1/fints",
        "https://[::1]/fints",
        "https://10.0.0.1/fints",
        "https://169.254.169.254/latest",
        "https://[::ffff:10.0.0.1]/fints",
        "https://fints.example.org:22/",
        "https://fints.example.org:x/",
        "https://" + "a" * 600,
        "file:///etc/passwd",
        "",
    ],
)
def test_addresses_that_are_none_of_a_bank(url):
    with pytest.raises(Misconfigured):
        connection.checked_url(url)


def test_a_name_that_leads_into_the_own_network_is_refused(bank):
    """The name is fine; where the socket ends up is not."""
    inside = connection.Connection("https://fints.example.org/")
    inside.url = bank.url
    with pytest.raises(Misconfigured, match="private network"):
        inside._post(b"message")
    assert bank.logins == 0
