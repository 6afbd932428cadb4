"""Shops: how each is doing (K12, K66), adding, changing, deregistering one, its mode, its keys."""

from __future__ import annotations

from flask import Blueprint, Response, abort, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from plugin_sdk.errors import Misconfigured
from plugin_sdk.installed import connector_class
from server.dashboard import queries, settings_queries
from server.dashboard.access import require_administrator
from server.dashboard.mapping import names_of, only_of_living, shop_or_404
from server.dashboard.pages import page
from server.dashboard.shop_state import is_set_up, state_badge, state_of
from server.dashboard.words import has_text, t
from server.db import db, now
from server.merchants import service as merchants
from server.merchants.models import ApiKey
from server.orders import removal
from server.orders.effects import mapping_changed, settings_changed, shop_deregistered
from server.shops import changing, connections, service
from server.shops.models import Shop
from server.shops.rules import CODES, SILENT_AFTER

pages = Blueprint("shops", __name__)
pages.before_request(only_of_living)

SYSTEMS = ("woocommerce", "shopware", "ebay", "other")
MODES = ("live", "test")
MAX_KEY_NAME_LENGTH = 100
POLLS_UP_TO_SECONDS = 180
"""Asking the shop as often as that is what a missing push costs (S33)."""


@pages.get("/shops")
def show_all() -> Response:
    shops = queries.shops(g.merchant_id)
    general = merchants.settings_of(g.merchant_id).mode
    return page(
        "shops.html",
        shops=shops,
        system_name=system_name,
        waiting=queries.waiting_updates(g.merchant_id),
        held={shop.id: removal.counts(shop.id)[0] for shop in shops},
        in_test=settings_queries.shops_in_test(g.merchant_id, general),
    )


def has_connector(system: str) -> bool:
    """Whether Kontor could talk to such a shop itself."""
    try:
        connector_class(system)
    except Misconfigured:
        return False
    return True


def system_name(system: str) -> str:
    """What people call it; of a system that somebody else wrote a connector for, its title."""
    if has_text(f"system.{system}"):
        return str(t(f"system.{system}"))
    try:
        return connector_class(system).title or system
    except Misconfigured:
        return system


@pages.get("/shops/new")
def ask_add() -> Response:
    return _add_page()


def _add_page(problem: str | None = None) -> Response:
    typed = {name: request.values.get(name, "") for name in ("name", "system", "url")}
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
            url=changing.MARKETPLACES.get(system) or _plain("url"),
        )
    except ValueError as refused:
        db.session.rollback()
        return _add_page(str(refused.args[0]))
    db.session.commit()
    return redirect(url_for(".show", shop_id=shop.id, done="shop_added"), 303)


@pages.get("/shops/<int:shop_id>")
def show(shop_id: int) -> Response:
    return shop_page(shop_or_404(shop_id))


def shop_page(
    shop: Shop, *, new_key: tuple[ApiKey, str] | None = None, problem: str | None = None
) -> Response:
    compares = shop.compare_seconds
    row = connections.connection_of(g.merchant_id, shop.id)
    is_hosted = row is not None and is_set_up(shop, row)
    is_away = shop.seen_at is not None and now() - shop.seen_at > SILENT_AFTER
    return page(
        "shop.html",
        422 if problem else 200,
        shop=shop,
        row=row,
        state=state_of(shop, row) if row else None,
        look=state_badge(shop, row) if row else None,
        system_name=system_name,
        has_connector=has_connector(shop.system),
        is_silent=is_away and not is_hosted,
        waiting=queries.waiting_updates(g.merchant_id).get(shop.id, 0),
        keys=queries.api_keys(g.merchant_id, shop.id),
        new_key=new_key,
        problem=problem,
        mapping=service.mapping_of(shop),
        names=names_of(shop),
        codes=CODES,
        mode=merchants.settings_of(g.merchant_id, shop.id).mode,
        held=removal.counts(shop.id)[0],
        compare_minutes=max(compares // 60, 1) if compares else None,
        polls=compares is not None and compares <= POLLS_UP_TO_SECONDS,
    )


# --- name, system, address ------------------------------------------------------------------------


@pages.get("/shops/<int:shop_id>/edit")
def ask_edit(shop_id: int) -> Response:
    shop = shop_or_404(shop_id)
    return _edit_page(shop, {"name": shop.name, "system": shop.system, "url": shop.url})


def _edit_page(shop: Shop, typed: dict[str, str], problem: str | None = None) -> Response:
    known = shop.system if shop.system not in SYSTEMS else None
    return page(
        "shop_edit.html",
        422 if problem else 200,
        shop=shop,
        systems=[*SYSTEMS, known] if known else SYSTEMS,
        typed=typed,
        system_name=system_name,
        is_hosted=connections.connection_of(g.merchant_id, shop.id) is not None,
        marketplaces=changing.MARKETPLACES,
        problem=problem,
    )


@pages.post("/shops/<int:shop_id>/edit")
def edit(shop_id: int) -> BaseResponse:
    """Another system is asked for its address: the old one is not taken over (K66)."""
    shop = shop_or_404(shop_id)
    typed = {name: _plain(name) for name in ("name", "system", "url")}
    if typed["system"] not in (*SYSTEMS, shop.system):
        return _edit_page(shop, typed, "shop_system_missing")
    is_new = typed["system"] != shop.system and typed["system"] not in changing.MARKETPLACES
    if is_new and request.form.get("address_of") != typed["system"]:
        return _edit_page(shop, typed | {"url": ""}, "shop_url_of_system")
    try:
        is_unmapped = changing.change_shop(shop, **typed, actor=g.user.email, at=now())
    except ValueError as refused:
        db.session.rollback()
        return _edit_page(shop_or_404(shop_id), typed, str(refused.args[0]))
    if is_unmapped:
        mapping_changed(g.merchant_id, shop.id)
    db.session.commit()
    return redirect(url_for(".show", shop_id=shop.id, done="shop_changed"), 303)


# --- live or test ---------------------------------------------------------------------------------


@pages.get("/shops/<int:shop_id>/mode")
def ask_mode(shop_id: int) -> Response:
    """The question before the shop goes into test mode or out of it."""
    shop = shop_or_404(shop_id)
    current = merchants.settings_of(g.merchant_id, shop.id).mode
    wanted = next(mode for mode in MODES if mode != current)
    return page("shop_mode.html", shop=shop, wanted=wanted)


@pages.post("/shops/<int:shop_id>/mode")
def set_mode(shop_id: int) -> BaseResponse:
    shop = shop_or_404(shop_id)
    wanted = request.form.get("mode", "")
    if wanted not in MODES:
        return redirect(url_for(".show", shop_id=shop.id), 303)
    at, actor = now(), g.user.email
    row = merchants.change_setting(
        g.merchant_id, "mode", wanted, actor=actor, at=at, shop_id=shop.id
    )
    if row is not None and not row.waits:
        settings_changed(g.merchant_id, shop.id, {"mode"}, actor=actor, at=at)
    db.session.commit()
    done = "settings_wait" if row is not None and row.waits else f"mode_{wanted}"
    return redirect(url_for(".show", shop_id=shop.id, done=done), 303)


# --- for good ------------------------------------------------------------------------------------


@pages.get("/shops/<int:shop_id>/deregister")
def ask_deregister(shop_id: int) -> Response:
    require_administrator()
    return page("shop_deregister.html", shop=shop_or_404(shop_id))


@pages.post("/shops/<int:shop_id>/deregister")
def deregister(shop_id: int) -> BaseResponse:
    require_administrator()
    shop = shop_or_404(shop_id)
    if service.deregister(shop, actor=g.user.email, at=now()):
        shop_deregistered(g.merchant_id, shop.id)
        db.session.commit()
    return redirect(url_for(".show", shop_id=shop_id, done="shop_deregistered"), 303)


# --- keys -----------------------------------------------------------------------------------------


@pages.post("/shops/<int:shop_id>/keys")
def create_key(shop_id: int) -> Response:
    """The key is shown in this very answer and never again; only its hash is kept."""
    shop = shop_or_404(shop_id)
    name = _plain("name")
    if not name or len(name) > MAX_KEY_NAME_LENGTH:
        return shop_page(shop, problem="key_name_missing")
    created = merchants.create_api_key(g.merchant_id, scope="shop", name=name, shop_id=shop.id)
    db.session.commit()
    return shop_page(shop, new_key=created)


@pages.get("/shops/<int:shop_id>/keys/<key_id>/revoke")
def ask_revoke_key(shop_id: int, key_id: str) -> Response:
    """The question of the dialog as a page of its own, for browsers without JavaScript."""
    shop = shop_or_404(shop_id)
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
    shop = shop_or_404(shop_id)
    if key_id not in {key.id for key in queries.api_keys(g.merchant_id, shop.id)}:
        abort(404)
    merchants.revoke_api_key(g.merchant_id, key_id, now())
    db.session.commit()
    return redirect(url_for(".show", shop_id=shop.id, done="key_revoked"), 303)


def _plain(name: str) -> str:
    return request.form.get(name, "").replace("\x00", "").strip()
