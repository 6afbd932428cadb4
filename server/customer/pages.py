"""One order by its signed link: what is open, how to pay it, and "I have paid" (S61)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from flask import (
    Blueprint,
    Response,
    abort,
    g,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue
from limits import RateLimitItem, RateLimitItemPerMinute
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.wrappers import Response as BaseResponse

from server.customer.rules import State, state_of, typed_date
from server.customer.words import LANGUAGES, say
from server.db import db, now
from server.mail.codes import code_png
from server.mail.languages import day, money, nearest_language
from server.merchants.service import settings_of
from server.orders.asking import request_for
from server.orders.claims import MAX_MESSAGE, MAX_PROOF_BYTES, ProofFile, claim_paid, claims_of
from server.orders.ledger import ZERO, Ledger, NotPossible
from server.orders.links import read_token
from server.orders.models import Order
from server.orders.notices import facts_of_request
from server.orders.told import zone_of
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
CLAIMS_PER_ADDRESS = RateLimitItemPerMinute(30, 60, namespace="customer-address")
CLAIMS_PER_ORDER = RateLimitItemPerMinute(15, 60, namespace="customer-order")
ERRORS = (403, 404, 413, 429)
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
KEPT_FOR_GOOD = "public, max-age=31536000, immutable"


# --- pages ----------------------------------------------------------------------------------------


@door.get("/pay/<token>")
def show(token: str) -> Response:
    return _page(_order(token), token)


def _order(token: str) -> Order:
    """The order behind a link; 404 for one that is forged, too old, or not there any more."""
    _stop_at(UNKNOWN_PER_ADDRESS, client_network())
    order_id = read_token(token)
    order = db.session.get(Order, order_id) if order_id is not None else None
    if order is None or order.monitor_at is not None:
        attempt_limits().count(UNKNOWN_PER_ADDRESS, client_network())
        abort(404)
    g.language = nearest_language(order.language, nearest_language(order.shop.language, "de"))
    return order


def _stop_at(limit: RateLimitItem, key: str) -> None:
    if attempt_limits().is_reached(limit, key):
        abort(429)


def _state(order: Order) -> State:
    return state_of(order.payment_status, order.payment_code, is_erased=order.erased_at is not None)


def _page(
    order: Order,
    token: str,
    code: int = 200,
    problem: str | None = None,
    typed: Mapping[str, str] | None = None,
) -> Response:
    state = _state(order)
    facts: dict[str, Any] = {"state": state, "token": token, "problem": problem}
    if state in ("owing", "ended"):
        claims = claims_of(order.id)
        zone = zone_of(order.merchant_id)
        today = now().astimezone(zone).date()
        settings = settings_of(order.merchant_id, order.shop_id)
        facts |= {
            "shop": order.shop.name,
            "number": order.number,
            "today": today.isoformat(),
            "would_rest": settings.claim_pause_days > 0,
            "rests": order.paused_until is not None and order.paused_until >= today,
            "claimed": day(claims[0].claimed_at.astimezone(zone).date(), g.language)
            if claims
            else None,
            "typed": typed or {},
            "max_message": MAX_MESSAGE,
            "max_mb": MAX_PROOF_BYTES // 1024**2,
        }
    if state == "owing":
        facts |= _owed(order)
    return _answer(render_template("customer/order.html", **facts), code)


def _owed(order: Order) -> dict[str, Any]:
    """What is open, and the transfer where one is asked for; cash is paid at the door."""
    rest = Ledger([order.id]).rest(order)
    shown: dict[str, Any] = {"open": money(max(rest, ZERO), order.currency, g.language)}
    if rest > ZERO and order.payment_code != "cash_on_delivery":
        asked = request_for(order, settings_of(order.merchant_id, order.shop_id), rest)
        if asked is not None:
            shown["transfer"] = facts_of_request(asked, order.shop, g.language)
    return shown


@door.get("/pay/<token>/qr.png")
def qr_code(token: str) -> Response:
    """The transfer as a picture for banking apps: GiroCode, or that of the Swiss QR-bill."""
    order = _order(token)
    owed = _owed(order) if _state(order) == "owing" else {}
    picture = code_png(owed.get("transfer", {}))
    if picture is None:
        abort(404)
    return Response(picture, mimetype="image/png")


# --- "I have paid" --------------------------------------------------------------------------------


@door.post("/pay/<token>")
def claim(token: str) -> BaseResponse:
    """Note what the customer says; a mistake shows the form again with what was typed."""
    order = _order(token)
    order_id = order.id
    limits = ((CLAIMS_PER_ADDRESS, client_network()), (CLAIMS_PER_ORDER, str(order_id)))
    for limit, key in limits:
        _stop_at(limit, key)
        attempt_limits().count(limit, key)
    if _state(order) not in ("owing", "ended"):
        return redirect(url_for(".show", token=token), 303)
    try:
        _claim(order, now())
    except (NotPossible, ValueError, RequestEntityTooLarge) as refused:
        db.session.rollback()
        if isinstance(refused, RequestEntityTooLarge):  # nothing of it was read
            return _page(_order(token), token, 413, "proof_too_large")
        return _page(_order(token), token, 422, str(refused.args[0]), request.form)
    db.session.commit()
    return redirect(url_for(".show", token=token), 303)


def _claim(order: Order, at: datetime) -> None:
    """Raises NotPossible, ValueError with a message key, or RequestEntityTooLarge."""
    message = request.form.get("message", "").replace("\r\n", "\n")
    if len(message) > MAX_MESSAGE:
        raise ValueError("message_too_long")
    upload = request.files.get("proof")
    proof = None
    if upload is not None and upload.filename:
        content = upload.stream.read(MAX_PROOF_BYTES + 1)
        proof = ProofFile(upload.filename, content)
    paid_on = typed_date(request.form.get("paid_on", ""))
    claim_paid(order, paid_on=paid_on, message=message, proof=proof, at=at)


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
def _say(key: str, **values: object) -> str:
    return say(g.language, key, **values)


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
    languages = [g.language] if g.get("language") in LANGUAGES else list(LANGUAGES)
    texts = [
        (one, say(one, f"error_{known_code}"), say(one, f"error_{known_code}_text"))
        for one in languages
    ]
    page = render_template("customer/error.html", texts=texts, language=languages[0])
    return _answer(page, code)


def _answer(page: str, code: int) -> Response:
    return make_response(page, code)
