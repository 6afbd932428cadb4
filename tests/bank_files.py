"""The same payments as banks write them in each kind of file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from textwrap import wrap
from xml.sax.saxutils import escape

from tests.factories import IBAN

CAMT = {
    "camt.052": ("BkToCstmrAcctRpt", "Rpt"),
    "camt.053": ("BkToCstmrStmt", "Stmt"),
    "camt.054": ("BkToCstmrDbtCdtNtfctn", "Ntfctn"),
}
CSV_HEAD = (
    "Auftragskonto;Buchungstag;Valutadatum;Buchungstext;Verwendungszweck;Glaeubiger ID;"
    "Mandatsreferenz;Kundenreferenz (End-to-End);Sammlerreferenz;Lastschrift Ursprungsbetrag;"
    "Auslagenersatz Ruecklastschrift;Beguenstigter/Zahlungspflichtiger;Kontonummer/IBAN;"
    "BIC (SWIFT-Code);Betrag;Waehrung;Info"
)


@dataclass(frozen=True)
class Paid:
    """One payment; ``reference`` is the bank's own, which only camt tells."""

    amount: str = "19.90"
    text: str = "Bestellung 1001 vielen Dank"
    name: str = "Erika Mustermann"
    iban: str = "DE89370400440532013000"
    on: date = date(2026, 3, 5)
    end_to_end_id: str = ""
    reference: str = ""
    status: str = "BOOK"


def camt(
    kind: str,
    *payments: Paid,
    opening: str | None = None,
    days: tuple[date, date] | None = None,
    iban: str = IBAN,
) -> bytes:
    message, container = CAMT[kind]
    balances = ""
    if opening is not None:
        first, last = days or _days(payments)
        closing = Decimal(opening) + sum(Decimal(paid.amount) for paid in payments)
        balances = _balance("OPBD", Decimal(opening), first) + _balance("CLBD", closing, last)
    period = ""
    if days:
        first, last = days
        period = f"<FrDtTm>{first}T00:00:00</FrDtTm><ToDtTm>{last}T23:59:59</ToDtTm>"
        period = f"<FrToDt>{period}</FrToDt>"
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:{kind}.001.08"><{message}>'
        "<GrpHdr><MsgId>M</MsgId><CreDtTm>2026-03-05T20:00:00Z</CreDtTm></GrpHdr>"
        f"<{container}><Id>S</Id>{period}<Acct><Id><IBAN>{iban}</IBAN></Id><Ccy>EUR</Ccy></Acct>"
        f"{balances}{''.join(map(_entry, payments))}</{container}></{message}></Document>"
    ).encode()


def _balance(code: str, amount: Decimal, on: date) -> str:
    return (
        f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>{_amount(amount)}"
        f"<Dt><Dt>{on}</Dt></Dt></Bal>"
    )


def _amount(amount: Decimal) -> str:
    way = "DBIT" if amount < 0 else "CRDT"
    return f'<Amt Ccy="EUR">{abs(amount)}</Amt><CdtDbtInd>{way}</CdtDbtInd>'


def _entry(paid: Paid) -> str:
    own = f"<AcctSvcrRef>{paid.reference}</AcctSvcrRef>" if paid.reference else ""
    return (
        f"<Ntry>{_amount(Decimal(paid.amount))}<Sts><Cd>{paid.status}</Cd></Sts>"
        f"<BookgDt><Dt>{paid.on}</Dt></BookgDt><ValDt><Dt>{paid.on}</Dt></ValDt>{own}"
        f"<NtryDtls>{details(paid, with_amount=False)}</NtryDtls></Ntry>"
    )


def details(paid: Paid, *, with_amount: bool = True) -> str:
    """A TxDtls."""
    party = "Dbtr" if not paid.amount.startswith("-") else "Cdtr"
    end_to_end_id = f"<EndToEndId>{paid.end_to_end_id or 'NOTPROVIDED'}</EndToEndId>"
    return (
        f"<TxDtls><Refs>{end_to_end_id}</Refs>"
        f"{_amount(Decimal(paid.amount)) if with_amount else ''}"
        f"<RltdPties><{party}><Pty><Nm>{escape(paid.name)}</Nm></Pty></{party}>"
        f"<{party}Acct><Id><IBAN>{paid.iban}</IBAN></Id></{party}Acct></RltdPties>"
        f"<RmtInf><Ustrd>{escape(paid.text)}</Ustrd></RmtInf></TxDtls>"
    )


def batch(
    kind: str, *payments: Paid, is_split: bool, reference: str = "", on: date = date(2026, 3, 5)
) -> bytes:
    """One entry of several payments: with each of them, or in one sum."""
    total = sum(Decimal(paid.amount) for paid in payments)
    own = f"<AcctSvcrRef>{reference}</AcctSvcrRef>" if reference else ""
    inside = "".join(map(details, payments)) if is_split else ""
    entry = (
        f"<Ntry>{_amount(Decimal(total))}<Sts><Cd>BOOK</Cd></Sts>"
        f"<BookgDt><Dt>{on}</Dt></BookgDt><ValDt><Dt>{on}</Dt></ValDt>{own}<NtryDtls>"
        f"<Btch><NbOfTxs>{len(payments)}</NbOfTxs></Btch>{inside}</NtryDtls></Ntry>"
    )
    message, container = CAMT[kind]
    return camt(kind).replace(f"</{container}>".encode(), f"{entry}</{container}>".encode())


def mt940(*payments: Paid, opening: str = "100.00", kind: str = "MT940") -> bytes:
    """German structured field 86, purposes cut after 27 characters."""
    first, last = _days(payments)
    closing = Decimal(opening) + sum(Decimal(paid.amount) for paid in payments)
    lines = [":20:STARTUMS", f":25:{IBAN}", ":28C:00001/001"]
    if kind == "MT942":
        lines.append(":34F:EUR0,")
    else:
        lines.append(f":60F:{_mt_balance(Decimal(opening), first)}")
    for paid in payments:
        amount = Decimal(paid.amount)
        mark = "C" if amount > 0 else "D"
        printed = f"{abs(amount)}".replace(".", ",")
        lines.append(f":61:{paid.on:%y%m%d}{paid.on:%m%d}{mark}R{printed}NTRFNONREF")
        eref = f"EREF+{paid.end_to_end_id}" if paid.end_to_end_id else ""
        fields = ([eref] if eref else []) + wrap_hard(f"SVWZ+{paid.text}", 27)
        purposes = "".join(f"?{20 + at}{one}" for at, one in enumerate(fields))
        names = "".join(f"?{32 + at}{one}" for at, one in enumerate(wrap_hard(paid.name, 27)[:2]))
        whole = f"166?00GUTSCHRIFT{purposes}?31{paid.iban}{names}"
        lines += wrap_hard(f":86:{whole}", 65)
    if kind != "MT942":
        lines.append(f":62F:{_mt_balance(closing, last)}")
    return "\r\n".join([*lines, "-", ""]).encode()


def wrap_hard(text: str, width: int) -> list[str]:
    return [text[at : at + width] for at in range(0, len(text), width)] or wrap(text)


def _mt_balance(amount: Decimal, on: date) -> str:
    return f"{'C' if amount >= 0 else 'D'}{on:%y%m%d}EUR{abs(amount)}".replace(".", ",")


def csv(*payments: Paid) -> bytes:
    """A savings bank's export."""
    lines = [CSV_HEAD]
    for paid in payments:
        day = f"{paid.on:%d.%m.%y}"
        printed = paid.amount.replace(".", ",")
        cells = [IBAN, day, day, "GUTSCHR. UEBERWEISUNG", paid.text, "", "", paid.end_to_end_id]
        cells += ["", "", "", paid.name, paid.iban, "", printed, "EUR", "Umsatz gebucht"]
        lines.append(";".join(f'"{cell}"' for cell in cells))
    return "\r\n".join(lines).encode()


def _days(payments: Sequence[Paid]) -> tuple[date, date]:
    days = [paid.on for paid in payments] or [date(2026, 3, 5)]
    return min(days), max(days)


def write(kind: str, *payments: Paid) -> bytes:
    """These payments in one of ``KINDS``."""
    if kind.startswith("camt"):
        return camt(kind, *payments)
    return csv(*payments) if kind == "CSV" else mt940(*payments)


KINDS = ("camt.052", "camt.053", "camt.054", "MT940", "CSV")
