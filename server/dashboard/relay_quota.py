"""How many mails of other systems are left, what is booked, and every line of it (S97 to S100)."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from flask import Blueprint, Response, g, redirect, request, send_file, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard import access, export, words
from server.dashboard.pages import page, typed_id
from server.dashboard.relay import said
from server.dashboard.words import t
from server.db import db, now
from server.relay import quota
from server.relay.connections import NotPossible
from server.relay.models import RelayEntry, RelayPlan

pages = Blueprint("relay_quota", __name__)

SHOWN: Final = 50
EXPORT_SLICE: Final = 1_000
COLUMNS: Final = ("day", "kind", "mails", "price", "words", "actor")
MAX_DIGITS: Final = 12


@pages.before_request
def administrators_change() -> None:
    if request.method == "POST":
        access.require_administrator()


@pages.get("/relay/quota")
def show() -> Response:
    return _quota_page()


def _quota_page(form: str = "", problem: NotPossible | None = None) -> Response:
    at = now()
    account = quota.account_of(g.merchant_id, at)
    db.session.commit()  # the demo begins when somebody first looks
    before = typed_id(request.args.get("before")) or None
    entries = quota.entries_of(g.merchant_id, before=before, limit=SHOWN + 1)
    left = quota.left_of(account)
    return page(
        "relay_quota.html",
        422 if problem else 200,
        account=account,
        left=left,
        plan=_plan(account.plan_id),
        next_plan=_plan(account.next_plan_id),
        plans=quota.plans(),
        excess_price=(max(-left, 0) * quota.highest_unit_price()).quantize(
            quota.CENT, ROUND_HALF_UP
        ),
        unit_price=quota.highest_unit_price(),
        exact_price=exact_price,
        entries=entries[:SHOWN],
        next_before=entries[SHOWN - 1].id if len(entries) > SHOWN else None,
        is_first=before is None,
        form=form,
        problem=said(problem) if problem else None,
        typed=request.form.get("threshold", ""),
    )


def _plan(plan_id: int | None) -> RelayPlan | None:
    return db.session.get(RelayPlan, plan_id) if plan_id is not None else None


@pages.post("/relay/quota/plan")
def book() -> BaseResponse:
    """From now on where nothing is booked, else from the next period."""
    plan_id = typed_id(request.form.get("plan"))
    try:
        account = quota.book(g.merchant_id, plan_id, actor=g.user.email, at=now())
    except NotPossible as problem:
        db.session.rollback()
        return _quota_page("plan", problem)
    done = "relay_booked" if account.next_plan_id is None else "relay_booked_next"
    db.session.commit()
    return redirect(url_for(".show", done=done), 303)


@pages.post("/relay/quota/end")
def end() -> BaseResponse:
    """Nothing is renewed after this period."""
    quota.book(g.merchant_id, None, actor=g.user.email, at=now())
    db.session.commit()
    return redirect(url_for(".show", done="relay_ended"), 303)


@pages.post("/relay/quota/threshold")
def set_threshold() -> BaseResponse:
    """Below so many the administrators get a mail; an empty field: never."""
    typed = request.form.get("threshold", "").strip()
    try:
        quota.set_threshold(g.merchant_id, read_whole(typed) if typed else None, now())
    except NotPossible as problem:
        db.session.rollback()
        return _quota_page("threshold", problem)
    db.session.commit()
    return redirect(url_for(".show", done="relay_threshold_saved"), 303)


# --- export -------------------------------------------------------------------------------------


@pages.get("/relay/quota.csv")
def as_csv() -> BaseResponse:
    return export.csv_download(_exported(), _filename("csv"))


@pages.get("/relay/quota.xlsx")
def as_xlsx() -> BaseResponse:
    return send_file(
        export.xlsx_file(_exported()),
        mimetype=export.XLSX_TYPE,
        as_attachment=True,
        download_name=_filename("xlsx"),
    )


def _filename(ending: str) -> str:
    return f"{t('relay_quota.filename')}-{words.today().isoformat()}.{ending}"


def _exported() -> Iterator[list[export.Cell]]:
    """The whole ledger, the newest first."""
    yield [str(t(f"relay_column.{name}")) for name in COLUMNS]
    before, count = None, 0
    while count < export.MOST_ROWS:
        rows = quota.entries_of(g.merchant_id, before=before, limit=EXPORT_SLICE)
        if not rows:
            return
        for row in rows:
            yield cells_of(row)
        before, count = rows[-1].id, count + len(rows)


def cells_of(row: RelayEntry) -> list[export.Cell]:
    return [row.day, str(kind_of(row)), row.mails, row.price, row.words, row.actor]


def kind_of(row: RelayEntry) -> Markup:
    return t(f"relay_entry.{row.kind}")


def exact_price(price: Decimal) -> str:
    """Of one mail, in EUR with all its decimals."""
    number = words.exact(price)
    return f"{number}\u00a0€" if words.language() == "de" else f"€{number}"


def read_whole(typed: str | None) -> int:
    """``25.000`` as people type it; 0 where it is no number."""
    plain = (typed or "").strip().replace(".", "").replace(",", "").replace(" ", "")
    is_number = plain.isascii() and plain.isdecimal() and len(plain) <= MAX_DIGITS
    return int(plain) if is_number and plain else 0
