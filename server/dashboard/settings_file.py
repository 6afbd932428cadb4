"""The settings as a file: download, and read in after one has seen what it changes (N21)."""

from __future__ import annotations

import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from flask import Blueprint, Response, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard import queries, words
from server.dashboard.pages import page
from server.dashboard.settings_form import name_of, said
from server.db import db, now
from server.merchants import service as merchants
from server.merchants.settings import as_typed, in_force, value_in
from server.merchants.settings_file import (
    MAX_FILE_BYTES,
    Difference,
    FileProblem,
    WrongFile,
    diff,
    read_file,
    write_file,
)
from server.orders.effects import settings_changed

pages = Blueprint("settings_file", __name__)

LAST = "approve_changes"
"""Comes into force after all others, so that one file is judged by one rule."""


@pages.get("/settings/file")
def show() -> Response:
    return _page()


def _page(problems: Sequence[FileProblem] = ()) -> Response:
    return page(
        "settings_file.html",
        422 if problems else 200,
        problems=problems,
        most_kb=MAX_FILE_BYTES // 1000,
    )


@pages.get("/settings/file/download")
def download() -> Response:
    shops = _shops()
    text = write_file(_current(shops), shops, merchant=g.merchant.name, at=now())
    response = Response(text, mimetype="text/plain")
    name = f"kontor-settings-{words.today().isoformat()}.toml"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


@pages.post("/settings/file")
def compare() -> Response:
    """Read the upload and show what it would change. Changes nothing."""
    upload = request.files.get("file")
    if upload is None or not upload.filename:
        return _page([FileProblem("file_missing")])
    content = upload.stream.read(MAX_FILE_BYTES + 1)
    try:
        differences = _differences(content)
    except WrongFile as wrong:
        return _page(wrong.problems)
    return _ask(content.decode("utf-8-sig"), differences)


def _ask(text: str, differences: Sequence[Difference], code: int = 200) -> Response:
    shops = _shops()
    return page(
        "settings_file_diff.html",
        code,
        text=text,
        seen=_mark(differences),
        is_stale=code == 409,
        rows=_rows(differences, shops),
    )


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the comparison; of what is not set at its place ``..._inherited`` says what else
    is in force there."""

    shop: str | None
    name: str
    before: str | None
    before_inherited: str | None
    after: str | None
    after_inherited: str | None
    waits: bool


def _rows(differences: Sequence[Difference], shops: dict[int, str]) -> list[Row]:
    before = merchants.set_values(g.merchant_id)
    changed = {one.name: one.after for one in differences if one.shop_id is None}
    after = {name: value for name, value in (before | changed).items() if value is not None}
    default, old, new = (in_force(values) for values in ({}, before, after))
    return [
        Row(
            shops.get(one.shop_id) if one.shop_id else None,
            name_of(one.name),
            said(one.name, one.before),
            said(one.name, value_in(old if one.shop_id else default, one.name)),
            said(one.name, one.after),
            said(one.name, value_in(new if one.shop_id else default, one.name)),
            merchants.needs_approval(g.merchant_id, one.name, g.user.email),
        )
        for one in differences
    ]


@pages.post("/settings/file/apply")
def apply() -> BaseResponse:
    """Exactly what was shown; if something else changed meanwhile, it is shown anew."""
    content = request.form.get("text", "").encode()
    try:
        differences = _differences(content)
    except WrongFile as wrong:
        return _page(wrong.problems)
    if not hmac.compare_digest(_mark(differences), request.form.get("seen", "")):
        return _ask(content.decode(), differences, 409)
    changed: dict[int | None, set[str]] = {}
    waits = False
    for one in sorted(differences, key=lambda difference: difference.name == LAST):
        row = merchants.change_setting(
            g.merchant_id,
            one.name,
            None if one.after is None else as_typed(one.after),
            actor=g.user.email,
            at=now(),
            shop_id=one.shop_id,
        )
        if row is not None and row.waits:
            waits = True
        elif row is not None:
            changed.setdefault(one.shop_id, set()).add(one.name)
    for shop_id, names in changed.items():
        settings_changed(g.merchant_id, shop_id, names, actor=g.user.email, at=now())
    db.session.commit()
    done = "settings_wait" if waits else "settings_applied"
    return redirect(url_for("dashboard.settings_log.show_all", done=done, n=len(differences)), 303)


def _differences(content: bytes) -> list[Difference]:
    """Raises WrongFile."""
    shops = _shops()
    return diff(_current(shops), read_file(content, shops))


def _shops() -> dict[int, str]:
    return {shop.id: shop.name for shop in queries.shops(g.merchant_id)}


def _current(shops: dict[int, str]) -> dict[int | None, dict[str, Any]]:
    general: dict[int | None, dict[str, Any]] = {None: merchants.set_values(g.merchant_id)}
    return general | {one: merchants.set_values(g.merchant_id, one) for one in shops}


def _mark(differences: Sequence[Difference]) -> str:
    """What was shown, as a short text that the confirmation brings back."""
    shown = [[one.shop_id, one.name, one.before, one.after] for one in differences]
    return sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()
