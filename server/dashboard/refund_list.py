"""All repayments: the list with its filter, and the same for a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import Response, g, request, send_file, url_for
from sqlalchemy import Select
from werkzeug.wrappers import Response as BaseResponse

from server.banking.models import Posting
from server.dashboard import export, refund_queries, words
from server.dashboard.pages import asked_day, page, plain, typed_id
from server.dashboard.refund_queries import RefundFilter, RefundRow
from server.dashboard.status import REFUND_WORDS
from server.orders.models import Order, Refund
from server.refunds import service

FILTER_ARGUMENTS = ("status", "from", "to", "q")
COLUMNS = (
    "requested_on",
    "reference",
    "order",
    "payee",
    "iban",
    "amount",
    "currency",
    "status",
    "reason",
    "planned",
    "arrival",
    "executed",
    "requested_by",
    "approved_by",
    "external_reference",
    "error",
)
"""Their order in the file; dates are the merchant's."""


def show_all() -> Response:
    return _list_page()


def _list_page(problem: str | None = None) -> Response:
    wanted, before = _asked(), typed_id(request.args.get("before")) or None
    matching = _matching(wanted)
    rows, has_more = refund_queries.refund_page(matching, before)
    waiting = refund_queries.waiting(g.merchant_id, "new")
    kept = _kept()
    return page(
        "refunds.html",
        422 if problem else 200,
        wanted=wanted,
        statuses=REFUND_WORDS,
        rows=rows,
        arrivals={row.refund.id: service.arrival(row.refund) for row in rows},
        sums=refund_queries.refund_sums(matching),
        ready=waiting.count if waiting else 0,
        kept=kept,
        start=url_for(".show_all", **kept) if before else None,
        more=url_for(".show_all", **kept, before=rows[-1].refund.id) if has_more else None,
        problem=problem,
    )


def _asked() -> RefundFilter:
    """What makes no sense is left out, never an error."""
    status = request.args.get("status", "")
    return RefundFilter(
        status if status in REFUND_WORDS else "",
        asked_day("from"),
        asked_day("to"),
        plain(request.args.get("q", "")),
    )


def _matching(wanted: RefundFilter) -> Select[Refund, Order, Posting]:
    return refund_queries.matching_refunds(g.merchant_id, wanted, words.zone())


def _kept() -> dict[str, Any]:
    return {name: request.args[name] for name in FILTER_ARGUMENTS if request.args.get(name)}


# --- export -----------------------------------------------------------------------------------


def as_csv() -> BaseResponse:
    """Written while the repayments are read."""
    if _is_too_much():
        return _list_page("export_too_large")
    return export.csv_download(_exported(), _filename("csv"))


def as_xlsx() -> BaseResponse:
    if _is_too_much():
        return _list_page("export_too_large")
    return send_file(
        export.xlsx_file(_exported()),
        mimetype=export.XLSX_TYPE,
        as_attachment=True,
        download_name=_filename("xlsx"),
    )


def _is_too_much() -> bool:
    sums = refund_queries.refund_sums(_matching(_asked()))
    return sum(one.count for one in sums) > export.MOST_ROWS


def _filename(ending: str) -> str:
    return f"{words.t('refund.filename')}-{words.today().isoformat()}.{ending}"


def _exported() -> Iterator[list[export.Cell]]:
    yield [str(words.t(f"refund_column.{name}")) for name in COLUMNS]
    for row in refund_queries.all_refunds(_matching(_asked()), export.MOST_ROWS):
        yield _cells(row)


def _cells(row: RefundRow) -> list[export.Cell]:
    one = row.refund
    planned, arrival = service.arrival(one)
    return [
        words.local(one.requested_at).date(),
        one.reference,
        row.order.number if row.order else None,
        one.payee_name,
        words.iban(one.payee_iban) if one.payee_iban else None,
        one.amount,
        one.currency,
        str(words.t(f"refund_status.{one.status}")),
        one.reason,
        planned,
        arrival,
        words.local(one.processed_at).date() if one.processed_at else None,
        one.requested_by,
        one.approved_by,
        one.external_reference,
        one.error,
    ]
