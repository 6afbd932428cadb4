"""Other systems that hand their mails to Kontor: set up, looked at, paused, removed (S89 to S96).

Everybody of the merchant sees them; administrators change them, because whoever has the access
data sends in the merchant's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from flask import Blueprint, Response, abort, g, redirect, request, url_for
from markupsafe import Markup
from sqlalchemy import select
from werkzeug.wrappers import Response as BaseResponse

from server.config import check_bind, installed
from server.dashboard import access, queries, words
from server.dashboard.attention import Attention
from server.dashboard.pages import page, plain, typed_id
from server.dashboard.relay_numbers import SPANS, figures_of
from server.dashboard.sending_domains import AGAIN_AFTER, Step, look_at, step_of
from server.dashboard.status import Badge
from server.dashboard.words import t
from server.db import db, now
from server.mail import domains
from server.mail.domain_rules import MAX_TYPED_LENGTH, DomainError
from server.mail.models import SendingDomain
from server.relay import connections, log, quota
from server.relay.connections import MAX_LIST_HELP, DomainState, NotPossible
from server.relay.links import help_url
from server.relay.log import Numbers
from server.relay.models import RelayConnection

pages = Blueprint("relay", __name__)

STAGES: Final = ("name", "domains", "records", "access")
"""What there is to do until a system can send."""
LOOKS: Final = {
    "incomplete": ("partial", "warn"),
    "ready": ("unpaid", "part"),
    "active": ("check", "ok"),
    "paused": ("cancelled", "off"),
}
"""Icon and colour of the state of a connection."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a form was not taken: which of them, what to do, and what was typed."""

    form: str
    said: Markup
    code: int = 422


@dataclass(frozen=True, slots=True)
class DomainView:
    """A domain of a connection with the record of its key, and the page that Kontor shows."""

    one: DomainState
    step: Step | None
    page_url: str


@dataclass(frozen=True, slots=True)
class Door:
    """Where a system hands in its mails. A port is None where nothing listens."""

    host: str
    port: int | None
    tls_port: int | None
    http_url: str


@pages.before_request
def administrators_change() -> None:
    if request.method == "POST":
        access.require_administrator()


def said(problem: NotPossible) -> Markup:
    return t(f"relay_problem.{problem.args[0]}")


def state_badge(row: RelayConnection, found: Sequence[DomainState]) -> Badge:
    word = connections.state_of(row, found)
    icon, colour = LOOKS[word]
    return Badge(icon, colour, t(f"relay_state.{word}"), tinted=colour == "warn")


# --- all of them --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    row: RelayConnection
    badge: Badge
    domains: list[DomainState]
    today: Numbers


@pages.get("/relay")
def show_all() -> Response:
    at = now()
    numbers = log.numbers_since(g.merchant_id, first_moment(0))
    rows = connections.connections_of(g.merchant_id)
    found = connections.domains_of_each(rows)
    account = quota.account_of(g.merchant_id, at)
    db.session.commit()  # the demo begins when somebody first looks
    return page(
        "relay.html",
        lines=[
            Line(
                row, state_badge(row, found[row.id]), found[row.id], numbers.get(row.id, Numbers())
            )
            for row in rows
        ],
        left=quota.left_of(account),
        as_of=log.counted_until(at),
        door=door(),
    )


@pages.get("/relay/new")
def ask_add() -> Response:
    access.require_administrator()
    return _new_page()


def _new_page(typed: str = "", problem: NotPossible | None = None) -> Response:
    code = 422 if problem else 200
    return page(
        "relay_new.html",
        code,
        typed=typed,
        problem=said(problem) if problem else None,
        stages=STAGES,
        max_length=connections.MAX_NAME,
    )


@pages.post("/relay/new")
def add() -> BaseResponse:
    typed = plain(request.form.get("name", ""))
    try:
        row = connections.add_connection(g.merchant_id, typed, actor=g.user.email, at=now())
    except NotPossible as problem:
        db.session.rollback()
        return _new_page(typed, problem)
    db.session.commit()
    return redirect(url_for(".show", relay_id=row.id, done="relay_added"), 303)


# --- one of them --------------------------------------------------------------------------------


@pages.get("/relay/<int:relay_id>")
def show(relay_id: int) -> Response:
    return _connection_page(_row_or_404(relay_id))


def _connection_page(
    row: RelayConnection, *, problem: Problem | None = None, new_password: str | None = None
) -> Response:
    at = now()
    found = connections.domains_of(row)
    span, domain = request.args.get("span", ""), request.args.get("domain", "")
    figures = figures_of(
        row,
        span if span in SPANS else SPANS[0],
        domain if domain in {one.domain.name for one in found} else "",
        at,
    )
    used = {one.domain.id for one in found}
    own = domains.domains_of(g.merchant_id)
    until = row.old_password_until
    return page(
        "relay_connection.html",
        problem.code if problem else 200,
        row=row,
        badge_of_state=state_badge(row, found),
        state=connections.state_of(row, found),
        stages=STAGES,
        stage=_stage(row, found),
        views=[_view(one) for one in found],
        free=[one for one in own if one.id not in used],
        known_urls=sorted({one.list_help for one in found if one.list_help}),
        door=door(),
        new_password=new_password,
        old_until=until if row.old_password_hash and until and until > at else None,
        figures=figures,
        spans=SPANS,
        kinds=log.KINDS,
        problem=problem,
        max_days=connections.MOST_CONTENT_DAYS,
        max_name=connections.MAX_NAME,
        max_list_help=MAX_LIST_HELP,
        typed=request.form,
    )


def _stage(row: RelayConnection, found: list[DomainState]) -> str | None:
    """What is to be done next; None once somebody has the access data."""
    if not found:
        return "domains"
    if not all(one.is_signed for one in found):
        return "records"
    return "access" if row.password_hash is None else None


def _view(one: DomainState) -> DomainView:
    selector = domains.current_selector(domains.keys_of(one.domain))
    record = next((each for each in domains.records_of(one.domain) if each.key == selector), None)
    step = step_of(one.domain, record) if record is not None else None
    return DomainView(one, step, help_url(one.row.id))


def door() -> Door:
    """As clients reach it: the name of the relay, or where its pages are."""
    settings = installed()
    ports = [
        check_bind(bind, "KONTOR_RELAY_BIND")[1] if bind else None
        for bind in (settings.relay_bind, settings.relay_tls_bind)
    ]
    host = settings.relay_host or urlsplit(settings.url).hostname or "localhost"
    return Door(host, ports[0], ports[1], f"{settings.url}/api/v1/relay/messages")


# --- its domains --------------------------------------------------------------------------------


@pages.post("/relay/<int:relay_id>/domains")
def set_domain(relay_id: int) -> BaseResponse:
    """Add one of the merchant's domains or a new one, or change where its List-Help leads."""
    row = _row_or_404(relay_id, for_change=True)
    try:
        list_help = _typed_list_help()
        domain = _typed_domain()
        connections.set_domain(row, domain.id, list_help, now())
    except DomainError as refused:
        db.session.rollback()
        return _refused(relay_id, "domain", t(f"sending_domain.refused_{refused.args[0]}"))
    except NotPossible as problem:
        db.session.rollback()
        return _refused(relay_id, "domain", said(problem))
    db.session.commit()
    if domain.checked_at is None:
        look_at(domain)
    return redirect(url_for(".show", relay_id=relay_id, done="relay_domain_saved"), 303)


def _typed_list_help() -> str:
    """ "" for the page that Kontor shows. Raises NotPossible."""
    if request.form.get("help") != "own":
        return ""
    typed = request.form.get("list_help", "").strip()[: MAX_LIST_HELP + 1]
    if connections.checked_list_help(typed) is None:
        raise NotPossible("relay_list_help_missing")
    return typed


def _typed_domain() -> SendingDomain:
    """The one that was typed, else the chosen one. Raises DomainError or NotPossible."""
    typed = plain(request.form.get("name", ""))[:MAX_TYPED_LENGTH]
    chosen = typed_id(request.form.get("domain"))
    if chosen and not typed:
        found = domains.domain_of(g.merchant_id, chosen)
        if found is None:
            raise NotPossible("relay_domain_unknown")
        return found
    known = {one.name: one for one in domains.domains_of(g.merchant_id)}
    if typed.lower() in known:
        return known[typed.lower()]
    return domains.add(g.merchant_id, typed, now())


@pages.post("/relay/<int:relay_id>/domains/remove")
def remove_domain(relay_id: int) -> BaseResponse:
    row = _row_or_404(relay_id, for_change=True)
    try:
        connections.remove_domain(row, typed_id(request.form.get("domain")))
    except NotPossible as problem:
        db.session.rollback()
        return _refused(relay_id, "domain", said(problem), 409)
    db.session.commit()
    return redirect(url_for(".show", relay_id=relay_id, done="relay_domain_removed"), 303)


@pages.post("/relay/<int:relay_id>/check")
def check(relay_id: int) -> BaseResponse:
    """Ask the DNS for one of its domains now; a look that has just been is shown again."""
    row = _row_or_404(relay_id)
    wanted = typed_id(request.form.get("domain"))
    for one in connections.domains_of(row):
        is_old = one.domain.checked_at is None or now() - one.domain.checked_at > AGAIN_AFTER
        if one.domain.id == wanted and is_old:
            look_at(one.domain)
    return redirect(url_for(".show", relay_id=relay_id, done="domain_checked"), 303)


# --- its access data ----------------------------------------------------------------------------


@pages.post("/relay/<int:relay_id>/password")
def new_password(relay_id: int) -> BaseResponse:
    """Shown in this very answer and never again."""
    row = _row_or_404(relay_id, for_change=True)
    try:
        password = connections.new_password(row, now())
    except NotPossible as problem:
        db.session.rollback()
        return _refused(relay_id, "access", said(problem), 409)
    db.session.commit()
    return _connection_page(row, new_password=password)


@pages.post("/relay/<int:relay_id>/password/end-old")
def end_old_password(relay_id: int) -> BaseResponse:
    connections.end_old_password(_row_or_404(relay_id, for_change=True))
    db.session.commit()
    return redirect(url_for(".show", relay_id=relay_id, done="relay_old_password_ended"), 303)


# --- the rest -----------------------------------------------------------------------------------


@pages.post("/relay/<int:relay_id>/switch")
def switch(relay_id: int) -> BaseResponse:
    row = _row_or_404(relay_id, for_change=True)
    if request.form.get("on") == "yes":
        connections.go_on(row)
        done = "relay_goes_on"
    else:
        connections.pause(row, now())
        done = "relay_was_paused"
    db.session.commit()
    return redirect(url_for(".show", relay_id=relay_id, done=done), 303)


@pages.post("/relay/<int:relay_id>/settings")
def save(relay_id: int) -> BaseResponse:
    row = _row_or_404(relay_id, for_change=True)
    days = request.form.get("days", "").strip()
    try:
        connections.rename(row, plain(request.form.get("title", "")))
        connections.keep_content(row, int(days) if days.isdecimal() and len(days) < 4 else -1)
    except NotPossible as problem:
        db.session.rollback()
        return _refused(relay_id, "settings", said(problem))
    db.session.commit()
    return redirect(url_for(".show", relay_id=relay_id, done="relay_saved"), 303)


@pages.get("/relay/<int:relay_id>/remove")
def ask_remove(relay_id: int) -> Response:
    access.require_administrator()
    return page("relay_remove.html", row=_row_or_404(relay_id), problem=None)


@pages.post("/relay/<int:relay_id>/remove")
def remove(relay_id: int) -> BaseResponse:
    """Its name is typed, because the system behind it stops sending at once."""
    row = _row_or_404(relay_id, for_change=True)
    if plain(request.form.get("name", "")) != row.name:
        return page("relay_remove.html", 422, row=row, problem=t("relay_problem.relay_other_name"))
    connections.remove(row, now())
    db.session.commit()
    return redirect(url_for(".show_all", done="relay_removed"), 303)


def _refused(relay_id: int, form: str, why: Markup, code: int = 422) -> Response:
    return _connection_page(_row_or_404(relay_id), problem=Problem(form, why, code))


def _row_or_404(relay_id: int, *, for_change: bool = False) -> RelayConnection:
    """``for_change``: nobody else's until the end of the request, so a form that was sent twice
    is taken twice in turn."""
    if for_change:
        db.session.execute(
            select(RelayConnection.id)
            .where(RelayConnection.id == relay_id, RelayConnection.merchant_id == g.merchant_id)
            .with_for_update()
        )
    row = connections.connection_of(g.merchant_id, relay_id)
    if row is None:
        abort(404)
    return row


# --- on Today -----------------------------------------------------------------------------------


def lines(merchant_id: int) -> list[Attention]:
    """Systems that send, and whose mails from one of their domains are refused."""
    rows = [row for row in connections.connections_of(merchant_id) if row.last_used_at is not None]
    domains_of = connections.domains_of_each(rows)
    found = []
    for row in rows:
        wrong = [one.domain.name for one in domains_of[row.id] if not one.is_signed]
        if wrong and row.paused_at is None:
            found.append(
                Attention(
                    icon="relay",
                    colour="bad",
                    title=t("relay.today", name=row.name),
                    text=t("relay.today_text", domains=", ".join(wrong)),
                    href=url_for("dashboard.relay.show", relay_id=row.id),
                    action=t("action.look"),
                )
            )
    return found


# --- for the other pages of the relay -----------------------------------------------------------


def asked_connection(names: dict[int, str]) -> int | None:
    """The connection that the URL names, if it is one of these."""
    wanted = typed_id(request.args.get("connection"))
    return wanted if wanted in names else None


def first_moment(days: int) -> datetime:
    """When the day began that was so many days ago."""
    return queries.midnight(words.today() - timedelta(days=days), words.zone())
