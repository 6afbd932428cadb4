"""The settings (S43 to S55, K22 to K35): for all shops, or for one of them (S43).

One form for every page, see ``settings_form``. What changes is in force at once, unless a second
person has to agree first (N21); then the page says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from flask import Blueprint, Response, abort, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard import queries, settings_form, settings_log, settings_queries
from server.dashboard.pages import asked_living_shop, page
from server.dashboard.settings_form import TABS, say_value, tab_of, text_key
from server.dashboard.settings_timeline import timeline
from server.db import db, now
from server.merchants import service as merchants
from server.merchants.settings import CODE_DEFAULTS, SCHEMA, as_typed, value_in
from server.orders.effects import settings_changed
from server.shops.models import Shop

pages = Blueprint("settings", __name__)

CHANGES_SHOWN = 10
SHOWN = "shown:"
"""Before the name of a field: what it held when the page was shown."""


def _show(tab: str) -> Response:
    return _page(tab, asked_living_shop(), {})


def _page(tab: str, shop: Shop | None, problems: Mapping[str, str]) -> Response:
    general = merchants.set_values(g.merchant_id)
    own = merchants.set_values(g.merchant_id, shop.id) if shop else None
    retyped = request.form if problems else {}
    in_use = merchants.settings_of(g.merchant_id, shop.id if shop else None)
    names = [name for group in TABS[tab].values() for name in group]
    return page(
        "settings_form.html",
        422 if problems else 200,
        tab=tab,
        shop=shop,
        shops=queries.living_shops(g.merchant_id),
        groups=settings_form.groups_of(tab, general, own, retyped, problems),
        moments=timeline(in_use.of(tab), tab) if tab in CODE_DEFAULTS else [],
        counts_from=in_use.of(tab).reminder_base,
        has_problems=bool(problems),
        waiting=settings_log.waiting(),
        changes=settings_log.shown(
            settings_queries.changes(g.merchant_id, names=names, limit=CHANGES_SHOWN)
        ),
        said=say_value,
        text_key=text_key,
        shown=SHOWN,
        here=url_for(request.endpoint or ".show", shop=shop.id if shop else None),
    )


def _save(tab: str) -> BaseResponse:
    """All fields or none. A field that nobody touched, or that says what is in force already,
    sets nothing."""
    shop = asked_living_shop()
    in_use = merchants.settings_of(g.merchant_id, shop.id if shop else None)
    problems, changed, waits = {}, set(), False
    for name in _names_of(tab, shop):
        typed = request.form.get(name)
        untouched = (request.form.get(f"{SHOWN}{name}"), as_typed(value_in(in_use, name)))
        if typed is None or typed in untouched:
            continue
        try:
            outcome = _change(name, typed, shop)
        except ValueError as refused:
            problems[name] = str(refused.args[0])
            continue
        waits = waits or outcome is True
        if outcome is False:
            changed.add(name)
    if problems:
        db.session.rollback()
        return _page(tab, shop, problems)
    _follow(shop, changed)
    db.session.commit()
    return _back(tab, shop, "settings_wait" if waits else "settings_saved")


def _names_of(tab: str, shop: Shop | None) -> list[str]:
    """What can be set on this page for all shops, or for this one."""
    names = [name for group in TABS[tab].values() for name in group]
    return [name for name in names if shop is None or SCHEMA[name].per_shop]


for _tab in TABS:
    _suffix = "" if _tab == "assignment" else f"_{_tab}"
    _path = f"/settings/{_tab.replace('_', '-')}"
    pages.add_url_rule(_path, f"show{_suffix}", partial(_show, _tab), methods=["GET"])
    pages.add_url_rule(_path, f"save{_suffix}", partial(_save, _tab), methods=["POST"])


@pages.post("/settings/reset")
def reset() -> BaseResponse:
    """Back to what is inherited."""
    shop, name = asked_living_shop(), request.form.get("name", "")
    if name not in SCHEMA or (shop is not None and not SCHEMA[name].per_shop):
        abort(404)
    waits = _change(name, None, shop)
    if waits is False:
        _follow(shop, {name})
    db.session.commit()
    return _back(tab_of(name), shop, "settings_wait" if waits else "setting_reset")


@pages.post("/settings/assignment/live")
def go_live() -> BaseResponse:
    """Out of the shadow: from now on Kontor books (N3)."""
    _change("assignment", "auto", None)
    _follow(None, {"assignment"})
    db.session.commit()
    return _back("assignment", None, "live")


def _change(name: str, typed: str | None, shop: Shop | None) -> bool | None:
    """Whether the change waits for a second person; None if there is none."""
    row = merchants.change_setting(
        g.merchant_id,
        name,
        typed,
        actor=g.user.email,
        at=now(),
        shop_id=shop.id if shop else None,
    )
    return None if row is None else row.waits


def _follow(shop: Shop | None, names: set[str]) -> None:
    """What the change does at once to what is there already."""
    if names:
        shop_id = shop.id if shop else None
        settings_changed(g.merchant_id, shop_id, names, actor=g.user.email, at=now())


def _back(tab: str, shop: Shop | None, done: str) -> BaseResponse:
    suffix = "" if tab == "assignment" else f"_{tab}"
    return redirect(url_for(f".show{suffix}", shop=shop.id if shop else None, done=done), 303)
