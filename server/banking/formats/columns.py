"""Which column of a CSV holds which field: what a merchant says once for an unknown layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from server.banking.formats.layouts import Reading

MAX_COLUMNS = 200
AMOUNTS = ("amount", "debit", "credit")
DATES = ("booking_date", "value_date")

_TEXTS = (
    "counterparty_name creditor_reference end_to_end_id mandate_id bank_reference transaction_code"
).split()
COLUMN_FIELDS = {
    *_TEXTS,
    *AMOUNTS,
    *DATES,
    *"account_iban currency counterparty_iban counterparty_bic remittance_information".split(),
    *"return_reason debit_or_credit payer payee status fee net charges".split(),
    *"foreign_amount foreign_currency exchange_rate".split(),
}
"""What a column mapping may name: fields of a posting, and how its amount and party are said."""

_TEXT_OPTIONS = ("date_format", "delimiter", "decimal", "encoding")
_FLAG_OPTIONS = ("has_header", "inverted")


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """Which column holds which field, for a CSV that no layout knows.

    ``columns``: one of ``COLUMN_FIELDS`` to a header, or to several headers that are joined by
    line feeds; without a header line (``has_header`` false) the number of the column, from "1".
    ``debit`` and ``credit`` are two amount columns, ``debit_or_credit`` a mark (S/H, D/C),
    ``payer`` and ``payee`` two parties, ``status`` says pending or booked, ``fee`` becomes a
    posting of its own. ``inverted``: what was spent is printed positive (credit cards).
    """

    columns: Mapping[str, Sequence[str]]
    date_format: str | None = None
    delimiter: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    has_header: bool = True
    inverted: bool = False

    @classmethod
    def from_json(cls, loaded: object) -> ColumnMapping:
        """The mapping of a JSON object; ValueError with plain words for what is wrong in it."""
        if not isinstance(loaded, dict):
            raise ValueError("the column mapping must be a JSON object")
        options: dict[str, Any] = {}
        columns: dict[str, Sequence[str]] = {}
        for key, value in loaded.items():
            if key in _TEXT_OPTIONS:
                options[key] = _text_option(key, value)
            elif key in _FLAG_OPTIONS:
                options[key] = _flag_option(key, value)
            elif key not in COLUMN_FIELDS:
                raise ValueError(f"the column mapping names an unknown field “{key}”")
            elif value is not None:
                columns[key] = _headers(key, value)
        if "amount" not in columns and not {"debit", "credit"} & set(columns):
            raise ValueError("the column mapping must name the amount (or debit and credit)")
        if not options.get("has_header", True):
            _check_numbers(columns)
        return cls(columns, **options)

    def reading(self) -> Reading:
        """How its cells are to be read."""
        return Reading(
            decimal=self.decimal, date_format=self.date_format, is_inverted=self.inverted
        )


def _text_option(key: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"“{key}” in the column mapping must be a text")
    if key == "delimiter" and value is not None and len(value) != 1:
        raise ValueError("“delimiter” in the column mapping must be one character")
    if key == "decimal" and value not in (None, ".", ","):
        raise ValueError("“decimal” in the column mapping must be “.” or “,”")
    if key == "encoding" and value is not None:
        try:
            "".encode(value)
        except LookupError as error:
            raise ValueError(f"the encoding “{value}” is not known") from error
    return value


def _flag_option(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"“{key}” in the column mapping must be true or false")
    return value


def _headers(key: str, value: object) -> Sequence[str]:
    headers = [value] if isinstance(value, str) else value
    if not isinstance(headers, list) or not all(isinstance(one, str) for one in headers):
        raise ValueError(f"“{key}” in the column mapping must be a header or a list of headers")
    return headers


def _check_numbers(columns: Mapping[str, Sequence[str]]) -> None:
    for key, headers in columns.items():
        for header in headers:
            if not header.isascii() or not header.isdigit() or not 1 <= int(header) <= MAX_COLUMNS:
                raise ValueError(
                    f"“{key}” in the column mapping must be the number of a column, from “1”,"
                    " because the file has no header"
                )
