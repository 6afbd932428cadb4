"""Pages behind the links of a mail's foot: unsubscribe, why it arrived, stop a notice.

A blueprint of its own, because one click in a mail program comes from anywhere: it brings neither
cookie nor origin, and needs none, because the signed link is the key (RFC 8058). A GET asks and
changes nothing: programs that look for viruses open every link. All of it can be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

from flask import Blueprint, Response, abort, g, redirect, render_template, request, url_for
from limits import RateLimitItemPerMinute
from markupsafe import Markup, escape
from sqlalchemy import select
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from server.customer.pages import ERRORS, UNKNOWN_PER_ADDRESS, known, secure_page, unexpected
from server.customer.words import group_texts as texts
from server.db import db, now
from server.mail import suppression
from server.mail.delivery import POWERLESS
from server.mail.kinds import KINDS
from server.mail.languages import LANGUAGES, MERCHANT_LANGUAGES, nearest_language
from server.mail.models import Mail
from server.merchants.models import NoticeChoice, User
from server.merchants.notices import choose
from server.orders.links import OptOut, read_help, read_stop, read_unsubscribe
from server.orders.models import Order
from server.shops.models import Shop
from server.visitors import attempt_limits, client_network

door = Blueprint("customer_choices", __name__, template_folder="templates")

MAX_FORM_BYTES = 16 * 1024
CHANGES_PER_LINK = RateLimitItemPerMinute(30, 60, namespace="customer-choice")
ONE_CLICK = ("List-Unsubscribe", "One-Click")
ANYWHERE = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": "Content-Type",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
T = TypeVar("T")


# --- unsubscribe --------------------------------------------------------------------------------


@door.get("/unsubscribe/<token>", provide_automatic_options=False)
def ask_unsubscribe(token: str) -> str:
    """Asks, or says that it is done and how to take it back; or that the mail was a tester's, whose
    link has no power (K66)."""
    if token.startswith(POWERLESS):
        g.language = nearest_language(token.removeprefix(POWERLESS), "de", LANGUAGES)
        return _page("test", {})
    asked = _known(read_unsubscribe(token))
    order = _order_or_404(asked)
    address = _address_of(asked, order)
    if address is None:
        return _page("gone", {})
    is_done = suppression.has_opted_out(order.merchant_id, address, asked.kind, now())
    return _page(
        "choice",
        {"shop": order.shop.name, "what": _say("choices", asked.kind)},
        is_done=is_done,
        action=url_for(".unsubscribe", token=token),
        group="choices",
    )


@door.post("/unsubscribe/<token>", provide_automatic_options=False)
def unsubscribe(token: str) -> BaseResponse:
    """From the page, or by one click in a mail program, which is told nothing but 200."""
    asked = _known(read_unsubscribe(token))
    order = _order_or_404(asked)
    _limit(token)
    wanted = _typed_choice()
    address = _address_of(asked, order)
    if address is not None:
        _change(asked, order, address, wanted, now())
        db.session.commit()
    return _answer(url_for(".ask_unsubscribe", token=token))


@door.route("/unsubscribe/<token>", methods=["OPTIONS"])
@door.route("/stop-notice/<token>", methods=["OPTIONS"])
def may_ask(token: str) -> Response:
    """A webmailer's browser asks first (CORS)."""
    return Response("", 204, headers=ANYWHERE)


def _order_or_404(asked: OptOut) -> Order:
    order = db.session.get(Order, asked.order_id)
    if order is None:
        abort(404)
    g.language = nearest_language(
        order.language, nearest_language(order.shop.language, "de", LANGUAGES), LANGUAGES
    )
    return order


def _address_of(asked: OptOut, order: Order) -> str | None:
    """The address that the mail went to, which may not be the order's any more; None if erased."""
    sent = select(Mail.recipient).where(Mail.order_id == order.id, Mail.kind == asked.kind)
    written = [order.customer_email or "", *db.session.scalars(sent.distinct())]
    return next((address for address in written if address and asked.is_of(address)), None)


def _change(asked: OptOut, order: Order, address: str, wanted: str, at: datetime) -> None:
    if wanted == "stop":
        suppression.opt_out(order.merchant_id, address, asked.kind, at=at)
    else:
        suppression.opt_in(order.merchant_id, address, asked.kind, at=at)


# --- why it arrived -----------------------------------------------------------------------------


@door.get("/why/<token>")
def why(token: str) -> str:
    """What List-Help leads to (RFC 2369): who writes, why, and what can be stopped (S91)."""
    shop_id, edition = _known(read_help(token))
    shop = db.session.get(Shop, shop_id)
    if shop is None:
        abort(404)
    g.language = nearest_language(edition, "de", LANGUAGES)
    return _page("why", {"shop": shop.name}, group="choices")


# --- a merchant's notices -----------------------------------------------------------------------


@door.get("/stop-notice/<token>", provide_automatic_options=False)
def ask_stop(token: str) -> str:
    user, kind = _user_and_kind(token)
    choice = db.session.get(NoticeChoice, (user.id, kind))
    return _page(
        "choice",
        {"address": user.email, "what": _say("notices", kind)},
        is_done=choice is not None and not choice.is_wanted,
        action=url_for(".stop", token=token),
        group="notices",
    )


@door.post("/stop-notice/<token>", provide_automatic_options=False)
def stop(token: str) -> BaseResponse:
    user, kind = _user_and_kind(token)
    _limit(token)
    choose(user.id, kind, is_wanted=_wanted(user, kind, _typed_choice()), at=now())
    db.session.commit()
    return _answer(url_for(".ask_stop", token=token))


def _wanted(user: User, kind: str, choice: str) -> bool | None:
    """Where he gets it without a choice, taking back leaves none: his would end that of others."""
    if choice == "stop":
        return False
    return None if KINDS[kind].is_essential and user.is_administrator else True


def _user_and_kind(token: str) -> tuple[User, str]:
    user_id, kind = _known(read_stop(token))
    user = db.session.get(User, user_id)
    if user is None:
        abort(404)
    g.language = nearest_language(user.language, "de", MERCHANT_LANGUAGES)
    return user, kind


# --- what holds for all of them -----------------------------------------------------------------


def _known(read: T | None) -> T:
    """What the link says; 404 for one that is forged or too old. Guessing is slowed down."""
    if attempt_limits().is_reached(UNKNOWN_PER_ADDRESS, client_network()):
        abort(429)
    if read is None:
        attempt_limits().count(UNKNOWN_PER_ADDRESS, client_network())
        abort(404)
    return read


def _limit(token: str) -> None:
    """By the link, not by the address: the clicks of many come from one mail provider."""
    if attempt_limits().is_reached(CHANGES_PER_LINK, token):
        abort(429)
    attempt_limits().count(CHANGES_PER_LINK, token)


def _is_one_click() -> bool:
    return request.form.get(ONE_CLICK[0]) == ONE_CLICK[1]


def _answer(page: str) -> BaseResponse:
    """200 and nothing else for a mail program, which follows no redirect (RFC 8058, 3.2)."""
    if _is_one_click():
        return Response("", 200, headers=ANYWHERE, mimetype="text/plain")
    return redirect(page, 303)


def _typed_choice() -> str:
    if _is_one_click():
        return "stop"
    choice = request.form.get("choice")
    if choice not in ("stop", "again"):
        abort(400)
    return choice


def _page(name: str, values: Mapping[str, object], group: str = "choices", **facts: Any) -> str:
    def say(key: str) -> Markup:
        return _say(group, key).format(**values)

    return render_template(f"customer/{name}.html", say=say, group=group, **facts)


def _say(group: str, key: str) -> Markup:
    return escape(texts(group, g.language)[key])


@door.before_request
def _prepare() -> None:
    g.language = None
    request.max_content_length = MAX_FORM_BYTES


door.after_request(secure_page)
for _each in (400, 405, *ERRORS, HTTPException):
    door.register_error_handler(_each, known)
door.register_error_handler(Exception, unexpected)
