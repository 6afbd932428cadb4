"""The invented orders of previews and test mails: every kind, every edition, nothing forgotten."""

from __future__ import annotations

import re
from datetime import date
from itertools import product

import pytest

from server.banking.payments.epc import girocode_payload
from server.banking.payments.swiss_qr import Party, QrBill, qr_bill_payload
from server.mail import samples
from server.mail.kinds import KINDS
from server.mail.languages import editions_for, is_swiss
from server.mail.own_words import SPECIAL_CASES
from server.mail.rules import compose
from server.mail.samples import CASES, CHOSEN_AWAY, sample_facts
from server.mail.theme import Theme

TODAY = date(2026, 11, 18)
PAIRS = [(kind, edition) for kind in KINDS for edition in editions_for(KINDS[kind].reader)]


@pytest.mark.feature("K39")
@pytest.mark.parametrize(("kind", "edition"), PAIRS)
def test_every_kind_can_be_written_in_every_edition(kind, edition):
    facts = sample_facts(kind, edition, TODAY)
    message = compose(kind, edition, facts, Theme())
    assert message.subject and message.text.strip()
    shown = re.sub(r"<style.*?</style>|<[^>]+>", " ", message.html, flags=re.DOTALL)
    assert "{" not in shown.replace("{regex}", "")
    left_out = CHOSEN_AWAY[""] | CHOSEN_AWAY.get(kind, frozenset())
    swiss = {"girocode"} if is_swiss(edition) else {"swiss_qr", "form_ch"}
    missing = KINDS[kind].required | KINDS[kind].optional
    assert missing - facts.keys() - left_out - swiss - EMPTY.get(kind, set()) == set()


EMPTY = {"reminder": {"received_total"}}


@pytest.mark.feature("K39", "S37")
@pytest.mark.parametrize(("kind", "case"), [(k, c) for k, some in CASES.items() for c in some])
def test_every_other_turn_of_a_kind_can_be_written_and_reads_otherwise(kind, case):
    for edition in editions_for(KINDS[kind].reader):
        usual, turned = (
            compose(kind, edition, sample_facts(kind, edition, TODAY, one), Theme()).text
            for one in ("", case)
        )
        assert usual != turned, (edition, case)
    assert CASES[kind] == tuple(one for one in SPECIAL_CASES if one in CASES[kind])
    assert set(SPECIAL_CASES) & KINDS[kind].optional == set(CASES[kind])


def test_what_is_left_out_is_optional_and_of_that_kind():
    for kind, names in CHOSEN_AWAY.items():
        assert not kind or names <= KINDS[kind].optional, kind


@pytest.mark.feature("K18", "K19", "S62")
def test_switzerland_pays_in_francs_by_its_own_code_and_others_by_giro_code():
    total = samples.TOTAL
    swiss = sample_facts("payment_information", "de-CH", TODAY)
    assert swiss["amount_due"] == "CHF\u00a01’284.60"
    assert "girocode" not in swiss
    creditor = Party(samples.SHOP, "3000", "Beispielwil", "CH", "Musterweg", "7")
    bill = QrBill(samples.SWISS_IBAN, creditor, total, "CHF", message=samples.REFERENCE)
    assert swiss["swiss_qr"] == qr_bill_payload(bill)
    german = sample_facts("payment_information", "de", TODAY)
    assert german["girocode"] == girocode_payload(
        creditor=samples.SHOP,
        iban=samples.IBAN,
        bic=samples.BIC,
        amount=total,
        currency="EUR",
        reference=samples.REFERENCE,
    )
    assert "swiss_qr" not in german and "form_ch" not in german


def test_amounts_of_one_mail_fit_together():
    facts = sample_facts("dunning_notice", "de", TODAY)
    assert (facts["open_amount"], facts["fees_total"], facts["interest"], facts["amount_due"]) == (
        "1.284,60\u00a0€", "5,00\u00a0€", "2,00\u00a0€", "1.291,60\u00a0€",
    )  # fmt: skip
    part = sample_facts("partially_paid", "en", TODAY)
    assert (part["received_total"], part["amount_due"]) == ("€1,200.00", "€84.60")


def test_dates_lie_round_the_day_of_the_preview():
    for today, edition in product((date(2026, 1, 2), date(2031, 7, 1)), ("de", "en")):
        facts = sample_facts("payment_information", edition, today)
        assert str(today.year) in str(facts["payable_until"])
