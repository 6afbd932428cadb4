"""Shops: how each is doing (K12), adding one, its API keys, its mapping to read."""

from __future__ import annotations

from flask import Blueprint, Response, abort, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard import queries
from server.dashboard.pages import page
from server.db import db, now
from server.merchants import service as merchants
from server.merchants.models import ApiKey
from server.shops import service
from server.shops.models import Shop
from server.shops.rules import CODES, SILENT_AFTER

pages = Blueprint("shops", __name__)

SYSTEMS = ("woocommerce", "shopware", "ebay", "other")
MAX_KEY_NAME_LENGTH = 100


@pages.get("/shops")
def show_all() -> Response:
    return page(
        "shops.html",
        shops=queries.shops(g.merchant_id),
        waiting=queries.waiting_updates(g.merchant_id),
    )


@pages.get("/shops/new")
def ask_add() -> Response:
    return _add_page()


def _add_page(problem: str | None = None) -> Response:
    typed = {name: request.form.get(name, "") for name in ("name", "system", "url")}
    return page(
        "shop_new.html", 422 if problem else 200, systems=SYSTEMS, typed=typed, problem=problem
    )


@pages.post("/shops/new")
def add() -> BaseResponse:
    system = request.form.get("system", "")
    if system not in SYSTEMS:
        return _add_page("shop_system_missing")
    try:
        shop = service.add_shop(
            g.merchant_id,
            name=_plain("name"),
            system=system,
            url=_plain("url"),
        )
    except ValueError as refused:
        db.session.rollback()
        return _add_page(str(refused.args[0]))
    db.session.commit()
    return redirect(url_for(".show", shop_id=shop.id, done="shop_added"), 303)


@pages.get("/shops/<int:shop_id>")
def show(shop_id: int) -> Response:
    return shop_page(_shop_or_404(shop_id))


def shop_page(
    shop: Shop, *, new_key: tuple[ApiKey, str] | None = None, problem: str | None = None
) -> Response:
    at = now()
    return page(
        "shop.html",
        422 if problem else 200,
        shop=shop,
        is_silent=shop.seen_at is not None and at - shop.seen_at > SILENT_AFTER,
        waiting=queries.waiting_updates(g.merchant_id).get(shop.id, 0),
        keys=queries.api_keys(g.merchant_id, shop.id),
        new_key=new_key,
        problem=problem,
        mapping=service.mapping_of(shop),
        codes=CODES,
    )


@pages.post("/shops/<int:shop_id>/keys")
def create_key(shop_id: int) -> Response:
    """The key is shown in this very answer and never again; only its hash is kept."""
    shop = _shop_or_404(shop_id)
    name = _plain("name")
    if not name or len(name) > MAX_KEY_NAME_LENGTH:
        return shop_page(shop, problem="key_name_missing")
    created = merchants.create_api_key(g.merchant_id, scope="shop", name=name, shop_id=shop.id)
    db.session.commit()
    return shop_page(shop, new_key=created)


@pages.get("/shops/<int:shop_id>/keys/<key_id>/revoke")
def ask_revoke_key(shop_id: int, key_id: str) -> Response:
    """The question of the dialog as a page of its own, for browsers without JavaScript."""
    shop = _shop_or_404(shop_id)
    key = next((k for k in queries.api_keys(g.merchant_id, shop.id) if k.id == key_id), None)
    if key is None:
        abort(404)
    return page(
        "revoke_key.html",
        key=key,
        action=url_for(".revoke_key", shop_id=shop.id, key_id=key.id),
        back=url_for(".show", shop_id=shop.id),
    )


@pages.post("/shops/<int:shop_id>/keys/<key_id>/revoke")
def revoke_key(shop_id: int, key_id: str) -> BaseResponse:
    shop = _shop_or_404(shop_id)
    if key_id not in {key.id for key in queries.api_keys(g.merchant_id, shop.id)}:
        abort(404)
    merchants.revoke_api_key(g.merchant_id, key_id, now())
    db.session.commit()
    return redirect(url_for(".show", shop_id=shop.id, done="key_revoked"), 303)


def _plain(name: str) -> str:
    return request.form.get(name, "").replace("\x00", "").strip()


def _shop_or_404(shop_id: int) -> Shop:
    shop = service.shop_of(g.merchant_id, shop_id)
    if shop is None:
        abort(404)
    return shop
