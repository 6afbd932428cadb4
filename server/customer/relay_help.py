"""Pages of the relay for anybody: why a mail came, and what a refusal means (S91, S93).

The first is what List-Help leads to where a system has no page of its own; its signed link names a
domain and nobody. The second is named in SMTP answers, so it needs no link and no log-in. Both are
read in the browser's language, for nothing is known of the reader.
"""

from __future__ import annotations

from typing import Final

from flask import Blueprint, abort, g, render_template, request
from markupsafe import Markup, escape
from werkzeug.exceptions import HTTPException

from server.customer.pages import ERRORS, UNKNOWN_PER_ADDRESS, known, secure_page, unexpected
from server.customer.words import group_texts
from server.db import db
from server.mail.languages import nearest_language
from server.mail.models import SendingDomain
from server.merchants.models import Merchant
from server.relay.links import read_help
from server.relay.models import RelayDomain
from server.visitors import attempt_limits, client_network

door = Blueprint("relay_help", __name__, template_folder="templates")

LANGUAGES: Final = ("de", "en")
REASONS: Final = ("why_use", "why_no_unsubscribe", "why_none_meant", "why_ask", "why_kontor")
REFUSALS: Final = ("530", "535", "550_from", "550_paused", "550_head", "552", "452", "553", "4")


@door.get("/relay/why/<token>")
def why(token: str) -> str:
    """404 for a link that is forged, and for a domain that was taken out."""
    if attempt_limits().is_reached(UNKNOWN_PER_ADDRESS, client_network()):
        abort(429)
    row = db.session.get(RelayDomain, read_help(token) or 0)
    if row is None:
        attempt_limits().count(UNKNOWN_PER_ADDRESS, client_network())
        abort(404)
    domain = db.session.get_one(SendingDomain, row.sending_domain_id)
    merchant = db.session.get_one(Merchant, row.merchant_id)
    return render_template(
        "customer/relay_why.html",
        say=_say,
        reasons=[_say(one, merchant=merchant.name, domain=domain.name) for one in REASONS],
    )


@door.get("/relay/help")
def refusals() -> str:
    return render_template("customer/relay_help.html", say=_say, refusals=REFUSALS)


def _say(key: str, **values: object) -> Markup:
    return escape(group_texts("relay", g.language)[key]).format(**values)


@door.before_request
def _prepare() -> None:
    """German where nothing is said, English for whoever reads neither."""
    asked = [request.args.get("language", ""), *request.accept_languages.values()]
    found = (nearest_language(one, "", LANGUAGES) for one in asked)
    without = "en" if request.accept_languages else "de"
    g.language = next(filter(None, found), without)


door.after_request(secure_page)
for _each in (400, 405, *ERRORS, HTTPException):
    door.register_error_handler(_each, known)
door.register_error_handler(Exception, unexpected)
