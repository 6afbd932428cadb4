"""camt: what entries, amounts, parties, balances and encodings of many banks mean."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from server.banking.formats import Balance, Entry, ForeignAmount, ParsedPosting, StatementFacts
from server.banking.formats.items import MAX_RAW_CHARACTERS
from tests.unit.banking_formats.test_camt import (
    details,
    entry,
    items,
    message,
    postings,
    problems,
)

ACCOUNT = "<Acct><Id><IBAN>DE02120300000000202051</IBAN></Id><Ccy>EUR</Ccy></Acct>"


def only(*parts: str, **kind: str) -> ParsedPosting:
    [posting] = postings(message(*parts, **kind))
    return posting


def facts(content: bytes) -> StatementFacts:
    [found] = [one for one in items(content) if isinstance(one, StatementFacts)]
    return found


def group(*leaves: str, batch: str = "") -> str:
    return f"<NtryDtls>{batch}{''.join(leaves)}</NtryDtls>"


def leaf(inside: str, amount: str | None = "10.00", currency: str = "EUR") -> str:
    printed = f'<Amt Ccy="{currency}">{amount}</Amt>' if amount else ""
    return f"<TxDtls>{printed}<CdtDbtInd>CRDT</CdtDbtInd>{inside}</TxDtls>"


@pytest.mark.feature("C3")
@pytest.mark.parametrize(
    ("n", "source", "complete"),
    [("2", "camt.052", False), ("3", "camt.053", True), ("4", "camt.054", False)],
)
def test_the_kind_of_message_is_known_and_only_a_statement_is_complete(
    n: str, source: str, complete: bool
) -> None:
    number = "<ElctrncSeqNb>17</ElctrncSeqNb><LglSeqNb>3</LglSeqNb>"
    content = message(number, ACCOUNT, entry(), n=n)
    assert [one.source for one in postings(content)] == [source]
    found = facts(content)
    assert (found.source, found.is_complete) == (source, complete)
    assert (found.number, found.currency) == ("17", "EUR")


@pytest.mark.parametrize(
    ("page", "complete"),
    [
        ("<StmtPgntn><PgNb>1</PgNb><LastPgInd>true</LastPgInd></StmtPgntn>", True),
        ("<StmtPgntn><PgNb>1</PgNb><LastPgInd>false</LastPgInd></StmtPgntn>", False),
        ("<StmtPgntn><PgNb>2</PgNb><LastPgInd>true</LastPgInd></StmtPgntn>", False),
    ],
)
def test_a_page_of_a_statement_is_not_complete(page: str, complete: bool) -> None:
    assert facts(message(page, entry())).is_complete is complete
    head = f"<GrpHdr>{page.replace('StmtPgntn', 'MsgPgntn')}</GrpHdr><Stmt>"
    content = message(entry(), entry()).replace(b"<Stmt>", head.encode())
    assert facts(content).is_complete is complete


@pytest.mark.parametrize(
    ("account", "iban", "other"),
    [
        (ACCOUNT, "DE02120300000000202051", None),
        ("<Acct><Id><Othr><Id>DE02120300000000202051</Id></Othr></Id></Acct>",)
        + ("DE02120300000000202051", None),
        ("<Acct><Id><Othr><Id>0123456789</Id></Othr></Id></Acct>", None, "0123456789"),
    ],
)
def test_the_own_account(account: str, iban: str | None, other: str | None) -> None:
    posting = only(account, entry())
    assert (posting.account_iban, posting.account) == (iban, other)


def test_statements_of_several_accounts_in_one_file() -> None:
    other = "</Stmt><Stmt><Acct><Id><Othr><Id>77</Id></Othr></Id></Acct>"
    found = items(message(ACCOUNT, entry("1.00"), other, entry("2.00")))
    read = [(one.account_iban, one.account) for one in found if not hasattr(one, "what")]
    assert read == [
        ("DE02120300000000202051", None),
        ("DE02120300000000202051", "DE02120300000000202051"),
        (None, "77"),
        (None, "77"),
    ]


@pytest.mark.feature("C3")
def test_leaves_share_one_entry_with_all_its_references() -> None:
    batch = "<Btch><MsgId>M-1</MsgId><PmtInfId>P-1</PmtInfId><NbOfTxs>2</NbOfTxs></Btch>"
    references = "<NtryRef>CH4431999123000889012</NtryRef><AcctSvcrRef>A-1</AcctSvcrRef>"
    inside = references + group(details("4.00"), details("5.50"), batch=batch)
    found = postings(message(entry(inside=inside)))
    expected = Entry(Decimal("10.00"), ("A-1", "CH4431999123000889012", "P-1", "M-1"), 2)
    assert [one.entry for one in found] == [expected] * 3
    assert len({id(one.entry) for one in found}) == 1
    assert [str(one.amount) for one in found] == ["4.00", "5.50", "0.50"]


def test_a_batch_too_large_to_wait_for_its_end_knows_its_entry_as_well() -> None:
    batch = "<Btch><PmtInfId>P-1</PmtInfId><NbOfTxs>200</NbOfTxs></Btch>"
    inside = group(*[details("0.05")] * 200, batch=batch)
    found = postings(message(entry(inside=inside)))
    assert [one.entry for one in found] == [Entry(Decimal("10.00"), ("P-1",), 200)] * 200
    assert [one.leaf_index for one in found] == list(range(200))


@pytest.mark.parametrize(
    ("inside", "has_entry"),
    [
        ("", False),
        (group(details("10.00")), False),
        (group(details("10.00"), batch="<Btch><NbOfTxs>1</NbOfTxs></Btch>"), True),
        (group(batch="<Btch><NbOfTxs>3</NbOfTxs></Btch>"), True),
        (group(details("10.30")), True),
        ("<BkTxCd><Prtry><Cd>NTRF+192+0</Cd></Prtry></BkTxCd>", True),
    ],
)
def test_a_posting_has_an_entry_only_where_it_may_not_be_the_same(
    inside: str, has_entry: bool
) -> None:
    found = postings(message(entry(inside=inside)))
    assert {one.entry is not None for one in found} == {has_entry}


def test_a_german_batch_code_is_a_batch_only_without_its_payments() -> None:
    code = "<BkTxCd><Prtry><Cd>NTRF+192+0</Cd></Prtry></BkTxCd>"
    assert only(entry(inside=code)).is_batch_total
    assert not only(entry(inside=code + group(details("10.00")))).is_batch_total


@pytest.mark.parametrize(
    ("inside", "is_total"),
    [
        ("", True),
        (group(leaf("")), True),
        (group(leaf("<RmtInf><Ustrd>Bestellung 10042</Ustrd></RmtInf>")), False),
        (group(leaf("<RltdPties><Dbtr><Nm>Erika</Nm></Dbtr></RltdPties>")), False),
        (group(leaf(""), batch="<Btch><NbOfTxs>1</NbOfTxs></Btch>"), False),
    ],
)
def test_slip_payments_without_any_details_are_a_sum(inside: str, is_total: bool) -> None:
    code = "<Domn><Cd>PMNT</Cd><Fmly><Cd>RCDT</Cd><SubFmlyCd>VCOM</SubFmlyCd></Fmly></Domn>"
    reference = "<AcctSvcrRef>7</AcctSvcrRef>"
    posting = only(entry(inside=f"{reference}<BkTxCd>{code}</BkTxCd>{inside}"))
    assert posting.is_batch_total is is_total
    assert not is_total or (posting.entry is not None and posting.entry.references == ("7",))


def test_payments_that_the_bank_counts_but_does_not_list_are_no_fee() -> None:
    five = "<Btch><NbOfTxs>5</NbOfTxs></Btch>"
    found = postings(message(entry(inside=group(details("1.00"), details("2.00"), batch=five))))
    assert [(str(one.amount), one.is_batch_total) for one in found] == [
        ("1.00", False),
        ("2.00", False),
        ("7.00", True),
    ]
    alone = only(entry(inside=group(details("1.00"), batch=five)))
    assert (str(alone.amount), alone.is_batch_total) == ("10.00", True)


def swapped(printed: str) -> str:
    return printed.replace("CRDT", "DBIT")


def test_money_in_and_out_inside_one_entry() -> None:
    inside = group(details("14.00"), swapped(details("4.00")))
    content = message(entry(inside=inside))
    assert [str(one.amount) for one in postings(content)] == ["14.00", "-4.00"]
    assert not problems(content)


@pytest.mark.parametrize("leaves", [["10.00"], ["4.00", "6.00"]])
def test_leaves_that_mirror_their_entry_are_turned(leaves: list[str]) -> None:
    inside = group(*map(details, leaves))
    content = message(swapped(entry()).replace("</Ntry>", f"{inside}</Ntry>"))
    assert [one.amount for one in postings(content)] == [-Decimal(one) for one in leaves]
    assert not problems(content)


def test_leaves_of_zero_say_no_amount() -> None:
    content = message(entry(inside=group(details("0.00", "a"), details("0.00", "b"))))
    [posting] = postings(content)
    assert (str(posting.amount), posting.is_batch_total) == ("10.00", True)
    assert posting.remittance_information == "a\nb"
    zero = message(entry("0.00", group(details("0.00"))))
    assert [one.amount for one in postings(zero)] == [0]


@pytest.mark.parametrize(
    ("leaves", "is_problem"),
    [(["6.00", "4.50"], False), (["4.00", "5.00"], True), (["100.00", "200.00"], True)],
)
def test_a_sum_that_charges_cannot_explain_is_said(leaves: list[str], is_problem: bool) -> None:
    content = message(entry(inside=group(*map(details, leaves))))
    assert sum(one.amount for one in postings(content)) == 10
    assert bool(problems(content)) is is_problem


DOLLARS = '<Amt Ccy="USD">12.00</Amt>'
RATE = "<CcyXchg><SrcCcy>USD</SrcCcy><XchgRate>1.0909</XchgRate></CcyXchg>"


@pytest.mark.parametrize(
    ("inside", "rate"),
    [
        (leaf("", "12.00", "USD"), None),
        (leaf(f"<AmtDtls><InstdAmt>{DOLLARS}{RATE}</InstdAmt></AmtDtls>"), "1.0909"),
        (
            leaf(
                f"<AmtDtls><InstdAmt>{DOLLARS}</InstdAmt><TxAmt>"
                f'<Amt Ccy="EUR">10.00</Amt>{RATE}</TxAmt></AmtDtls>',
                "12.00",
                "USD",
            ),
            "1.0909",
        ),
    ],
)
def test_what_was_paid_in_another_currency(inside: str, rate: str | None) -> None:
    posting = only(entry(inside=group(inside)))
    assert (str(posting.amount), posting.currency) == ("10.00", "EUR")
    assert posting.foreign == ForeignAmount(Decimal("12.00"), "USD", rate and Decimal(rate))
    at_entry = only(entry(inside=f"<AmtDtls><InstdAmt>{DOLLARS}{RATE}</InstdAmt></AmtDtls>"))
    assert at_entry.foreign == ForeignAmount(Decimal("12.00"), "USD", Decimal("1.0909"))


def test_leaves_in_another_currency_are_split_by_what_the_account_shows() -> None:
    euros = '<AmtDtls><TxAmt><Amt Ccy="EUR">{}</Amt></TxAmt></AmtDtls>'
    old = '<AmtDtls><InstdAmt><Amt Ccy="EUR">{}</Amt></InstdAmt></AmtDtls>'
    inside = group(leaf(euros.format("6.00"), "7.00", "USD"), leaf(old.format("4.00"), None))
    found = postings(message(entry(inside=inside)))
    assert [str(one.amount) for one in found] == ["6.00", "4.00"]
    assert [one.foreign is not None for one in found] == [True, False]


@pytest.mark.parametrize(
    ("charges", "expected"),
    [
        (
            '<Chrgs><Amt Ccy="EUR">0.30</Amt></Chrgs><Chrgs><Amt Ccy="EUR">0.20</Amt></Chrgs>',
            "0.50",
        ),
        (
            (
                '<Chrgs><TtlChrgsAndTaxAmt Ccy="EUR">0.45</TtlChrgsAndTaxAmt>'
                '<Rcrd><Amt Ccy="EUR">0.40</Amt></Rcrd></Chrgs>'
            ),
            "0.45",
        ),
        (
            (
                '<Chrgs><Rcrd><Amt Ccy="EUR">5.40</Amt><CdtDbtInd>DBIT</CdtDbtInd></Rcrd>'
                '<Rcrd><Amt Ccy="EUR">0.20</Amt><CdtDbtInd>CRDT</CdtDbtInd></Rcrd></Chrgs>'
            ),
            "5.20",
        ),
        ('<Chrgs><Rcrd><Amt Ccy="USD">1.00</Amt></Rcrd></Chrgs>', None),
        ('<Chrgs><Rcrd><Amt Ccy="EUR">0.00</Amt></Rcrd></Chrgs>', None),
        # on a later bill, so this payment is not smaller by it
        (
            '<Chrgs><Rcrd><Amt Ccy="EUR">1.00</Amt><ChrgInclInd>false</ChrgInclInd></Rcrd></Chrgs>',
            None,
        ),
    ],
)
def test_charges_that_were_taken_off(charges: str, expected: str | None) -> None:
    wanted = Decimal(expected) if expected else None
    assert only(entry(inside=group(leaf(charges)))).charges == wanted
    assert only(entry(inside=charges)).charges == wanted


def test_charges_that_are_a_leaf_of_their_own_are_not_said_twice() -> None:
    charges = '<Chrgs><Rcrd><Amt Ccy="EUR">26.00</Amt></Rcrd></Chrgs>'
    inside = group(swapped(leaf(charges, "1500.00")))
    found = postings(message(swapped(entry("1526.00")).replace("</Ntry>", f"{inside}</Ntry>")))
    assert [(str(one.amount), one.charges) for one in found] == [
        ("-1500.00", None),
        ("-26.00", None),
    ]


@pytest.mark.parametrize(
    ("parties", "name"),
    [
        ("<Dbtr><Nm>Erika</Nm></Dbtr>", "Erika"),
        ("<Dbtr><Pty><Nm>Erika</Nm><Id><PrvtId/></Id></Pty></Dbtr>", "Erika"),
        ("<Dbtr><Agt><FinInstnId><Nm>Bank</Nm></FinInstnId></Agt></Dbtr>", "Bank"),
        ("<Dbtr><Pty><CtctDtls><Nm>Call me</Nm></CtctDtls></Pty></Dbtr>", None),
        ("<Dbtr><Nm/></Dbtr><UltmtDbtr><Pty><Nm>Erika</Nm></Pty></UltmtDbtr>", "Erika"),
        ("<Dbtr><Nm>NOTPROVIDED</Nm></Dbtr><UltmtDbtr><Nm>Erika</Nm></UltmtDbtr>", "Erika"),
        ("<Dbtr><Nm>NOTPROVIDED</Nm></Dbtr>", None),
        ("<DbtrAcct><Id><Othr><Id>7</Id></Othr></Id><Nm>Erika</Nm></DbtrAcct>", "Erika"),
        ("<InitgPty><Nm>Erika</Nm></InitgPty>", "Erika"),
        ("<TradgPty><Pty><Nm>Erika</Nm></Pty></TradgPty>", "Erika"),
        ("<InitgPty><Nm>Service</Nm></InitgPty><Dbtr><Nm>Erika</Nm></Dbtr>", "Erika"),
        ("<Cdtr><Nm>Annas Antiquariat</Nm></Cdtr><Dbtr><Nm>Erika</Nm></Dbtr>", "Erika"),
    ],
)
def test_party_names_of_every_version(parties: str, name: str | None) -> None:
    inside = group(leaf(f"<RltdPties>{parties}</RltdPties>"))
    assert only(entry(inside=inside)).counterparty_name == name


def test_a_name_that_stands_only_in_free_text_is_kept_with_the_text() -> None:
    text = "<RmtInf><Ustrd>4711</Ustrd></RmtInf><AddtlTxInf>Erika Mustermann</AddtlTxInf>"
    assert only(entry(inside=group(leaf(text)))).remittance_information == "4711\nErika Mustermann"
    named = f"<RltdPties><Dbtr><Nm>Erika</Nm></Dbtr></RltdPties>{text}"
    assert only(entry(inside=group(leaf(named)))).remittance_information == "4711"


def reference(kind: str, printed: str) -> str:
    return (
        f"<Strd><CdtrRefInf><Tp><CdOrPrtry>{kind}</CdOrPrtry></Tp><Ref>{printed}</Ref>"
        "</CdtrRefInf><AddtlRmtInf>?REJECT?0</AddtlRmtInf></Strd>"
    )


@pytest.mark.parametrize(
    ("kind", "printed"),
    [
        ("<Cd>SCOR</Cd>", "RF18539007547034"),
        ("<Prtry>QRR</Prtry>", "210000000003139471430009017"),
        ("<Prtry>ISR Reference</Prtry>", "120000000000234478943216899"),
        ("", "00000000000000001245"),
    ],
)
def test_structured_references_and_no_codes_of_scanners(kind: str, printed: str) -> None:
    inside = group(leaf(f"<RmtInf>{reference(kind, printed)}</RmtInf>"))
    posting = only(entry(inside=inside), n="4")
    assert (posting.creditor_reference, posting.remittance_information) == (printed, None)
    two = f"<RmtInf><Ustrd>Text</Ustrd>{reference(kind, printed)}{reference(kind, 'B-2')}</RmtInf>"
    posting = only(entry(inside=group(leaf(two))))
    assert (posting.creditor_reference, posting.remittance_information) == (printed, "Text\nB-2")


@pytest.mark.parametrize(
    ("inside", "is_return", "reason"),
    [
        ("<RvslInd>true</RvslInd>", True, None),
        ("<RvslInd>false</RvslInd>", False, None),
        (group(leaf("<RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf>")), True, "AC04"),
        (group(leaf("<RtrInf><Rsn><Prtry>NARR</Prtry></Rsn></RtrInf>")), True, "NARR"),
        (group(leaf("<BkTxCd><Prtry><Cd>NTRF+159+0</Cd></Prtry></BkTxCd>")), True, None),
        (
            (
                "<BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>ICDT</Cd><SubFmlyCd>RRTN</SubFmlyCd></Fmly>"
                "</Domn></BkTxCd>"
            ),
            True,
            None,
        ),
    ],
)
def test_returns_keep_the_direction_of_the_money(
    inside: str, is_return: bool, reason: str | None
) -> None:
    posting = only(entry(inside=inside))
    assert (posting.amount, posting.is_return, posting.return_reason) == (10, is_return, reason)


def balance(code: str, amount: str, on: str, currency: str = "EUR") -> str:
    return (
        f'<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp><Amt Ccy="{currency}">{amount}</Amt>'
        f"<CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>{on}</Dt></Dt></Bal>"
    )


@pytest.mark.parametrize(
    ("balances", "opening", "closing", "period"),
    [
        ([("OPBD", "1", "18"), ("CLBD", "2", "18")], "1", "2", "18 18"),
        ([("PRCD", "1", "17"), ("CLBD", "2", "18")], "1", "2", "18 18"),
        ([("PRCD", "1", "18"), ("CLBD", "2", "18")], "1", "2", "18 18"),
        ([("PRCD", "1", "14"), ("OPBD", "3", "18"), ("CLBD", "2", "18")], "3", "2", "18 18"),
        ([("OPBD", "1", "18"), ("ITBD", "2", "18"), ("ITAV", "3", "18")], "1", None, "18 None"),
        ([("CLAV", "9", "18"), ("FWAV", "8", "18")], None, None, "None None"),
        ([("CLBD", "7", "18", "USD"), ("CLBD", "2", "18")], None, "2", "None 18"),
    ],
)
def test_booked_balances_only_and_the_days_they_prove(
    balances: list[Any], opening: str | None, closing: str | None, period: str
) -> None:
    printed = [balance(code, money, f"2025-11-{on}", *ccy) for code, money, on, *ccy in balances]
    found = facts(message(ACCOUNT, printed[0], entry(), *printed[1:]))

    def amount(one: Balance | None) -> str | None:
        return str(one.amount) if one else None

    assert (amount(found.opening), amount(found.closing)) == (opening, closing)
    days = [one and f"{one:%d}" for one in (found.from_date, found.to_date)]
    assert f"{days[0]} {days[1]}" == period


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("10.12345", "10.12345"),
        (" 10.00 ", "10.00"),
        ("+10.00", "10.00"),
        ("10,50", "10.50"),
        ("1.234,56", "1234.56"),
        ("1.234", "1.234"),
        ("1,234", None),
        ("1<!-- thousand -->0.<![CDATA[25]]>", "10.25"),
    ],
)
def test_amounts(printed: str, expected: str | None) -> None:
    found = [str(one.amount) for one in postings(message(entry(printed)))]
    assert found == ([expected] if expected else [])


def test_a_date_with_a_time_is_the_day_the_bank_printed() -> None:
    late = entry().replace("<Dt>2025-11-18</Dt>", "<DtTm>2025-11-18T23:30:00-05:00</DtTm>")
    assert str(only(late).booking_date) == "2025-11-18"


def test_text_in_cdata_is_as_it_is_written() -> None:
    inside = group(leaf("<RmtInf><Ustrd><![CDATA[A & B <x> &amp;]]> & C</Ustrd></RmtInf>"))
    assert only(entry(inside=inside)).remittance_information == "A & B <x> &amp; & C"


URN = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(f' xmlns="{URN}"', f' xmlns:unused="{URN}"'),
        lambda text: text.replace("<Ntry>", '<Ntry xmlns="">'),
        lambda text: text.replace("<Ntry>", '<Ntry xmlns="urn:other">'),
        lambda text: (
            text.replace(f'xmlns="{URN}"', f'xmlns="{URN}" xmlns:n="{URN}"')
            .replace("<Amt ", "<n:Amt ")
            .replace("</Amt>", "</n:Amt>")
            .replace("<Stmt>", "<n:Stmt>")
            .replace("</Stmt>", "</n:Stmt>")
        ),
        lambda text: (
            text.replace(f'<Document xmlns="{URN}"', f'<n:Document xmlns:n="{URN}"')
            .replace("</Document", "</n:Document")
            .replace("<Amt ", "<n:Amt ")
            .replace("</Amt>", "</n:Amt>")
        ),
    ],
    ids=["unused", "none", "other", "both", "prefix"],
)
def test_namespaces_bound_oddly(change: Any) -> None:
    text = message(ACCOUNT, entry(inside=group(details("10.00", "x")))).decode()
    assert postings(change(text).encode()) == postings(text.encode())


TEXT = "Größe – Łódź"


@pytest.mark.parametrize(
    ("declared", "actual", "text"),
    [
        ("UTF-8", "utf-8", TEXT),
        ("UTF-8", "utf-8-sig", TEXT),
        ("UTF-8", "cp1252", "Größe – Euro €"),
        ("UTF-16", "utf-16", TEXT),
        ("UTF-16", "utf-16-be", TEXT),
        ("UTF-16", "utf-8", TEXT),
        ("ISO-8859-1", "latin-1", "Größe"),
        ("ISO-8859-1", "cp1252", "Größe – Euro €"),
        ("ISO-8859-1", "utf-8", TEXT),
        ("ISO-8859-2", "iso8859-2", "Größe Łódź"),
        ("ISO-8859-15", "iso8859-15", "Größe €"),
        ("windows-1252", "cp1252", "Größe – Euro €"),
        ("nonsense", "utf-8", TEXT),
    ],
)
def test_encodings_right_and_wrong(declared: str, actual: str, text: str) -> None:
    content = message(entry(inside=group(details("10.00", text)))).decode()
    whole = f'<?xml version="1.0" encoding="{declared}"?>\n{content}'.encode(actual)
    assert [one.remittance_information for one in postings(whole)] == [text]


def test_what_stands_before_the_declaration_costs_nothing() -> None:
    content = b'<?xml version="1.0" encoding="UTF-8"?>' + message(entry())
    assert len(postings(b"\xef\xbb\xbf\r\n \n" + content)) == 1


def test_problems_hold_what_the_bank_said() -> None:
    [problem] = problems(message(entry("ten", "<AddtlNtryInf>Miete\nMai</AddtlNtryInf>")))
    assert problem.raw == "ten\nCRDT\nBOOK\n2025-11-18\nMiete Mai"
    [long] = problems(message(entry("ten", f"<AddtlNtryInf>{'x ' * 900}</AddtlNtryInf>")))
    assert len(long.raw or "") == MAX_RAW_CHARACTERS
