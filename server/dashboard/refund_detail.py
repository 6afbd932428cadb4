"""One repayment with everything about it, and what may be done with it (S78, K10, K58)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from flask import Response, abort, g, redirect, request, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard import refund_holds, refund_queries, words
from server.dashboard.access import require_administrator
from server.dashboard.pages import page, plain
from server.dashboard.refund_queries import RefundRow
from server.dashboard.refund_words import why_failed
from server.dashboard.words import t
from server.db import db, now
from server.merchants.service import lock_merchant
from server.orders.models import Refund
from server.orders.rules import REFUND_WAITING
from server.orders.service import NotPossible
from server.refunds import service
from server.refunds.rules import may_move


@dataclass(frozen=True, slots=True)
class Act:
    """``asks``: a page asks before it is done. ``is_grave``: shown in red."""

    name: str
    asks: bool = False
    is_grave: bool = False


ACTS = (
    Act("approve", asks=True),
    Act("execute_now"),
    Act("try_again"),
    Act("change", asks=True),
    Act("mark_processed", asks=True),
    Act("mark_failed", asks=True),
    Act("cancel", asks=True, is_grave=True),
)
ASKING = {"mark_processed", "mark_failed", "cancel"}
"""Those of the pages here; what is changed has a form of its own."""
DECIDE = {"approve", "cancel"}
"""What stands with the reasons of one that is held."""
_CHANGEABLE = {*REFUND_WAITING, "failed"}


def acts_of(refund: Refund) -> list[Act]:
    """What fits its state; nothing is undone of money that was kept."""
    if not refund.amount:
        return []
    fits = {
        "approve": refund.status == "held",
        "execute_now": refund.status == "planned",
        "try_again": refund.status == "failed",
        "change": refund.status in _CHANGEABLE,
        "mark_processed": refund.status != "processed" and may_move(refund.status, "processed"),
        "mark_failed": may_move(refund.status, "failed"),
        "cancel": may_move(refund.status, "cancelled"),
    }
    return [act for act in ACTS if fits[act.name]]


@dataclass(frozen=True, slots=True)
class Shown:
    """A repayment on the page of its order or posting."""

    refund: Refund
    planned: date | None
    arrival: date | None
    acts: list[Act]


def shown(refunds: Sequence[Refund]) -> list[Shown]:
    return [Shown(one, *service.arrival(one), acts_of(one)) for one in refunds]


def label(act: Act, refund: Refund) -> Markup:
    """What the button says."""
    lacks_details = act.name == "change" and refund.status == "bank_details_missing"
    return t("refund_act.enter_details" if lacks_details else f"refund_act.{act.name}")


# --- the page ---------------------------------------------------------------------------------


def show(refund_id: int) -> Response:
    return refund_page(refund_id)


def refund_page(refund_id: int, problem: NotPossible | None = None, code: int = 409) -> Response:
    """The repayment; with why something is not possible."""
    row = row_or_404(refund_id)
    refund = row.refund
    planned, arrival = service.arrival(refund)
    batch = refund_queries.batch_row(g.merchant_id, refund.batch_id) if refund.batch_id else None
    return page(
        "refund.html",
        code if problem else 200,
        refund=refund,
        order=row.order,
        posting=row.posting,
        sent_posting=refund_queries.posting_of(g.merchant_id, refund.sent_posting_id),
        returned_posting=refund_queries.posting_of(g.merchant_id, refund.returned_posting_id),
        batch=batch.batch if batch else None,
        planned=planned,
        arrival=arrival,
        holds=refund_holds.holds_of(row) if refund.status == "held" else [],
        approval=_approval(refund),
        seen=_seen(refund),
        typed=plain(request.form.get("typed", "")),
        wrong="typed" if problem and "typed" in request.form else None,
        waits=_waits(refund),
        why_failed=why_failed(refund.error),
        acts=[one for one in acts_of(refund) if refund.status != "held" or one.name not in DECIDE],
        problem=problem,
    )


def _approval(refund: Refund) -> str:
    """``other``: somebody else has to; ``alone``: the reader may, by typing the amount; ``""``."""
    if refund.status != "held":
        return ""
    return service.approval_by(refund, g.user.email)


def _waits(refund: Refund) -> Markup | None:
    """What it waits for, in one sentence."""
    if refund.status == "bank_details_missing" and refund.announced_at:
        return t("refund.waits_details_asked", at=words.moment(refund.announced_at))
    known = {
        "planned": "planned",
        "bank_details_missing": "details",
        "new": "new",
        "in_process": "bank",
    }.get(refund.status)
    return t(f"refund.waits_{known}") if known else None


def _seen(refund: Refund) -> str:
    """What somebody who approves has looked at: another payee is another decision."""
    return refund.changed_at.isoformat()


def row_or_404(refund_id: int) -> RefundRow:
    row = refund_queries.refund_row(g.merchant_id, refund_id)
    if row is None:
        abort(404)
    return row


# --- what is done -----------------------------------------------------------------------------

_DO: dict[str, Callable[[Refund], object]] = {
    "execute_now": lambda one: service.execute_now(one, actor=g.user.email, at=now()),
    "try_again": lambda one: service.try_again(one, actor=g.user.email, at=now()),
    "cancel": lambda one: service.cancel(one, actor=g.user.email, at=now()),
    "mark_processed": lambda one: service.mark_processed(one, actor=g.user.email, at=now()),
}


def doing(name: str) -> Callable[[int], BaseResponse]:
    """Do it; back to where the button was."""

    def do(refund_id: int) -> BaseResponse:
        refund = _refund_to_change(refund_id)
        return attempt(refund_id, lambda: _DO[name](refund), f"repayment_{name}")

    return do


def approve(refund_id: int) -> BaseResponse:
    """It may go (N9, C18): by somebody else, or by the only one, who types the amount."""
    lock_merchant(g.merchant_id)  # so that what was seen is what is approved
    refund = _refund_to_change(refund_id)
    typed = plain(request.form.get("typed", ""))

    def do() -> None:
        if request.form.get("seen", "") != _seen(refund):
            raise NotPossible("refund_changed_meanwhile")
        amount: Decimal | None = words.read_amount(typed) if typed else None
        if typed and amount is None:
            raise NotPossible("amount_unreadable", typed=typed)
        service.approve(refund, actor=g.user.email, at=now(), typed_amount=amount)

    return attempt(refund_id, do, "repayment_approve")


def mark_failed(refund_id: int) -> BaseResponse:
    refund = _refund_to_change(refund_id)
    why = plain(request.form.get("why", ""))
    if not why:
        return _ask_page("mark_failed", refund_id, NotPossible("refund_reason_missing"))

    def do() -> None:
        service.mark_failed(refund, why, actor=g.user.email, at=now())

    return attempt(refund_id, do, "repayment_mark_failed")


def asking(name: str) -> Callable[[int], Response]:
    """The page that asks before it is done."""

    def ask(refund_id: int) -> Response:
        require_administrator()
        return _ask_page(name, refund_id)

    return ask


def _ask_page(name: str, refund_id: int, problem: NotPossible | None = None) -> Response:
    row = row_or_404(refund_id)
    act = next(one for one in ACTS if one.name == name)
    wording = "refuse" if name == "cancel" and row.refund.status == "held" else name
    return page(
        "refund_action.html",
        422 if problem else 200,
        refund=row.refund,
        order=row.order,
        name=name,
        fits=act in acts_of(row.refund),
        question=t(f"refund_ask.{wording}"),
        consequence=t(f"refund_ask.{wording}_text"),
        button=t(f"refund_act.{wording}"),
        is_grave=act.is_grave,
        back=_back(),
        why=plain(request.form.get("why", "")),
        problem=problem,
    )


def attempt(refund_id: int, do: Callable[[], object], done: str) -> BaseResponse:
    """Do it, commit and go back; 409 on the repayment's page if the rooms say no."""
    try:
        do()
    except NotPossible as problem:
        db.session.rollback()
        return refund_page(refund_id, problem)
    db.session.commit()
    return back_to(row_or_404(refund_id).refund, done)


def back_to(refund: Refund, done: str) -> BaseResponse:
    """The page that the button was on: of the order, of the posting, else of the repayment."""
    back = _back()
    if back == "order" and refund.order_id:
        return redirect(url_for("dashboard.orders.show", order_id=refund.order_id, done=done), 303)
    if back == "posting" and refund.posting_id:
        url = url_for(
            "dashboard.postings.show", posting_id=refund.posting_id, state="all", done=done
        )
        return redirect(url, 303)
    return redirect(url_for("dashboard.refunds.show", refund_id=refund.id, done=done), 303)


def _back() -> str:
    back = request.args.get("back", "")
    return back if back in {"order", "posting"} else ""


def _refund_to_change(refund_id: int) -> Refund:
    """404 for another's, 403 for somebody who may only look."""
    refund = row_or_404(refund_id).refund
    require_administrator()
    return refund
