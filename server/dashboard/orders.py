"""Orders: the list with its filter in the URL (K63), and one order with everything about it."""

from __future__ import annotations

import base64
import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from flask import Blueprint, Response, abort, g, redirect, request, send_file, url_for
from werkzeug.wrappers import Response as BaseResponse

from plugin_sdk.types import PaymentCode
from server.banking.rules.accounts import Payee
from server.banking.service import payees
from server.dashboard import match_queries, order_queries, queries, status, words
from server.dashboard.order_queries import Cursor, OrderFilter, OrderRow
from server.dashboard.pages import page, typed_id
from server.db import db, now
from server.mail.girocode import girocode_png
from server.mail.models import Mail
from server.mail.rules import KINDS, FactError, Message
from server.mail.service import preview_mail
from server.merchants.service import settings_of
from server.orders import credit, service
from server.orders.models import Order
from server.orders.notices import asked_reference, asked_transfer, payee_for
from server.orders.service import NotPossible
from server.orders.told import told_order

pages = Blueprint("orders", __name__)

MAX_TEXT_LENGTH = 200
YEARS = range(1970, 2200)
PERIODS = {"today": 0, "7": 6, "30": 29, "365": 364}
DEFAULT_PERIOD = "365"
# Mails are HTML that we wrote from facts of strangers: shown in a frame that may do nothing.
MAIL_CONTENT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; "
    "frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)


# --- the list ---------------------------------------------------------------------------------


@pages.get("/orders")
def show_all() -> Response:
    wanted, period = _filter()
    matching = order_queries.matching_orders(g.merchant_id, wanted, words.zone())
    before, after = _cursor("before"), _cursor("after")
    rows, has_newer, has_older = order_queries.order_page(
        g.merchant_id, matching, before=before, after=None if before else after
    )
    return page(
        "orders.html",
        wanted=wanted,
        period=period,
        periods=[*PERIODS, "all", "range"],
        words=["open", *status.ORDER_WORDS],
        codes=list(PaymentCode),
        shops=queries.shops(g.merchant_id),
        rows=rows,
        sums=order_queries.order_sums(g.merchant_id, matching),
        newer=_page_url("after", rows[0].order) if rows and has_newer else None,
        older=_page_url("before", rows[-1].order) if rows and has_older else None,
        is_filtered=bool(_kept_arguments()),
        first_page=url_for(".show_all"),
    )


def _filter() -> tuple[OrderFilter, str]:
    """What the URL asks for; what makes no sense is left out, never an error."""
    period = request.args.get("period", DEFAULT_PERIOD)
    first, last = _date("from"), _date("to")
    if first or last:
        period = "range"
    elif period in PERIODS:
        first = words.today() - timedelta(days=PERIODS[period])
    elif period not in {"all", "range"}:
        period, first = DEFAULT_PERIOD, words.today() - timedelta(days=PERIODS[DEFAULT_PERIOD])
    shop = request.args.get("shop", "")
    wanted_status = request.args.get("status", "")
    code = request.args.get("code", "")
    wanted = OrderFilter(
        text=_plain(request.args.get("q", "")),
        code=code if code in set(PaymentCode) else "",
        shop_id=int(shop) if shop.isdecimal() and len(shop) < 19 else None,
        status=wanted_status if wanted_status in {"open", *status.ORDER_WORDS} else "",
        first_date=first,
        last_date=last,
    )
    return wanted, period


def _plain(text: str) -> str:
    return text.replace("\x00", "").strip()[:MAX_TEXT_LENGTH]


def _date(name: str) -> date | None:
    try:
        found = date.fromisoformat(request.args.get(name, ""))
    except ValueError:
        return None
    return found if found.year in YEARS else None


def _cursor(name: str) -> Cursor | None:
    """``<microseconds since 1970>-<order id>``: where the page before ended."""
    moment, _, order_id = request.args.get(name, "").partition("-")
    if not (moment.isdecimal() and order_id.isdecimal() and len(moment + order_id) < 36):
        return None
    try:
        return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(moment)), int(order_id)
    except OverflowError:
        return None


def _page_url(name: str, order: Order) -> str:
    moment = (order.ordered_at - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
    arguments = _kept_arguments() | {name: f"{moment}-{order.id}"}
    return url_for(".show_all", **arguments)


def _kept_arguments() -> dict[str, Any]:
    kept = ("q", "code", "shop", "status", "period", "from", "to")
    return {name: request.args[name] for name in kept if request.args.get(name)}


# --- one order --------------------------------------------------------------------------------


@pages.get("/orders/<int:order_id>")
def show(order_id: int) -> Response:
    return _order_page(order_id)


def _order_page(order_id: int, problem: NotPossible | None = None) -> Response:
    row = order_queries.order_rows(g.merchant_id, [order_id]).get(order_id)
    if row is None:
        abort(404)
    order = row.order
    assignments = order_queries.assignments_of_order(g.merchant_id, order.id)
    account = _payee(order)
    return page(
        "order.html",
        409 if problem else 200,
        row=row,
        order=order,
        wire=order.wire,
        invoices=order_queries.invoices_of(g.merchant_id, order.id),
        assignments=assignments,
        mails=order_queries.mails_of_order(g.merchant_id, order.id, now()),
        updates=order_queries.updates_of_order(g.merchant_id, order.id),
        events=order_queries.events_of_order(g.merchant_id, order.id),
        account=account,
        asked=_asked(order, row.open, account) if row.open and account else None,
        problem=problem,
        can_be_paid=order.total > row.paid,
        credits=credit.credit_of(order) if row.open else [],
        **(_surplus(row) if row.surplus else {}),
        number_of=_number,
    )


def _surplus(row: OrderRow) -> dict[str, Any]:
    """Where the surplus may go: what was searched for, else what the customer owes elsewhere."""
    text = _plain(request.values.get("q", ""))
    if text:
        found = order_queries.find_orders(g.merchant_id, text)
        targets = [one for one in found if one.order.id != row.order.id]
    else:
        targets = match_queries.surplus_targets(g.merchant_id, row.order)
    return {
        "q": text,
        "targets": targets,
        "keepable": match_queries.surplus_posting(g.merchant_id, row.order.id),
    }


def _payee(order: Order) -> Payee | None:
    """The account that this order is asked to pay to (K17)."""
    return payee_for(told_order(order), order.shop_id, payees(order.merchant_id))


def _asked(order: Order, amount: Decimal, account: Payee) -> dict[str, str]:
    """What the customer is asked to transfer now: the words of the payment information."""
    told = told_order(order)
    kind = settings_of(order.merchant_id, order.shop_id).reference_kind
    return asked_transfer(
        account,
        language=words.language(),
        amount=amount,
        currency=order.currency,
        payment_reference=asked_reference(kind, order.payment_reference, told),
    )


@pages.get("/orders/<int:order_id>/girocode.png")
def girocode(order_id: int) -> Response:
    """The code for what is still open, to scan from the screen."""
    row = order_queries.order_rows(g.merchant_id, [order_id]).get(order_id)
    account = _payee(row.order) if row is not None and row.open else None
    if row is None or account is None:
        abort(404)
    payload = _asked(row.order, row.open, account)["girocode"]
    if not payload:
        abort(404)
    return Response(girocode_png(payload), mimetype="image/png")


def _number(text: object) -> Decimal:
    """A quantity or percentage of the stored wire order, which holds them as strings."""
    try:
        return Decimal(str(text))
    except InvalidOperation:
        return Decimal(0)


def _order_or_404(order_id: int) -> Order:
    order = order_queries.order_of(g.merchant_id, order_id)
    if order is None:
        abort(404)
    return order


@pages.get("/orders/<int:order_id>/mark-as-paid")
def ask_mark_as_paid(order_id: int) -> Response:
    """The question of the dialog as a page of its own, for browsers without JavaScript."""
    _order_or_404(order_id)
    row = order_queries.order_rows(g.merchant_id, [order_id])[order_id]
    return page("mark_as_paid.html", row=row, order=row.order)


@pages.post("/orders/<int:order_id>/mark-as-paid")
def mark_as_paid(order_id: int) -> BaseResponse:
    _order_or_404(order_id)
    try:
        service.mark_as_paid(g.merchant_id, order_id, actor=g.user.email, at=now())
    except NotPossible as problem:
        db.session.rollback()
        return _order_page(order_id, problem)
    db.session.commit()
    return redirect(url_for(".show", order_id=order_id, done="marked_as_paid"), 303)


@pages.post("/orders/<int:order_id>/assignments/<int:assignment_id>/undo")
def undo(order_id: int, assignment_id: int) -> BaseResponse:
    _order_or_404(order_id)
    assignment = order_queries.assignment_of(g.merchant_id, assignment_id)
    if assignment is None or assignment.order_id != order_id:
        abort(404)
    try:
        service.undo(g.merchant_id, assignment_id, actor=g.user.email, at=now())
    except NotPossible as problem:
        db.session.rollback()
        return _order_page(order_id, problem)
    db.session.commit()
    return redirect(url_for(".show", order_id=order_id, done="undone"), 303)


@pages.post("/orders/<int:order_id>/credit")
def apply_credit(order_id: int) -> BaseResponse:
    """What is kept of ``posting`` for the customer pays this order (C12)."""
    _order_or_404(order_id)
    try:
        credit.apply_credit(
            g.merchant_id,
            order_id,
            typed_id(request.form.get("posting")),
            actor=g.user.email,
            at=now(),
        )
    except NotPossible as problem:
        db.session.rollback()
        return _order_page(order_id, problem)
    db.session.commit()
    return redirect(url_for(".show", order_id=order_id, done="credit_applied"), 303)


@pages.post("/orders/<int:order_id>/surplus")
def move_surplus(order_id: int) -> BaseResponse:
    """So much of what was paid too much pays the order ``to`` (C13)."""
    _order_or_404(order_id)
    typed = request.form.get("amount", "")[:MAX_TEXT_LENGTH]
    amount = words.read_amount(typed) if typed else None
    try:
        if typed and amount is None:
            raise NotPossible("amount_unreadable", typed=typed)
        service.move_surplus(
            g.merchant_id,
            order_id,
            typed_id(request.form.get("to")),
            actor=g.user.email,
            at=now(),
            amount=amount,
        )
    except NotPossible as problem:
        db.session.rollback()
        return _order_page(order_id, problem)
    db.session.commit()
    return redirect(url_for(".show", order_id=order_id, done="surplus_moved"), 303)


@pages.post("/orders/<int:order_id>/surplus/keep")
def keep_surplus(order_id: int) -> BaseResponse:
    """The surplus stays with the customer until his next order (C12)."""
    _order_or_404(order_id)
    posting_id = match_queries.surplus_posting(g.merchant_id, order_id)
    try:
        if posting_id is None:
            raise NotPossible("posting_unknown")
        credit.keep_as_credit(g.merchant_id, posting_id, order_id, actor=g.user.email, at=now())
    except NotPossible as problem:
        db.session.rollback()
        return _order_page(order_id, problem)
    db.session.commit()
    return redirect(url_for(".show", order_id=order_id, done="surplus_kept"), 303)


@pages.post("/orders/<int:order_id>/additional")
def set_additional(order_id: int) -> BaseResponse:
    """A name and a number by which money for this order may be known (S85)."""
    _order_or_404(order_id)
    name, number = (_plain(request.form.get(one, "")) or None for one in ("name", "number"))
    try:
        service.set_additional(
            g.merchant_id, order_id, name=name, number=number, actor=g.user.email, at=now()
        )
    except NotPossible as problem:
        db.session.rollback()
        return _order_page(order_id, problem)
    db.session.commit()
    return redirect(url_for(".show", order_id=order_id, done="additional_saved"), 303)


@pages.get("/orders/<int:order_id>/invoices/<int:invoice_id>")
def invoice(order_id: int, invoice_id: int) -> Response:
    """The PDF that the shop transferred (S60): saved, never shown within our own pages."""
    found = order_queries.invoice_of(g.merchant_id, order_id, invoice_id)
    if found is None or found.pdf is None:
        abort(404)
    response = send_file(
        io.BytesIO(found.pdf),
        mimetype="application/pdf",
        as_attachment=True,
        download_name=f"{_file_name(found.number)}.pdf",
    )
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response


def _file_name(number: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in number).strip(".") or "invoice"


# --- mails ------------------------------------------------------------------------------------


@pages.get("/mails/<int:mail_id>")
def show_mail(mail_id: int) -> Response:
    mail = _mail_or_404(mail_id)
    order = order_queries.order_of(g.merchant_id, mail.order_id) if mail.order_id else None
    return page("mail.html", mail=mail, order=order, message=_message(mail))


def _message(mail: Mail) -> Message | None:
    """What the mail says, sent or not; None if it cannot be written: then its error says why."""
    try:
        return preview_mail(mail)
    except FactError:
        return None


@pages.get("/mails/<int:mail_id>/content")
def mail_content(mail_id: int) -> Response:
    """The mail as it was sent, for the sandboxed frame."""
    message = _message(_mail_or_404(mail_id))
    if message is None:
        abort(404)
    response = Response(_with_pictures(message), mimetype="text/html")
    response.headers["Content-Security-Policy"] = MAIL_CONTENT_POLICY
    return response


def _with_pictures(message: Message) -> str:
    """Pictures travel with a mail as attachments; a browser needs them in the page."""
    html = message.html
    for picture in message.inline:
        png = base64.b64encode(picture.png).decode()
        html = html.replace(f"cid:{picture.content_id}", f"data:image/png;base64,{png}")
    return html


def _mail_or_404(mail_id: int) -> Mail:
    """Account mails are nobody's business but the recipient's: they hold a link to log in."""
    mail = order_queries.mail_of(g.merchant_id, mail_id)
    if mail is None or mail.kind not in KINDS or KINDS[mail.kind].footer == "account":
        abort(404)
    return mail
