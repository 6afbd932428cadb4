"""The bank account that customers pay to, the accounts that statements named, and bank keys."""

from __future__ import annotations

from flask import Blueprint, Response, abort, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.banking import service
from server.dashboard import queries
from server.dashboard.pages import page
from server.dashboard.shops import MAX_KEY_NAME_LENGTH
from server.db import db, now
from server.merchants import service as merchants
from server.merchants.models import ApiKey
from server.orders.intake import ask_for_money_of_waiting

pages = Blueprint("bank", __name__)

FIELD_OF_PROBLEM = {
    "iban_invalid": "iban",
    "bic_invalid": "bic",
    "creditor_name_invalid": "creditor_name",
}


@pages.get("/bank-account")
def show() -> Response:
    return _page()


def _page(
    problem: str | None = None,
    *,
    new_key: tuple[ApiKey, str] | None = None,
    key_problem: str | None = None,
) -> Response:
    account = queries.payee_account(g.merchant_id)
    stored = {
        "iban": " ".join(_groups(account.iban)) if account else "",
        "bic": (account.bic or "") if account else "",
        "creditor_name": (account.creditor_name or "") if account else g.merchant.name,
    }
    typed = {name: request.form.get(name, "") for name in stored} if problem else stored
    return page(
        "bank_account.html",
        422 if problem or key_problem else 200,
        account=account,
        bank=queries.bank_name(account.iban) if account else None,
        typed=typed,
        problem=problem,
        wrong_field=FIELD_OF_PROBLEM.get(problem or ""),
        longest=service.CREDITOR_NAME_LENGTH,
        keys=queries.api_keys(g.merchant_id, None),
        new_key=new_key,
        key_problem=key_problem,
    )


def _groups(iban: str) -> list[str]:
    return [iban[at : at + 4] for at in range(0, len(iban), 4)]


@pages.post("/bank-account")
def save() -> BaseResponse:
    typed = {name: request.form.get(name, "") for name in ("iban", "bic", "creditor_name")}
    is_first = queries.payee_account(g.merchant_id) is None
    try:
        service.save_account(g.merchant_id, **typed, at=now())
    except ValueError as refused:
        db.session.rollback()
        return _page(str(refused.args[0]))
    if is_first:
        ask_for_money_of_waiting(g.merchant_id)
    db.session.commit()
    return redirect(url_for(".show", done="account_saved"), 303)


@pages.post("/bank-account/keys")
def create_key() -> Response:
    """A key with which a program delivers statements; shown in this very answer only."""
    name = request.form.get("name", "").replace("\x00", "").strip()
    if not name or len(name) > MAX_KEY_NAME_LENGTH:
        return _page(key_problem="key_name_missing")
    created = merchants.create_api_key(g.merchant_id, scope="bank", name=name, shop_id=None)
    db.session.commit()
    return _page(new_key=created)


@pages.get("/bank-account/keys/<key_id>/revoke")
def ask_revoke_key(key_id: str) -> Response:
    """The question of the dialog as a page of its own, for browsers without JavaScript."""
    key = next((key for key in queries.api_keys(g.merchant_id, None) if key.id == key_id), None)
    if key is None:
        abort(404)
    action = url_for(".revoke_key", key_id=key.id)
    return page("revoke_key.html", key=key, action=action, back=url_for(".show"))


@pages.post("/bank-account/keys/<key_id>/revoke")
def revoke_key(key_id: str) -> BaseResponse:
    if key_id not in {key.id for key in queries.api_keys(g.merchant_id, None)}:
        abort(404)
    merchants.revoke_api_key(g.merchant_id, key_id, now())
    db.session.commit()
    return redirect(url_for(".show", done="key_revoked"), 303)
