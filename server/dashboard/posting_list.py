"""The list of postings: filter in the URL, sums, several at once, export.

``/postings`` without a filter is the inbox (``postings.py``), with one it is this list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from flask import Blueprint, Response, g, redirect, request, send_file, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.banking.models import Posting
from server.dashboard import bank_queries, export, queries, status, words
from server.dashboard.bank_queries import SORTS, STATES, Cursor, PostingFilter
from server.dashboard.pages import asked_day, page, plain
from server.dashboard.queries import PostingRow
from server.db import db, now
from server.orders import service
from server.orders.service import NotPossible

pages = Blueprint("posting_list", __name__)

MAX_AT_ONCE = 200
EXPORT_SLICE = 1_000
NO_DATE = "-"
FILTER_ARGUMENTS = ("state", "account", "statement", "from", "to", "least", "most", "text", "sort")


# --- what the URL asks for --------------------------------------------------------------------


def is_asked() -> bool:
    """Whether somebody asked for a list, and not just for what waits."""
    return any(name in request.args for name in FILTER_ARGUMENTS)


def kept_arguments(*without: str) -> dict[str, Any]:
    """The filter and the place in the list, to go on with."""
    kept = (*FILTER_ARGUMENTS, "after")
    return {
        name: request.args[name] for name in kept if request.args.get(name) and name not in without
    }


def asked_filter() -> PostingFilter:
    """What makes no sense is left out, never an error."""
    state = request.args.get("state", "all")
    return PostingFilter(
        state=state if state in STATES else "all",
        account_id=_number("account"),
        statement_id=_number("statement"),
        first_date=asked_day("from"),
        last_date=asked_day("to"),
        least=_amount("least"),
        most=_amount("most"),
        text=plain(request.args.get("text", "")),
    )


def asked_sort() -> str:
    wanted = request.args.get("sort", "")
    return wanted if wanted in SORTS else SORTS[0]


def asked_cursor(sort: str) -> Cursor | None:
    """``<date or amount>_<posting id>``: where the page before ended."""
    value, _, posting_id = request.args.get("after", "").rpartition("_")
    if not (posting_id.isdecimal() and len(posting_id) < 19):
        return None
    try:
        if sort.endswith("amount"):
            amount = Decimal(value)
            return (amount, int(posting_id)) if amount.is_finite() else None
        day = None if value == NO_DATE else date.fromisoformat(value)
    except (ValueError, InvalidOperation):
        return None
    return day, int(posting_id)


def after_text(cursor: Cursor) -> str:
    """What ``asked_cursor`` reads."""
    value, posting_id = cursor
    if isinstance(value, Decimal):
        return f"{value.normalize():f}_{posting_id}"
    return f"{value.isoformat() if value else NO_DATE}_{posting_id}"


def _number(name: str) -> int | None:
    text = request.args.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 19 else None


def _amount(name: str) -> Decimal | None:
    found = words.read_amount(plain(request.args.get(name, "")))
    return abs(found) if found is not None else None


# --- the list ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Column:
    """A head of the table that sorts: where its link leads, and how it is sorted now."""

    url: str
    direction: str | None


def table_page(problem: str | None = None) -> Response:
    """The filtered postings as a table."""
    wanted, sort = asked_filter(), asked_sort()
    matching = bank_queries.matching_postings(g.merchant_id, wanted)
    rows, has_more = bank_queries.posting_page(matching, sort, asked_cursor(sort))
    after = after_text(bank_queries.cursor_of(sort, rows[-1])) if has_more else None
    statement = (
        queries.statement_of(g.merchant_id, wanted.statement_id) if wanted.statement_id else None
    )
    accounts = bank_queries.accounts(g.merchant_id)
    return page(
        "posting_list.html",
        422 if problem else 200,
        wanted=wanted,
        states=STATES,
        accounts=accounts,
        account_of={one.id: one for one in accounts},
        statement=statement,
        rows=rows,
        sums=bank_queries.posting_sums(matching),
        acts=[name for name, act in ACTS.items() if any(act.fits(row.posting) for row in rows)],
        fits={name: act.fits for name, act in ACTS.items()},
        heads={name: _head(name, sort) for name in ("date", "amount")},
        kept=kept_arguments(),
        more=url_for("dashboard.postings.show_all", **kept_arguments("after"), after=after)
        if after
        else None,
        start=url_for("dashboard.postings.show_all", **kept_arguments("after"))
        if "after" in request.args
        else None,
        without_statement=url_for(
            "dashboard.postings.show_all",
            **{"state": "all"} | kept_arguments("statement", "after"),
        ),
        is_narrow=bool(kept_arguments("state", "sort", "after")) or wanted.state != "all",
        has_more_filters=any(
            one is not None
            for one in (wanted.first_date, wanted.last_date, wanted.least, wanted.most)
        ),
        problem=problem,
    )


def _head(name: str, sort: str) -> Column:
    """A click sorts downwards first, a second click upwards."""
    is_down = sort == f"-{name}"
    kept = {"state": "all", **kept_arguments("after", "sort")}
    url = url_for("dashboard.postings.show_all", **kept, sort=name if is_down else f"-{name}")
    current = sort.removeprefix("-") == name
    return Column(url, ("descending" if is_down else "ascending") if current else None)


# --- several at once --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Act:
    """What can be done to many postings: to which, and how to one of them."""

    fits: Callable[[Posting], bool]
    do: Callable[[int, str, datetime], None]


def _ignore(posting_id: int, actor: str, at: datetime) -> None:
    service.ignore_posting(g.merchant_id, posting_id, actor=actor, at=at)


def _take_back(posting_id: int, actor: str, at: datetime) -> None:
    service.unignore_posting(g.merchant_id, posting_id, actor=actor, at=at)


def _part(posting_id: int, actor: str, at: datetime) -> None:
    service.decide_duplicate(g.merchant_id, posting_id, is_same=False, actor=actor, at=at)


ACTS = {
    "ignore": Act(lambda one: one.ignored_at is None and one.amount > 0, _ignore),
    "unignore": Act(lambda one: one.ignored_at is not None, _take_back),
    "different": Act(lambda one: one.duplicate_of_id is not None and one.ignored_at is None, _part),
    "start_assignment": Act(lambda one: one.no_assignment, _take_back),
}


@pages.post("/postings/bulk")
def act_on_many() -> BaseResponse:
    """One act on all ticked postings that it fits, in one transaction."""
    act = ACTS.get(request.form.get("act", ""))
    ids = [int(one) for one in request.form.getlist("posting") if one.isdecimal() and len(one) < 19]
    if act is None or not ids:
        return table_page("nothing_ticked")
    if len(ids) > MAX_AT_ONCE:
        return table_page("too_many_ticked")
    at = now()
    count = 0
    try:
        for posting in bank_queries.postings_of(g.merchant_id, ids):
            if act.fits(posting):
                act.do(posting.id, g.user.email, at)
                count += 1
    except NotPossible:
        db.session.rollback()
        return table_page("bulk_not_possible")
    db.session.commit()
    kept = {"state": "all", **kept_arguments()}
    done = f"bulk_{request.form['act']}"
    return redirect(url_for("dashboard.postings.show_all", **kept, done=done, n=count), 303)


# --- export -----------------------------------------------------------------------------------


@pages.get("/postings/export.csv")
def as_csv() -> BaseResponse:
    """The filtered postings for a spreadsheet, written while they are read."""
    if _is_too_much():
        return table_page("export_too_large")
    return export.csv_download(_exported(), _filename("csv"))


@pages.get("/postings/export.xlsx")
def as_xlsx() -> BaseResponse:
    if _is_too_much():
        return table_page("export_too_large")
    return send_file(
        export.xlsx_file(_exported()),
        mimetype=export.XLSX_TYPE,
        as_attachment=True,
        download_name=_filename("xlsx"),
    )


def _matching() -> Any:
    return bank_queries.matching_postings(g.merchant_id, asked_filter())


def _is_too_much() -> bool:
    return bank_queries.posting_count(_matching(), export.MOST_ROWS + 1) > export.MOST_ROWS


def _filename(ending: str) -> str:
    return f"{words.t('export.filename')}-{words.today().isoformat()}.{ending}"


def _exported() -> Iterator[list[export.Cell]]:
    """The head, then a row for each posting; read in slices, never all at once."""
    yield [str(words.t(f"export.{name}")) for name in export.COLUMNS]
    matching, sort = _matching(), asked_sort()
    accounts = {one.id: one for one in bank_queries.accounts(g.merchant_id)}
    after: Cursor | None = None
    has_more = True
    while has_more:
        rows, has_more = bank_queries.posting_page(matching, sort, after, EXPORT_SLICE)
        statement_ids = {one.posting.statement_id or 0 for one in rows}
        files = bank_queries.filenames(g.merchant_id, statement_ids)
        for row in rows:
            account = accounts[row.posting.account_id]
            yield _cells(row, account.iban, files.get(row.posting.statement_id or 0, ""))
        if rows:
            after = bank_queries.cursor_of(sort, rows[-1])


def _cells(row: PostingRow, account: str, file: str) -> list[export.Cell]:
    posting = row.posting
    return [
        posting.booking_date,
        posting.value_date,
        posting.amount,
        posting.currency,
        posting.counterparty_name,
        posting.counterparty_iban,
        posting.counterparty_bic,
        posting.remittance_information,
        posting.creditor_reference,
        posting.end_to_end_id,
        posting.mandate_id,
        posting.bank_reference,
        str(words.t(f"posting_state.{status.posting_word(row)}")),
        posting.amount - row.rest,
        row.rest,
        ", ".join(number for _, number in row.orders),
        account,
        file,
    ]
