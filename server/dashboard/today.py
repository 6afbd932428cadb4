"""Today: what needs a person, three figures, thirty days of money, what happened last."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from flask import Blueprint, Response, g, url_for
from markupsafe import Markup, escape
from sqlalchemy import select

from server.banking.models import Statement
from server.banking.service import payees
from server.dashboard import bank_connections, order_queries, queries, sentences, words
from server.dashboard.pages import page
from server.dashboard.queries import DayOfChart
from server.dashboard.words import t
from server.db import db, now
from server.orders.models import Order

pages = Blueprint("today", __name__)

AUTOMATIC_OVER = timedelta(days=30)
LINKS_SHOWN = 3
CHART_WIDTH, CHART_HEIGHT = 720, 160
CHART_LINES = 4


@dataclass(frozen=True, slots=True)
class Attention:
    """One line of "waits for you": what, why, and the way to deal with it."""

    icon: str
    colour: str
    title: Markup
    text: Markup
    href: str
    action: Markup
    links: tuple[tuple[str, str], ...] = ()


@pages.get("/")
def show() -> Response:
    at, merchant_id = now(), g.merchant_id
    steps = _setup_steps(merchant_id)
    matching = order_queries.matching_orders(
        merchant_id, order_queries.OrderFilter(status="open"), words.zone()
    )
    sums = order_queries.order_sums(merchant_id, matching)
    currency = sums[0].currency if sums else "EUR"
    days = queries.chart(merchant_id, currency, words.today())
    return page(
        "today.html",
        today=words.today(),
        steps=[] if all(step["is_done"] for step in steps) else steps,
        attention=_attention(merchant_id, at),
        sums=sums,
        received=queries.received_since(merchant_id, _midnight()),
        automatic=queries.automatic_share(merchant_id, at - AUTOMATIC_OVER),
        currency=currency,
        days=days,
        chart=_chart(days),
        latest=_latest(merchant_id),
        is_new=not sums and not queries.has_statement(merchant_id),
    )


def _midnight() -> datetime:
    return datetime.combine(words.today(), time(), words.zone()).astimezone(UTC)


# --- the first steps --------------------------------------------------------------------------


def _setup_steps(merchant_id: int) -> list[dict[str, Any]]:
    """What a new merchant does, in this order; the first that is open is the one to do now."""
    steps: list[dict[str, Any]] = [
        {
            "key": "account",
            "href": url_for("dashboard.bank.ask_add"),
            "is_done": bool(payees(merchant_id)),
        },
        {
            "key": "shop",
            "href": url_for("dashboard.shops.show_all"),
            "is_done": any(shop.connected_at for shop in queries.shops(merchant_id)),
        },
        {
            "key": "statement",
            "href": url_for("dashboard.statements.show_all"),
            "is_done": queries.has_statement(merchant_id),
        },
    ]
    current = next((step for step in steps if not step["is_done"]), None)
    for step in steps:
        step["is_now"] = step is current
    return steps


# --- what needs attention ---------------------------------------------------------------------


def _attention(merchant_id: int, at: datetime) -> list[Attention]:
    """The urgent things first: what stops money from being seen, then what stops telling it."""
    lines = [
        *_waiting_postings(merchant_id),
        *_banks_that_wait(merchant_id),
        *_shops_in_error(merchant_id),
        *_failed_updates(merchant_id, at),
        *_stale_accounts(merchant_id, at),
        *_failed_statements(merchant_id, at),
        *_failed_mails(merchant_id, at),
    ]
    return lines


def _waiting_postings(merchant_id: int) -> list[Attention]:
    sums = queries.waiting_sums(merchant_id)
    if not sums.count:
        return []
    amounts = " + ".join(words.money(amount, currency) for amount, currency in sums.amounts)
    text = t("today.postings_text", amounts=amounts, oldest=words.day(sums.oldest, "long"))
    if sums.with_suggestion:
        text += Markup(" ") + t("today.postings_offered", n=sums.with_suggestion)
    return [
        Attention(
            icon="inbox",
            colour="part",
            title=t("today.postings", n=sums.count),
            text=text,
            href=url_for("dashboard.postings.show_all"),
            action=t("action.assign"),
        )
    ]


def _banks_that_wait(merchant_id: int) -> list[Attention]:
    """Accesses that fetch nothing until somebody has come."""
    lines = []
    for row in bank_connections.needing_somebody(merchant_id):
        said = [escape(one.text) for one in bank_connections.why(row)]
        text = Markup(" ").join([*said, t("today.bank_needs_you_text")])
        bank, is_refused = row.bank_name or row.bank_code, row.health == "refused"
        lines.append(
            Attention(
                icon="bank",
                colour="bad" if is_refused else "warn",
                title=t("today.bank_refused", bank=bank)
                if is_refused
                else t("today.bank_needs_you", bank=bank),
                text=text,
                href=url_for("dashboard.bank_connections.show", connection_id=row.id),
                action=t("action.look"),
            )
        )
    return lines


def _shops_in_error(merchant_id: int) -> list[Attention]:
    waiting = queries.waiting_updates(merchant_id)
    return [
        Attention(
            icon="shop",
            colour="bad",
            title=t("today.shop_error", shop=shop.name),
            text=t(
                "today.shop_error_text",
                n=waiting.get(shop.id, 0),
                since=words.moment(shop.error_since),
                error=shop.error or "",
            ),
            href=url_for("dashboard.shops.show", shop_id=shop.id),
            action=t("action.look"),
        )
        for shop in queries.shops(merchant_id)
        if shop.status == "error"
    ]


def _failed_updates(merchant_id: int, at: datetime) -> list[Attention]:
    failed = queries.failed_updates(merchant_id, at)
    if not failed:
        return []
    return [
        Attention(
            icon="warn",
            colour="bad",
            title=t("today.updates", n=len(failed)),
            text=t("today.updates_text"),
            href=_order_href(failed[0].order_id),
            action=t("action.look"),
            links=_links([(update.order_id, update.number) for update in failed]),
        )
    ]


def _stale_accounts(merchant_id: int, at: datetime) -> list[Attention]:
    """Without those whose access waits for somebody: one line a cause."""
    waiting = {row.id for row in bank_connections.needing_somebody(merchant_id)}
    return [
        Attention(
            icon="bank",
            colour="warn",
            title=t("today.stale", bank=account.name),
            text=t("today.stale_text", since=words.moment(account.at)),
            href=url_for("dashboard.statements.show_all"),
            action=t("action.upload"),
        )
        for account in queries.accounts_as_of(merchant_id, at)
        if account.is_stale and account.account.connection_id not in waiting
    ]


def _failed_statements(merchant_id: int, at: datetime) -> list[Attention]:
    found = queries.failed_statements(merchant_id, at)[:LINKS_SHOWN]
    return [
        _asked(one) if one.asks_columns or one.asks_account else _unreadable(one) for one in found
    ]


def _unreadable(statement: Statement) -> Attention:
    return Attention(
        icon="upload",
        colour="warn",
        title=t("today.statement", file=statement.filename),
        text=escape(sentences.say(statement.error or "").text),
        href=url_for("dashboard.statements.show", statement_id=statement.id),
        action=t("action.look"),
    )


def _asked(statement: Statement) -> Attention:
    """A table of unknown layout, or of an account that it does not name: a question, no failure."""
    what = "asks_columns" if statement.asks_columns else "asks_account"
    return Attention(
        icon="ask",
        colour="part",
        title=t("today.columns", file=statement.filename),
        text=t(f"statements.{what}"),
        href=url_for("dashboard.statements.show", statement_id=statement.id),
        action=t("statements.name_columns" if what == "asks_columns" else "action.look"),
    )


def _failed_mails(merchant_id: int, at: datetime) -> list[Attention]:
    failed = queries.failed_mails(merchant_id, at)
    if not failed:
        return []
    ids = {mail.order_id for mail in failed if mail.order_id}
    found = db.session.execute(
        select(Order.id, Order.number).where(Order.merchant_id == merchant_id, Order.id.in_(ids))
    )
    orders = {row[0]: row[1] for row in found}
    first = url_for("dashboard.orders.show_mail", mail_id=failed[0].id)
    return [
        Attention(
            icon="mail",
            colour="warn",
            title=t("today.mails", n=len(failed)),
            text=t("today.mails_text", recipient=failed[0].recipient),
            href=first,
            action=t("action.look"),
            links=_links(sorted(orders.items(), reverse=True)),
        )
    ]


def _links(orders: list[tuple[int, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((number, _order_href(order_id)) for order_id, number in orders[:LINKS_SHOWN])


def _order_href(order_id: int) -> str:
    return url_for("dashboard.orders.show", order_id=order_id)


# --- what happened last -----------------------------------------------------------------------


def _latest(merchant_id: int) -> list[dict[str, Any]]:
    """Orders that changed their status and statements that were read, the newest first."""
    changed = [
        {"at": event.at, "order": order, "after": event.facts["after"]}
        for event, order in queries.latest_events(merchant_id, ["status_changed"])
    ]
    read = [
        {"at": statement.finished_at, "statement": statement}
        for statement in queries.latest_statements(merchant_id)
    ]
    return sorted([*changed, *read], key=lambda one: one["at"], reverse=True)[
        : queries.EVENTS_SHOWN
    ]


# --- the chart --------------------------------------------------------------------------------


def _chart(days: list[DayOfChart]) -> dict[str, Any]:
    """The bars in the units of the drawing, and the lines behind them with their amounts."""
    highest = max((day.received for day in days), default=Decimal(0))
    top = _round_up(highest)
    step = CHART_WIDTH / len(days)
    bars = [
        {
            "day": day,
            "x": round(number * step + step / 6, 1),
            "width": round(step * 2 / 3, 1),
            "received": _height(day.received, top),
            "assigned": _height(day.assigned, top),
        }
        for number, day in enumerate(days)
        if day.received > 0
    ]
    lines = [top * number / CHART_LINES for number in range(CHART_LINES, -1, -1)]
    return {"bars": bars, "lines": lines, "width": CHART_WIDTH, "height": CHART_HEIGHT}


def _height(amount: Decimal, top: Decimal) -> float:
    return round(float(amount / top * CHART_HEIGHT), 1)


def _round_up(amount: Decimal) -> Decimal:
    """The next of 20, 40, 60, 80, 120, 200 ... that is at least this much: whole lines."""
    if amount <= 0:
        return Decimal(CHART_LINES)
    scale = Decimal(10) ** max(amount.adjusted(), 1)
    return next(factor * scale for factor in (2, 4, 6, 8, 12) if factor * scale >= amount)
