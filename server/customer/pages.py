"""One order by its signed link: what is open, how to pay it, and what became of it (S61, N8).

What customers send is in ``answers``, what is shown in ``shown``. A page works without scripts;
the one that there is only copies an account number.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path

from flask import (
    Blueprint,
    Response,
    abort,
    g,
    make_response,
    render_template,
    request,
    send_file,
    url_for,
)
from flask.typing import ResponseReturnValue
from limits import RateLimitItem, RateLimitItemPerMinute
from markupsafe import Markup
from sqlalchemy import select
from werkzeug.exceptions import HTTPException

from server.customer.shown import Shown, facts_of, invoice_of, look_at, transfer_of
from server.customer.words import language_tag, say
from server.db import db, now
from server.mail.codes import code_png
from server.mail.languages import EDITIONS, LANGUAGES, nearest_language
from server.merchants.models import Merchant
from server.merchants.service import settings_of
from server.orders.claims import MAX_PROOF_BYTES
from server.orders.identity import edition_for, stored_country
from server.orders.links import read_token
from server.orders.models import Order
from server.shops.models import Shop
from server.visitors import attempt_limits, client_network, is_own_origin, secure, sent_origin

log = logging.getLogger(__name__)

door = Blueprint(
    "customer",
    __name__,
    template_folder="templates",
    static_folder="static",
    static_url_path="/pay-assets",
)

MAX_FORM_BYTES = MAX_PROOF_BYTES + 1024**2
UNKNOWN_PER_ADDRESS = RateLimitItemPerMinute(60, 15, namespace="customer-unknown")
LOOKS_PER_ORDER = RateLimitItemPerMinute(300, 15, namespace="customer-look")
ERRORS = (403, 404, 413, 429)
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
FILE_POLICY = "default-src 'none'; sandbox"
KEPT_FOR_GOOD = "public, max-age=31536000, immutable"


# --- pages ----------------------------------------------------------------------------------------


@door.get("/pay/<token>")
def show(token: str) -> Response:
    return page(order_of(token), token)


def order_of(token: str) -> Order:
    """The order behind a link; 404 for one that is forged, too old, or not there any more."""
    stop_at(UNKNOWN_PER_ADDRESS, client_network())
    order_id = read_token(token)
    order = _order(order_id) if order_id is not None else None
    if order is None or order.monitor_at is not None:
        attempt_limits().count(UNKNOWN_PER_ADDRESS, client_network())
        abort(404)
    g.settings = settings_of(order.merchant_id, order.shop_id)
    country = stored_country(order.wire)
    g.language = edition_for(order.language, country, g.shop, g.settings)
    if not attempt_limits().take(LOOKS_PER_ORDER, str(order.id)):
        abort(429)
    return order


def _order(order_id: int) -> Order | None:
    """With its shop and its merchant, which much of a page asks for: kept for the request."""
    query = select(Order, Shop, Merchant).where(Order.id == order_id)
    query = query.join(Shop, Shop.id == Order.shop_id)
    found = db.session.execute(query.join(Merchant, Merchant.id == Order.merchant_id)).first()
    if found is None:
        return None
    order, g.shop, g.merchant = found
    return order


def stop_at(limit: RateLimitItem, key: str) -> None:
    if attempt_limits().is_reached(limit, key):
        abort(429)


def looked_at(order: Order) -> Shown:
    return look_at(order, g.language, g.settings, now())


def page(
    order: Order,
    token: str,
    code: int = 200,
    *,
    form: str = "",
    problem: Markup | None = None,
    problem_key: str = "",
    typed: Mapping[str, str] | None = None,
) -> Response:
    """The order; with what was typed into ``form`` and the sentence why that cannot be."""
    facts = facts_of(looked_at(order), token) | {
        "form": form,
        "problem": problem,
        "problem_key": problem_key,
        "typed": typed or {},
    }
    return make_response(render_template("customer/order.html", **facts), code)


@door.get("/pay/<token>/qr.png")
def qr_code(token: str) -> Response:
    """The transfer as a picture for banking apps: GiroCode, or that of the Swiss QR-bill."""
    picture = code_png(transfer_of(looked_at(order_of(token))))
    if picture is None:
        abort(404)
    return Response(picture, mimetype="image/png")


@door.get("/pay/<token>/invoices/<int:invoice_id>")
def invoice(token: str, invoice_id: int) -> Response:
    """The shop's PDF, saved and never shown within our pages."""
    order = order_of(token)
    found = invoice_of(order, invoice_id) if looked_at(order).state != "over" else None
    if found is None or found.pdf is None:
        abort(404)
    name = "".join(one if one.isalnum() or one in "-_." else "-" for one in found.number)
    response = send_file(
        io.BytesIO(found.pdf),
        mimetype="application/pdf",
        as_attachment=True,
        download_name=f"{name.strip('.') or 'invoice'}.pdf",
    )
    response.headers["Content-Security-Policy"] = FILE_POLICY
    return response


# --- what holds for every page --------------------------------------------------------------------


@door.before_request
def _prepare() -> None:
    """A form may come from our own page only, as far as the browser says where it comes from.

    Without a session there is nothing that another site could misuse; ``null`` is what browsers
    send with ``Referrer-Policy: no-referrer``.
    """
    g.language = None
    request.max_content_length = MAX_FORM_BYTES
    sent = sent_origin()
    if request.method == "POST" and sent not in (None, "null") and not is_own_origin(str(sent)):
        abort(403)


@door.after_request
def secure_page(response: Response) -> Response:
    """The link is the key: it goes to no other site, into no cache and into no search."""
    headers = secure(response).headers
    headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    headers.setdefault("Referrer-Policy", "no-referrer")
    headers.setdefault("X-Robots-Tag", "noindex, nofollow")
    is_for_good = request.endpoint == "customer.static" and "v" in request.args
    headers["Cache-Control"] = KEPT_FOR_GOOD if is_for_good else "no-store"
    return response


@door.app_template_global("customer_asset")
def asset(name: str) -> str:
    """The address of a static file; it changes with the content."""
    return url_for("customer.static", filename=name, v=_version(name))


@cache
def _version(name: str) -> str:
    return sha256((Path(__file__).parent / "static" / name).read_bytes()).hexdigest()[:12]


@door.app_template_global("customer_say")
def _say(key: str, **values: object) -> Markup:
    return say(g.language, key, **values)


@door.app_template_global("customer_language_tag")
def _language_tag() -> str:
    return language_tag(g.language)


def known(error: HTTPException) -> ResponseReturnValue:
    """A page for an HTTP error, in both languages where the order is not known."""
    if error.code is None or error.code < 400:
        return error
    return _error(error.code)


# By their codes too: those of the application for unknown addresses would come first.
for _each in (400, 405, *ERRORS, HTTPException):
    door.register_error_handler(_each, known)


@door.errorhandler(Exception)
def unexpected(error: Exception) -> Response:
    log.exception("a customer's page failed", exc_info=error)
    db.session.rollback()
    return _error(500)


def _error(code: int) -> Response:
    known_code = code if code in ERRORS else 500 if code >= 500 else 400
    editions = [g.language] if g.get("language") in EDITIONS else _languages_of_browser()
    texts = [
        (language_tag(one), say(one, f"error_{known_code}"), say(one, f"error_{known_code}_text"))
        for one in editions
    ]
    page = render_template("customer/error.html", texts=texts, language=texts[0][0])
    return make_response(page, code)


def _languages_of_browser() -> list[str]:
    """Nobody's order is known here: the browser's language, or the two that most understand."""
    asked = (nearest_language(one, "", LANGUAGES) for one in request.accept_languages.values())
    wanted = next(filter(None, asked), None)
    return [wanted] if wanted else ["de", "en"]
