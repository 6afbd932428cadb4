"""The relay as its operator sees it: what is offered, who uses it, what is to be billed (S97, S99).

For the merchant who runs this installation; anybody else is told that there is no such page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from flask import Blueprint, Response, abort, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard import access, export, words
from server.dashboard.pages import page, plain, typed_id
from server.dashboard.relay import said
from server.dashboard.relay_quota import EXPORT_SLICE, exact_price, read_whole
from server.dashboard.words import t
from server.db import db, now
from server.merchants.models import Merchant
from server.relay import quota
from server.relay.connections import NotPossible

pages = Blueprint("relay_plans", __name__)

SHOWN: Final = 50
ACCOUNTS_SHOWN: Final = 200
COLUMNS: Final = ("merchant", "day", "period", "mails", "price")
_NUMBER_AT_END: Final = re.compile(r"(?:^|.*\()(\d{1,18})\)?", re.ASCII)


@pages.before_request
def operators_only() -> None:
    if not g.merchant.is_operator:
        abort(404)
    if request.method == "POST":
        access.require_administrator()


@pages.get("/relay/plans")
def show() -> Response:
    return _plans_page()


def _plans_page(form: str = "", problem: NotPossible | None = None) -> Response:
    before = typed_id(request.args.get("before")) or None
    excess = quota.excess(before=before, limit=SHOWN + 1)
    every = quota.plans(only_offered=False)
    return page(
        "relay_plans.html",
        422 if problem else 200,
        plans=every,
        exact_price=exact_price,
        names={one.id: one.name for one in every},
        accounts=[(row, name, quota.left_of(row)) for row, name in quota.accounts(ACCOUNTS_SHOWN)],
        excess=excess[:SHOWN],
        next_before=excess[SHOWN - 1][0].id if len(excess) > SHOWN else None,
        is_first=before is None,
        least=quota.LEAST_BLOCK,
        form=form,
        problem=said(problem) if problem else None,
        typed=request.form,
    )


@pages.post("/relay/plans")
def add() -> BaseResponse:
    price = words.read_amount(request.form.get("price", ""))
    try:
        quota.add_plan(
            plain(request.form.get("name", "")),
            read_whole(request.form.get("block")),
            price if price is not None else Decimal(-1),
            now(),
        )
    except NotPossible as problem:
        db.session.rollback()
        return _plans_page("plan", problem)
    db.session.commit()
    return redirect(url_for(".show", done="relay_plan_added"), 303)


@pages.post("/relay/plans/withdraw")
def withdraw() -> BaseResponse:
    try:
        quota.withdraw_plan(typed_id(request.form.get("plan")))
    except NotPossible as problem:
        db.session.rollback()
        return _plans_page("plan", problem)
    db.session.commit()
    return redirect(url_for(".show", done="relay_plan_withdrawn"), 303)


@pages.post("/relay/plans/merchant")
def set_plan() -> BaseResponse:
    """What a merchant has from now on; what is left of his period expires."""
    try:
        merchant_id = _typed_merchant()
        quota.book(
            merchant_id,
            typed_id(request.form.get("plan")),
            actor=g.user.email,
            at=now(),
            at_once=True,
        )
    except NotPossible as problem:
        db.session.rollback()
        return _plans_page("merchant", problem)
    db.session.commit()
    return redirect(url_for(".show", done="relay_plan_set"), 303)


def _typed_merchant() -> int:
    """Of ``17`` or ``Annas Antiquariat (17)``. Raises NotPossible."""
    found = _NUMBER_AT_END.fullmatch(plain(request.form.get("merchant", "")))
    row = db.session.get(Merchant, typed_id(found[1])) if found else None
    if row is None:
        raise NotPossible("relay_merchant_unknown")
    return row.id


@pages.get("/relay/plans/excess.csv")
def as_csv() -> BaseResponse:
    name = f"{t('relay_plans.filename')}-{words.today().isoformat()}.csv"
    return export.csv_download(_exported(), name)


def _exported() -> Iterator[list[export.Cell]]:
    """All that is to be billed beyond the blocks, the newest first."""
    yield [str(t(f"relay_column.{name}")) for name in COLUMNS]
    before, count = None, 0
    while count < export.MOST_ROWS:
        rows = quota.excess(before=before, limit=EXPORT_SLICE)
        if not rows:
            return
        for row, name in rows:
            began = words.local(row.period_began_at).date()
            yield [f"{name} ({row.merchant_id})", row.day, began, row.mails, row.price]
        before, count = rows[-1][0].id, count + len(rows)
