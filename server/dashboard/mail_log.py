"""All mails: the list with its filters, the statistics by day, the export; and the addresses of
everything about one mail, whose page is in ``order_mails``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from flask import Blueprint, Response, g, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard import charts, export, mail_log_queries, order_mails, queries, words
from server.dashboard.mail_log_queries import READERS, STATES, Cursor, MailFilter
from server.dashboard.pages import asked_cursor, cursor_text, page, plain, typed_id
from server.db import now
from server.mail.kinds import KINDS
from server.mail.models import Mail

pages = Blueprint("mails", __name__)

PERIODS = {"7": 6, "30": 29, "90": 89, "365": 364}
DEFAULT_PERIOD = "30"
KEPT = ("q", "state", "kind", "reader", "shop", "period")
EXPORT_SLICE = 1_000
CHART_DAYS = 30
LISTED_KINDS = tuple(name for name, kind in KINDS.items() if kind.footer != "account")
COLUMNS = (
    "written_at",
    "finished_at",
    "mail_kind",
    "mail_recipient",
    "mail_subject",
    "mail_shop",
    "mail_order",
    "mail_state",
    "mail_why",
    "mail_said",
)


# --- what the URL asks for ----------------------------------------------------------------------


def asked_filter() -> tuple[MailFilter, str]:
    """The filter and its period; what makes no sense is left out, never an error."""
    period = request.args.get("period", DEFAULT_PERIOD)
    if period not in PERIODS and period != "all":
        period = DEFAULT_PERIOD
    first = None if period == "all" else words.today() - timedelta(days=PERIODS[period])
    state, kind = request.args.get("state", ""), request.args.get("kind", "")
    reader = request.args.get("reader", "")
    wanted = MailFilter(
        text=plain(request.args.get("q", "")),
        state=state if state in STATES else "",
        kind=kind if kind in LISTED_KINDS else "",
        reader=reader if reader in READERS else "",
        shop_id=typed_id(request.args.get("shop")) or None,
        first_date=first,
    )
    return wanted, period


def kept_arguments() -> dict[str, Any]:
    """The filter, to go on with."""
    return {name: request.args[name] for name in KEPT if request.args.get(name)}


def _matching() -> Any:
    return mail_log_queries.matching_mails(g.merchant_id, asked_filter()[0], words.zone(), now())


def _page_url(name: str, mail: Mail) -> str:
    arguments: dict[str, Any] = kept_arguments() | {name: cursor_text(mail.created_at, mail.id)}
    return url_for(".show_all", **arguments)


# --- the list ----------------------------------------------------------------------------------


@pages.get("/mails")
def show_all() -> Response:
    wanted, period = asked_filter()
    matching = _matching()
    rows, has_newer, has_older = mail_log_queries.mail_page(
        matching, before=asked_cursor("before"), after=asked_cursor("after")
    )
    days = mail_log_queries.mails_by_day(g.merchant_id, words.today(), CHART_DAYS, words.zone())
    return page(
        "mail_log.html",
        wanted=wanted,
        period=period,
        periods=[*PERIODS, "all"],
        default_period=DEFAULT_PERIOD,
        states=STATES,
        readers=READERS,
        kinds=LISTED_KINDS,
        shops=queries.shops(g.merchant_id),
        rows=[(mail, order_mails.fate_of(mail)) for mail in rows],
        numbers=mail_log_queries.numbers_of(g.merchant_id, rows),
        count=mail_log_queries.mail_count(matching) if has_newer or has_older else len(rows),
        most_counted=mail_log_queries.MOST_COUNTED,
        newer=_page_url("after", rows[0]) if rows and has_newer else None,
        older=_page_url("before", rows[-1]) if rows and has_older else None,
        kept=kept_arguments(),
        is_filtered=bool(kept_arguments()),
        days=days,
        chart=charts.bars_of(days),
    )


# --- export -------------------------------------------------------------------------------------


@pages.get("/mails/export.csv")
def as_csv() -> BaseResponse:
    """The filtered mails for a spreadsheet, written while they are read; the newest first."""
    name = f"{words.t('mail_log.filename')}-{words.today().isoformat()}.csv"
    return export.csv_download(_exported(), name)


def _exported() -> Iterator[list[export.Cell]]:
    """The head, then a row for each mail; read in slices, at most ``export.MOST_ROWS``."""
    yield [str(words.t(f"export.{name}")) for name in COLUMNS]
    matching, shops = _matching(), {one.id: one.name for one in queries.shops(g.merchant_id)}
    before: Cursor | None = None
    left = export.MOST_ROWS
    has_more = True
    while has_more and left > 0:
        size = min(EXPORT_SLICE, left)
        rows, _, has_more = mail_log_queries.mail_page(matching, before=before, size=size)
        numbers = mail_log_queries.numbers_of(g.merchant_id, rows)
        for mail in rows:
            yield _cells(
                mail, shops.get(mail.shop_id or 0, ""), numbers.get(mail.order_id or 0, "")
            )
        left -= len(rows)
        before = (rows[-1].created_at, rows[-1].id) if rows else None


def _cells(mail: Mail, shop: str, number: str) -> list[export.Cell]:
    fate = order_mails.fate_of(mail)
    return [
        _moment(mail.created_at),
        _moment(mail.finished_at),
        str(words.t(f"mail_kind.{mail.kind}")) if mail.kind in LISTED_KINDS else mail.kind,
        mail.recipient,
        mail.subject or "",
        shop,
        number,
        str(fate.badge.word),
        str(fate.why or ""),
        fate.said or " ".join((mail.smtp_response or "").split()),
    ]


def _moment(value: datetime | None) -> str:
    """In the merchant's time, as spreadsheets read it."""
    return f"{words.local(value):%Y-%m-%d %H:%M:%S}" if value is not None else ""


# --- one mail -----------------------------------------------------------------------------------

ONE = "/mails/<int:mail_id>"


def _add(path: str, view: Callable[..., Any], method: str) -> None:
    pages.add_url_rule(path, view.__name__, view, methods=[method])


_add(ONE, order_mails.show, "GET")
_add(f"{ONE}/content", order_mails.content, "GET")
_add(f"{ONE}/source.eml", order_mails.source, "GET")
for _view in (
    order_mails.resend,
    order_mails.readdress,
    order_mails.as_letter,
    order_mails.decide,
    order_mails.opt_out,
    order_mails.opt_in,
):
    _add(f"{ONE}/{_view.__name__.replace('_', '-')}", _view, "POST")
