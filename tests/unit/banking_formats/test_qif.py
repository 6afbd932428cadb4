"""QIF: accounts, splits, dates that decide each other, and what is no posting."""

from __future__ import annotations

import io
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.banking.formats import (
    Item,
    ParsedPosting,
    Problem,
    StatementFacts,
    Unreadable,
    parse,
)

SALE = "D18.11.2025\nT1.049,90\nPErika Mustermann\nMBestellung AN-1\n^\n"


def items(content: str | bytes) -> list[Item]:
    raw = content if isinstance(content, bytes) else content.encode()
    return list(parse(io.BytesIO(raw), "file"))


def postings(content: str | bytes) -> list[ParsedPosting]:
    return [one for one in items(content) if isinstance(one, ParsedPosting)]


@pytest.mark.parametrize("kind", ["Bank", "CCard", "Cash", "bank ", "Oth A"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_lists_of_postings(kind: str, line_end: str) -> None:
    text = f"!Type:{kind}\n{SALE}".replace("\n", line_end)
    [posting] = postings(text)
    assert (posting.booking_date, posting.amount) == (date(2025, 11, 18), Decimal("1049.90"))
    assert posting.counterparty_name == "Erika Mustermann"
    assert posting.remittance_information == "Bestellung AN-1"
    assert (posting.source, posting.where, posting.account) == ("QIF", "line 2", None)


def test_the_last_posting_may_lack_its_mark() -> None:
    assert len(postings(f"!Type:Bank\n{SALE}{SALE.removesuffix('^' + chr(10))}")) == 2


def test_accounts_name_what_follows() -> None:
    text = (
        "!Account\nNGiro\nTBank\n^\n!Type:Bank\n" + SALE + "!Account\nNDE02120300000000202051\n^\n"
        "!Type:Bank\n" + SALE
    )
    found = items(text)
    first, second = (one for one in found if isinstance(one, ParsedPosting))
    assert (first.account, first.account_iban) == ("Giro", None)
    assert (second.account, second.account_iban) == (None, "DE02120300000000202051")
    facts = [one for one in found if isinstance(one, StatementFacts)]
    assert [one.account for one in facts] == ["Giro", "DE02120300000000202051"]
    assert facts[0].from_date == facts[0].to_date == date(2025, 11, 18)


@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        (("18/11/2025", "01/02/2026"), (date(2025, 11, 18), date(2026, 2, 1))),
        (("11/18/2025", "01/02/2026"), (date(2025, 11, 18), date(2026, 1, 2))),
        (("11/18'25", " 1/ 2'26"), (date(2025, 11, 18), date(2026, 1, 2))),
        (("18.11.25", "01.02.26"), (date(2025, 11, 18), date(2026, 2, 1))),
        (("2025-11-18", "2026-02-01"), (date(2025, 11, 18), date(2026, 2, 1))),
    ],
)
def test_one_date_decides_for_the_file(dates: tuple[str, str], expected: tuple[date, date]) -> None:
    text = "!Type:Bank\n" + "".join(f"D{day}\nT1.00\n^\n" for day in dates)
    assert tuple(one.booking_date for one in postings(text)) == expected


def test_a_date_that_nothing_decides_is_left_out_and_said() -> None:
    found = items("!Type:Bank\nD01/02/2026\nT5.00\n^\nT6.00\n^\nDheute\nT7.00\n^\n")
    assert [one.booking_date for one in found if isinstance(one, ParsedPosting)] == [None] * 3
    problems = [one for one in found if isinstance(one, Problem)]
    assert [one.where for one in problems] == ["line 2", "line 5", "line 7"]
    assert "two ways" in problems[0].what
    assert problems[0].raw == "D01/02/2026\nT5.00\n"


def test_splits_stay_one_posting() -> None:
    splits = "SErlöse\nEBuch\n$40.00\nSVersand\nEPorto\n$2.50\n"
    [posting] = postings(f"!Type:Bank\nD2025-11-18\nT42.50\n{splits}^\n")
    assert (posting.amount, posting.remittance_information) == (Decimal("42.50"), "Buch\nPorto")
    [posting] = postings(f"!Type:Bank\nD2025-11-18\n{splits}^\n")
    assert posting.amount == Decimal("42.50")
    found = items(f"!Type:Bank\nD2025-11-18\nT50.00\n{splits}^\n")
    assert [one.amount for one in found if isinstance(one, ParsedPosting)] == [Decimal(50)]
    assert any(isinstance(one, Problem) and "42.50" in one.what for one in found)


def test_numbers_and_their_kinds() -> None:
    first, second = postings(f"!Type:Bank\n{'N4711' + chr(10) + SALE}{'NATM' + chr(10) + SALE}")
    assert first.remittance_information == "Bestellung AN-1\n4711"
    assert (second.transaction_code, second.remittance_information) == ("ATM", "Bestellung AN-1")


def test_a_payee_line_that_holds_everything() -> None:
    payee = "PGutschrift ; Erika Mustermann ; DE02120300000000202051 ; Bestellung AN-1 ; danke"
    packed, plain = postings(
        f"!Type:Bank\nD18.11.25\nT5.00\n{payee}\n^\nD18.11.25\nT6.00\nPBestellung 7\n^\n"
    )
    assert (packed.counterparty_name, packed.transaction_code) == ("Erika Mustermann", "Gutschrift")
    assert packed.counterparty_iban == "DE02120300000000202051"
    assert packed.remittance_information == "Bestellung AN-1\ndanke"
    assert (plain.counterparty_name, plain.remittance_information) == ("Bestellung 7",) * 2


def test_the_balance_that_a_list_starts_from_is_no_posting() -> None:
    found = items(f"!Type:Bank\nD01.11.2025\nT500,00\nPOpening Balance\nL[Giro]\n^\n{SALE}")
    assert len([one for one in found if isinstance(one, ParsedPosting)]) == 1
    facts = found[-1]
    assert isinstance(facts, StatementFacts)
    assert facts.opening is not None
    assert (facts.opening.amount, facts.opening.on) == (500, date(2025, 11, 1))


def test_other_lists_are_no_postings() -> None:
    other = "!Type:Cat\nNErlöse\nDText\nI\n^\n!Type:Invst\nD18.11.2025\nT1,00\n^\n"
    assert len(postings(f"!Option:AutoSwitch\n{other}!Type:Bank\n{SALE}{other}")) == 1
    with pytest.raises(Unreadable, match="QIF"):
        items(other)


def test_an_amount_that_is_none_is_said() -> None:
    found = items(f"!Type:Bank\nD18.11.2025\nTzehn\nPx\n^\n{SALE}")
    assert len([one for one in found if isinstance(one, ParsedPosting)]) == 1
    assert [one.where for one in found if isinstance(one, Problem)] == ["line 2"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_umlauts(encoding: str) -> None:
    text = f"!Type:Bank\n{SALE.replace('Erika', 'Jörg')}"
    assert postings(text.encode(encoding))[0].counterparty_name == "Jörg Mustermann"


@given(st.text("!^DTPMNSE$:01.,/' \nType", max_size=120))
def test_no_text_crashes_the_reader(noise: str) -> None:
    found = items(f"!Type:Bank\n{SALE}{noise}")
    assert any(isinstance(one, ParsedPosting) and one.amount == Decimal("1049.90") for one in found)
