"""All letters: the list with its filters and costs, the export, and each of them (S47, S73)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from flask import Blueprint, Response, abort, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard import export, letter_queries, order_letters, order_queries, queries, words
from server.dashboard.access import require_administrator
from server.dashboard.letter_queries import LISTED_KINDS, STATES, Cursor, LetterFilter
from server.dashboard.pages import asked_cursor, cursor_text, page, plain, typed_id
from server.db import db, now
from server.letters import service
from server.letters.models import Letter
from server.letters.services import service_of
from server.orders import letter_actions
from server.orders.ledger import NotPossible

pages = Blueprint("letters", __name__)

PERIODS = {"7": 6, "30": 29, "90": 89, "365": 364}
DEFAULT_PERIOD = "90"
KEPT = ("q", "state", "kind", "shop", "period")
EXPORT_SLICE = 1_000
PDF_POLICY = (
    "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'self'"
)
"""What browsers need to show a PDF; it may load nothing."""
COLUMNS = (
    "written_at",
    "finished_at",
    "letter_kind",
    "letter_recipient",
    "letter_country",
    "mail_shop",
    "mail_order",
    "letter_state",
    "letter_pages",
    "letter_registered",
    "letter_cost",
    "currency",
    "letter_service",
    "letter_reference",
    "mail_said",
)


# --- what the URL asks for ----------------------------------------------------------------------


def asked_filter() -> tuple[LetterFilter, str]:
    """The filter and its period; what makes no sense is left out, never an error."""
    period = request.args.get("period", DEFAULT_PERIOD)
    if period not in PERIODS and period != "all":
        period = DEFAULT_PERIOD
    first = None if period == "all" else words.today() - timedelta(days=PERIODS[period])
    state, kind = request.args.get("state", ""), request.args.get("kind", "")
    wanted = LetterFilter(
        text=plain(request.args.get("q", "")),
        state=state if state in STATES else "",
        kind=kind if kind in LISTED_KINDS else "",
        shop_id=typed_id(request.args.get("shop")) or None,
        first_date=first,
    )
    return wanted, period


def _kept() -> dict[str, Any]:
    """The filter, to go on with."""
    return {name: request.args[name] for name in KEPT if request.args.get(name)}


def _page_url(name: str, letter: Letter) -> str:
    arguments: dict[str, Any] = _kept() | {name: cursor_text(letter.created_at, letter.id)}
    return url_for(".show_all", **arguments)


# --- the list ----------------------------------------------------------------------------------


@pages.get("/letters")
def show_all() -> Response:
    wanted, period = asked_filter()
    matching = letter_queries.matching_letters(g.merchant_id, wanted, words.zone())
    rows, has_newer, has_older = letter_queries.letter_page(
        matching, before=asked_cursor("before"), after=asked_cursor("after")
    )
    return page(
        "letters.html",
        wanted=wanted,
        period=period,
        periods=[*PERIODS, "all"],
        default_period=DEFAULT_PERIOD,
        states=STATES,
        kinds=LISTED_KINDS,
        shops=queries.shops(g.merchant_id),
        rows=[(letter, order_letters.fate_of(letter)) for letter in rows],
        said_cost=order_letters.said_cost,
        numbers=letter_queries.numbers_of(g.merchant_id, rows),
        costs=letter_queries.costs(matching),
        count=letter_queries.letter_count(matching) if has_newer or has_older else len(rows),
        most_counted=letter_queries.MOST_COUNTED,
        newer=_page_url("after", rows[0]) if rows and has_newer else None,
        older=_page_url("before", rows[-1]) if rows and has_older else None,
        kept=_kept(),
        is_filtered=bool(_kept()),
        print_service=service_of(g.merchant_id),
    )


@pages.get("/letters/export.csv")
def as_csv() -> BaseResponse:
    """The filtered letters for a spreadsheet, written while they are read; the newest first."""
    name = f"{words.t('letters.filename')}-{words.today().isoformat()}.csv"
    return export.csv_download(_exported(), name)


def _exported() -> Iterator[list[export.Cell]]:
    """The head, then a row for each letter; read in slices, at most ``export.MOST_ROWS``."""
    yield [str(words.t(f"export.{name}")) for name in COLUMNS]
    matching = letter_queries.matching_letters(g.merchant_id, asked_filter()[0], words.zone())
    shops = {one.id: one.name for one in queries.shops(g.merchant_id)}
    before: Cursor | None = None
    left = export.MOST_ROWS
    has_more = True
    while has_more and left > 0:
        size = min(EXPORT_SLICE, left)
        rows, _, has_more = letter_queries.letter_page(matching, before=before, size=size)
        numbers = letter_queries.numbers_of(g.merchant_id, rows)
        for letter in rows:
            shop = shops.get(letter.shop_id or 0, "")
            yield _cells(letter, shop, numbers.get(letter.order_id or 0, ""))
        left -= len(rows)
        before = (rows[-1].created_at, rows[-1].id) if rows else None


def _cells(letter: Letter, shop: str, number: str) -> list[export.Cell]:
    fate = order_letters.fate_of(letter)
    return [
        _moment(letter.created_at),
        _moment(letter.finished_at),
        str(words.t(f"letter_kind.{letter.kind}")),
        ", ".join(letter.recipient),
        letter.country,
        shop,
        number,
        str(fate.badge.word),
        str(letter.pages or ""),
        str(words.t("common.yes")) if letter.is_registered else "",
        letter.cost,
        letter.cost_currency or "",
        letter.service or "",
        letter.service_reference or "",
        fate.said,
    ]


def _moment(value: datetime | None) -> str:
    """In the merchant's time, as spreadsheets read it."""
    return f"{words.local(value):%Y-%m-%d %H:%M:%S}" if value is not None else ""


# --- one letter ---------------------------------------------------------------------------------


@pages.get("/letters/<int:letter_id>")
def show(letter_id: int) -> Response:
    return _letter_page(_letter_or_404(letter_id))


def _letter_page(letter: Letter, problem: NotPossible | None = None) -> Response:
    order = order_queries.order_of(g.merchant_id, letter.order_id) if letter.order_id else None
    return page(
        "letter.html",
        409 if problem else 200,
        letter=letter,
        order=order,
        fate=order_letters.fate_of(letter),
        cost=order_letters.said_cost(letter),
        has_content=bool(letter.facts),
        can_go_again=letter_actions.can_go_again(letter),
        has_service=service_of(g.merchant_id) is not None,
        problem=problem,
    )


@pages.get("/letters/<int:letter_id>/letter.pdf")
def pdf(letter_id: int) -> Response:
    """What was handed over, or would be today; 404 where nothing can be made of it."""
    letter = _letter_or_404(letter_id)
    try:
        content = service.pdf_of(letter)
    except ValueError:
        abort(404)
    return shown_pdf(content, f"{letter.kind.replace('_', '-')}-{letter.id}.pdf")


def shown_pdf(content: bytes, name: str) -> Response:
    """In the browser's own viewer, which is a frame that may load nothing."""
    response = Response(content, mimetype="application/pdf")
    response.headers["Content-Disposition"] = f'inline; filename="{name}"'
    response.headers["Content-Security-Policy"] = PDF_POLICY
    return response


def _letter_or_404(letter_id: int) -> Letter:
    return service.letter_of(g.merchant_id, letter_id) or abort(404)


# --- what can be done ---------------------------------------------------------------------------


@pages.post("/letters/<int:letter_id>/cancel")
def cancel(letter_id: int) -> BaseResponse:
    """Until it was handed over (S73)."""

    def act(at: datetime) -> Letter:
        return letter_actions.cancel(g.merchant_id, letter_id, actor=g.user.email, at=at)

    return _attempt(letter_id, act, "letter_cancelled")


@pages.post("/letters/<int:letter_id>/decide")
def decide(letter_id: int) -> BaseResponse:
    """Whether a letter of which nobody knows is handed over once more, which may cost twice."""
    require_administrator()
    again = request.form.get("again") == "yes"

    def act(at: datetime) -> Letter:
        return letter_actions.decide(
            g.merchant_id, letter_id, again=again, actor=g.user.email, at=at
        )

    return _attempt(letter_id, act, "letter_again" if again else "letter_let_rest")


@pages.post("/letters/<int:letter_id>/again")
def send_again(letter_id: int) -> BaseResponse:
    """One that came back or was not taken."""
    require_administrator()

    def act(at: datetime) -> Letter:
        return letter_actions.send_again(g.merchant_id, letter_id, actor=g.user.email, at=at)

    return _attempt(letter_id, act, "letter_again")


def _attempt(letter_id: int, act: Callable[[datetime], Letter], done: str) -> BaseResponse:
    """Do it, commit and show the letter; 409 with the reason if it cannot be."""
    _letter_or_404(letter_id)
    try:
        shown = act(now()).id
    except NotPossible as problem:
        db.session.rollback()
        return _letter_page(_letter_or_404(letter_id), problem)
    db.session.commit()
    return redirect(url_for(".show", letter_id=shown, done=done), 303)
