"""Reminders: may they go out, what is due, runs that wait for a click, runs of the past (S84, N5).

What comes in the days ahead stands in ``dunning_coming``, how a mail looks before it is sent in
``dunning_preview``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, time, timedelta
from typing import Any

from flask import Blueprint, Response, abort, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard import dunning_queries, order_queries, words
from server.dashboard.dunning_lines import (
    DueLine,
    due_line,
    obstacles,
    run_line,
    run_lines,
    tally,
    why_tally,
)
from server.dashboard.order_timeline import level_word
from server.dashboard.pages import page, typed_id
from server.dashboard.words import t
from server.db import db, now
from server.dunning import runs
from server.dunning.circumstances import Circumstances
from server.dunning.models import DunningRun
from server.dunning.runs import Due
from server.orders.ledger import NotPossible

pages = Blueprint("dunning", __name__)

DUE_SHOWN = 200
DUE_COUNTED = 20_000
"""More than that is not counted, so that the page comes in time; nobody reads that far."""
LATEST_RUNS = 5


# --- now --------------------------------------------------------------------------------------


@pages.get("/dunning")
def show() -> Response:
    at, merchant_id = now(), g.merchant_id
    here = Circumstances(merchant_id, at)
    found = obstacles(here)
    run = dunning_queries.open_run(merchant_id)
    latest = dunning_queries.runs(merchant_id, limit=LATEST_RUNS)
    return page(
        "dunning.html",
        obstacles=found,
        is_all_held=any(one.holds_all for one in found),
        next_run=_next_run(here),
        open_run=run_line(run) if run is not None else None,
        runs=run_lines(latest),
        **_due(here),
    )


def _next_run(here: Circumstances) -> datetime:
    """When the clock begins the next daily run: today if there was none yet, else tomorrow."""
    had_one = dunning_queries.has_daily_run(here.merchant_id, here.today)
    day = here.today + timedelta(days=1) if had_one else here.today
    return max(datetime.combine(day, time(here.general.run_hour), here.zone), here.at)


def _due(here: Circumstances) -> dict[str, Any]:
    """What a run would do now, and what it would leave undone: the first of both, and how many."""
    found = runs.preview(here.merchant_id, here.at, DUE_COUNTED)
    does = [one for one in found if one.hindered is None]
    held = [one for one in found if one.hindered is not None]
    return {
        "due": _lines(does[:DUE_SHOWN], here),
        "due_total": len(does),
        "tally": tally(Counter(one.step.kind for one in does)),
        "held": _lines(held[:DUE_SHOWN], here),
        "held_total": len(held),
        "why_tally": why_tally(Counter(one.hindered or "" for one in held)),
    }


def _lines(dues: Sequence[Due], here: Circumstances) -> list[DueLine]:
    rows = order_queries.order_rows(here.merchant_id, [one.order.order_id for one in dues])
    return [due_line(one, rows[one.order.order_id], here) for one in dues]


@pages.post("/dunning/run")
def run_now() -> BaseResponse:
    """The same as the daily run (S84); one that is on its way already is shown instead."""
    run = runs.ask_run(g.merchant_id, actor=g.user.email, at=now())
    db.session.commit()
    return redirect(url_for(".show_run", run_id=run.id, done="run_asked"), 303)


# --- runs -------------------------------------------------------------------------------------


@pages.get("/dunning/runs")
def show_runs() -> Response:
    before = typed_id(request.args.get("before"))
    rows = dunning_queries.runs(g.merchant_id, before_id=before or None)
    is_full = len(rows) == dunning_queries.RUNS_SHOWN
    return page(
        "dunning_runs.html",
        runs=run_lines(rows),
        newest=url_for(".show_runs") if before else None,
        older=url_for(".show_runs", before=rows[-1].id) if is_full else None,
    )


@pages.get("/dunning/runs/<int:run_id>")
def show_run(run_id: int) -> Response:
    row = _run_or_404(run_id)
    line = run_line(row)
    facts = _due(Circumstances(g.merchant_id, now())) if line.is_waiting else {}
    return page(
        "dunning_run.html",
        run=line,
        is_on=row.status in {"queued", "running"},
        title=t("dunning.run_of", day=words.day(row.run_date, "long")),
        reminders=dunning_queries.reminders_of(row),
        ended=dunning_queries.ended_orders(row),
        most=dunning_queries.REMINDERS_SHOWN,
        level_word=level_word,
        **facts,
    )


@pages.post("/dunning/runs/<int:run_id>/release")
def release(run_id: int) -> BaseResponse:
    """Somebody has looked at it: it goes on, and looks at every order again before."""
    return _decided(run_id, releases=True)


@pages.post("/dunning/runs/<int:run_id>/discard")
def discard(run_id: int) -> BaseResponse:
    """Nothing is sent; what is still due then comes back with the next run."""
    return _decided(run_id, releases=False)


def _decided(run_id: int, *, releases: bool) -> BaseResponse:
    _run_or_404(run_id)
    decide = runs.release_run if releases else runs.discard_run
    done = "run_released" if releases else "run_discarded"
    try:
        decide(g.merchant_id, run_id, actor=g.user.email, at=now())
        db.session.commit()
    except NotPossible:
        db.session.rollback()
        done = "run_decided_already"
    return redirect(url_for(".show_run", run_id=run_id, done=done), 303)


def _run_or_404(run_id: int) -> DunningRun:
    row = dunning_queries.run_of(g.merchant_id, run_id)
    if row is None:
        abort(404)
    return row
