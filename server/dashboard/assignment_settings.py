"""How Kontor assigns (C6, C7, C9, K21, K30, K32 ...): for all shops, or for one of them (S43).

The form is made from ``merchants.settings.SCHEMA`` alone: a new name there needs its texts and
nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Blueprint, Response, abort, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard import queries, words
from server.dashboard.pages import page, typed_id
from server.db import db, now
from server.merchants import service as merchants
from server.merchants.models import SettingChange
from server.merchants.settings import SCHEMA, Setting, checked, in_force
from server.shops.models import Shop

pages = Blueprint("settings", __name__)

GROUPS: Mapping[str, tuple[str, ...]] = {
    "mode": ("assignment", "match_level", "max_order_age_days", "assign_cancelled"),
    "amounts": ("tolerance_cents", "claim_bank_fees", "zero_is_paid"),
    "discount": ("discount_grace_days", "accept_late_discount"),
    "credit": ("credit_mode",),
}
"""What is shown together, in its order. A name of the schema that is in none comes last."""
OTHERS = "others"
MAX_TYPED_LENGTH = 32
CHANGES_READ = 500
CHANGES_SHOWN = 30


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the form. ``typed`` is what its field holds, ``inherited`` what else would be.

    ``origin``: ``default`` (Kontor's), ``merchant`` (set for all shops) or ``shop`` (only here).
    ``is_own``: set at the very place that the form is about, so it can be taken back.
    """

    setting: Setting
    typed: str
    origin: str
    inherited: str
    is_own: bool
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A line of the log; None is "as inherited"."""

    name: str
    shop: str | None
    at: datetime
    by: str
    before: str | None
    after: str | None


# --- the form ---------------------------------------------------------------------------------


def _shop() -> Shop | None:
    """The shop that the form is about; 404 if it is nobody's or another's."""
    wanted = request.values.get("shop")
    if not wanted:
        return None
    shop_id = typed_id(wanted)
    found = next((shop for shop in queries.shops(g.merchant_id) if shop.id == shop_id), None)
    return found or abort(404)


@pages.get("/settings/assignment")
def show() -> Response:
    return _page(_shop(), {})


def _page(shop: Shop | None, problems: Mapping[str, str]) -> Response:
    shops = queries.shops(g.merchant_id)
    return page(
        "assignment_settings.html",
        422 if problems else 200,
        shop=shop,
        shops=shops,
        groups=_grouped(_rows(shop, problems)),
        has_problems=bool(problems),
        changes=_changes({one.id: one.name for one in shops}),
        said=say_value,
    )


def _rows(shop: Shop | None, problems: Mapping[str, str]) -> list[Row]:
    general = merchants.set_values(g.merchant_id)
    own = merchants.set_values(g.merchant_id, shop.id) if shop else {}
    inherited = in_force(general if shop else {})
    rows = []
    for name, setting in _settings_of(shop).items():
        other = as_typed(getattr(inherited, name))
        layers = (("shop", own), ("merchant", general))
        origin = next((word for word, values in layers if name in values), "default")
        in_use = as_typed((own if name in own else general).get(name, setting.default))
        typed = request.form.get(name, in_use)[:MAX_TYPED_LENGTH] if problems else in_use
        is_own = origin == ("shop" if shop else "merchant")
        rows.append(Row(setting, typed, origin, other, is_own, problems.get(name)))
    return rows


def _settings_of(shop: Shop | None) -> Mapping[str, Setting]:
    """What can be set for all shops, or for this one."""
    return {name: one for name, one in SCHEMA.items() if shop is None or one.per_shop}


def as_typed(value: Any) -> str:
    """A stored value as its field holds it, and as ``checked`` reads it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _grouped(rows: list[Row]) -> list[tuple[str, list[Row]]]:
    by_name = {row.setting.name: row for row in rows}
    groups = [
        (group, [by_name.pop(name) for name in names if name in by_name])
        for group, names in GROUPS.items()
    ]
    groups.append((OTHERS, list(by_name.values())))
    return [(group, members) for group, members in groups if members]


@pages.post("/settings/assignment")
def save() -> BaseResponse:
    """All fields or none. A field that says what is in force already sets nothing."""
    shop = _shop()
    in_use = merchants.settings_of(g.merchant_id, shop.id if shop else None)
    problems = {}
    for name in _settings_of(shop):
        if name not in request.form or request.form[name] == as_typed(getattr(in_use, name)):
            continue
        try:
            _change(name, request.form[name], shop)
        except ValueError as refused:
            problems[name] = str(refused.args[0])
    if problems:
        db.session.rollback()
        return _page(shop, problems)
    db.session.commit()
    return _back(shop, "settings_saved")


@pages.post("/settings/assignment/reset")
def reset() -> BaseResponse:
    """Back to what is inherited."""
    shop, name = _shop(), request.form.get("name", "")
    if name not in _settings_of(shop):
        abort(404)
    _change(name, None, shop)
    db.session.commit()
    return _back(shop, "setting_reset")


@pages.post("/settings/assignment/live")
def go_live() -> BaseResponse:
    """Out of the shadow: from now on Kontor books (N3)."""
    _change("assignment", "auto", None)
    db.session.commit()
    return _back(None, "live")


def _change(name: str, typed: str | None, shop: Shop | None) -> None:
    merchants.change_setting(
        g.merchant_id,
        name,
        typed,
        actor=g.user.email,
        at=now(),
        shop_id=shop.id if shop else None,
    )


def _back(shop: Shop | None, done: str) -> BaseResponse:
    return redirect(url_for(".show", shop=shop.id if shop else None, done=done), 303)


# --- values as they are read ---------------------------------------------------------------------


def say_value(setting: Setting, typed: str) -> str:
    """``1 Cent``, ``ja``, ``Ausgewogen``; what is no value of the setting stays as it is."""
    try:
        value = checked(setting.name, typed)
    except ValueError:
        return typed
    if isinstance(value, bool):
        return str(words.t("common.yes" if value else "common.no"))
    if isinstance(value, str):
        return str(words.t(f"setting.{setting.name}.{value}"))
    return str(words.t(f"setting_unit.{setting.unit}", n=value))


def _changes(shops: Mapping[int, str]) -> list[Change]:
    """The newest first, each with what was in force at that place before."""
    rows = merchants.setting_changes(g.merchant_id, CHANGES_READ)
    return [
        _change_shown(row, rows[at + 1 :], shops) for at, row in enumerate(rows[:CHANGES_SHOWN])
    ]


def _change_shown(
    row: SettingChange, older: list[SettingChange], shops: Mapping[int, str]
) -> Change:
    place = (row.shop_id, row.name)
    before = next((one.value for one in older if (one.shop_id, one.name) == place), None)
    return Change(
        row.name,
        shops.get(row.shop_id) if row.shop_id else None,
        row.changed_at,
        row.changed_by,
        _said(row.name, before),
        _said(row.name, row.value),
    )


def _said(name: str, value: Any) -> str | None:
    if value is None:
        return None
    return say_value(SCHEMA[name], as_typed(value)) if name in SCHEMA else as_typed(value)
