"""Callback addresses: which programs of the merchant hear of what, and how that fares (K79, S96).

For administrators: whoever names an address decides where orders and mails are told.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import Blueprint, Response, abort, g, redirect, request, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response as BaseResponse

from server.callbacks import mails, rules, service
from server.callbacks.choices import CallbackError, choose, hearing
from server.callbacks.models import CALLBACK_LIFETIME, Callback, CallbackUrl
from server.dashboard import access, queries, status, words
from server.dashboard.attention import Attention
from server.dashboard.pages import asked_shop, page
from server.dashboard.words import t
from server.db import db, now
from server.egress import MAX_URL_LENGTH, AddressRefused

pages = Blueprint("callbacks", __name__)

SHOWN = 100
FRESH = timedelta(seconds=30)
"""A page that waits for an answer looks for so long by itself."""
LOOKS = {
    "working": ("ok", "check"),
    "new": ("off", "unpaid"),
    "failing": ("bad", "warn"),
    "gone": ("bad", "cancelled"),
    "off": ("off", "cancelled"),
}
"""Colour and icon of the state of an address."""
MESSAGE_LOOKS = {
    "done": ("ok", "check"),
    "queued": ("off", "unpaid"),
    "again": ("warn", "warn"),
    "running": ("off", "unpaid"),
    "failed": ("bad", "warn"),
    "withheld": ("off", "cancelled"),
}
"""The same of one message."""


@dataclass(frozen=True, slots=True)
class Line:
    """A message as it is shown. ``state`` is a key of MESSAGE_LOOKS."""

    row: Callback
    state: str
    colour: str
    icon: str
    title: Markup
    told: Markup | None
    answer: Markup | None
    comes_again_at: datetime | None
    is_busy: bool


@pages.before_request
def administrators_only() -> None:
    access.require_administrator()


# --- all of them --------------------------------------------------------------------------------


@pages.get("/settings/callbacks")
def show_all() -> Response:
    return _list_page()


def _list_page(typed: str = "", problem: str | None = None) -> Response:
    shops = queries.shops(g.merchant_id)
    rows = service.urls_of(g.merchant_id)
    return page(
        "callbacks.html",
        422 if problem else 200,
        rows=[(row, service.state_of(row)) for row in rows],
        hearing=hearing(g.merchant_id, [row.id for row in rows]),
        choices=rules.CHOICES,
        chosen=request.form.getlist("kind") if problem else rules.FIRST_CHOICE,
        shops=shops,
        shop_names={shop.id: shop.name for shop in shops},
        looks=LOOKS,
        typed=typed,
        typed_shop=request.form.get("shop", ""),
        problem=problem,
        max_url_length=MAX_URL_LENGTH,
    )


@pages.post("/settings/callbacks")
def add() -> Response:
    """The secret is shown in this very answer and never again; what is kept is sealed."""
    typed = request.form.get("url", "").replace("\x00", "").strip()[: MAX_URL_LENGTH + 1]
    shop = asked_shop()
    try:
        row, secret = service.add_url(
            g.merchant_id,
            typed,
            shop_id=shop.id if shop else None,
            actor=g.user.email,
            at=now(),
            kinds=request.form.getlist("kind"),
        )
    except AddressRefused as refused:
        db.session.rollback()
        return _list_page(typed, refused.reason)
    except CallbackError as refused:
        db.session.rollback()
        return _list_page(typed, str(refused.args[0]))
    db.session.commit()
    return _url_page(row, new_secret=secret)


# --- one of them --------------------------------------------------------------------------------


@pages.get("/settings/callbacks/<int:url_id>")
def show(url_id: int) -> Response:
    return _url_page(_url_or_404(url_id))


def _url_page(
    row: CallbackUrl, new_secret: str | None = None, problem: str | None = None
) -> Response:
    state, at = service.state_of(row), now()
    is_rotating = row.old_secret_until is not None and row.old_secret_until > at
    return page(
        "callback.html",
        422 if problem else 200,
        row=row,
        choices=rules.CHOICES,
        chosen=hearing(g.merchant_id, [row.id])[row.id],
        problem=problem,
        is_full=mails.waiting(row.id) >= mails.MAX_WAITING,
        state=state,
        look=LOOKS[state],
        lines=[_line(one, row, at) for one in service.callbacks_of(row.id, SHOWN)],
        shop_name=next(
            (shop.name for shop in queries.shops(g.merchant_id) if shop.id == row.shop_id), None
        ),
        new_secret=new_secret,
        old_until=row.old_secret_until if is_rotating else None,
    )


def _line(row: Callback, url: CallbackUrl, at: datetime) -> Line:
    waits = row.status == "queued"
    state = "again" if waits and row.outcome and row.attempts else row.status
    colour, icon = MESSAGE_LOOKS[state]
    return Line(
        row=row,
        state=state,
        colour=colour,
        icon=icon,
        title=_title(row),
        told=_told(row),
        answer=_answer(row),
        comes_again_at=max(row.due_at, url.paused_until or row.due_at)
        if state == "again"
        else None,
        is_busy=row.status in ("queued", "running") and at - row.due_at < FRESH,
    )


def _title(row: Callback) -> Markup:
    if row.kind == rules.TEST:
        return t("callback.test_message")
    if row.kind in rules.MAIL_KINDS:
        return t("callback.message_of_mail", to=json.loads(row.body)["data"]["recipient"])
    return t("callback.message_of", number=row.number)


def _told(row: Callback) -> Markup | None:
    """The payment status that it tells, or what became of the mail."""
    if row.kind in rules.MAIL_KINDS:
        return t(f"callback.told_{row.kind.removeprefix(rules.MAIL_PREFIX)}")
    if row.payment_status is None:
        return None
    code = json.loads(row.body)["data"]["payment_code"]
    return t(f"payment_status.{status.order_word(row.payment_status, code)}")


def _answer(row: Callback) -> Markup | None:
    """How the last attempt ended, as a sentence."""
    if row.outcome is None:
        return None
    return t(f"callback.outcome_{row.outcome}", status=str(row.answer_status or ""))


@pages.post("/settings/callbacks/<int:url_id>/kinds")
def choose_kinds(url_id: int) -> BaseResponse:
    """What it hears of from now on; what is on its way stays so."""
    row = _url_or_404(url_id)
    try:
        choose(row, request.form.getlist("kind"), actor=g.user.email, at=now())
    except CallbackError as refused:
        db.session.rollback()
        return _url_page(row, problem=str(refused.args[0]))
    db.session.commit()
    return redirect(url_for(".show", url_id=url_id, done="callback_kinds"), 303)


@pages.post("/settings/callbacks/<int:url_id>/test")
def send_test(url_id: int) -> BaseResponse:
    row = service.send_test(_url_or_404(url_id), actor=g.user.email, at=now())
    db.session.commit()
    return _to_message(row)


@pages.post("/settings/callbacks/<int:url_id>/secret")
def change_secret(url_id: int) -> Response:
    """As with the first one: shown once."""
    row = _url_or_404(url_id)
    secret = service.rotate_secret(row, now())
    db.session.commit()
    return _url_page(row, new_secret=secret)


@pages.post("/settings/callbacks/<int:url_id>/switch")
def switch(url_id: int) -> BaseResponse:
    row = _url_or_404(url_id)
    if request.form.get("on") == "yes":
        service.switch_on(row)
        done = "callback_on"
    else:
        service.switch_off(row, "person", now())
        done = "callback_off"
    db.session.commit()
    return redirect(url_for(".show", url_id=url_id, done=done), 303)


@pages.get("/settings/callbacks/<int:url_id>/remove")
def ask_remove(url_id: int) -> Response:
    return page("callback_remove.html", row=_url_or_404(url_id))


@pages.post("/settings/callbacks/<int:url_id>/remove")
def remove(url_id: int) -> BaseResponse:
    service.remove(_url_or_404(url_id))
    db.session.commit()
    return redirect(url_for(".show_all", done="callback_removed"), 303)


def _url_or_404(url_id: int) -> CallbackUrl:
    row = service.url_of(g.merchant_id, url_id)
    if row is None:
        abort(404)
    return row


# --- one message --------------------------------------------------------------------------------


@pages.get("/settings/callbacks/messages/<int:callback_id>")
def show_message(callback_id: int) -> Response:
    row = _message_or_404(callback_id)
    url = _url_or_404(row.url_id)
    body = json.loads(row.body)
    return page(
        "callback_message.html",
        line=_line(row, url, now()),
        row=row,
        url=url,
        mail_id=body["data"]["id"] if row.kind in rules.MAIL_KINDS else None,
        body=json.dumps(body, ensure_ascii=False, indent=2),
        may_send=row.status != "running" and url.off_at is None,
    )


@pages.post("/settings/callbacks/messages/<int:callback_id>/again")
def send_again(callback_id: int) -> BaseResponse:
    """The same message under the same id; while it is on its way, nothing happens."""
    row = _message_or_404(callback_id)
    if _url_or_404(row.url_id).off_at is None:
        service.send_again(row, actor=g.user.email, at=now())
    db.session.commit()
    return _to_message(row)


def _to_message(row: Callback) -> BaseResponse:
    return redirect(url_for(".show_message", callback_id=row.id), 303)


def _message_or_404(callback_id: int) -> Callback:
    row = service.callback_of(g.merchant_id, callback_id)
    if row is None:
        abort(404)
    return row


# --- on Today -----------------------------------------------------------------------------------


def lines(merchant_id: int, at: datetime) -> list[Attention]:
    """Addresses that hear nothing, for those who can do something about it."""
    if not g.user.is_administrator:
        return []
    rows = service.urls_of(merchant_id)
    found = [line for row in rows if (line := _trouble(row, at)) is not None]
    told = {row.id for row in rows if service.state_of(row) in ("failing", "gone")}
    lost = service.undelivered(merchant_id, at - CALLBACK_LIFETIME) if rows else ()
    others = [one for one in lost if one.url_id not in told]
    if others:
        found.append(
            Attention(
                icon="warn",
                colour="warn",
                title=t("callback.today_lost", n=len(others)),
                text=t("callback.today_lost_text"),
                href=url_for("dashboard.callbacks.show", url_id=others[0].url_id),
                action=t("action.look"),
            )
        )
    return found


def _trouble(row: CallbackUrl, at: datetime) -> Attention | None:
    state = service.state_of(row)
    is_long = row.failing_since is not None and at - row.failing_since >= service.TELL_AFTER
    if state != "gone" and not is_long:
        return None
    return Attention(
        icon="warn",
        colour="warn",
        title=t(f"callback.today_{state}", url=row.url),
        text=t(
            f"callback.today_{state}_text",
            at=words.moment(row.off_at if state == "gone" else row.failing_since),
        ),
        href=url_for("dashboard.callbacks.show", url_id=row.id),
        action=t("action.look"),
    )
