"""What other settings would have done (N3), and how the shadow agrees with what happened."""

from __future__ import annotations

from datetime import datetime, timedelta

from flask import Blueprint, Response, g, request

from server.dashboard import bank_queries, order_queries, settings_queries
from server.dashboard.pages import page, part
from server.db import now
from server.matching import replay
from server.merchants import service as merchants

pages = Blueprint("settings_replay", __name__)

PERIODS = (30, 90, 365)
EXAMPLES_SHOWN = 10
ROWS_SHOWN = 200
SHADOW_LOOKED_BACK = timedelta(days=90)


@pages.get("/settings/assignment/what-if")
def what_if() -> Response:
    """The three levels on the postings of the past; as a part of the page for htmx."""
    wanted = request.args.get("days", "")
    days = int(wanted) if wanted in {str(one) for one in PERIODS} else PERIODS[0]
    found = replay.what_if(g.merchant_id, days=days, at=now())
    examples = [one for level in found.levels.values() for one in level.examples[:EXAMPLES_SHOWN]]
    facts = {
        "found": found,
        "days": days,
        "periods": PERIODS,
        "current": merchants.settings_of(g.merchant_id).match_level,
        "examples_shown": EXAMPLES_SHOWN,
        "postings": {
            one.id: one
            for one in bank_queries.postings_of(g.merchant_id, [one[0] for one in examples])
        },
        "orders": order_queries.order_rows(
            g.merchant_id, list({order_id for _, ids in examples for order_id in ids})
        ),
    }
    if request.headers.get("HX-Request"):
        return Response(part("_what_if.html", **facts))
    return page("what_if.html", **facts)


@pages.get("/settings/assignment/shadow")
def shadow() -> Response:
    """What Kontor decided in the shadow, beside what was done."""
    since = _since()
    found = replay.shadow_report(g.merchant_id, since=since)
    rows = found.rows[:ROWS_SHOWN]
    return page(
        "shadow.html",
        found=found,
        since=since,
        rows=rows,
        left_out=len(found.rows) - len(rows),
        postings={
            one.id: one
            for one in bank_queries.postings_of(
                g.merchant_id, [row.posting_id for row in rows if row.posting_id]
            )
        },
        orders=order_queries.order_rows(
            g.merchant_id, [row.order_id for row in rows if row.order_id]
        ),
    )


def _since() -> datetime:
    """When the shadow began, as far as it began within SHADOW_LOOKED_BACK."""
    earliest = now() - SHADOW_LOOKED_BACK
    began = (
        one.row.changed_at
        for one in settings_queries.changes(g.merchant_id, names=["assignment"])
        if one.row.value == "shadow"
    )
    return max(next(began, earliest), earliest)
