"""Addresses that get no mail: why, until when, and who may write to them again (S10, S11).

For administrators, because the list holds customers' addresses and what they said.
"""

from __future__ import annotations

from collections.abc import Iterator

from flask import Blueprint, Response, abort, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard import export, words
from server.dashboard.pages import page, plain, typed_id
from server.db import db, now
from server.mail import suppression
from server.mail.models import Suppression
from server.mail.rules import AddressError, checked_address

pages = Blueprint("suppressions", __name__)

SHOWN = 100
EXPORT_SLICE = 1_000
COLUMNS = ("address", "reason", "kind", "since", "until", "words", "by")
"""Of the exported file, in their order; dates are the merchant's."""
LOOKS = {
    "complaint": ("bad", "warn"),
    "bounced": ("warn", "warn"),
    "opt_out": ("off", "cancelled"),
    "manual": ("off", "cancelled"),
}
"""Colour and icon of a reason."""


@pages.before_request
def administrators_only() -> None:
    if not g.user.is_administrator:
        abort(403)


@pages.get("/settings/suppressions")
def show_all() -> Response:
    return _list_page()


def _list_page(typed: str = "", note: str = "", problem: str | None = None) -> Response:
    text = plain(request.args.get("q", ""))
    before = typed_id(request.args.get("before")) or None
    rows = suppression.suppressions_of(
        g.merchant_id, now(), text=text, before=before, limit=SHOWN + 1
    )
    return page(
        "suppressions.html",
        422 if problem else 200,
        rows=rows[:SHOWN],
        next_before=rows[SHOWN - 1].id if len(rows) > SHOWN else None,
        is_first=before is None,
        looks=LOOKS,
        q=text,
        typed=typed,
        note=note,
        problem=problem,
    )


@pages.post("/settings/suppressions")
def add() -> BaseResponse:
    """An address that somebody asked not to write to, by telephone for instance."""
    typed, note = plain(request.form.get("address", "")), plain(request.form.get("note", ""))
    try:
        address = checked_address(typed)
    except AddressError:
        return _list_page(typed, note, "no_address")
    suppression.suppress(g.merchant_id, address, "manual", at=now(), evidence=note, by=g.user.email)
    db.session.commit()
    return redirect(url_for(".show_all", done="suppression_added"), 303)


@pages.get("/settings/suppressions/<int:suppression_id>/end")
def ask_end(suppression_id: int) -> Response:
    return page("suppression_end.html", row=_row_or_404(suppression_id))


@pages.post("/settings/suppressions/<int:suppression_id>/end")
def end(suppression_id: int) -> BaseResponse:
    _row_or_404(suppression_id)
    suppression.end(g.merchant_id, suppression_id, at=now(), by=g.user.email)
    db.session.commit()
    return redirect(url_for(".show_all", done="suppression_ended"), 303)


@pages.get("/settings/suppressions.csv")
def as_csv() -> BaseResponse:
    """All that hold, written while they are read."""
    name = f"{words.t('suppressions.filename')}-{words.today().isoformat()}.csv"
    return export.csv_download(_exported(), name)


def _exported() -> Iterator[list[export.Cell]]:
    yield [str(words.t(f"suppression_column.{name}")) for name in COLUMNS]
    at, before, count = now(), None, 0
    while count < export.MOST_ROWS:
        rows = suppression.suppressions_of(g.merchant_id, at, before=before, limit=EXPORT_SLICE)
        if not rows:
            return
        for row in rows:
            yield _cells(row)
        before, count = rows[-1].id, count + len(rows)


def _cells(row: Suppression) -> list[export.Cell]:
    return [
        row.address or str(words.t("suppressions.removed")),
        str(words.t(f"suppression_reason.{row.reason}")),
        str(words.t(f"mail_kind.{row.kind}")) if row.kind else None,
        words.local(row.created_at).date(),
        words.local(row.expires_at).date() if row.expires_at else None,
        row.evidence,
        row.created_by,
    ]


def _row_or_404(suppression_id: int) -> Suppression:
    row = suppression.suppression_of(g.merchant_id, suppression_id, now())
    if row is None:
        abort(404)
    return row
