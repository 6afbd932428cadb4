"""Forms of repayments: arranging one of an order or a posting, changing one, keeping the money.

What was typed wrong is shown again with a sentence beside its field (422); what does not fit as
things stand is said above the form (409). A form that is submitted twice arranges once: it says
which repayment was the newest when it was shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from flask import Response, abort, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.banking.models import Posting
from server.dashboard import order_queries, queries, refund_holds, refund_queries, words
from server.dashboard.access import require_administrator
from server.dashboard.pages import page, plain, typed_id
from server.dashboard.refund_detail import acts_of, back_to, row_or_404
from server.dashboard.words import t
from server.db import db, now
from server.merchants.service import lock_merchant, settings_of
from server.orders.models import Order, Refund
from server.orders.service import NotPossible
from server.refunds import service
from server.refunds.proposals import Proposal, proposal
from server.refunds.rules import BankDetails

ZERO = Decimal(0)
MAX_IBAN_TYPED = 42
FIELD_OF_PROBLEM = {
    "amount_unreadable": "amount",
    "refund_amount_invalid": "amount",
    "refund_above_limit": "amount",
    "iban_invalid": "iban",
    "refund_iban_not_sepa": "iban",
    "refund_own_account": "iban",
    "refund_name_missing": "name",
    "refund_name_too_long": "name",
    "refund_name_not_latin": "name",
    "refund_reason_too_long": "reason",
    "date_unreadable": "planned",
    "date_out_of_range": "planned",
}


@dataclass(frozen=True, slots=True)
class Typed:
    """What stands in the form."""

    amount: str = ""
    name: str = ""
    iban: str = ""
    reason: str = ""
    planned: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """An amount that is offered: a link that writes it into the form."""

    name: str
    amount: Decimal
    href: str


def _typed() -> Typed:
    form = request.form
    return Typed(
        amount=plain(form.get("amount", "")),
        name=plain(form.get("name", "")),
        iban=plain(form.get("iban", ""))[:MAX_IBAN_TYPED],
        reason=plain(form.get("reason", "")),
        planned=plain(form.get("planned", "")),
    )


def _amount(typed: Typed) -> Decimal:
    amount = words.read_amount(typed.amount)
    if amount is None:
        raise NotPossible("amount_unreadable", typed=typed.amount)
    return amount


def _payee(typed: Typed) -> BankDetails | None:
    """None where nothing was typed: the customer is asked, or somebody says it later."""
    iban = "".join(typed.iban.split()).upper()
    return BankDetails(typed.name, iban) if iban or typed.name else None


def _day(typed: str) -> date | None:
    if not typed:
        return None
    try:
        return date.fromisoformat(typed)
    except ValueError:
        raise NotPossible("date_unreadable") from None


def _code(problem: NotPossible | None) -> int:
    if problem is None:
        return 200
    return 422 if problem.args[0] in FIELD_OF_PROBLEM else 409


def _told(problem: NotPossible | None) -> dict[str, Any]:
    return {
        "problem": problem,
        "wrong": FIELD_OF_PROBLEM.get(problem.args[0]) if problem else None,
    }


# --- arranging one ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Source:
    """What a repayment is arranged of, and where its form is and where it came from."""

    order: Order | None
    posting: Posting | None
    earlier: list[Refund]
    form: str
    back: str

    @property
    def order_id(self) -> int | None:
        return self.order.id if self.order else None

    @property
    def posting_id(self) -> int | None:
        return self.posting.id if self.posting else None

    @property
    def newest(self) -> Refund | None:
        """The newest repayment that there is of it."""
        return self.earlier[0] if self.earlier else None

    @property
    def seen(self) -> int:
        return self.newest.id if self.newest else 0


def ask_repay(order_id: int) -> Response:
    return _ask(lambda: _of_order(order_id))


def repay(order_id: int) -> BaseResponse:
    """Arrange a repayment of an order (S78)."""
    return _arrange(lambda: _of_order(order_id))


def ask_send_back(posting_id: int) -> Response:
    return _ask(lambda: _of_posting(posting_id))


def send_back(posting_id: int) -> BaseResponse:
    """Money that belongs to no order goes back (K55)."""
    return _arrange(lambda: _of_posting(posting_id))


def _of_order(order_id: int) -> _Source:
    order = order_queries.order_of(g.merchant_id, order_id)
    if order is None:
        abort(404)
    return _Source(
        order,
        None,
        refund_queries.refunds_of_order(g.merchant_id, order_id),
        url_for("dashboard.orders.repay", order_id=order_id),
        url_for("dashboard.orders.show", order_id=order_id),
    )


def _of_posting(posting_id: int) -> _Source:
    row = queries.posting_row(g.merchant_id, posting_id)
    if row is None:
        abort(404)
    return _Source(
        None,
        row.posting,
        refund_queries.refunds_of_posting(g.merchant_id, posting_id),
        url_for("dashboard.postings.send_back", posting_id=posting_id),
        url_for("dashboard.postings.show", posting_id=posting_id, state="all"),
    )


def _ask(find: Callable[[], _Source]) -> Response:
    """Only once it is known that the row is the merchant's: strangers learn nothing."""
    source = find()
    require_administrator()
    offer = _offer(source)
    return _arrange_page(source, offer, _proposed(source, offer))


def _offer(source: _Source) -> Proposal:
    return proposal(g.merchant_id, order_id=source.order_id, posting_id=source.posting_id, at=now())


def _proposed(source: _Source, offer: Proposal) -> Typed:
    """What the form says at first: the usual amount, or the one that a link names."""
    wanted = words.read_amount(request.args.get("amount", "")[:20])
    details = offer.details
    return Typed(
        amount=words.plain_amount(wanted or offer.usual),
        name=details.name if details else "",
        iban=words.iban(details.iban) if details else "",
    )


def _may_ask(source: _Source) -> bool:
    """Customers are asked by mail, so there must be an address, and the merchant's wish (K31)."""
    order = source.order
    if order is None or not order.customer_email:
        return False
    settings = settings_of(order.merchant_id, order.shop_id)
    return settings.refund_ask_customer and settings.sends("bank_details_request")


def _choices(source: _Source, offer: Proposal) -> list[Choice]:
    """The surplus and everything, where that is not the same."""
    amounts = {
        "surplus": min(offer.surplus, offer.largest),
        "full": min(offer.received, offer.largest),
    }
    if source.order is None or amounts["surplus"] == amounts["full"]:
        del amounts["surplus"]
    return [
        Choice(name, amount, f"{source.form}?amount={amount}")
        for name, amount in amounts.items()
        if amount > ZERO
    ]


def _arrange_page(
    source: _Source, offer: Proposal, typed: Typed, problem: NotPossible | None = None
) -> Response:
    order, number = source.order, source.order.number if source.order else ""
    settings = settings_of(g.merchant_id, order.shop_id if order else None)
    what = "" if order else "_posting"
    return page(
        "refund_form.html",
        _code(problem),
        title=t(f"refund_form.title{what}"),
        button=t(f"refund_form.button{what}"),
        order=order,
        posting=source.posting,
        form=source.form,
        back=source.back,
        back_name=number or t("postings.title"),
        seen=source.seen,
        refusal=t(f"not_possible.{offer.refused}", number=number) if offer.refused else None,
        choices=_choices(source, offer),
        most=offer.largest,
        received=offer.received,
        currency=offer.currency,
        has_proposal=offer.details is not None,
        lacks_details=offer.details is None,
        may_ask=_may_ask(source),
        wait_days=settings.refund_wait_days if offer.waits_until else 0,
        holds=refund_holds.sentences(offer.holds),
        typed=typed,
        **_told(problem),
    )


def _arrange(find: Callable[[], _Source]) -> BaseResponse:
    find()
    require_administrator()
    lock_merchant(g.merchant_id)
    source, typed = find(), _typed()
    if typed_id(request.form.get("seen")) != source.seen:
        return _arranged_already(source, typed)
    try:
        refund = service.arrange(
            g.merchant_id,
            order_id=source.order_id,
            posting_id=source.posting_id,
            amount=_amount(typed),
            reason=typed.reason,
            payee=_payee(typed),
            planned_for=_day(typed.planned),
            actor=g.user.email,
            at=now(),
        )
    except NotPossible as problem:
        db.session.rollback()
        source = find()
        return _arrange_page(source, _offer(source), typed, problem)
    db.session.commit()
    return _arranged(refund.id)


def _arranged_already(source: _Source, typed: Typed) -> BaseResponse:
    """A double click comes to what the first one arranged; anything else is asked again."""
    newest = source.newest
    db.session.rollback()
    is_same = newest is not None and newest.amount == words.read_amount(typed.amount)
    if newest is not None and is_same and newest.requested_by == g.user.email:
        return _arranged(newest.id)
    return _arrange_page(source, _offer(source), typed, NotPossible("refund_arranged_meanwhile"))


def _arranged(refund_id: int) -> BaseResponse:
    return redirect(
        url_for("dashboard.refunds.show", refund_id=refund_id, done="repayment_arranged"), 303
    )


# --- changing one -----------------------------------------------------------------------------


def ask_change(refund_id: int) -> Response:
    refund = row_or_404(refund_id).refund
    require_administrator()
    typed = Typed(
        name=refund.payee_name or "",
        iban=words.iban(refund.payee_iban or ""),
        reason=refund.reason,
        planned=refund.planned_for.isoformat() if refund.planned_for else "",
    )
    return _change_page(refund_id, typed)


def _change_page(refund_id: int, typed: Typed, problem: NotPossible | None = None) -> Response:
    row = row_or_404(refund_id)
    refund = row.refund
    fits = any(act.name == "change" for act in acts_of(refund))
    return page(
        "refund_form.html",
        _code(problem),
        title=t("refund_form.change"),
        button=t("action.save"),
        order=row.order,
        posting=row.posting,
        form=url_for("dashboard.refunds.change", refund_id=refund.id, back=_kept_back()),
        back=url_for("dashboard.refunds.show", refund_id=refund.id),
        back_name=t("refund.one", amount=words.money(refund.amount, refund.currency)),
        seen=None,
        refusal=None if fits else t("not_possible.refund_does_not_fit"),
        choices=None,
        currency=refund.currency,
        has_proposal=False,
        lacks_details=False,
        may_ask=False,
        wait_days=0,
        holds=[],
        typed=typed,
        **_told(problem),
    )


def _kept_back() -> str | None:
    return request.args.get("back") or None


def change(refund_id: int) -> BaseResponse:
    """Another payee, reason or day, as long as the bank has not got it (K58)."""
    refund = row_or_404(refund_id).refund
    require_administrator()
    typed = _typed()
    try:
        service.change(
            refund,
            payee=_payee(typed),
            reason=typed.reason,
            planned_for=_day(typed.planned),
            actor=g.user.email,
            at=now(),
        )
    except NotPossible as problem:
        db.session.rollback()
        return _change_page(refund_id, typed, problem)
    db.session.commit()
    return back_to(refund, "repayment_changed")


# --- keeping the money ------------------------------------------------------------------------


def ask_keep_money(order_id: int) -> Response:
    order = _of_order(order_id).order
    require_administrator()
    return page("refund_keep.html", order=order, reason="", problem=None)


def keep_money(order_id: int) -> BaseResponse:
    """Nothing goes back, and that is settled (C14)."""
    _of_order(order_id)
    require_administrator()
    reason = plain(request.form.get("reason", ""))
    try:
        if not reason:
            raise NotPossible("refund_reason_missing")
        service.keep_money(g.merchant_id, order_id, reason=reason, actor=g.user.email, at=now())
    except NotPossible as problem:
        db.session.rollback()
        code = 422 if problem.args[0].startswith("refund_reason_") else 409
        order = _of_order(order_id).order
        return page("refund_keep.html", code, order=order, reason=reason, problem=problem)
    db.session.commit()
    return redirect(url_for("dashboard.orders.show", order_id=order_id, done="money_kept"), 303)
