"""Who changed which setting when, and what waits for a second person (N21)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Blueprint, Response, abort, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.callbacks.choices import PREFIX as CALLBACKS
from server.callbacks.rules import FIRST_CHOICE
from server.dashboard import queries, settings_queries
from server.dashboard.pages import page, typed_id
from server.dashboard.settings_form import name_of, said
from server.dashboard.words import t
from server.db import db, now
from server.forgetting.retention import LOG_NAME
from server.merchants import service as merchants
from server.merchants.service import EXPORT_KEYS
from server.merchants.settings import SCHEMA
from server.orders.effects import settings_changed

pages = Blueprint("settings_log", __name__)

FIRST = {"kinds": FIRST_CHOICE}


@dataclass(frozen=True, slots=True)
class Change:
    """A line of the log; ``before`` and ``after`` None is "as inherited".

    ``agreed_by``: the second person, where one had to agree. ``is_own``: the reader's own change,
    which he may take back but not agree to.
    """

    id: int
    name: str
    shop: str | None
    at: datetime
    by: str
    before: str | None
    after: str | None
    agreed_by: str | None = None
    is_own: bool = False


@pages.get("/settings/changes")
def show_all() -> Response:
    wanted = request.args.get("name", "")
    name = wanted if wanted in SCHEMA else None
    return page(
        "settings_log.html",
        waiting=waiting(),
        changes=shown(settings_queries.changes(g.merchant_id, names=[name] if name else None)),
        names=sorted(((key, name_of(key)) for key in SCHEMA), key=lambda one: one[1].lower()),
        chosen=name,
        most=settings_queries.CHANGES_READ,
    )


@pages.post("/settings/changes/decide")
def decide() -> BaseResponse:
    """Agree to what somebody else wants, or refuse it; one's own can be taken back."""
    agrees = request.form.get("agrees") == "yes"
    change_id = typed_id(request.form.get("change"))
    if change_id not in {row.id for row in merchants.waiting_changes(g.merchant_id)}:
        return _back("setting_change_gone")
    try:
        row = merchants.decide_change(
            g.merchant_id, change_id, agrees=agrees, actor=g.user.email, at=now()
        )
    except ValueError as refused:
        db.session.rollback()
        if refused.args[0] == "setting_change_own":
            abort(403)
        return _back("setting_change_gone")
    if agrees:
        settings_changed(g.merchant_id, row.shop_id, {row.name}, actor=g.user.email, at=now())
    db.session.commit()
    return _back("setting_agreed" if agrees else "setting_refused")


def _back(done: str) -> BaseResponse:
    return redirect(url_for(".show_all", done=done), 303)


def waiting() -> list[Change]:
    """What waits for a second person, with what is in force until then."""
    shops = _shop_names()
    now_set: dict[int | None, dict[str, object]] = {}
    found = []
    for row in merchants.waiting_changes(g.merchant_id):
        if row.shop_id not in now_set:
            now_set[row.shop_id] = merchants.set_values(g.merchant_id, row.shop_id)
        found.append(
            Change(
                row.id,
                name_of(row.name),
                shops.get(row.shop_id) if row.shop_id else None,
                row.changed_at,
                row.changed_by,
                said(row.name, now_set[row.shop_id].get(row.name)),
                said(row.name, row.value),
                is_own=row.changed_by == g.user.email,
            )
        )
    return found


def shown(changes: Iterable[settings_queries.Change]) -> list[Change]:
    """Lines of the log in words."""
    shops = _shop_names()
    return [
        Change(
            row.id,
            name,
            shops.get(row.shop_id) if row.shop_id else None,
            row.decided_at or row.changed_at,
            row.changed_by,
            before,
            after,
            agreed_by=row.decided_by,
        )
        for change in changes
        for row in [change.row]
        for name, before, after in [_in_words(change)]
    ]


def _in_words(change: settings_queries.Change) -> tuple[str, str | None, str | None]:
    """(Name, before, after). What is no setting but the shop's own stands in the log as well."""
    row = change.row
    if row.name == LOG_NAME:
        return str(t("privacy_log.title")), "", _said_of_forgetting(row.value)
    if row.name.startswith(CALLBACKS):
        name = f"{t('callback.title')}: {row.value['url']}"
        return name, _said_of_kinds(change.before or FIRST), _said_of_kinds(row.value)
    if row.name.startswith(EXPORT_KEYS):
        name = f"{t('export_key.title')}: {row.value['name']}"
        word = "works" if row.value["is_valid"] else "revoked"
        return name, "", str(t(f"export_key.{word}"))
    of_shop, _, part = row.name.partition(".")
    if of_shop not in ("shop", "mapping"):
        return name_of(row.name), said(row.name, change.before), said(row.name, row.value)
    before, after = (_said_of_shop(row.value[when]) for when in ("before", "after"))
    if part == "status":
        before, after = (str(t(f"shop_status.{row.value[when]}")) for when in ("before", "after"))
    if of_shop == "shop":
        return str(t(f"shops.{part}")), before, after
    return f"{t('shops.mapping')}: {t(f'payment_code.{part}')}", before, after


def _said_of_forgetting(counts: dict[str, int]) -> str:
    """How many of which kind went; a line of its own, because nothing was set."""
    return ", ".join(str(t(f"privacy_log.{kind}", n=n)) for kind, n in sorted(counts.items()))


def _said_of_kinds(value: dict[str, Any]) -> str:
    return ", ".join(str(t(f"callback.kind_{kind.rpartition('.')[2]}")) for kind in value["kinds"])


def _said_of_shop(value: Any) -> str:
    """A text as it is; of a mapping what is not empty, in the words of its form."""
    if isinstance(value, str):
        return value or "–"
    parts = [
        f"{t(f'mapping.{field}')}: {', '.join(word) if isinstance(word, list) else word}"
        for field, word in value.items()
        if word
    ]
    return "; ".join(parts) or "–"


def _shop_names() -> dict[int, str]:
    return {shop.id: shop.name for shop in queries.shops(g.merchant_id)}
