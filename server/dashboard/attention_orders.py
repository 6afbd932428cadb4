"""What waits for a person in an order's life: reminders, removals, settings, claims, brakes.

A file of its own because ``attention`` has money, banks, shops and mails already.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from flask import g, url_for
from markupsafe import Markup

from server.dashboard import dunning_queries, queries, settings_queries
from server.dashboard.attention import Attention, links
from server.dashboard.words import t
from server.dunning.models import DunningRun
from server.merchants.service import settings_of, waiting_changes

CLAIMS_LAST = timedelta(days=7)
RUN_LASTS = timedelta(hours=36)
"""So long after its end a run is still news: until the next one, though it may be late."""
HELD = ("stale_bank", "shop_away")
ENDED = ("cancel", "collection")


def lines(merchant_id: int, at: datetime) -> list[Attention]:
    """What stands still until somebody decides, then what somebody should know."""
    run = dunning_queries.last_done_run(merchant_id)
    is_news = run is not None and (run.finished_at or run.created_at) > at - RUN_LASTS
    return [
        *_waiting_run(merchant_id),
        *_held_removals(merchant_id),
        *_waiting_changes(merchant_id),
        *_questions(merchant_id),
        *_claims(merchant_id, at),
        *(_held_reminders(run) if run is not None and is_news else ()),
        *_brakes(merchant_id),
        *(_ended_orders(run) if run is not None and is_news else ()),
    ]


def _waiting_run(merchant_id: int) -> list[Attention]:
    run = dunning_queries.waiting_run(merchant_id)
    if run is None:
        return []
    return [
        Attention(
            icon="reminder",
            colour="warn",
            title=t("today.run_waits"),
            text=t("today.run_waits_text"),
            href=url_for("dashboard.dunning.show_run", run_id=run.id),
            action=t("action.look"),
        )
    ]


def _held_removals(merchant_id: int) -> list[Attention]:
    held = dunning_queries.held_removals(merchant_id)
    if not held:
        return []
    return [
        Attention(
            icon="removed",
            colour="warn",
            title=t("today.removals", n=held[shop.id], shop=shop.name),
            text=t("today.removals_text"),
            href=url_for("dashboard.removals.show", shop_id=shop.id),
            action=t("action.decide"),
        )
        for shop in queries.shops(merchant_id)
        if shop.id in held
    ]


def _waiting_changes(merchant_id: int) -> list[Attention]:
    """Only what the reader may agree to: his own wait for somebody else."""
    waiting = [row for row in waiting_changes(merchant_id) if row.changed_by != g.user.email]
    if not waiting:
        return []
    return [
        Attention(
            icon="settings",
            colour="part",
            title=t("today.changes", n=len(waiting)),
            text=t("today.changes_text", who=waiting[0].changed_by),
            href=url_for("dashboard.settings_log.show_all"),
            action=t("action.decide"),
        )
    ]


def _claims(merchant_id: int, at: datetime) -> list[Attention]:
    orders = dunning_queries.claimed_orders(merchant_id, at - CLAIMS_LAST)
    if not orders:
        return []
    shown = links([(order.id, order.number) for order in orders])
    return [
        Attention(
            icon="person",
            colour="part",
            title=t("today.claims", n=len(orders)),
            text=t("today.claims_text"),
            href=shown[0][1],
            action=t("action.look"),
            links=shown,
        )
    ]


def _questions(merchant_id: int) -> list[Attention]:
    """Customers who wait to hear whether they have more time."""
    orders = dunning_queries.orders_that_ask(merchant_id)
    if not orders:
        return []
    shown = links([(order.id, order.number) for order in orders])
    return [
        Attention(
            icon="reminder",
            colour="part",
            title=t("today.questions", n=len(orders)),
            text=t("today.questions_text"),
            href=shown[0][1],
            action=t("action.decide"),
            links=shown,
        )
    ]


def _held_reminders(run: DunningRun) -> list[Attention]:
    held = sum(run.hindered.get(why, 0) for why in HELD)
    if not held:
        return []
    first = next(why for why in HELD if run.hindered.get(why))
    return [
        Attention(
            icon="reminder",
            colour="warn",
            title=t("today.reminders_held", n=held),
            text=t(f"today.held_{first}"),
            href=url_for("dashboard.dunning.show"),
            action=t("action.look"),
        )
    ]


def _brakes(merchant_id: int) -> list[Attention]:
    """What somebody pulled and may have forgotten: the stop switch, shops in test mode (K66)."""
    settings = settings_of(merchant_id)
    found = []
    if settings.stop_mails:
        count = dunning_queries.stopped_mails(merchant_id)
        text = t("today.stopped_mails", n=count) if count else t("today.stopped_none")
        found.append(_brake("mail", t("today.stopped"), text))
    in_test = settings_queries.shops_in_test(merchant_id, settings.mode)
    if in_test:
        title = t("today.test_mode", shops=", ".join(in_test))
        found.append(_brake("shop", title, t("today.test_mode_text")))
    return found


def _brake(icon: str, title: Markup, text: Markup) -> Attention:
    return Attention(
        icon=icon,
        colour="warn",
        title=title,
        text=text,
        href=url_for("dashboard.settings.show_more"),
        action=t("action.look"),
    )


def _ended_orders(run: DunningRun) -> list[Attention]:
    """What the last run did to orders by itself: goods may have to stay or be fetched back."""
    ended = {kind: run.did.get(kind, 0) for kind in ENDED}
    if not any(ended.values()):
        return []
    said = [t(f"today.ended_{kind}", n=count) for kind, count in ended.items() if count]
    return [
        Attention(
            icon="cancelled",
            colour="off",
            title=t("today.ended", n=sum(ended.values())),
            text=Markup(" ").join(said),
            href=url_for("dashboard.dunning.show_run", run_id=run.id),
            action=t("action.look"),
        )
    ]
