"""What is written into a CSV, OFX or QIF file is what is read out of it, whatever it is."""

from __future__ import annotations

import csv
import html
import io
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from server.banking.formats import ColumnMapping, ParsedPosting, Problem, parse

WORDS = st.text(st.sampled_from("abcXYZäöüß0123456789 .,;:-/&'\"<>|"), max_size=40).map(
    lambda one: " ".join(f"w{one}w".split())
)
AMOUNTS = st.decimals(-(10**9), 10**9, places=2).filter(bool)


@dataclass(frozen=True)
class Payment:
    booked: date
    amount: Decimal
    name: str
    text: str


PAYMENTS = st.lists(
    st.builds(Payment, st.dates(date(1990, 1, 1), date(2060, 1, 1)), AMOUNTS, WORDS, WORDS),
    min_size=1,
    max_size=8,
)
NOTATIONS = {
    "german": ("%d.%m.%Y", lambda amount: f"{amount:,.2f}".translate(str.maketrans(".,", ",."))),
    "english": ("%Y-%m-%d", lambda amount: f"{amount:,.2f}"),
    "plain": ("%Y-%m-%d", lambda amount: f"{amount:.2f}"),
    "bookkeeping": ("%d.%m.%Y", lambda amount: f"{abs(amount):.2f}{'-' if amount < 0 else ''}"),
}
MAPPING = ColumnMapping.from_json(
    {
        "booking_date": "Day",
        "amount": "Sum",
        "counterparty_name": "Who",
        "remittance_information": "What",
    }
)


def reading(content: bytes, columns: ColumnMapping | None = None) -> list[Payment]:
    found = list(parse(io.BytesIO(content), "file", columns))
    assert not [one for one in found if isinstance(one, Problem)]
    return [
        Payment(
            one.booking_date or date.min,
            one.amount,
            one.counterparty_name or "",
            one.remittance_information or "",
        )
        for one in found
        if isinstance(one, ParsedPosting)
    ]


@given(
    PAYMENTS,
    st.sampled_from(sorted(NOTATIONS)),
    st.sampled_from([";", ",", "\t", "|"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.permutations(["Day", "Sum", "Who", "What", "Else"]),
)
def test_csv(
    payments: list[Payment],
    notation: str,
    delimiter: str,
    encoding: str,
    quoting: int,
    header: list[str],
) -> None:
    day_format, printed = NOTATIONS[notation]
    out = io.StringIO()
    writer = csv.DictWriter(out, header, delimiter=delimiter, quoting=quoting, restval="")
    writer.writeheader()
    for one in payments:
        day = one.booked.strftime(day_format)
        writer.writerow({"Day": day, "Sum": printed(one.amount), "Who": one.name, "What": one.text})
    assert reading(out.getvalue().encode(encoding), MAPPING) == payments


@given(PAYMENTS, st.booleans(), st.sampled_from(["\n", "\r\n", ""]))
def test_ofx(payments: list[Payment], has_ends: bool, line_end: str) -> None:
    def element(tag: str, content: str) -> str:
        return f"<{tag}>{html.escape(content)}{f'</{tag}>' if has_ends else ''}{line_end}"

    body = "".join(
        "<STMTTRN>"
        + element("DTPOSTED", f"{one.booked:%Y%m%d}120000[+1:CET]")
        + element("TRNAMT", str(one.amount))
        + element("NAME", "Name")
        + element("MEMO", one.text)
        + "</STMTTRN>"
        for one in payments
    )
    head = "OFXHEADER:100\nENCODING:UTF-8\n\n"
    content = f"{head}<OFX><STMTRS><CURDEF>EUR</CURDEF><BANKTRANLIST>{body}</BANKTRANLIST></STMTRS>"
    wanted = [Payment(one.booked, one.amount, "Name", one.text) for one in payments]
    assert reading(content.encode()) == wanted


@given(PAYMENTS)
def test_qif(payments: list[Payment]) -> None:
    body = "".join(
        f"D{one.booked:%d.%m.%Y}\nT{one.amount:,.2f}\nPName\nM{one.text}\n^\n" for one in payments
    )
    wanted = [Payment(one.booked, one.amount, "Name", one.text) for one in payments]
    assert reading(f"!Type:Bank\n{body}".encode()) == wanted
