"""The filtered orders for a spreadsheet, CSV and XLSX (K63)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from flask import g, send_file
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard import export, order_filter, order_list, order_queries, status, words
from server.dashboard.order_queries import OrderRow

EXPORT_SLICE = 1_000
COLUMNS = (
    "number",
    "external_id",
    "shop",
    "payment_code",
    "status",
    "ordered_on",
    "changed_on",
    "base_date",
    "customer",
    "email",
    "total",
    "paid",
    "open",
    "currency",
    "invoices",
    "level",
    "fees",
    "reference",
)
"""Their order in the file; amounts are in ``currency``, dates the merchant's."""


def as_csv() -> BaseResponse:
    """Written while the orders are read."""
    if _is_too_much():
        return order_list.list_page("export_too_large")
    return export.csv_download(_exported(), _filename("csv"))


def as_xlsx() -> BaseResponse:
    if _is_too_much():
        return order_list.list_page("export_too_large")
    return send_file(
        export.xlsx_file(_exported()),
        mimetype=export.XLSX_TYPE,
        as_attachment=True,
        download_name=_filename("xlsx"),
    )


def _is_too_much() -> bool:
    count = order_queries.order_count(order_filter.asked_orders(), export.MOST_ROWS + 1)
    return count > export.MOST_ROWS


def _filename(ending: str) -> str:
    return f"{words.t('orders.filename')}-{words.today().isoformat()}.{ending}"


def _exported() -> Iterator[list[export.Cell]]:
    """The head, then a row for each order, the newest first; read in slices, never all at once."""
    yield [str(words.t(f"order_column.{name}")) for name in COLUMNS]
    matching = order_filter.asked_orders()
    before, has_more = None, True
    while has_more:
        rows, _, has_more = order_queries.order_page(
            g.merchant_id, matching, before=before, size=EXPORT_SLICE, with_notes=False
        )
        yield from _slice(rows)
        if rows:
            before = order_filter.cursor_of(rows[-1].order)


def _slice(rows: Sequence[OrderRow]) -> Iterator[list[export.Cell]]:
    ids = [row.order.id for row in rows]
    invoices = order_queries.invoice_numbers(g.merchant_id, ids)
    levels = order_queries.levels(g.merchant_id, ids)
    for row in rows:
        order = row.order
        word = status.order_word(
            order.payment_status, order.payment_code, is_overpaid=row.surplus > 0
        )
        yield [
            order.number,
            order.external_id,
            order.shop.name,
            str(words.t(f"payment_code.{order.payment_code}")),
            str(words.t(f"payment_status.{word}")),
            _day(order.ordered_at),
            _day(order.changed_at),
            order.base_date,
            order.customer_name,
            order.customer_email,
            order.total,
            row.paid,
            row.open,
            order.currency,
            ", ".join(invoices.get(order.id, ())),
            str(levels.get(order.id, 0)),
            order.fee_total,
            order.payment_reference,
        ]


def _day(moment: datetime) -> export.Cell:
    return words.local(moment).date()
