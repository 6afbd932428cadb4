"""What is printed as camt or MT940 is read as it was: amounts, dates, references, texts."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise
from string import ascii_letters, digits
from xml.sax.saxutils import escape

from hypothesis import given, settings
from hypothesis import strategies as st

from server.banking.formats import ParsedPosting, parse

IBANS = ("DE75512108001245126199", "NL91ABNA0417164300", "AT611904300234573201")
SUBFIELD, LINE = 27, 65


@dataclass(frozen=True)
class Payment:
    amount: Decimal
    booked: date
    valued: date
    name: str
    iban: str
    end_to_end_id: str
    bank_reference: str
    text: str


words = st.text(ascii_letters + digits + "äöüÄÖÜß-/.,()'", min_size=1, max_size=12)
NOTHING = {"NONREF", "NOREF", "EREF", "PREF", "MARF", "KREF", "NOTPROVIDED", "NOTAVAILABLE"}
# What banks write into a field that has no content is read as none, in whatever field.
texts = (
    st.lists(words, min_size=1, max_size=12)
    .map(" ".join)
    .filter(lambda one: "".join(one.split()).upper() not in NOTHING)
)
references = st.text(ascii_letters + digits + "-", min_size=3, max_size=16).filter(
    lambda one: one.strip("-0") and "".join(one.split()).upper() not in NOTHING
)
days = st.dates(date(2015, 1, 1), date(2035, 12, 31))
amounts = st.integers(1, 10**11).map(lambda cents: Decimal(cents).scaleb(-2))


@st.composite
def payments(draw: st.DrawFn) -> Payment:
    booked = draw(days)
    return Payment(
        amount=draw(amounts) * draw(st.sampled_from([1, -1])),
        booked=booked,
        valued=draw(st.dates(booked.replace(day=1), booked)),
        name=draw(words.filter(lambda one: one.upper() not in NOTHING)),
        iban=draw(st.sampled_from(IBANS)),
        end_to_end_id=draw(references),
        bank_reference=draw(references),
        text=draw(texts),
    )


def read(content: str) -> list[ParsedPosting]:
    found = list(parse(io.BytesIO(content.encode()), "file"))
    postings = [one for one in found if isinstance(one, ParsedPosting)]
    assert len(postings) == len(found) - 1  # the facts; no problem
    return postings


def same(posting: ParsedPosting, payment: Payment) -> None:
    assert posting.amount == payment.amount
    assert (posting.booking_date, posting.value_date) == (payment.booked, payment.valued)
    assert posting.counterparty_name == payment.name
    assert posting.counterparty_iban == payment.iban
    assert posting.end_to_end_id == payment.end_to_end_id
    assert posting.bank_reference == payment.bank_reference


@settings(deadline=None)
@given(st.lists(payments(), min_size=1, max_size=5))
def test_mt940(printed: list[Payment]) -> None:
    lines = [line for one in printed for line in as_mt940(one)]
    body = "\r\n".join([":20:X", ":25:12030000/202051", ":28C:1/1", *lines, "-", ""])
    found = read(body)
    assert len(found) == len(printed)
    for posting, payment in zip(found, printed, strict=True):
        same(posting, payment)
        # A line feed stands where the bank cut, or cut out a blank.
        said = (posting.remittance_information or "").replace("\n", "").replace(" ", "")
        assert said == payment.text.replace(" ", "")


def as_mt940(one: Payment) -> list[str]:
    mark = "C" if one.amount > 0 else "D"
    money = f"{abs(one.amount):.2f}".replace(".", ",")
    line = f":61:{one.valued:%y%m%d}{one.booked:%m%d}{mark}{money}NTRFNONREF//{one.bank_reference}"
    texts = [f"EREF+{one.end_to_end_id}", *cut(f"SVWZ+{one.text}", SUBFIELD)]
    purpose = "".join(f"?{number}{text}" for number, text in enumerate(texts[:10], start=20))
    purpose += "".join(f"?{number}{text}" for number, text in enumerate(texts[10:], start=60))
    details = f"166?00GUTSCHRIFT{purpose}?31{one.iban}?32{one.name}"
    return [line, *cut(f":86:{details}", LINE)]


def cut(text: str, width: int) -> list[str]:
    return [text[at : at + width] for at in range(0, len(text), width)]


@settings(deadline=None)
@given(st.lists(st.lists(payments(), min_size=1, max_size=4), min_size=1, max_size=4))
def test_camt(printed: list[list[Payment]]) -> None:
    entries = [[one for one in leaves if one.amount != 0] for leaves in printed]
    found = read(
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt><Stmt>'
        f"{''.join(map(as_entry, entries))}</Stmt></BkToCstmrStmt></Document>"
    )
    expected = [(leaves[0], one) for leaves in entries for one in leaves]
    assert len(found) == len(expected)
    for posting, (first, payment) in zip(found, expected, strict=True):
        dated = {"booked": first.booked, "valued": first.valued}
        same(posting, Payment(**{**payment.__dict__, **dated}))
        assert posting.remittance_information == payment.text
    for (one, (first, _)), (other, (second, _)) in pairwise(zip(found, expected, strict=True)):
        # Leaves point to the same entry exactly if they stand in one.
        shared = one.entry is not None and one.entry is other.entry
        assert shared == (first is second)


def as_entry(leaves: list[Payment]) -> str:
    total = sum(one.amount for one in leaves)
    return (
        f'<Ntry><Amt Ccy="EUR">{abs(total)}</Amt><CdtDbtInd>{direction(total)}</CdtDbtInd>'
        f"<Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>{leaves[0].booked}</Dt></BookgDt>"
        f"<ValDt><DtTm>{leaves[0].valued}T00:00:00Z</DtTm></ValDt><NtryDtls>"
        f"{''.join(map(as_leaf, leaves))}</NtryDtls></Ntry>"
    )


def as_leaf(one: Payment) -> str:
    side = "Dbtr" if one.amount > 0 else "Cdtr"
    return (
        f"<TxDtls><Refs><AcctSvcrRef>{one.bank_reference}</AcctSvcrRef>"
        f"<EndToEndId>{one.end_to_end_id}</EndToEndId></Refs>"
        f'<Amt Ccy="EUR">{abs(one.amount)}</Amt><CdtDbtInd>{direction(one.amount)}</CdtDbtInd>'
        f"<RltdPties><{side}><Pty><Nm>{escape(one.name)}</Nm></Pty></{side}>"
        f"<{side}Acct><Id><IBAN>{one.iban}</IBAN></Id></{side}Acct></RltdPties>"
        f"<RmtInf><Ustrd>{escape(one.text)}</Ustrd></RmtInf></TxDtls>"
    )


def direction(amount: Decimal | int) -> str:
    return "CRDT" if amount > 0 else "DBIT"
