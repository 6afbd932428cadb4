"""Connecting a shop that Kontor talks to itself: log in, check, map, look at its orders, switch on.

Administrators only: here are the keys of the shop. The shop is asked inside the request, between
two transactions (``hosting.trying``), and not by everybody all the time (``TALKS``).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from flask import Blueprint, Response, abort, g, redirect, request, url_for
from limits import RateLimitItem, RateLimitItemPerMinute
from werkzeug.wrappers import Response as BaseResponse

from plugin_sdk.connector import Connector, Severity, problem_of
from plugin_sdk.errors import ConnectorError, Misconfigured, Rejected, Temporary
from plugin_sdk.installed import connector_class
from server.config import installed
from server.dashboard import errors, queries
from server.dashboard.access import require_administrator
from server.dashboard.mapping import names_of, only_of_living, shop_or_404
from server.dashboard.pages import page, part, plain
from server.dashboard.sentences import Sentence, say
from server.dashboard.shop_settings import (
    ADDRESS,
    Wrong,
    answers_calls,
    complaints,
    form_of,
    has_address,
    has_app,
    has_login,
    typed_settings,
    wrong_with,
)
from server.dashboard.shop_state import STAGES, is_set_up, state_badge
from server.dashboard.words import t
from server.db import db, now
from server.hosting import trying
from server.hosting.connecting import (
    LOOPBACK,
    WEBHOOK_URL,
    address_of,
    app_package,
    connector_of,
    connectors,
    login_url,
    new_secrets,
    take_login,
)
from server.merchants import service as merchants
from server.orders.effects import settings_changed
from server.shops import changing, connections, service
from server.shops.models import Shop, ShopConnection
from server.vault import VaultLocked
from server.visitors import attempt_limits

pages = Blueprint("shop_connect", __name__)

MODES: Final = ("live", "test")
TALKS = RateLimitItemPerMinute(60, 15, namespace="shop-talks")
REFRESHES = RateLimitItemPerMinute(20, 15, namespace="shop-refreshes")
FOR_EVERYBODY: Final = frozenset({"dashboard.shop_connect.refresh"})
LOOKS: Final = {
    Severity.PROBLEM: ("cancelled", "bad"),
    Severity.WARNING: ("warn", "warn"),
    Severity.NOTE: ("check", "ok"),
}
"""Icon and colour of a finding."""
VERDICT_LOOKS: Final = {
    "managed": ("check", "ok"),
    "older": ("unmanaged", "off"),
    "watched": ("overdue", "off"),
    "method": ("unmanaged", "off"),
    "status": ("removed", "off"),
}
"""Icon and colour of what would become of an order."""


@pages.before_request
def administrators_only() -> None:
    if request.endpoint not in FOR_EVERYBODY:
        require_administrator()


pages.before_request(only_of_living)


@pages.errorhandler(VaultLocked)
def vault_locked(_error: VaultLocked) -> Response:
    """What is stored cannot be read; removing the connection needs no reading."""
    db.session.rollback()
    return errors.show(409, "error.vault_locked")


# --- 1: the system, 2: the access -----------------------------------------------------------------


@pages.get("/shops/connect")
def choose() -> Response:
    """The systems there are; with ``?system=`` what one of them wants to know."""
    if "system" in request.args:
        return _access_page(_system_or_404(), {})
    return page("shop_choose.html", kinds=connectors(), stages=STAGES)


@pages.post("/shops/connect")
def add() -> BaseResponse:
    """A new shop with its connection, both only if what was typed can be right."""
    kind, way = _system_or_404(), _way()
    settings = typed_settings(kind, request.form, new_secrets(kind.name), by_login=way != "keys")
    wrong = _hurdles(kind, settings, way) or _twice(kind, settings)
    if wrong:
        return _access_page(kind, settings, wrong)
    url = _url_of(kind, settings)
    name = plain(request.form.get("name", "")) or urlsplit(url).hostname or _title(kind)
    try:
        shop = service.add_shop(
            g.merchant_id, name=name, system=kind.name, url=url, has_url=has_address(kind)
        )
        row = connections.add_connection(shop, kind.name, settings, now())
    except ValueError as refused:
        db.session.rollback()
        return _access_page(kind, settings, _said_wrong(str(refused.args[0])))
    return _entered(shop, row, kind, settings, way, is_new=True)


@pages.get("/shops/<int:shop_id>/connection")
def show(shop_id: int) -> Response:
    """The settings of the connection; of a shop that has none, how to make one."""
    shop = shop_or_404(shop_id)
    row = connections.connection_of(g.merchant_id, shop.id)
    kind = _kind_of(shop, row)
    if kind is None:
        return page("shop_choose.html", kinds=connectors(), stages=STAGES)
    return _access_page(kind, _known(shop, row, kind), shop=shop, row=row)


@pages.post("/shops/<int:shop_id>/connection")
def save(shop_id: int) -> BaseResponse:
    shop = shop_or_404(shop_id)
    row = connections.connection_of(g.merchant_id, shop.id)
    kind, way = _kind_of(shop, row), _way()
    if kind is None:
        return _to(shop, "show")
    known = _known(shop, row, kind) or new_secrets(kind.name)
    settings = typed_settings(kind, request.form, known, by_login=way != "keys")
    wrong = _hurdles(kind, settings, way)
    is_moved = row is None or _plain_url(_url_of(kind, settings)) != _plain_url(shop.url)
    if not wrong and is_moved:  # new keys for the same address are nobody's concern
        wrong = _twice(kind, settings, shop)
    if wrong:
        return _access_page(kind, settings, wrong, shop=shop, row=row)
    try:
        row = _stored(shop, row, kind, settings, now())
    except ValueError as refused:
        db.session.rollback()
        shop = shop_or_404(shop_id)
        return _access_page(kind, settings, _said_wrong(str(refused.args[0])), shop=shop, row=row)
    return _entered(shop, row, kind, settings, way)


def _stored(
    shop: Shop,
    row: ShopConnection | None,
    kind: type[Connector[Any]],
    settings: Mapping[str, Any],
    at: datetime,
) -> ShopConnection:
    if row is None:
        row = connections.add_connection(shop, kind.name, settings, at)
    else:
        connections.change_settings(row, settings, at)
    shop.url = _url_of(kind, settings) or shop.url
    return row


def _entered(
    shop: Shop,
    row: ShopConnection,
    kind: type[Connector[Any]],
    settings: Mapping[str, Any],
    way: str,
    *,
    is_new: bool = False,
) -> BaseResponse:
    """On to the log-in, to the app, or to the check. What a log-in cannot begin with is lost."""
    shop_id = shop.id
    if way == "app":
        db.session.commit()
        return redirect(url_for(".show", shop_id=shop_id, by="app"), 303)
    if way == "keys":
        db.session.commit()
        return _to(shop, "ask_check")
    try:
        return _leave(shop, row)
    except Misconfigured as error:
        db.session.rollback()
        wrong = complaints(kind, error)
    if is_new:
        return _access_page(kind, settings, wrong)
    shop, kept = shop_or_404(shop_id), connections.connection_of(g.merchant_id, shop_id)
    return _access_page(kind, settings, wrong, shop=shop, row=kept)


def _access_page(
    kind: type[Connector[Any]],
    settings: Mapping[str, Any],
    wrong: Wrong | None = None,
    *,
    shop: Shop | None = None,
    row: ShopConnection | None = None,
) -> Response:
    ways = _ways(kind, settings)
    is_whole = row is not None and not wrong_with(kind, settings, by_login=False)
    way = request.values.get("by", "keys" if is_whole else ways[0])
    way = way if way in ways else "keys"
    stored = connections.settings_of(row) if row is not None else {}
    shown = form_of(kind, settings, stored, by_login=way != "keys")
    wrong = wrong or Wrong({})
    beside = wrong.beside(shown)
    more = [*wrong.more]
    names = {one.name for one in shown}
    more += [one for name, one in wrong.of_field.items() if name not in names]
    return page(
        "shop_access.html",
        422 if wrong else 200,
        kind=kind,
        title=_title(kind),
        shop=shop,
        row=row,
        is_set_up=row is not None and shop is not None and is_set_up(shop, row),
        fields=[one for one in beside if one.is_required],
        more_fields=[one for one in beside if not one.is_required],
        wrong=more,
        name=plain(request.form.get("name", "")),
        ways=ways,
        way=way,
        lacks_https=len(ways) == 1 and (has_login(kind) or has_app(kind)),
        is_whole=is_whole,
        address=address_of(row) if row is not None and answers_calls(kind) else None,
        stages=STAGES,
    )


def _ways(kind: type[Connector[Any]], settings: Mapping[str, Any]) -> list[str]:
    """`login` `app` `keys`: how the keys of such a shop may come to us, the easiest first."""
    is_reached = _is_reached(settings)
    return [
        *(["login"] if has_login(kind) and is_reached else []),
        *(["app"] if has_app(kind) and is_reached else []),
        "keys",
    ]


def _hurdles(kind: type[Connector[Any]], settings: Mapping[str, Any], way: str) -> Wrong:
    found = wrong_with(kind, settings, by_login=way != "keys")
    if not found and way != "keys" and not _is_reached(settings):
        return Wrong({}, (Sentence(str(t("connect.login_needs_https"))),))
    return found


def _twice(
    kind: type[Connector[Any]], settings: Mapping[str, Any], shop: Shop | None = None
) -> Wrong:
    """Two connections of one shop would manage each order twice. ``shop`` is what they are of."""
    url = _plain_url(_url_of(kind, settings))
    if not has_address(kind) or not url:
        return Wrong({})
    others = [one for one in queries.living_shops(g.merchant_id) if one is not shop]
    twin = next((one for one in others if _plain_url(one.url) == url), None)
    if twin is None:
        return Wrong({})
    return Wrong({ADDRESS: Sentence(str(t("connect.wrong_twice", shop=twin.name)))})


def _plain_url(url: str) -> str:
    return url.rsplit("://", maxsplit=1)[-1].rstrip("/").casefold()


def _said_wrong(key: str) -> Wrong:
    return Wrong({}, (Sentence(str(t(f"problem.{key}"))),))


def _way() -> str:
    """How the keys are to come, as the form says: `login`, `app` or `keys`."""
    way = request.form.get("by", "")
    return way if way in {"login", "app"} else "keys"


def _is_reached(settings: Mapping[str, Any]) -> bool:
    """Shops bring keys to https only; on one machine plain http will do."""
    own = urlsplit(installed().url)
    if own.scheme == "https":
        return True
    shop = urlsplit(str(settings.get(ADDRESS) or "")).hostname
    return own.hostname in LOOPBACK and shop in {None, *LOOPBACK}


def _known(shop: Shop, row: ShopConnection | None, kind: type[Connector[Any]]) -> dict[str, Any]:
    """What is known of a shop's settings: those stored, else its address."""
    if row is not None:
        return connections.settings_of(row)
    return {ADDRESS: shop.url, **new_secrets(kind.name)} if has_address(kind) else {}


def _kind_of(shop: Shop, row: ShopConnection | None) -> type[Connector[Any]] | None:
    """The connector of its connection, else the one of its system; None: there is none."""
    try:
        return connector_class(row.connector if row else shop.system)
    except Misconfigured:
        return None


def _system_or_404() -> type[Connector[Any]]:
    wanted = request.values.get("system", "")
    return next((kind for kind in connectors() if kind.name == wanted), None) or abort(404)


def _title(kind: type[Connector[Any]]) -> str:
    return kind.title or kind.name


def _url_of(kind: type[Connector[Any]], settings: Mapping[str, Any]) -> str:
    fixed = changing.MARKETPLACES.get(kind.name, "")
    return fixed or str(settings.get(ADDRESS) or "").rstrip("/")


# --- logging in at the shop system ----------------------------------------------------------------


@pages.post("/shops/<int:shop_id>/connection/login")
def log_in(shop_id: int) -> BaseResponse:
    """Once more, with the settings as they are."""
    shop = shop_or_404(shop_id)
    row = connections.connection_of(g.merchant_id, shop.id)
    kind = _kind_of(shop, row)
    if row is None or kind is None or not has_login(kind):
        return _to(shop, "show")
    settings = connections.settings_of(row)
    try:
        wrong = _hurdles(kind, settings, "login")
        if not wrong:
            return _leave(shop, row)
    except Misconfigured as error:
        db.session.rollback()
        wrong = complaints(kind, error)
    return _access_page(kind, settings, wrong, shop=shop_or_404(shop_id), row=row)


def _leave(shop: Shop, row: ShopConnection) -> Response:
    """A page that leads to the shop by itself. Raises Misconfigured.

    No redirect: the policy of our pages lets no form lead elsewhere, in Chromium not even by way
    of a redirect (CSP 3, form-action).
    """
    url = login_url(row, now())
    name = shop.name
    db.session.commit()
    return page("shop_leave.html", url=url, host=urlsplit(url).hostname, shop=shop, name=name)


@pages.get("/shops/login", endpoint="come_back_by_query")
def come_back_by_query() -> BaseResponse:
    """Systems at which one fixed address is registered name the log-in in the query."""
    return come_back(request.args.get("state", ""))


@pages.get("/shops/login/<login>")
def come_back(login: str) -> BaseResponse:
    """The browser is back; the keys may have come before it, from server to server."""
    row = connections.connection_that_began(g.merchant_id, login)
    if row is None:
        abort(404)
    shop, at = shop_or_404(row.shop_id), now()
    if row.login_until is None:
        return _to(shop, "ask_check", done="shop_logged_in")
    given = request.args.to_dict()
    try:
        if row.login_until <= at:
            raise Rejected(str(t("connect.login_over")))
        if given.get("success") == "0" or "error" in given:
            raise Rejected(str(t("connect.login_refused")))
        if given.get("success") == "1":  # agreed, and yet nothing was delivered
            raise Rejected(str(t("connect.login_nothing_came")))
        if take_login(login, given, at, db.session.commit) is None:
            raise Rejected(str(t("connect.login_over")))
    except ConnectorError as error:
        db.session.rollback()
        shop = shop_or_404(shop.id)
        row = connections.connection_of(g.merchant_id, shop.id)
        kind = _kind_of(shop, row)
        if row is None or kind is None:
            abort(404)
        wrong = Wrong({}, (say(str(error)),))
        return _access_page(kind, connections.settings_of(row), wrong, shop=shop, row=row)
    db.session.commit()
    return _to(shop, "ask_check", done="shop_logged_in")


@pages.post("/shops/<int:shop_id>/connection/app")
def fetch_app(shop_id: int) -> BaseResponse:
    """The app that the merchant uploads in the shop; it brings the keys by itself."""
    shop = shop_or_404(shop_id)
    row = connections.connection_of(g.merchant_id, shop.id)
    kind = _kind_of(shop, row)
    if row is None or kind is None or not has_app(kind):
        return _to(shop, "show")
    try:
        package = app_package(row, now())
    except ConnectorError as error:
        db.session.rollback()
        shop = shop_or_404(shop_id)
        row = connections.connection_of(g.merchant_id, shop.id)
        settings = _known(shop, row, kind)
        return _access_page(kind, settings, Wrong({}, (say(str(error)),)), shop=shop, row=row)
    db.session.commit()
    answer = Response(package.content, mimetype="application/octet-stream")
    answer.headers.set("Content-Disposition", "attachment", filename=package.filename)
    return answer


# --- 3: the check ---------------------------------------------------------------------------------


@pages.get("/shops/<int:shop_id>/connection/check")
def ask_check(shop_id: int) -> Response:
    """The page asks by itself; without JavaScript it has a button."""
    shop = shop_or_404(shop_id)
    return _stage_page("shop_check.html", shop, stage="check", asks=True)


@pages.post("/shops/<int:shop_id>/connection/check")
def check(shop_id: int) -> BaseResponse:
    shop = shop_or_404(shop_id)
    row = connections.connection_of(g.merchant_id, shop.id)
    if row is None:
        return _to(shop, "show")
    if _too_often(TALKS):
        return _answer("shop_check.html", "_shop_findings.html", shop, "check", busy=True)
    try:
        connector = connector_of(row)
        db.session.commit()  # nothing stays open while the shop is talked to
        checked = trying.check(connector)
    except Misconfigured as error:
        return _answer(
            "shop_check.html", "_shop_findings.html", shop, "check", findings=[problem_of(error)]
        )
    except Temporary:
        return _answer("shop_check.html", "_shop_findings.html", shop, "check", busy=True)
    shop = shop_or_404(shop_id)
    if checked.is_good:
        service.introduce(shop, checked.heartbeat)
        db.session.commit()
    return _answer(
        "shop_check.html",
        "_shop_findings.html",
        shop,
        "check",
        findings=checked.findings,
        is_good=checked.is_good,
        webhooks_come=bool(getattr(connector.config, WEBHOOK_URL, "")),
    )


# --- 5: the first orders, and on ------------------------------------------------------------------


@pages.get("/shops/<int:shop_id>/connection/orders")
def ask_orders(shop_id: int) -> Response:
    shop = shop_or_404(shop_id)
    return _stage_page("shop_first_orders.html", shop, stage="orders", asks=True)


@pages.post("/shops/<int:shop_id>/connection/orders")
def first_orders(shop_id: int) -> BaseResponse:
    """Read from the shop and shown; nothing is stored and nobody is written to."""
    shop = shop_or_404(shop_id)
    row = connections.connection_of(g.merchant_id, shop.id)
    if row is None:
        return _to(shop, "show")
    templates = ("shop_first_orders.html", "_shop_orders.html")
    if _too_often(TALKS):
        return _answer(*templates, shop, "orders", busy=True)
    at = now()
    try:
        connector, judge = trying.reader_of(row), trying.judge_of(shop, at)
        db.session.commit()
        found = trying.first_orders(connector, judge, at)
    except ConnectorError as error:
        shop = shop_or_404(shop_id)
        return _answer(*templates, shop, "orders", failure=say(str(error)))
    shop = shop_or_404(shop_id)
    return _answer(*templates, shop, "orders", found=found, names=names_of(shop))


@pages.post("/shops/<int:shop_id>/connection/on")
def switch_on(shop_id: int) -> BaseResponse:
    """From now on. What was ordered before is not managed (S28); resumed, it keeps its day."""
    shop, at, actor = shop_or_404(shop_id), now(), g.user.email
    row = connections.connection_of(g.merchant_id, shop.id)
    kind = _kind_of(shop, row)
    if shop.status == "disabled" and row is None:  # its agent may come again
        _without_error(shop, "connected")
        db.session.commit()
        return redirect(url_for("dashboard.shops.show", shop_id=shop.id, done="shop_enabled"), 303)
    if row is None or kind is None:
        return _to(shop, "show")
    settings = connections.settings_of(row)
    wrong = wrong_with(kind, settings, by_login=False)
    if wrong:  # the log-in was never made
        return _access_page(kind, settings, wrong, shop=shop, row=row)
    wanted = request.form.get("mode", "")
    change = None
    if wanted in MODES and wanted != merchants.settings_of(g.merchant_id, shop.id).mode:
        change = merchants.change_setting(
            g.merchant_id, "mode", wanted, actor=actor, at=at, shop_id=shop.id
        )
    if change is not None and change.waits:
        db.session.commit()  # a shop that was to be tried out must not begin for real
        return redirect(url_for("dashboard.shops.show", shop_id=shop.id, done="settings_wait"), 303)
    if change is not None:
        settings_changed(g.merchant_id, shop.id, {"mode"}, actor=actor, at=at)
    service.connect(shop, at)
    if shop.status == "disabled":
        _without_error(shop, "connected")
    connections.switch_on(row, at)
    db.session.commit()
    return redirect(url_for("dashboard.shops.show", shop_id=shop.id, done="shop_on"), 303)


def _without_error(shop: Shop, status: str) -> None:
    shop.status, shop.error, shop.error_since, shop.error_source = status, None, None, None


@pages.post("/shops/<int:shop_id>/connection/off")
def switch_off(shop_id: int) -> BaseResponse:
    """Paused: nothing is fetched or told until somebody resumes it."""
    shop = shop_or_404(shop_id)
    row = connections.connection_of(g.merchant_id, shop.id)
    if row is not None and is_set_up(shop, row):
        connections.switch_off(row)
        shop.status = "disabled"
        shop.error_since = shop.error_source = None  # it is a person's doing, no lasting error's
        db.session.commit()
    return redirect(url_for("dashboard.shops.show", shop_id=shop_id, done="shop_off"), 303)


@pages.post("/shops/<int:shop_id>/connection/refresh")
def refresh(shop_id: int) -> BaseResponse:
    """Look at everything in the shop now (K67)."""
    shop = shop_or_404(shop_id)
    row = connections.connection_of(g.merchant_id, shop.id)
    done = None
    if row is not None and row.status != "withheld":
        done = "shop_looked_at_already"
        if not _too_often(REFRESHES):
            connections.look_again(row, now())
            db.session.commit()
            done = "shop_looked_at"
    return redirect(url_for("dashboard.shops.show", shop_id=shop_id, done=done), 303)


# --- away with it ---------------------------------------------------------------------------------


@pages.get("/shops/<int:shop_id>/connection/remove")
def ask_remove(shop_id: int) -> Response:
    shop = shop_or_404(shop_id)
    return page("shop_disconnect.html", shop=shop)


@pages.post("/shops/<int:shop_id>/connection/remove")
def remove(shop_id: int) -> BaseResponse:
    """The keys are forgotten; orders stay, and an agent may take over."""
    shop = shop_or_404(shop_id)
    row = connections.connection_of(g.merchant_id, shop.id)
    if row is not None:
        connections.remove_connection(row)
        _without_error(shop, "not_connected")
        db.session.commit()
    return redirect(url_for("dashboard.shops.show", shop_id=shop_id, done="shop_removed"), 303)


# --- pages ----------------------------------------------------------------------------------------


def _answer(whole: str, piece: str, shop: Shop, stage: str, **facts: Any) -> Response:
    """The piece for htmx, the whole page for everybody else."""
    nothing = {"busy": False, "failure": None, "findings": None, "is_good": False}
    facts = nothing | {"webhooks_come": False} | facts
    if request.headers.get("HX-Request"):
        return Response(part(piece, shop=shop, **_looks(), **_place(shop), **facts))
    return _stage_page(whole, shop, stage=stage, asks=False, **facts)


def _stage_page(template: str, shop: Shop, *, stage: str, asks: bool, **facts: Any) -> Response:
    mode = merchants.settings_of(g.merchant_id, shop.id).mode
    return page(
        template, shop=shop, stages=STAGES, stage=stage, asks=asks, mode=mode,
        **_looks(), **_place(shop), **facts,
    )  # fmt: skip


def _place(shop: Shop) -> dict[str, Any]:
    row = connections.connection_of(g.merchant_id, shop.id)
    is_ready = row is not None and is_set_up(shop, row)
    return {"row": row, "is_set_up": is_ready, "look": state_badge(shop, row) if row else None}


def _looks() -> dict[str, Any]:
    return {"looks": LOOKS, "verdict_looks": VERDICT_LOOKS, "days": trying.DAYS}


def _to(shop: Shop, endpoint: str, done: str | None = None) -> BaseResponse:
    return redirect(url_for(f".{endpoint}", shop_id=shop.id, done=done), 303)


def _too_often(limit: RateLimitItem) -> bool:
    key = str(g.merchant_id)
    if attempt_limits().is_reached(limit, key):
        return True
    attempt_limits().count(limit, key)
    return False
