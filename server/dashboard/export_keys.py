"""Keys with which programs of the merchant fetch tables by themselves (K34).

For administrators: whoever has such a key reads every order and every posting.
"""

from __future__ import annotations

from flask import Blueprint, Response, abort, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard import access, words
from server.dashboard.pages import page
from server.dashboard.shops import MAX_KEY_NAME_LENGTH
from server.db import db, now
from server.merchants import service as merchants
from server.merchants.models import ApiKey
from server.merchants.service import TooManyKeys
from server.visitors import settings

pages = Blueprint("export_keys", __name__)

FILES = (
    "orders",
    "fees",
    "postings",
    "assignments",
    "repayments",
    "relay-ledger",
    "relay-numbers",
)
"""What can be fetched, in the order of the page."""


@pages.before_request
def administrators_only() -> None:
    access.require_administrator()


@pages.get("/settings/export")
def show_all() -> Response:
    return _page()


def _page(*, new_key: tuple[ApiKey, str] | None = None, problem: str | None = None) -> Response:
    return page(
        "export_keys.html",
        422 if problem else 200,
        keys=merchants.export_keys(g.merchant_id),
        new_key=new_key,
        problem=problem,
        files=FILES,
        base=f"{settings().url}/export",
        first=words.today().replace(day=1),
        last=words.today(),
    )


@pages.post("/settings/export")
def create() -> Response:
    """The key is shown in this very answer and never again."""
    name = request.form.get("name", "").replace("\x00", "").strip()
    if not name or len(name) > MAX_KEY_NAME_LENGTH:
        return _page(problem="key_name_missing")
    try:
        created = merchants.create_export_key(g.merchant_id, name, actor=g.user.email, at=now())
    except TooManyKeys:
        db.session.rollback()
        return _page(problem="export_keys_too_many")
    db.session.commit()
    return _page(new_key=created)


@pages.get("/settings/export/<export_key_id>/revoke")
def ask_revoke(export_key_id: str) -> Response:
    key = _key_or_404(export_key_id)
    action = url_for(".revoke", export_key_id=key.id)
    return page("revoke_key.html", key=key, action=action, back=url_for(".show_all"))


@pages.post("/settings/export/<export_key_id>/revoke")
def revoke(export_key_id: str) -> BaseResponse:
    merchants.revoke_export_key(_key_or_404(export_key_id), actor=g.user.email, at=now())
    db.session.commit()
    return redirect(url_for(".show_all", done="key_revoked"), 303)


def _key_or_404(key_id: str) -> ApiKey:
    found = next((key for key in merchants.export_keys(g.merchant_id) if key.id == key_id), None)
    if found is None:
        abort(404)
    return found
