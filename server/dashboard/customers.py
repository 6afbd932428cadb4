"""One customer's personal data on his own demand: found, handed out, removed (S86).

For administrators. What is searched for goes in a form and never into an address, because
addresses stand in logs and histories of browsers.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass

from flask import Blueprint, Response, g, redirect, request, send_file, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard import access, queries, words
from server.dashboard.pages import page, plain
from server.db import db, now
from server.forgetting import extract, retention, service
from server.mail.rules import AddressError, checked_address
from server.orders.ledger import NotPossible
from server.orders.models import Order

pages = Blueprint("customers", __name__)
pages.before_request(access.require_administrator)

IN_MEMORY_BYTES = 8 * 1024**2
"""A larger extract waits in a file until it is sent."""


@dataclass(frozen=True, slots=True)
class Search:
    """What was typed: an e-mail address (in lower case) or else a customer number."""

    typed: str
    orders: list[Order]
    address: str | None = None

    @property
    def is_known(self) -> bool:
        """Is there an order, or anything else of the address?"""
        return bool(self.orders) or (
            self.address is not None and extract.is_known(g.merchant_id, self.address)
        )

    @property
    def is_too_many(self) -> bool:
        return len(self.orders) > extract.MOST_ORDERS

    @property
    def names(self) -> list[str]:
        """How these people are called; more than one may be more than one customer."""
        known = {one.customer_name.strip().lower(): one.customer_name for one in self.orders}
        return sorted(known.values())


@pages.get("/settings/customers")
def show() -> Response:
    return page("customers.html", search=None, typed="", problem=None)


@pages.post("/settings/customers/find")
def find() -> Response:
    """All his orders in all shops."""
    typed = plain(request.form.get("q", ""))
    try:
        search = _search(typed)
    except NotPossible as problem:
        return page("customers.html", 422, search=None, typed=typed, problem=problem)
    return _found(search)


@pages.post("/settings/customers/extract")
def hand_out() -> BaseResponse:
    """Everything of the chosen orders as a ZIP (GDPR Art. 15)."""
    try:
        search, chosen = _chosen()
    except NotPossible as problem:
        return page("customers.html", 422, search=None, typed="", problem=problem)
    if not chosen and search.address is None:
        return _found(search, NotPossible("customer_none_chosen"))
    customer = extract.Customer(g.merchant_id, chosen, search.address)
    file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115  sent later
    try:
        extract.write_extract(customer, file, language=words.language(), at=now())
    except NotPossible as problem:
        file.close()
        return _found(search, problem)
    retention.log_what_went(g.merchant, {"extracts": 1}, actor=g.user.email, at=now())
    db.session.commit()
    file.seek(0)
    name = f"{words.t('customers.filename')}-{words.today().isoformat()}.zip"
    answer = send_file(file, "application/zip", as_attachment=True, download_name=name)
    answer.call_on_close(file.close)
    return answer


@pages.post("/settings/customers/erase")
def erase() -> BaseResponse:
    """The chosen orders lose the person; what was searched for is typed again to confirm."""
    try:
        search, chosen = _chosen()
    except NotPossible as problem:
        return page("customers.html", 422, search=None, typed="", problem=problem)
    if plain(request.form.get("confirmed", "")).lower() != search.typed.lower():
        return _found(search, NotPossible("customer_not_confirmed", typed=search.typed))
    if not chosen and search.address is None:
        return _found(search, NotPossible("customer_none_chosen"))
    at = now()
    erasure = service.erase_orders(g.merchant_id, chosen, actor=g.user.email, at=at)
    if search.address is not None and len(chosen) == len(search.orders):
        service.erase_address(g.merchant_id, search.address)
    retention.log_what_went(g.merchant, {"orders": len(erasure.done)}, actor=g.user.email, at=at)
    db.session.commit()
    done = "customer_erase_waits" if erasure.waiting else "customer_erased"
    count = len(erasure.waiting or erasure.done)
    return redirect(url_for(".show", done=done, n=count), 303)


def _search(typed: str) -> Search:
    """Raises NotPossible if that is nothing to search for."""
    if not typed:
        raise NotPossible("customer_nothing_typed")
    if "@" not in typed:
        return Search(typed, extract.orders_of_number(g.merchant_id, typed))
    try:
        address = checked_address(typed).lower()
    except AddressError:
        raise NotPossible("email_impossible") from None
    return Search(typed, extract.orders_of_address(g.merchant_id, address), address)


def _chosen() -> tuple[Search, list[int]]:
    """The search again, and the ids of those of its orders that were ticked."""
    search = _search(plain(request.form.get("q", "")))
    ticked = set(request.form.getlist("order"))
    return search, [one.id for one in search.orders if str(one.id) in ticked]


def _found(search: Search, problem: NotPossible | None = None) -> Response:
    ticked = set(request.form.getlist("order")) if problem else None
    return page(
        "customers.html",
        422 if problem else 200,
        search=search,
        typed=search.typed,
        problem=problem,
        orders=search.orders[: extract.MOST_ORDERS],
        ticked=ticked,
        waiting=set(service.asked_orders(g.merchant_id, [one.id for one in search.orders])),
        shops={shop.id: shop.name for shop in queries.shops(g.merchant_id)},
        most=extract.MOST_ORDERS,
    )
