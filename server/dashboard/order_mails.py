"""One mail as it was sent, in a frame that may do nothing."""

from __future__ import annotations

import base64

from flask import Response, abort, g

from server.dashboard import order_queries
from server.dashboard.pages import page
from server.mail.models import Mail
from server.mail.pictures import with_own_pictures
from server.mail.rules import KINDS, FactError, Message
from server.mail.service import preview_mail

# Mails are HTML that we wrote from facts of strangers: shown in a frame that may do nothing.
MAIL_CONTENT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; "
    "frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)


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


def mail_content(mail_id: int) -> Response:
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


def _mail_or_404(mail_id: int) -> Mail:
    """Account mails are nobody's business but the recipient's: they hold a link to log in."""
    mail = order_queries.mail_of(g.merchant_id, mail_id)
    if mail is None or mail.kind not in KINDS or KINDS[mail.kind].footer == "account":
        abort(404)
    return mail
