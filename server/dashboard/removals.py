"""Orders whose removal is held until a person has looked (S41)."""

from __future__ import annotations

from flask import Blueprint, Response, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard.mapping import shop_or_404
from server.dashboard.pages import page, typed_id
from server.db import db, now
from server.orders import removal
from server.shops.models import Shop

pages = Blueprint("removals", __name__)

SHOWN = 200
ANSWERS = ("remove", "keep")


@pages.get("/shops/<int:shop_id>/removals")
def show(shop_id: int) -> Response:
    shop = shop_or_404(shop_id)
    held, waiting = removal.counts(shop.id)
    return page(
        "removals.html",
        shop=shop,
        held=held,
        waiting=waiting,
        orders=removal.held_orders(g.merchant_id, shop.id, SHOWN),
        shown=SHOWN,
    )


@pages.get("/shops/<int:shop_id>/removals/decide")
def ask(shop_id: int) -> Response:
    """The question before it is done; where nothing is held there is nothing to ask."""
    shop = shop_or_404(shop_id)
    held, _ = removal.counts(shop.id)
    answer = request.args.get("answer", "")
    if not held or answer not in ANSWERS:
        return show(shop_id)
    return _ask(shop, answer, held)


def _ask(shop: Shop, answer: str, held: int, code: int = 200) -> Response:
    return page(
        "removals_ask.html", code, shop=shop, held=held, answer=answer, is_stale=code == 409
    )


@pages.post("/shops/<int:shop_id>/removals/decide")
def decide(shop_id: int) -> BaseResponse:
    """For as many as the question named; more that vanished meanwhile are asked about anew."""
    shop = shop_or_404(shop_id)
    answer = request.form.get("answer", "")
    if answer not in ANSWERS:
        return redirect(url_for(".show", shop_id=shop.id), 303)
    held, _ = removal.counts(shop.id)
    if held and typed_id(request.form.get("held")) != held:
        return _ask(shop, answer, held, 409)
    count = removal.decide_removals(
        g.merchant_id, shop.id, removes=answer == "remove", actor=g.user.email, at=now()
    )
    db.session.commit()
    done = "removals_made" if answer == "remove" else "removals_kept"
    return redirect(url_for(".show", shop_id=shop.id, done=done, n=count), 303)
