"""The addresses of everything about repayments, in one table.

The pages themselves are in the ``refund_*`` modules; arranging one is an address of its order or
posting. Whatever moves money is a POST of an administrator; a GET beside it asks first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint

from server.dashboard import (
    refund_batches,
    refund_detail,
    refund_fints,
    refund_forms,
    refund_list,
)

pages = Blueprint("refunds", __name__)
pages.add_app_template_global(refund_detail.label, "refund_act_label")

View = Callable[..., Any]


def _get(path: str, view: View, name: str | None = None) -> None:
    pages.add_url_rule(path, name or view.__name__, view, methods=["GET"])


def _post(path: str, view: View, name: str | None = None) -> None:
    pages.add_url_rule(path, name or view.__name__, view, methods=["POST"])


ONE = "/repayments/<int:refund_id>"
BATCH = "/repayments/bank/<int:batch_id>"

_get("/repayments", refund_list.show_all)
_get("/repayments/export.csv", refund_list.as_csv)
_get("/repayments/export.xlsx", refund_list.as_xlsx)

_get("/repayments/bank", refund_batches.bank)
_post("/repayments/bank", refund_batches.make)
_get(BATCH, refund_batches.show_batch)
_post(f"{BATCH}/file", refund_batches.download)
_post(f"{BATCH}/sent", refund_batches.mark_sent)
_post(f"{BATCH}/drop", refund_batches.drop)
_post(f"{BATCH}/fail", refund_batches.fail)

_get(f"{BATCH}/picture", refund_fints.picture)
_post(f"{BATCH}/begin", refund_fints.begin)
_post(f"{BATCH}/answer", refund_fints.answer)
_post(f"{BATCH}/accept", refund_fints.accept)
_post(f"{BATCH}/refuse", refund_fints.refuse)
_post(f"{BATCH}/settle", refund_fints.settle_doubt)

_get(ONE, refund_detail.show)
_post(f"{ONE}/approve", refund_detail.approve)
_post(f"{ONE}/execute-now", refund_detail.doing("execute_now"), "execute_now")
_post(f"{ONE}/try-again", refund_detail.doing("try_again"), "try_again")
_get(f"{ONE}/change", refund_forms.ask_change)
_post(f"{ONE}/change", refund_forms.change)
for _name in sorted(refund_detail.ASKING):
    _get(f"{ONE}/{_name.replace('_', '-')}", refund_detail.asking(_name), f"ask_{_name}")
_post(f"{ONE}/mark-failed", refund_detail.mark_failed)
_post(f"{ONE}/mark-processed", refund_detail.doing("mark_processed"), "mark_processed")
_post(f"{ONE}/cancel", refund_detail.doing("cancel"), "cancel")

_get("/orders/<int:order_id>/keep-money", refund_forms.ask_keep_money)
_post("/orders/<int:order_id>/keep-money", refund_forms.keep_money)
