"""Bank accounts: the list, one account, who is asked to pay to which; and keys for statements."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask import Blueprint, Response, abort, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.banking import service
from server.banking.models import BankAccount
from server.banking.rules.accounts import QR_BILL_COUNTRIES, Payee, choose_payee
from server.config import installed
from server.dashboard import (
    account_queries,
    bank_connections,
    bank_queries,
    coverage,
    queries,
    words,
)
from server.dashboard.account_form import (
    OWNER_FIELDS,
    Entered,
    countries,
    may_be_payee,
    sorted_as,
)
from server.dashboard.account_queries import AccountRow, KindOfOrder
from server.dashboard.coverage import CALENDAR_WEEKS, STRIP_WEEKS, Coverage
from server.dashboard.pages import page, part
from server.dashboard.shops import MAX_KEY_NAME_LENGTH
from server.db import db, now
from server.merchants import service as merchants
from server.merchants.models import ApiKey
from server.orders.asking import ask_waiting
from server.orders.service import start_assignment

pages = Blueprint("bank", __name__)

ORDERS_LOOKED_AT = timedelta(days=90)
USUAL_COUNTRIES = ("DE", "AT", "CH")
USUAL_CURRENCIES = ("EUR", "CHF")

FIELD_OF_PROBLEM = {
    "iban_invalid": "iban",
    "account_known": "iban",
    "too_many_accounts": "iban",
    "bic_invalid": "bic",
    "creditor_name_invalid": "creditor_name",
    "currency_invalid": "currency",
    "currencies_invalid": "more_currencies",
    "country_invalid": "more_countries",
    "assign_from_invalid": "assign_from",
    "creditor_name_not_latin": "creditor_name",
    "qr_iban_invalid": "qr_iban",
    "creditor_street_invalid": "street",
    "creditor_building_number_invalid": "building_number",
    "creditor_postcode_invalid": "postcode",
    "creditor_city_invalid": "city",
    "creditor_country_invalid": "owner_country",
}
SWISS_FIELDS = ("qr_iban", *OWNER_FIELDS)


# --- the list ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shown:
    """A row of the list with its strip of weeks."""

    row: AccountRow
    coverage: Coverage


@pages.get("/bank-account")
def show_old() -> BaseResponse:
    """Where there was one account only; mails and bookmarks still lead there."""
    return redirect(url_for(".show_all"), 301)


@pages.get("/bank-accounts")
def show_all() -> Response:
    return _list_page()


def _list_page(
    *, new_key: tuple[ApiKey, str] | None = None, key_problem: str | None = None
) -> Response:
    rows = account_queries.account_rows(g.merchant_id, now())
    return page(
        "bank_accounts.html",
        422 if key_problem else 200,
        accounts=[Shown(row, _coverage(row, STRIP_WEEKS)) for row in rows],
        shop_names=_shop_names(),
        kinds=_chosen(bank_queries.accounts(g.merchant_id)),
        connections=bank_connections.unfinished(g.merchant_id),
        connection_badge=bank_connections.badge,
        keys=queries.api_keys(g.merchant_id, None),
        new_key=new_key,
        key_problem=key_problem,
        folder=_folder(),
    )


def _coverage(row: AccountRow, weeks: int) -> Coverage:
    asked = coverage.asked_days(row.connection)
    return coverage.coverage_of(row.account, row.known_from, words.today(), weeks, asked)


def _shop_names() -> dict[int, str]:
    return {shop.id: shop.name for shop in queries.shops(g.merchant_id)}


def _folder(account: BankAccount | None = None) -> str | None:
    """Where files may be laid instead of being uploaded."""
    inbox = installed().inbox
    if inbox is None:
        return None
    folder = inbox / str(g.merchant_id)
    return f"{folder / account.iban if account else folder}/"


# --- which account an order gets ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Chosen:
    """A kind of order and the account that it is asked to pay to; None: nobody is asked."""

    kind: KindOfOrder
    payee: Payee | None
    name: str


def _chosen(accounts: Iterable[BankAccount], changed: Payee | None = None) -> list[Chosen]:
    """For the kinds of orders that the shops really have. ``changed`` is tried on: it takes the
    place of the account with its IBAN and currency, or comes after all others."""
    names: dict[tuple[str, str], str] = {}
    payees: dict[tuple[str, str], Payee] = {}
    for account in accounts:
        key = (account.iban, account.currency)
        names[key] = account.label or queries.bank_name(account.iban)
        is_changed = changed is not None and key == (changed.iban, changed.currency)
        if account.is_payee or is_changed:
            payees[key] = _payee(account)
    if changed is not None:
        payees[changed.iban, changed.currency] = changed
    rows = []
    for kind in account_queries.kinds_of_orders(g.merchant_id, now() - ORDERS_LOOKED_AT):
        payee = choose_payee(
            payees.values(), shop_id=kind.shop_id, country=kind.country, currency=kind.currency
        )
        key = (payee.iban, payee.currency) if payee else ("", "")
        rows.append(Chosen(kind, payee, names.get(key, str(words.t("bank.this_account")))))
    return rows


def _payee(account: BankAccount) -> Payee:
    return Payee(
        account.iban,
        account.bic or "",
        account.creditor_name or "",
        account.currency,
        frozenset(account.for_countries),
        frozenset(account.for_currencies),
        frozenset(account.for_shops),
    )


@pages.post("/bank-accounts/preview")
def preview_new() -> str:
    """What would change, while a person fills in the form."""
    return _preview(Entered.of_form(), None)


@pages.post("/bank-accounts/<int:account_id>/preview")
def preview(account_id: int) -> str:
    account = _account_or_404(account_id)
    return _preview(Entered.of_form(), account)


def _preview(entered: Entered, account: BankAccount | None) -> str:
    return part("_bank_preview.html", kinds=_tried(entered, account))


def _tried(entered: Entered, account: BankAccount | None) -> list[Chosen]:
    accounts = bank_queries.accounts(g.merchant_id)
    payee = entered.payee(_shop_names(), account)
    if not entered.is_payee:
        same = (payee.iban, payee.currency)
        return _chosen([one for one in accounts if (one.iban, one.currency) != same])
    return _chosen(accounts, payee)


# --- adding and changing ----------------------------------------------------------------------


@pages.get("/bank-accounts/new")
def ask_add() -> Response:
    return _add_page(Entered.blank(g.merchant.name))


def _add_page(entered: Entered, problem: str | None = None) -> Response:
    return page(
        "bank_account_new.html", 422 if problem else 200, **_form_facts(entered, None, problem)
    )


def _form_facts(
    entered: Entered, account: BankAccount | None, problem: str | None
) -> dict[str, Any]:
    kinds = _tried(entered, account)
    wrong_field = FIELD_OF_PROBLEM.get(problem or "")
    iban = (account.iban if account else entered.iban).upper()
    offered = {one.kind.country for one in kinds if one.kind.country} | set(USUAL_COUNTRIES)
    currencies = {one.kind.currency for one in kinds} | set(USUAL_CURRENCIES)
    return {
        "entered": entered,
        "account": account,
        "problem": problem,
        "wrong_field": wrong_field,
        "is_swiss": iban[:2] in QR_BILL_COUNTRIES or wrong_field in SWISS_FIELDS,
        "kinds": kinds,
        "may_be_payee": may_be_payee(account),
        "countries": sorted(
            offered | set(entered.countries), key=lambda code: sorted_as(words.country(code))
        ),
        "all_countries": countries(words.language()),
        "currencies": sorted(currencies | set(entered.currencies)),
        "shops": queries.shops(g.merchant_id),
        "longest": service.CREDITOR_NAME_LENGTH,
        "longest_label": service.LABEL_LENGTH,
    }


@pages.post("/bank-accounts/new")
def add() -> BaseResponse:
    entered = Entered.of_form()
    try:
        terms = entered.terms(_shop_names())
        known = account_queries.account_with(
            g.merchant_id, "".join(terms.iban.split()).upper(), terms.currency.strip().upper()
        )
        if known is not None and (known.is_payee or known.label):
            raise ValueError("account_known")
        account = service.add_account(g.merchant_id, terms)
    except ValueError as refused:
        db.session.rollback()
        return _add_page(entered, str(refused.args[0]))
    if account.is_payee:
        ask_waiting(g.merchant_id, now())
    db.session.commit()
    return redirect(url_for(".show", account_id=account.id, done="account_saved"), 303)


@pages.get("/bank-accounts/<int:account_id>")
def show(account_id: int) -> Response:
    account = _account_or_404(account_id)
    return _account_page(account, Entered.of_account(account))


def _account_page(account: BankAccount, entered: Entered, problem: str | None = None) -> Response:
    (row,) = account_queries.rows_of(g.merchant_id, [account], now())
    covered = _coverage(row, CALENDAR_WEEKS)
    return page(
        "bank_account.html",
        422 if problem else 200,
        row=row,
        coverage=covered,
        breaks=[(one, coverage.break_in_words(one, account.currency)) for one in covered.breaks],
        statements=account_queries.statements_of_account(g.merchant_id, account.id),
        older=account_queries.older_count(g.merchant_id, account.id),
        folder=_folder(account),
        connection_badge=bank_connections.badge,
        **_form_facts(entered, account, problem),
    )


@pages.post("/bank-accounts/<int:account_id>")
def change(account_id: int) -> BaseResponse:
    account = _account_or_404(account_id)
    entered = Entered.of_form()
    before = service.payees(g.merchant_id)
    try:
        service.change_account(g.merchant_id, account.id, entered.terms(_shop_names(), account))
    except ValueError as refused:
        db.session.rollback()
        return _account_page(account, entered, str(refused.args[0]))
    db.session.flush()
    if service.payees(g.merchant_id) != before:
        ask_waiting(g.merchant_id, now())
    db.session.commit()
    return redirect(url_for(".show", account_id=account.id, done="account_set"), 303)


# --- postings from before (K48) ---------------------------------------------------------------


@pages.get("/bank-accounts/<int:account_id>/older")
def ask_start_assignment(account_id: int) -> Response:
    """The question as a page of its own: it may assign a lot at once."""
    account = _account_or_404(account_id)
    return page(
        "bank_older.html",
        account=account,
        older=account_queries.older_count(g.merchant_id, account.id),
    )


@pages.post("/bank-accounts/<int:account_id>/older")
def assign_older(account_id: int) -> BaseResponse:
    account = _account_or_404(account_id)
    start_assignment(g.merchant_id, account.id, at=now())
    db.session.commit()
    return redirect(url_for(".show", account_id=account.id, done="older_assigned"), 303)


# --- keys -------------------------------------------------------------------------------------


@pages.post("/bank-accounts/keys")
def create_key() -> Response:
    """A key with which a program delivers statements; shown in this very answer only."""
    name = request.form.get("name", "").replace("\x00", "").strip()
    if not name or len(name) > MAX_KEY_NAME_LENGTH:
        return _list_page(key_problem="key_name_missing")
    created = merchants.create_api_key(g.merchant_id, scope="bank", name=name, shop_id=None)
    db.session.commit()
    return _list_page(new_key=created)


@pages.get("/bank-accounts/keys/<key_id>/revoke")
def ask_revoke_key(key_id: str) -> Response:
    """The question of the dialog as a page of its own, for browsers without JavaScript."""
    key = next((key for key in queries.api_keys(g.merchant_id, None) if key.id == key_id), None)
    if key is None:
        abort(404)
    action = url_for(".revoke_key", key_id=key.id)
    return page("revoke_key.html", key=key, action=action, back=url_for(".show_all"))


@pages.post("/bank-accounts/keys/<key_id>/revoke")
def revoke_key(key_id: str) -> BaseResponse:
    if key_id not in {key.id for key in queries.api_keys(g.merchant_id, None)}:
        abort(404)
    merchants.revoke_api_key(g.merchant_id, key_id, now())
    db.session.commit()
    return redirect(url_for(".show_all", done="key_revoked"), 303)


def _account_or_404(account_id: int) -> BankAccount:
    account = service.account_of(g.merchant_id, account_id)
    if account is None:
        abort(404)
    return account
