"""Review mode (C5): what Kontor would book, looked through and booked at once; and a look again.

What something speaks against is never among them: it is decided one by one, in the inbox.
"""

from __future__ import annotations

from flask import Blueprint, Response, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard import match_queries
from server.dashboard.pages import page, typed_id
from server.db import db, now
from server.matching import service as matching
from server.orders.service import NotPossible

pages = Blueprint("proposals", __name__)


@pages.get("/postings/proposals")
def show_all() -> Response:
    return _page()


def _page(problem: str | None = None) -> Response:
    rows = match_queries.proposals(g.merchant_id)
    return page(
        "proposals.html",
        422 if problem else 200,
        rows=rows,
        count=match_queries.proposal_count(g.merchant_id),
        ticked=set(_ticked()) if problem else {row.posting.id for row in rows},
        problem=problem,
    )


def _ticked() -> list[int]:
    return [found for one in request.form.getlist("posting") if (found := typed_id(one))]


@pages.post("/postings/proposals/book")
def book() -> BaseResponse:
    """Those that are ticked, in one transaction; what no longer fits stays where it is."""
    ids = _ticked()[: match_queries.PROPOSALS_SHOWN]
    if not ids:
        return _page("nothing_ticked")
    try:
        count = matching.book_proposals(g.merchant_id, ids, actor=g.user.email, at=now())
    except NotPossible:
        db.session.rollback()
        return _page("bulk_not_possible")
    db.session.commit()
    left = match_queries.proposal_count(g.merchant_id)
    there = ".show_all" if left else "dashboard.postings.show_all"
    return redirect(url_for(there, done="proposals_booked", n=count), 303)


@pages.post("/postings/look-again")
def look_again() -> BaseResponse:
    """Every open posting once more: orders or settings may have changed (K48)."""
    count = matching.look_again(g.merchant_id, now())
    db.session.commit()
    there = url_for("dashboard.postings.show_all", done="looked_again", n=count)
    return redirect(there, 303)
