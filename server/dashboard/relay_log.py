"""Mails that other systems handed in: the list, and of each its content and the path of every
recipient, in the words of the servers (S87, S96)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

from flask import Blueprint, Response, abort, g, redirect, request, send_file, url_for
from markupsafe import Markup, escape
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard import access, words
from server.dashboard.order_mails import MAIL_CONTENT_POLICY, SOURCE_POLICY
from server.dashboard.pages import asked_cursor, cursor_text, page, plain, typed_id
from server.dashboard.relay import asked_connection, first_moment, said
from server.dashboard.status import Badge
from server.dashboard.words import t
from server.db import db, now
from server.relay import log
from server.relay.connections import NotPossible, connection_of
from server.relay.log import STATES, MessageFilter
from server.relay.models import RelayDelivery, RelayEvent, RelayMessage
from server.relay.reading import Content, read_content
from server.relay.resending import hindrance, resend

pages = Blueprint("relay_log", __name__)

PERIODS: Final = {"1": 0, "7": 6, "30": 29, "90": 89, "365": 364}
DEFAULT_PERIOD: Final = "30"
KEPT: Final = ("q", "state", "connection", "period")
VIEWS: Final = ("html", "text", "headers")
LOOKS: Final = {
    "complained": ("warn", "bad"),
    "bounced": ("warn", "bad"),
    "failed": ("warn", "bad"),
    "delayed": ("overdue", "warn"),
    "deferred": ("overdue", "warn"),
    "suppressed": ("cancelled", "warn"),
    "running": ("overdue", "off"),
    "queued": ("overdue", "off"),
    "sent": ("check", "ok"),
    "delivered": ("paid", "ok"),
    "received": ("inbox", "off"),
}
"""Icon and colour of what became of a delivery, the worst first; ``received`` is of events only."""


@dataclass(frozen=True, slots=True)
class Line:
    """A mail in the list. ``badge`` is that of the recipient who fared worst."""

    message: RelayMessage
    recipients: list[RelayDelivery]
    badge: Badge


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of a recipient's path."""

    event: RelayEvent
    icon: str
    colour: str
    said: Markup


@dataclass(frozen=True, slots=True)
class Path:
    """A recipient, how it stands with him, and what happened until now."""

    row: RelayDelivery
    badge: Badge
    why: Markup | None
    happened: list[Happening]

    @property
    def may_send(self) -> bool:
        return may_send(self.row)


def may_send(row: RelayDelivery) -> bool:
    """Once more; what is still on its way would come twice."""
    return row.is_addressed and row.status not in ("queued", "running")


def word_of(row: RelayDelivery) -> str:
    """One of LOOKS."""
    if row.status == "withheld":
        return "suppressed"
    if row.status == "queued":
        return "deferred" if row.attempts and row.error else "queued"
    if row.status in ("running", "failed"):
        return row.status
    return row.delivery if row.delivery in LOOKS else "sent"


def _badge(word: str) -> Badge:
    icon, colour = LOOKS[word]
    return Badge(icon, colour, t(f"relay_word.{word}"), tinted=colour in {"warn", "bad"})


# --- the list -----------------------------------------------------------------------------------


@pages.get("/relay/log")
def show_all() -> Response:
    names = log.connection_names(g.merchant_id)
    wanted, period = _asked_filter(names)
    found = log.matching(g.merchant_id, wanted)
    rows, has_newer, has_older = log.message_page(
        found, before=asked_cursor("before"), after=asked_cursor("after")
    )
    kept = _kept_arguments()
    return page(
        "relay_log.html",
        wanted=wanted,
        period=period,
        periods=PERIODS,
        default_period=DEFAULT_PERIOD,
        states=STATES,
        names=names,
        lines=_lines(rows),
        count=log.message_count(found) if has_newer or has_older else len(rows),
        most_counted=log.MOST_COUNTED,
        newer=_page_url("after", rows[0]) if rows and has_newer else None,
        older=_page_url("before", rows[-1]) if rows and has_older else None,
        is_filtered=bool(kept),
    )


def _asked_filter(names: dict[int, str]) -> tuple[MessageFilter, str]:
    """The filter and its period; what makes no sense is left out, never an error."""
    period = request.args.get("period", DEFAULT_PERIOD)
    if period not in PERIODS and period != "all":
        period = DEFAULT_PERIOD
    state = request.args.get("state", "")
    wanted = MessageFilter(
        text=plain(request.args.get("q", "")),
        state=state if state in STATES else "",
        connection_id=asked_connection(names),
        first=None if period == "all" else first_moment(PERIODS[period]),
    )
    return wanted, period


def _lines(rows: Sequence[RelayMessage]) -> list[Line]:
    deliveries = log.deliveries_of(rows)
    return [Line(row, deliveries[row.id], _worst(deliveries[row.id])) for row in rows]


def _worst(rows: Sequence[RelayDelivery]) -> Badge:
    found = {word_of(row) for row in rows}
    return _badge(next((word for word in LOOKS if word in found), "queued"))


def _kept_arguments() -> dict[str, Any]:
    return {name: request.args[name] for name in KEPT if request.args.get(name)}


def _page_url(name: str, row: RelayMessage) -> str:
    arguments: dict[str, Any] = _kept_arguments() | {name: cursor_text(row.received_at, row.id)}
    return url_for(".show_all", **arguments)


# --- one mail -----------------------------------------------------------------------------------


@pages.get("/relay/log/<int:relayed_id>")
def show(relayed_id: int) -> Response:
    return _message_page(_row_or_404(relayed_id))


def _message_page(row: RelayMessage, problem: NotPossible | None = None) -> Response:
    deliveries = log.deliveries_of([row])[row.id]
    raw = log.content_of(row)
    content = read_content(raw) if raw is not None else None
    view = request.args.get("view", "")
    return page(
        "relay_message.html",
        409 if problem else 200,
        row=row,
        paths=_paths(deliveries),
        content=content,
        views=VIEWS if content is None or content.html is not None else VIEWS[1:],
        view=view if view in VIEWS[1:] else _first_view(content),
        connection=connection_of(g.merchant_id, row.connection_id),
        connection_name=log.connection_names(g.merchant_id).get(row.connection_id, ""),
        first=log.message_of(g.merchant_id, row.resent_from_id) if row.resent_from_id else None,
        again=log.resent_from(row),
        hindrance=_why_not(row, content),
        problem=said(problem) if problem else None,
    )


def _first_view(content: Content | None) -> str:
    return "html" if content is not None and content.html is not None else "text"


def _why_not(row: RelayMessage, content: Content | None) -> Markup | None:
    key = "relay_content_gone" if content is None else hindrance(row)
    return t(f"relay_problem.{key}") if key else None


def _paths(deliveries: Sequence[RelayDelivery]) -> list[Path]:
    events = log.events_of(deliveries)
    return [
        Path(row, _badge(word_of(row)), _why(row), [_happening(one) for one in events[row.id]])
        for row in deliveries
    ]


def _why(row: RelayDelivery) -> Markup | None:
    """In the reader's language, where we know it."""
    key = f"mail_failure.{row.failure}"
    return t(key) if row.failure and words.has_text(key) else None


def _happening(event: RelayEvent) -> Happening:
    word = "sent" if event.kind == "delivered" else event.kind
    icon, colour = LOOKS.get(word, LOOKS["received"])
    return Happening(event, icon, colour, t(f"relay_event.{event.kind}"))


@pages.get("/relay/log/<int:relayed_id>/content")
def content(relayed_id: int) -> Response:
    """What the mail says, for the sandboxed frame, which may do nothing and load nothing."""
    raw = log.content_of(_row_or_404(relayed_id))
    if raw is None:
        abort(404)
    found = read_content(raw)
    html = found.html if found.html is not None else f"<pre>{escape(found.text or '')}</pre>"
    response = Response(html, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = MAIL_CONTENT_POLICY
    return response


@pages.get("/relay/log/<int:relayed_id>/source.eml")
def source(relayed_id: int) -> Response:
    """Byte for byte as it came."""
    raw = log.content_of(_row_or_404(relayed_id))
    if raw is None:
        abort(404)
    response = send_file(
        BytesIO(raw),
        mimetype="message/rfc822",
        as_attachment=True,
        download_name=f"relay-{relayed_id}.eml",
    )
    response.headers["Content-Security-Policy"] = SOURCE_POLICY
    return response


@pages.post("/relay/log/<int:relayed_id>/resend")
def send_again(relayed_id: int) -> BaseResponse:
    """To the recipient that the form names, or to all."""
    access.require_administrator()
    row = _row_or_404(relayed_id)
    wanted = typed_id(request.form.get("delivery"))
    named = [one for one in log.deliveries_of([row])[row.id] if wanted in (0, one.id)]
    recipients = [one.recipient for one in named if may_send(one)]
    try:
        if not recipients and any(one.is_addressed for one in named):
            raise NotPossible("relay_on_its_way")
        new_id = resend(row, recipients, now())
    except NotPossible as problem:
        db.session.rollback()
        return _message_page(_row_or_404(relayed_id), problem)
    db.session.commit()
    return redirect(url_for(".show", relayed_id=new_id, done="mail_resent"), 303)


def _row_or_404(relayed_id: int) -> RelayMessage:
    row = log.message_of(g.merchant_id, relayed_id)
    if row is None:
        abort(404)
    return row
