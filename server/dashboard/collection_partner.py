"""The merchant's partner for collection: who he is, how he is reached, and whether he answers.

For administrators: whoever names him decides who gets the papers of customers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from flask import Blueprint, Response, abort, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from plugin_sdk.errors import ConnectorError
from server.collection import service
from server.collection.models import CollectionPartner
from server.collection.partners import ADAPTERS
from server.dashboard import access
from server.dashboard.pages import page
from server.db import db, now
from server.egress import MAX_URL_LENGTH, AddressRefused
from server.mail.rules import AddressError
from server.orders.service import NotPossible
from server.vault import VaultLocked

pages = Blueprint("collection_partner", __name__)

MAX_NAME: Final = 200
MAX_PHONE: Final = 64
MAX_TOKEN: Final = 500
FIELDS: Final = ("adapter", "name", "contact_name", "contact_phone", "recipient", "url")
NEEDED: Final = ("name", "contact_name", "contact_phone")
OF_ADAPTER: Final = {"folder": (), "mail": ("recipient",), "http": ("url", "token")}


@dataclass(slots=True)
class Form:
    """What is typed, by field, and why a field is not good, as the key of a sentence."""

    values: Mapping[str, str]
    wrong: dict[str, str] = field(default_factory=dict)


@pages.before_request
def administrators_only() -> None:
    access.require_administrator()


@pages.get("/settings/collection")
def show() -> Response:
    return _page(Form(_stored()))


def _page(form: Form, code: int = 200) -> Response:
    row = service.partner_of(g.merchant_id)
    return page(
        "collection_partner.html",
        code,
        partner=row,
        adapters=ADAPTERS,
        typed=form.values,
        wrong=form.wrong,
        has_token=row is not None and row.adapter == "http",
        max_name=MAX_NAME,
        max_phone=MAX_PHONE,
        max_url_length=MAX_URL_LENGTH,
    )


def _stored() -> Mapping[str, str]:
    row = service.partner_of(g.merchant_id)
    if row is None:
        return {"adapter": "folder", "contact_name": g.user.name}
    own = {
        "adapter": row.adapter,
        "name": row.name,
        "contact_name": row.contact_name,
        "contact_phone": row.contact_phone,
    }
    return own | {name: value for name, value in _settings(row).items() if name != "token"}


def _settings(row: CollectionPartner) -> Mapping[str, str]:
    """Without a key that opens them, they are typed anew."""
    try:
        return service.settings_of_partner(row)
    except VaultLocked:
        return {}


@pages.post("/settings/collection")
def save() -> BaseResponse:
    form = Form({name: _typed(name) for name in FIELDS})
    adapter = form.values["adapter"]
    if adapter not in ADAPTERS:
        abort(400)
    token = request.form.get("token", "").strip()[:MAX_TOKEN]
    if adapter == "http" and not token:
        token = _kept_token(form.values["url"])
    values = {**form.values, "token": token}
    for name in (*NEEDED, *OF_ADAPTER[adapter]):
        if not values[name]:
            form.wrong[name] = "missing"
    if not form.wrong:
        _store(form, {name: values[name] for name in OF_ADAPTER[adapter]})
    if form.wrong:
        db.session.rollback()
        return _page(form, 422)
    db.session.commit()
    return redirect(url_for(".show", done="collection_partner_saved"), 303)


def _typed(name: str) -> str:
    most = MAX_URL_LENGTH + 1 if name == "url" else MAX_NAME  # one more is told to be too long
    return request.form.get(name, "").replace("\x00", "").strip()[:most]


def _kept_token(url: str) -> str:
    """The stored one, if it goes where it went: nobody can send it to another address."""
    row = service.partner_of(g.merchant_id)
    stored = _settings(row) if row is not None and row.adapter == "http" else {}
    return stored.get("token", "") if stored.get("url") == url else ""


def _store(form: Form, settings: Mapping[str, str]) -> None:
    try:
        service.set_partner(
            g.merchant_id,
            form.values["adapter"],
            settings,
            name=form.values["name"][:MAX_NAME],
            contact_name=form.values["contact_name"][:MAX_NAME],
            contact_phone=form.values["contact_phone"][:MAX_PHONE],
            actor=g.user.email,
            at=now(),
        )
    except AddressRefused as refused:
        form.wrong["url"] = refused.reason
    except AddressError:
        form.wrong["recipient"] = "no_address"


@pages.post("/settings/collection/check")
def check() -> BaseResponse:
    """Ask him now, and remember what came of it."""
    row = service.partner_of(g.merchant_id)
    if row is None:
        raise NotPossible("collection_no_partner")
    problem = None
    try:
        partner = service.speaking_with(row)
        db.session.commit()  # nothing stays open while he is asked
        partner.check()
    except ConnectorError as trouble:
        problem = str(trouble)
    row = service.partner_of(g.merchant_id)
    if row is not None:  # nobody has removed him meanwhile
        service.note_check(row, problem, now())
    db.session.commit()
    if problem is not None:
        return _page(Form(_stored()), 409)
    return redirect(url_for(".show", done="collection_partner_answers"), 303)


@pages.post("/settings/collection/remove")
def remove() -> BaseResponse:
    service.remove_partner(g.merchant_id)
    db.session.commit()
    return redirect(url_for(".show", done="collection_partner_removed"), 303)
