"""What waits for a person: one line each, with the way to deal with it.

``attention_orders`` has those of an order's life; here are money, banks, shops and mails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from flask import url_for
from markupsafe import Markup, escape

from server.banking.models import Statement
from server.dashboard import (
    bank_connections,
    mail_log_queries,
    order_mails,
    queries,
    sentences,
    words,
)
from server.dashboard.words import t
from server.mail.models import Mail

LINKS_SHOWN = 3
FAILED_SHOWN = 100


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


def lines(merchant_id: int, at: datetime) -> list[Attention]:
    """The urgent things first: what stops money from being seen, then what stops telling it."""
    return [
        *_waiting_postings(merchant_id),
        *_banks_that_wait(merchant_id),
        *_shops_in_error(merchant_id),
        *_disabled_shops(merchant_id),
        *_failed_updates(merchant_id, at),
        *_stale_accounts(merchant_id, at),
        *_failed_statements(merchant_id, at),
        *_failed_mails(merchant_id, at),
    ]


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


def _disabled_shops(merchant_id: int) -> list[Attention]:
    """Those that Kontor disabled; whoever pauses one knows of it."""
    return [
        Attention(
            icon="shop",
            colour="bad",
            title=t("today.shop_disabled", shop=shop.name),
            text=t(
                "today.shop_disabled_text",
                since=words.moment(shop.error_since),
                error=shop.error or "",
            ),
            href=url_for("dashboard.shops.show", shop_id=shop.id),
            action=t("action.look"),
        )
        for shop in queries.shops(merchant_id)
        if shop.status == "disabled" and shop.error_since is not None
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
            href=order_href(failed[0].order_id),
            action=t("action.look"),
            links=links([(update.order_id, update.number) for update in failed]),
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
    """Mails to customers that failed, came back or are uncertain, as the digest tells them."""
    failed = mail_log_queries.failed_this_week(merchant_id, at, FAILED_SHOWN)
    if not failed:
        return []
    orders = mail_log_queries.numbers_of(merchant_id, failed)
    fate = order_mails.fate_of(failed[0])
    return [
        Attention(
            icon="mail",
            colour="warn",
            title=t("today.mails", n=len(failed)),
            text=t(
                "today.mails_text",
                recipient=failed[0].recipient,
                why=fate.why or fate.said or fate.badge.word,
            ),
            href=url_for("dashboard.mails.show_all", state="wrong", reader="customer"),
            action=t("action.look"),
            links=links(_newest_first(failed, orders)),
        )
    ]


def _newest_first(mails: list[Mail], numbers: Mapping[int, str]) -> list[tuple[int, str]]:
    """The orders of the mails, each once, that of the mail that is named in the text first."""
    ids = dict.fromkeys(mail.order_id for mail in mails if mail.order_id in numbers)
    return [(order_id, numbers[order_id]) for order_id in ids if order_id is not None]


def links(orders: list[tuple[int, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((number, order_href(order_id)) for order_id, number in orders[:LINKS_SHOWN])


def order_href(order_id: int) -> str:
    return url_for("dashboard.orders.show", order_id=order_id)
