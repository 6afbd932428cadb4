"""Cases of collection: the list, one case with what happened, and what a person does (S64, K62)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from flask import Blueprint, Response, abort, g, redirect, request, send_file, url_for
from markupsafe import Markup
from sqlalchemy import Select, func, select
from sqlalchemy.orm import aliased
from werkzeug.wrappers import Response as BaseResponse

from server.collection import service
from server.collection.rules import BY_HAND, STATES, UNDER_WAY, may_cancel, reference_of
from server.dashboard import access, order_queries, words
from server.dashboard.attention import LINKS_SHOWN, Attention
from server.dashboard.pages import page, typed_id
from server.dashboard.status import Badge
from server.dashboard.words import t
from server.db import db, now
from server.orders.cases import cases_of
from server.orders.models import CollectionCase, CollectionEvent, Order
from server.orders.service import NotPossible

pages = Blueprint("collection", __name__)

CASES_A_PAGE = 50
LOOKED_AT = 1000
"""So many of the newest cases are looked at for Today."""
FILE_POLICY = "default-src 'none'; sandbox"
"""What strangers wrote is saved, never shown within our own pages."""
LOOKS = {
    "handed_over": ("collection", "part"),
    "accepted": ("collection", "part"),
    "rejected": ("warn", "bad"),
    "paid": ("paid", "ok"),
    "closed": ("cancelled", "bad"),
    "cancelled": ("cancelled", "off"),
}
"""Icon and colour of the state of a case."""
WAITS = {
    "soon": ("overdue", "off"),
    "nobody": ("ask", "warn"),
    "failed": ("warn", "bad"),
    "again": ("warn", "warn"),
}
"""The same of a case that the partner has not got, by why."""
EVENT_ICONS = {
    "told": "person",
    "noted": "person",
    "payment_reported": "bank",
    "not_handed_over": "warn",
    "not_told": "warn",
    "report_refused": "warn",
    "withdraw_refused": "warn",
    "refresh_refused": "warn",
    "taken_back": "cancelled",
    "withdrawn": "cancelled",
    "settled_first": "cancelled",
}

UNTOLD = ("not_told", "report_refused", "withdraw_refused")
SETTLING = ("noted", "payment_reported", "withdrawn")
"""What happens to a case when he was not told, and what ends that."""


@dataclass(frozen=True, slots=True)
class Line:
    """A case in a list."""

    case: CollectionCase
    order: Order
    name: str
    badge: Badge

    @property
    def total(self) -> Decimal:
        return self.case.principal + self.case.fees + self.case.interest


def badge_of(case: CollectionCase) -> Badge:
    """Its state; of one that nobody has got yet, why."""
    waits = waits_because(case)
    if waits is not None:
        icon, colour = WAITS[waits]
        return Badge(icon, colour, t(f"collection.is_{waits}"))
    icon, colour = LOOKS[case.state]
    return Badge(icon, colour, t(f"collection_state.{case.state}"))


def waits_because(case: CollectionCase) -> str | None:
    """Why the partner has not got it, as the key of a sentence: `soon`, `nobody`, `failed`,
    `again`; None if he has, or will not."""
    if case.is_opened or case.state not in UNDER_WAY:
        return None
    if case.status == "failed":
        return "failed"
    if case.status == "withheld":
        return "nobody"
    return "again" if case.error else "soon"


# --- all of them -------------------------------------------------------------------------------


@pages.get("/collection")
def show_all() -> Response:
    state = request.args.get("state", "")
    state = state if state in STATES else ""
    before = typed_id(request.args.get("before")) or None
    matching = _matching(state)
    query = matching.order_by(CollectionCase.id.desc()).limit(CASES_A_PAGE + 1)
    rows = db.session.execute(query.where(CollectionCase.id < before) if before else query).all()
    lines = [_line(case, order) for case, order in rows[:CASES_A_PAGE]]
    has_more = len(rows) > CASES_A_PAGE
    return page(
        "collection.html",
        lines=lines,
        state=state,
        states=STATES,
        sums=_sums(state),
        partner=service.partner_of(g.merchant_id),
        start=url_for(".show_all", state=state or None) if before else None,
        more=url_for(".show_all", state=state or None, before=lines[-1].case.id)
        if has_more
        else None,
    )


def _matching(state: str) -> Select[CollectionCase, Order]:
    query = (
        select(CollectionCase, Order)
        .join(Order, Order.id == CollectionCase.order_id)
        .where(CollectionCase.merchant_id == g.merchant_id)
    )
    return query.where(CollectionCase.state == state) if state else query


def _sums(state: str) -> Sequence[tuple[str, int, Decimal]]:
    """(currency, how many, what was owed at the hand-over)."""
    owed = CollectionCase.principal + CollectionCase.fees + CollectionCase.interest
    query = (
        select(CollectionCase.currency, func.count(), func.sum(owed))
        .where(CollectionCase.merchant_id == g.merchant_id)
        .group_by(CollectionCase.currency)
        .order_by(CollectionCase.currency)
    )
    wanted = query.where(CollectionCase.state == state) if state else query
    return [(one[0], one[1], one[2]) for one in db.session.execute(wanted)]


def _line(case: CollectionCase, order: Order) -> Line:
    return Line(case, order, reference_of(case.id), badge_of(case))


def lines_of(order: Order) -> list[Line]:
    """The cases of an order for its page, the newest first."""
    return [_line(case, order) for case in cases_of(order.id)]


# --- one of them -------------------------------------------------------------------------------


@pages.get("/collection/<int:case_id>")
def show(case_id: int) -> Response:
    return _case_page(_case_or_404(case_id))


def _case_page(
    case: CollectionCase, problem: NotPossible | None = None, *, code: int = 409
) -> Response:
    row = order_queries.order_rows(g.merchant_id, [case.order_id])[case.order_id]
    events = service.events_of(case)
    partner = service.partner_of(g.merchant_id)
    return page(
        "collection_case.html",
        code if problem else 200,
        case=case,
        line=_line(case, row.order),
        row=row,
        order=row.order,
        events=[(one, _said(one), EVENT_ICONS.get(one.kind, "collection")) for one in events],
        paid_since=service.paid_since(case),
        waits=waits_because(case),
        partner=partner,
        can_refresh=service.can_be_asked(case),
        can_cancel=may_cancel(case.state) and row.order.payment_status == "collection",
        states=BY_HAND,
        max_words=service.MAX_WORDS,
        typed=request.form.get("words", "") if problem else "",
        problem=problem,
    )


def _said(event: CollectionEvent) -> Markup:
    """What happened, as a sentence."""
    if event.kind in ("state", "told") and event.state:
        return t(f"collection_event.{event.kind}_state", state=t(f"collection_state.{event.state}"))
    return t(f"collection_event.{event.kind}")


@pages.get("/collection/<int:case_id>/dossier.zip")
def dossier(case_id: int) -> BaseResponse:
    case = _case_or_404(case_id)
    if db.session.get_one(Order, case.order_id).erased_at is not None:
        return _case_page(case, NotPossible("collection_erased"))
    name, content = service.dossier_of(case)
    response = send_file(
        io.BytesIO(content), mimetype="application/zip", as_attachment=True, download_name=name
    )
    response.headers["Content-Security-Policy"] = FILE_POLICY
    return response


@pages.post("/collection/<int:case_id>/refresh")
def refresh(case_id: int) -> BaseResponse:
    """Ask the partner now; what he cannot or does not say is said on the page (K62)."""
    case = _case_or_404(case_id)
    try:
        errand = service.refresh_errand(case)
        db.session.commit()
        service.settle_refresh(errand, service.run_errand(errand, now()), now())
    except NotPossible as problem:
        db.session.rollback()
        return _case_page(case, problem)
    db.session.commit()
    return _back(case_id, "collection_refreshed")


@pages.post("/collection/<int:case_id>/hand-over")
def hand_over(case_id: int) -> BaseResponse:
    access.require_administrator()
    case = _case_or_404(case_id)
    try:
        service.hand_over_now(g.merchant_id, case_id, actor=g.user.email, at=now())
    except NotPossible as problem:
        db.session.rollback()
        return _case_page(case, problem)
    db.session.commit()
    return _back(case_id, "collection_on_its_way")


@pages.post("/collection/<int:case_id>/record")
def record(case_id: int) -> BaseResponse:
    """What the partner told by telephone or letter."""
    case = _case_or_404(case_id)
    state, text = request.form.get("state", ""), request.form.get("words", "")
    try:
        service.record_by_hand(g.merchant_id, case_id, state, text, actor=g.user.email, at=now())
    except NotPossible as problem:
        db.session.rollback()
        is_typed_wrong = problem.args[0] in ("collection_no_state", "collection_nothing_recorded")
        return _case_page(case, problem, code=422 if is_typed_wrong else 409)
    db.session.commit()
    return _back(case_id, "collection_recorded")


@pages.get("/collection/<int:case_id>/cancel")
def ask_cancel(case_id: int) -> Response:
    return _cancel_page(_case_or_404(case_id))


def _cancel_page(case: CollectionCase, problem: NotPossible | None = None) -> Response:
    row = order_queries.order_rows(g.merchant_id, [case.order_id])[case.order_id]
    return page(
        "collection_cancel.html",
        409 if problem else 200,
        case=case,
        line=_line(case, row.order),
        order=row.order,
        fits=may_cancel(case.state) and row.order.payment_status == "collection",
        problem=problem,
    )


@pages.post("/collection/<int:case_id>/cancel")
def cancel(case_id: int) -> BaseResponse:
    case = _case_or_404(case_id)
    try:
        service.cancel_case(g.merchant_id, case_id, actor=g.user.email, at=now())
    except NotPossible as problem:
        db.session.rollback()
        return _cancel_page(case, problem)
    db.session.commit()
    return _back(case_id, "take_from_collection")


def details(order_id: int) -> BaseResponse:
    """ "Show collection details" in the menu of an order (S64)."""
    newest = next((one for one in cases_of(order_id) if one.merchant_id == g.merchant_id), None)
    if newest is None:
        abort(404)
    return redirect(url_for("dashboard.collection.show", case_id=newest.id), 303)


def _back(case_id: int, done: str) -> BaseResponse:
    return redirect(url_for(".show", case_id=case_id, done=done), 303)


def _case_or_404(case_id: int) -> CollectionCase:
    case = service.case_of(g.merchant_id, case_id)
    if case is None:
        abort(404)
    return case


# --- on Today ----------------------------------------------------------------------------------


def lines(merchant_id: int, at: datetime) -> list[Attention]:
    """What nobody does anything about until a person comes."""
    found = []
    partner = service.partner_of(merchant_id)
    if partner is not None and partner.error:
        found.append(
            Attention(
                icon="collection",
                colour="bad",
                title=t("today.collection_partner", partner=partner.name),
                text=t(
                    "today.collection_partner_text",
                    since=words.moment(partner.error_since or at),
                    error=partner.error,
                ),
                href=url_for("dashboard.collection_partner.show"),
                action=t("action.look"),
            )
        )
    for key, cases in {**_waiting(merchant_id), "untold": _untold(merchant_id)}.items():
        if cases:
            found.append(_attention(key, cases))
    return found


def _waiting(merchant_id: int) -> dict[str, list[tuple[int, str]]]:
    """Case and number of the order of what was refused, is the merchant's own, or has ended."""
    query = (
        select(CollectionCase, Order.number)
        .join(Order, Order.id == CollectionCase.order_id)
        .where(
            CollectionCase.merchant_id == merchant_id,
            Order.payment_status == "collection",
            CollectionCase.state.in_(("handed_over", "rejected", "closed")),
        )
        .order_by(CollectionCase.id.desc())
        .limit(LOOKED_AT)
    )
    found: dict[str, list[tuple[int, str]]] = {"failed": [], "nobody": [], "ended": []}
    for case, number in db.session.execute(query):
        key = "ended" if case.state in ("rejected", "closed") else waits_because(case)
        if key in found:
            found[key].append((case.id, number))
    return found


def _untold(merchant_id: int) -> list[tuple[int, str]]:
    """Case and number of the order of what the partner did not hear, be it paid or taken back,
    until a person writes something down or he is told after all."""
    newest = (
        select(CollectionCase.id)
        .where(CollectionCase.merchant_id == merchant_id, CollectionCase.is_opened)
        .order_by(CollectionCase.id.desc())
        .limit(LOOKED_AT)
    )
    later = aliased(CollectionEvent)
    is_settled = select(later.id).where(
        later.case_id == CollectionEvent.case_id,
        later.id > CollectionEvent.id,
        later.kind.in_(SETTLING),
    )
    query = (
        select(CollectionEvent.case_id, Order.number)
        .join(CollectionCase, CollectionCase.id == CollectionEvent.case_id)
        .join(Order, Order.id == CollectionCase.order_id)
        .where(
            CollectionEvent.case_id.in_(newest),
            CollectionEvent.kind.in_(UNTOLD),
            ~is_settled.exists(),
        )
        .distinct()
        .order_by(CollectionEvent.case_id.desc())
    )
    return [(case_id, number) for case_id, number in db.session.execute(query)]


def _attention(key: str, cases: Sequence[tuple[int, str]]) -> Attention:
    return Attention(
        icon="collection",
        colour="bad" if key in ("failed", "untold") else "warn",
        title=t(f"today.collection_{key}", n=len(cases)),
        text=t(f"today.collection_{key}_text"),
        href=_href(cases[0][0]) if len(cases) == 1 else url_for("dashboard.collection.show_all"),
        action=t("action.look"),
        links=tuple((number, _href(case_id)) for case_id, number in cases[:LINKS_SHOWN]),
    )


def _href(case_id: int) -> str:
    return url_for("dashboard.collection.show", case_id=case_id)
