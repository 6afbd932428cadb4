"""The addresses of everything about orders, in one table.

The pages themselves are in the ``order_*`` modules; one blueprint keeps their names short and the
menu entry lit. Whatever changes an order is a POST; a GET beside it asks first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint

from server.dashboard import (
    collection,
    order_actions,
    order_bulk,
    order_customer,
    order_detail,
    order_export,
    order_forms,
    order_list,
    order_manual,
    order_money,
    refund_forms,
)

pages = Blueprint("orders", __name__)

View = Callable[..., Any]


def _get(path: str, view: View, name: str | None = None) -> None:
    pages.add_url_rule(path, name or view.__name__, view, methods=["GET"])


def _post(path: str, view: View, name: str | None = None) -> None:
    pages.add_url_rule(path, name or view.__name__, view, methods=["POST"])


ONE = "/orders/<int:order_id>"

_get("/orders", order_list.show_all)
_post("/orders/bulk", order_bulk.act_on_many)
_get("/orders/export.csv", order_export.as_csv)
_get("/orders/export.xlsx", order_export.as_xlsx)
_get("/orders/new", order_manual.ask_add)
_post("/orders/new", order_manual.add)
_get("/orders/import", order_manual.ask_import)
_post("/orders/import", order_manual.import_one)

_get(ONE, order_detail.show)
_get(f"{ONE}/qr.png", order_detail.qr_code)
_get(f"{ONE}/invoices/<int:invoice_id>", order_detail.invoice)
_get(f"{ONE}/proofs/<int:proof_id>", order_detail.proof)

_post(f"{ONE}/claims/settle", order_customer.settle_claims)
_post(f"{ONE}/more-time/grant", order_customer.grant_time)
_post(f"{ONE}/more-time/refuse", order_customer.refuse_time)

_post(f"{ONE}/assignments/<int:assignment_id>/undo", order_money.undo)
_post(f"{ONE}/credit", order_money.apply_credit)
_post(f"{ONE}/surplus", order_money.move_surplus)
_post(f"{ONE}/surplus/keep", order_money.keep_surplus)
_post(f"{ONE}/additional", order_money.set_additional)
_get(f"{ONE}/mark-as-paid", order_money.ask_mark_as_paid)
_post(f"{ONE}/mark-as-paid", order_money.mark_as_paid)
_get(f"{ONE}/repay", refund_forms.ask_repay)
_post(f"{ONE}/repay", refund_forms.repay)

for _name in order_actions.ACTIONS:
    _path = f"{ONE}/{_name.replace('_', '-')}"
    _post(_path, order_actions.doing(_name), _name)
    if _name in order_actions.ASKING:
        _get(_path, order_actions.asking(_name), f"ask_{_name}")

_get(f"{ONE}/collection", collection.details, "ask_collection_details")
_get(f"{ONE}/edit", order_forms.ask_edit)
_post(f"{ONE}/edit", order_forms.edit)
_post(f"{ONE}/use-address", order_forms.use_address)
_get(f"{ONE}/base-date", order_forms.ask_set_base_date)
_post(f"{ONE}/base-date", order_forms.set_base_date)
_get(f"{ONE}/erase", order_forms.ask_erase)
_post(f"{ONE}/erase", order_forms.erase)
