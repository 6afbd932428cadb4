"""Repayments that wait for a person: held, ready, failed, or for a customer who says nothing.

A file of its own because ``attention`` has money that comes in already.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from flask import url_for
from markupsafe import Markup

from server.dashboard import refund_queries
from server.dashboard.attention import Attention
from server.dashboard.refund_queries import Waiting
from server.dashboard.words import t
from server.merchants.service import settings_of
from server.refunds.models import RefundBatch

LEAST_PATIENCE = timedelta(days=1)
FILE_RESTS = timedelta(days=2)
"""So long a file for the bank may lie before somebody is reminded of it."""


def lines(merchant_id: int, at: datetime) -> list[Attention]:
    """What went wrong first, then what needs a decision, then what can be done."""
    term = timedelta(days=settings_of(merchant_id).refund_wait_days)
    slow = refund_queries.waiting(
        merchant_id, "bank_details_missing", since=at - max(term, LEAST_PATIENCE)
    )
    return [
        *_line("failed", "bad", "warn", refund_queries.waiting(merchant_id, "failed")),
        *_line("held", "warn", "warn", refund_queries.waiting(merchant_id, "held")),
        *_line("bank_details_missing", "warn", "ask", slow),
        *_ready(refund_queries.waiting(merchant_id, "new")),
        *_forgotten(refund_queries.forgotten_batches(merchant_id, at - FILE_RESTS)),
    ]


def _line(status: str, colour: str, icon: str, found: Waiting | None) -> list[Attention]:
    if found is None:
        return []
    href = url_for("dashboard.refunds.show_all", status=status)
    if found.count == 1:
        href = url_for("dashboard.refunds.show", refund_id=found.first_id)
    return [
        Attention(
            icon=icon,
            colour=colour,
            title=t(f"today.refunds_{status}", n=found.count),
            text=_about(status, found),
            href=href,
            action=t("action.decide" if status == "held" else "action.look"),
        )
    ]


def _about(status: str, found: Waiting) -> Markup:
    text = t(f"today.refunds_{status}_text")
    if not found.number:
        return text
    return text + Markup(" ") + t("today.refunds_oldest", number=found.number)


def _ready(found: Waiting | None) -> list[Attention]:
    if found is None:
        return []
    return [
        Attention(
            icon="bank",
            colour="part",
            title=t("today.refunds_new", n=found.count),
            text=t("today.refunds_new_text"),
            href=url_for("dashboard.refunds.bank"),
            action=t("action.look"),
        )
    ]


def _forgotten(batches: list[RefundBatch]) -> list[Attention]:
    return [
        Attention(
            icon="upload",
            colour="warn",
            title=t("today.refund_batch", n=one.count),
            text=t("today.refund_batch_text"),
            href=url_for("dashboard.refunds.show_batch", batch_id=one.id),
            action=t("action.look"),
        )
        for one in batches
    ]
