"""Tables for spreadsheets: CSV and XLSX, from rows that come one by one.

What strangers wrote must stay text: a spreadsheet takes a cell that begins with ``=``, ``+``,
``-`` or ``@`` for a formula, so in CSV such texts get an apostrophe in front, and in XLSX they are
written as strings. Amounts, numbers and dates are no texts and stay what they are.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal

import xlsxwriter
from flask import Response, stream_with_context

from server.dashboard import words
from server.orders import tables
from server.orders.tables import Dialect

Cell = tables.Cell

MOST_ROWS = 100_000
FOR_PEOPLE = Dialect(delimiter=";", has_bom=True)
XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
XLSX_CELL_CHARACTERS = 32_767
COLUMN_WIDTH = 16

COLUMNS = (
    "booking_date",
    "value_date",
    "amount",
    "currency",
    "counterparty_name",
    "counterparty_iban",
    "counterparty_bic",
    "remittance_information",
    "creditor_reference",
    "end_to_end_id",
    "mandate_id",
    "bank_reference",
    "state",
    "assigned",
    "rest",
    "orders",
    "account",
    "file",
)
"""The columns of exported postings, in their order."""


def csv_lines(rows: Iterable[list[Cell]]) -> Iterator[str]:
    """Amounts as the reader writes them."""
    return tables.csv_lines(rows, replace(FOR_PEOPLE, decimal_comma=words.language() == "de"))


def csv_download(rows: Iterable[list[Cell]], filename: str) -> Response:
    """A CSV file that is written while its rows are read."""
    lines = stream_with_context(csv_lines(rows))
    response = Response(lines, content_type="text/csv; charset=utf-8")
    response.headers.set("Content-Disposition", "attachment", filename=filename)
    return response


def xlsx_file(rows: Iterable[list[Cell]]) -> io.BytesIO:
    """The finished workbook: packed, some 80 bytes a row; its rows wait in a file meanwhile."""
    file = io.BytesIO()
    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(file, options) as book:
        sheet = book.add_worksheet()
        sheet.freeze_panes(1, 0)
        sheet.set_column(0, len(COLUMNS) - 1, COLUMN_WIDTH)
        bold = book.add_format({"bold": True})
        day = book.add_format({"num_format": "yyyy-mm-dd"})
        money = book.add_format({"num_format": "#,##0.00"})
        for at, row in enumerate(rows):
            for column, cell in enumerate(row):
                if isinstance(cell, Decimal):
                    sheet.write_number(at, column, cell, money)
                elif isinstance(cell, int):
                    sheet.write_number(at, column, cell)
                elif isinstance(cell, date):
                    sheet.write_datetime(at, column, cell, day)
                elif cell:
                    text = cell[:XLSX_CELL_CHARACTERS]
                    sheet.write_string(at, column, text, bold if at == 0 else None)
    file.seek(0)
    return file
