"""One mail: how it fared, what it says in a frame that may do nothing, and what can be done (S4).

The log of all mails and their addresses are in ``mail_log``; an order's page shows its own by
``lines_of``.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.parser import HeaderParser
from io import BytesIO

from flask import Response, abort, g, redirect, request, send_file, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard import letter_queries, mail_log_queries, order_queries, words
from server.dashboard.access import require_administrator
from server.dashboard.order_letters import USUAL_PAGES
from server.dashboard.pages import page, plain
from server.dashboard.status import Badge, mail_badge, mail_word
from server.dashboard.words import t
from server.db import db, now
from server.letters import service as letters
from server.letters.models import Letter
from server.mail.delivery import source_of
from server.mail.domains import proven_names
from server.mail.models import Mail
from server.mail.pictures import with_own_pictures
from server.mail.rules import KINDS, FactError, Message
from server.mail.service import preview_mail
from server.mail.texts import own_templates
from server.mail.typos import suggest
from server.orders import letter_actions, lifecycle, mail_actions
from server.orders.identity import system_address
from server.orders.ledger import NotPossible
from server.orders.letters import has_address
from server.orders.models import Order

# Mails are HTML that we wrote from facts of strangers: shown in a frame that may do nothing.
MAIL_CONTENT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; "
    "frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)
SOURCE_POLICY = "default-src 'none'; sandbox"
VIEWS = ("html", "text", "headers")
MAX_WORDS = 2_000
WAITS = {"queued", "retried", "running", "delayed"}


@dataclass(frozen=True, slots=True)
class Fate:
    """How a mail fared: ``why`` in the reader's language, ``said`` in the words of a server."""

    badge: Badge
    why: Markup | None
    said: str

    @property
    def is_wrong(self) -> bool:
        return self.badge.colour in {"bad", "warn"}


def fate_of(mail: Mail) -> Fate:
    word = mail_word(mail)
    if word in {"bounced", "complained", "delayed"}:
        return Fate(mail_badge(mail), t(f"mail_why.{word}"), _one_line(mail.delivery_words))
    if word in {"done", "delivered", "running"}:
        return Fate(mail_badge(mail), None, "")
    if word == "unknown":
        return Fate(mail_badge(mail), t("mail_why.unknown"), _one_line(mail.error))
    is_known = words.has_text(f"mail_failure.{mail.failure}")
    why = t(f"mail_failure.{mail.failure}") if is_known else None
    return Fate(mail_badge(mail), why, _one_line(mail.error))


def _one_line(said: str | None) -> str:
    return " ".join((said or "").split())[:MAX_WORDS]


# --- the page ----------------------------------------------------------------------------------


def show(mail_id: int) -> Response:
    return mail_page(_mail_or_404(mail_id))


def mail_page(mail: Mail, problem: NotPossible | None = None, typed: str = "") -> Response:
    order = order_queries.order_of(g.merchant_id, mail.order_id) if mail.order_id else None
    letter = letter_queries.letter_of_mail(g.merchant_id, mail.id)
    view = request.args.get("view", "")
    at = now()
    return page(
        "mail.html",
        409 if problem else 200,
        mail=mail,
        order=order,
        fate=fate_of(mail),
        sender=_sender(mail),
        waits=mail_word(mail) in WAITS,
        message=_message(mail),
        reports=mail_log_queries.reports_of(g.merchant_id, mail.id),
        acts=mail_actions.actions_of_mail(mail, at),
        hindrance=mail_actions.hindrance_of(mail, at),
        suggestion=suggest(mail.recipient) if KINDS[mail.kind].reader == "customer" else None,
        use_url=_use_url(mail, order, at),
        can_be_letter=_can_be_letter(mail, order, letter),
        letter=letter,
        letter_cost=letters.estimate(g.merchant_id, USUAL_PAGES, False),
        view=view if view in VIEWS else VIEWS[0],
        views=VIEWS,
        problem=problem,
        typed=typed,
    )


def _can_be_letter(mail: Mail, order: Order | None, letter: Letter | None) -> bool:
    """Offered to whoever may spend money on it, and only where the mail did not arrive (S71)."""
    if order is None or not g.user.is_administrator or not letter_actions.can_be_letter(mail):
        return False
    is_there = letter is not None and letter.status != "withheld"
    return not is_there and order.erased_at is None and has_address(order.wire)


@dataclass(frozen=True, slots=True)
class Sender:
    """Under whose name a mail leaves; ``address`` and ``reply_to`` may be empty."""

    name: str
    address: str
    reply_to: str


def _sender(mail: Mail) -> Sender:
    """As it was sent, or as it would be now: an address that is not proven is not in From."""
    head = HeaderParser(policy=policy.default).parsestr(mail.headers or "")
    sender = _first_address(head, "From")
    if sender is None:
        address = leaves_from(mail.sender_address)
        is_other = bool(mail.sender_address) and address != mail.sender_address
        reply_to = mail.reply_to or (mail.sender_address if is_other else "")
        return Sender(mail.sender_name, address, reply_to)
    answers = _first_address(head, "Reply-To")
    return Sender(sender.display_name, sender.addr_spec, answers.addr_spec if answers else "")


def _first_address(head: EmailMessage, name: str) -> Address | None:
    """Of a field that may not be there, or hold none."""
    found = head[name].addresses if head[name] is not None else ()
    return next((one for one in found if one.username and one.domain), None)


def leaves_from(address: str) -> str:
    """What From names: the shop's own address only if its domain is proven (S17)."""
    is_proven = address.rpartition("@")[2].lower() in proven_names(g.merchant_id)
    return address if is_proven else system_address()


def _use_url(mail: Mail, order: Order | None, at: datetime) -> str | None:
    """Where one click uses the address that was meant: of the mail, or while it waits of the
    order; None where neither can be."""
    if "readdress" in mail_actions.actions_of_mail(mail, at):
        return url_for("dashboard.mails.readdress", mail_id=mail.id)
    if order is not None and "edit" in lifecycle.actions_of(order):
        return url_for("dashboard.orders.use_address", order_id=order.id)
    return None


def _message(mail: Mail) -> Message | None:
    """What the mail says, sent or not; None if it cannot be written: then its error says why."""
    template = own_templates([mail]).get(mail.id) if mail.html is None else None
    try:
        return preview_mail(mail, template)
    except FactError:
        return None


def content(mail_id: int) -> Response:
    """The mail as it was sent, for the sandboxed frame."""
    message = _message(_mail_or_404(mail_id))
    if message is None:
        abort(404)
    return framed(message)


def framed(message: Message) -> Response:
    """What a mail says, for the sandboxed frame; also before it is sent."""
    html = with_own_pictures(_with_pictures(message))
    response = Response(html, mimetype="text/html")
    response.headers["Content-Security-Policy"] = MAIL_CONTENT_POLICY
    return response


def _with_pictures(message: Message) -> str:
    """Pictures travel with a mail as attachments; a browser needs them in the page."""
    html = message.html
    for picture in message.inline:
        png = base64.b64encode(picture.png).decode()
        html = html.replace(f"cid:{picture.content_id}", f"data:image/png;base64,{png}")
    return html


def source(mail_id: int) -> Response:
    """The mail byte for byte as it was sent; 404 if it was not."""
    mail = _mail_or_404(mail_id)
    raw = source_of(mail)
    if raw is None:
        abort(404)
    response = send_file(
        BytesIO(raw),
        mimetype="message/rfc822",
        as_attachment=True,
        download_name=f"{mail.kind.replace('_', '-')}-{mail.id}.eml",
    )
    response.headers["Content-Security-Policy"] = SOURCE_POLICY
    return response


def _mail_or_404(mail_id: int) -> Mail:
    """Account mails are nobody's business but the recipient's: they hold a link to log in."""
    return mail_actions.mail_of(g.merchant_id, mail_id) or abort(404)


# --- what can be done ---------------------------------------------------------------------------


def resend(mail_id: int) -> BaseResponse:
    def act(at: datetime) -> Mail:
        return mail_actions.resend_mail(g.merchant_id, mail_id, actor=g.user.email, at=at)

    return _attempt(mail_id, act, "mail_resent")


def readdress(mail_id: int) -> BaseResponse:
    """To another address, which an open order takes over."""
    email = plain(request.form.get("email", ""))

    def act(at: datetime) -> Mail:
        return mail_actions.readdress_mail(g.merchant_id, mail_id, email, actor=g.user.email, at=at)

    return _attempt(mail_id, act, "mail_resent", typed=email)


def as_letter(mail_id: int) -> BaseResponse:
    """The same words on paper, because they did not arrive (S71); it costs."""
    require_administrator()

    def act(at: datetime) -> None:
        letter_actions.mail_as_letter(g.merchant_id, mail_id, actor=g.user.email, at=at)

    return _attempt(mail_id, act, "mail_as_letter")


def decide(mail_id: int) -> BaseResponse:
    """Whether a mail of which nobody knows is sent once more or left to rest."""
    again = request.form.get("again") == "yes"

    def act(at: datetime) -> Mail:
        return mail_actions.decide_mail(
            g.merchant_id, mail_id, again=again, actor=g.user.email, at=at
        )

    return _attempt(mail_id, act, "mail_sent_again" if again else "mail_let_rest")


def opt_out(mail_id: int) -> BaseResponse:
    def act(at: datetime) -> None:
        mail_actions.opt_out_of(g.merchant_id, mail_id, actor=g.user.email, at=at)

    return _attempt(mail_id, act, "mail_opted_out")


def opt_in(mail_id: int) -> BaseResponse:
    def act(at: datetime) -> None:
        mail_actions.opt_in_to(g.merchant_id, mail_id, actor=g.user.email, at=at)

    return _attempt(mail_id, act, "mail_opted_in")


def _attempt(
    mail_id: int, act: Callable[[datetime], Mail | None], done: str, typed: str = ""
) -> BaseResponse:
    """Do it, commit and show the mail that came of it; 409 with the reason if it cannot be."""
    mail = _mail_or_404(mail_id)
    try:
        new = act(now())
    except NotPossible as problem:
        db.session.rollback()
        return mail_page(mail, problem, typed)
    db.session.commit()
    shown = new.id if new is not None else mail_id
    return redirect(url_for("dashboard.mails.show", mail_id=shown, done=done), 303)


# --- on the order -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    mail: Mail
    fate: Fate
    is_to_merchant: bool


def lines_of(order: Order, at: datetime) -> list[Line]:
    """The mails to customer and merchant about an order, the newest first (S69)."""
    mails = mail_log_queries.mails_of_order(order.merchant_id, order.id, at)
    return [
        Line(mail, fate_of(mail), KINDS[mail.kind].reader == "merchant")
        for mail in mails
        if mail.kind in KINDS
    ]
