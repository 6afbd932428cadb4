"""What to show a person who is asked for the columns of an unknown CSV, and how to know it again.

Proposals come from the words in headers and from the look of values. They are only ever shown:
nothing is read by them until a person has said that they are right.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from server.banking.formats import fields, notation
from server.banking.formats.header import UnknownColumns, find_header, probable_header
from server.banking.formats.layouts import normal
from server.banking.formats.table import Table, split

MAX_EXAMPLES = 5
MAX_HEAD_LINES = 200
MAX_KEY_BYTES = 256 * 1024

# On names as ``normal`` gives them; the first that fits wins, and each field is proposed once.
_WORDS = {
    field: re.compile(pattern)
    for field, pattern in {
        "end_to_end_id": r"endtoend|endezuende|eref|kundenreferenz|e2e",
        "mandate_id": r"mandat|machtigingskenmerk|mandato",
        "creditor_reference": r"creditorreference|zahlungsreferenz|strukturiert|structured"
        r"|gestructureerde|structuree|betalingskenmerk|referencia(?:de)?pago$",
        "foreign_amount": r"fremdwaehrung|foreign|original(?:amount|betrag)|ursprung|devise"
        r"etrangere|divisaextranjera|valutaestera|localamount",
        "balance": r"saldo|balance|kontostand|solde|guthaben",
        "fee": r"gebuehr|^fee|^fees|entgelt|frais|kosten|commissi",
        "net": r"^net|^netto",
        "value_date": r"valuta|valued?|wertstellung|wert$|datevaleur|rentedatum|fechavalor"
        r"|datavaluta|settlement",
        "booking_date": r"buchungs?(?:tag|datum)|^buchung$|datum|date|fecha|^data|^tag$|posted",
        "debit": r"soll|debit|debet|belastung|lastschrift|ausgang|ausgabe|withdrawal|moneyout"
        r"|paidout|uitgaand|cargo|addebit|dare|^af$",
        "credit": r"haben|credit|gutschrift|eingang|einnahme|deposit|moneyin|paidin|inkomend"
        r"|abono|accredit|avere|^bij$",
        "debit_or_credit": r"sollhaben|debitcredit|debetcredit|afbij|kennzeichen|^sh$|^dc$|cdtdbt",
        "currency": r"waehrung|currency|devise|munt|moneda|divisa|valutacode|^ccy$",
        "amount": r"betrag|umsatz(?!art|typ)|amount|bedrag|montant|importe|importo|cantidad|^wert"
        r"|brutto|gross|summe",
        "counterparty_bic": r"\bbic|bic$|swift|blz",
        "account_iban": r"auftragskonto|eigene|accountiban|ibankonto|ibanauftrag|^rekening$"
        r"|^konto$|^account$",
        "counterparty_iban": r"iban|kontonummer|kontonr|accountnumber|tegenrekening|counterparty"
        r"account|numerodecompte|numerodecuenta|numerodiconto|gegenkonto",
        "status": r"status|state|^info$",
        "counterparty_name": r"zahler|zahlender|einzahl|kunde$|debitor|auftraggeber|empfaenger"
        r"|beguenstigt|zahlungspflicht|partner|payee"
        r"|payer|^name|naam|counterparty|beneficiar|merchant|^nom|nombre|sender|gegenpartei",
        "transaction_code": r"buchungstext|umsatzart|vorgang|^typ|type|^art$|transaktionsart"
        r"|buchungsart|mutatiesoort|^code$",
        "bank_reference": r"transaktions?(?:id|nr|code)|transactionid|bankrefer|referenz|reference"
        r"|referentie|^id$",
        "remittance_information": r"verwendungszweck|zweck|text|beschreibung|description|details"
        r"|memo|omschrijving|mededeling|libelle|concept|causale|descrizion|betreff|note|narrative"
        r"|communication|payment",
    }.items()
}
# Proposed by no word alone: said so that no other field is.
_NOT_PROPOSED = {"balance"}
_NO_TEXT = (b"PK", b"%PDF", b"\x1f\x8b", b"\xd0\xcf", b"\x89PNG", b"\xff\xd8")
_DATE_FIELDS = {"booking_date", "value_date"}
_AMOUNT_FIELDS = {"amount", "debit", "credit", "fee", "net"}
_STATUS = re.compile(
    r"gebucht|vorgemerkt|booked|pending|complete|abgeschlossen|offen|settled", re.IGNORECASE
)
_MARKS = {"S", "H", "D", "C", "DR", "CR", "SOLL", "HABEN", "DEBIT", "CREDIT", "AF", "BIJ"}


@dataclass(frozen=True, slots=True)
class TableHead:
    """The beginning of a table: header, up to 5 records, and a proposed field for each column.

    Without a header line ``has_header`` is false and ``header`` numbers the columns from "1",
    as a column mapping names them then. A column for which nothing is proposed has None.
    """

    delimiter: str
    header: list[str]
    examples: list[list[str]]
    proposed: list[str | None]
    has_header: bool = True


def header_key(source: BinaryIO) -> str | None:
    """A key that every file with the same set of headers has, as 64 hexadecimal digits.

    Of a file without header it stands for the number of columns and what the first record holds
    in each. None for known layouts, which need no columns, and for what is no table. The
    position in ``source`` stays what it was.
    """
    start = source.tell()
    try:
        find_header(Table(io.BytesIO(source.read(MAX_KEY_BYTES))), None)
    except UnknownColumns as unknown:
        cells = unknown.header
    else:
        return None
    finally:
        source.seek(start)
    if len(cells) < 2:
        return None
    names = {normal(cell) for cell in cells} - {""}
    if any(_kind(cell) for cell in cells):
        names = {f"{number}:{_kind(cell)}" for number, cell in enumerate(cells, start=1)}
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()


def table_head(head: bytes) -> TableHead | None:
    """The table that these first bytes of a file begin; None if they are no table.

    Works for known layouts too. The last line is left out where the bytes end inside it.
    """
    lines = _lines(head)
    cells, delimiter = probable_header(lines)
    if len(cells) < 2:
        return None
    records = [split(line, delimiter) for line in lines]
    at = records.index(cells) if cells in records else 0
    has_header = not any(_kind(cell) for cell in cells)
    width = len(cells)
    below = [one for one in records[at + has_header :] if sum(map(bool, one)) > 1]
    examples = [(one + [""] * width)[:width] for one in below[:MAX_EXAMPLES]]
    header = [cell.strip() for cell in cells]
    if not has_header:
        header = [str(number) for number in range(1, width + 1)]
    proposed = _proposed(header if has_header else [""] * width, examples)
    return TableHead(delimiter, header, examples, proposed, has_header)


def _lines(head: bytes) -> list[str]:
    """The records of the head as text, each in one piece."""
    if head.lstrip()[:1] in (b"<", b"{", b":") or head.startswith(_NO_TEXT):
        return []
    table = Table(io.BytesIO(head))
    lines: list[str] = []
    while len(lines) < MAX_HEAD_LINES and (printed := table.line()) is not None:
        lines.append(table.decoded(table.whole(printed)))
    if len(lines) > 2 and not head.endswith((b"\n", b"\r", b"\n\x00")):
        lines.pop()
    return [line for line in lines if line.strip()]


def _kind(cell: str) -> str:
    """What kind of value a cell holds, empty for words: no header holds one."""
    value = cell.strip()
    if not any(one.isdigit() for one in value):
        return ""
    if notation.printed_date(value, True):
        return "date"
    if fields.printed_amount(value) is not None:
        return "amount"
    return "iban" if fields.iban(value) else ""


def _proposed(header: Sequence[str], examples: Sequence[Sequence[str]]) -> list[str | None]:
    columns = list(zip(*examples, strict=True)) or [()] * len(header)
    found: list[str | None] = [None] * len(header)
    taken: set[str] = set()
    for number, name in enumerate(header):
        field = _by_words(normal(name), taken)
        if field is not None and _may_be(field, columns[number]):
            taken.add(field)
            found[number] = field
    for number, cells in enumerate(columns):
        filled = [cell.strip() for cell in cells if cell.strip()]
        if found[number] is None and filled and (field := _by_look(filled, taken)):
            taken.add(field)
            found[number] = field
    if "remittance_information" not in taken:
        _propose_longest_text(found, columns)
    return [None if field in _NOT_PROPOSED else field for field in found]


def _by_words(name: str, taken: set[str]) -> str | None:
    for field, words in _WORDS.items():
        if field not in taken and name and words.search(name):
            return field
        if field in _NOT_PROPOSED and name and words.search(name):
            return field
    return None


def _may_be(field: str, cells: Sequence[str]) -> bool:
    """Whether the values do not speak against what the header says."""
    kinds = {_kind(cell) for cell in cells if cell.strip()}
    if not kinds:
        return True
    if field in _DATE_FIELDS:
        return "date" in kinds
    if field == "status":
        return all(_STATUS.search(cell) for cell in cells if cell.strip())
    if field == "account_iban":
        return len({cell.strip() for cell in cells}) == 1
    return "amount" in kinds if field in _AMOUNT_FIELDS else True


def _by_look(cells: Sequence[str], taken: set[str]) -> str | None:
    """The field whose values look like all of these, if it is not proposed yet."""
    looks: tuple[tuple[tuple[str, ...], Callable[[str], object]], ...] = (
        (("booking_date", "value_date"), lambda cell: _kind(cell) == "date"),
        (("debit_or_credit",), lambda cell: cell.upper() in _MARKS),
        (("currency",), fields.currency),
        (("amount",), lambda cell: _kind(cell) == "amount" and not cell.isdigit()),
        (("counterparty_iban", "account_iban"), fields.iban),
        (("counterparty_bic",), lambda cell: cell.isupper() and fields.bic(cell)),
    )
    for choices, has_look in looks:
        if all(map(has_look, cells)):
            return next((field for field in choices if field not in taken), None)
    return None


def _propose_longest_text(found: list[str | None], columns: Sequence[Sequence[str]]) -> None:
    lengths = {
        number: sum(map(len, columns[number]))
        for number, field in enumerate(found)
        if field is None and number < len(columns)
    }
    longest = max(lengths, key=lambda number: lengths[number], default=None)
    if longest is not None and lengths[longest]:
        found[longest] = "remittance_information"
