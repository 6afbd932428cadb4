"""Rendering: one function for every page, with what all of them show."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from flask import (
    Flask,
    Response,
    abort,
    g,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from markupsafe import Markup

from server.dashboard import bank_queries, queries, sentences, settings_queries, status, words
from server.dashboard.access import FORM_TOKEN_FIELD, THEMES, form_token, preference
from server.db import now
from server.merchants.service import settings_of
from server.orders.models import Assignment, Order, OrderEvent
from server.shops.models import Shop

STATIC = Path(__file__).parent / "static"
MAX_PAGE_PARAMETER = 200
MAX_COUNT_DIGITS = 6
MAX_ID_DIGITS = 18
MAX_LINE_LENGTH = 200
YEARS = range(1970, 2200)
WITH_AMOUNT = "_amount"


def page(template: str, code: int = 200, /, **facts: Any) -> Response:
    """A finished page with its status code."""
    frame = _frame() if g.get("user") is not None else {}
    return make_response(render_template(f"dashboard/{template}", **frame, **facts), code)


def part(template: str, **facts: Any) -> str:
    """A piece of a page, for htmx."""
    return render_template(f"dashboard/{template}", **facts)


def _frame() -> dict[str, Any]:
    """What stands around every page: what waits, how old the bank data is, which brakes are on."""
    in_use = settings_of(g.merchant_id)
    return {
        "postings_waiting": queries.waiting_count(g.merchant_id),
        "accounts_as_of": queries.accounts_as_of(g.merchant_id, now()),
        "is_shadow": in_use.assignment == "shadow",
        "stops_mails": in_use.stop_mails,
        "shops_in_test": settings_queries.shops_in_test(g.merchant_id, in_use.mode),
    }


@cache
def _version(name: str) -> str:
    return sha256((STATIC / name).read_bytes()).hexdigest()[:12]


def asset(name: str) -> str:
    """The address of a static file; it changes with the content, so browsers keep it for good."""
    return url_for("dashboard.static", filename=name, v=_version(name))


def theme() -> str | None:
    chosen = preference("theme")
    return chosen if chosen in THEMES else None


def keys_are_on() -> bool:
    return preference("keys") != "off"


def done() -> str | None:
    """What the reader just did, as the redirect after a form said; unknown words are ignored."""
    key = request.args.get("done", "")[:MAX_PAGE_PARAMETER]
    is_known = words.has_text(f"done.{key}") and not key.endswith(WITH_AMOUNT)
    return key if is_known else None


def said_done() -> Markup:
    """The sentence for it; with its number, where it counts."""
    return words.t(f"done.{done()}", n=count_done())


def count_done() -> int:
    """How many it was done to, as the redirect says."""
    count = request.args.get("n", "")
    return int(count) if count.isdecimal() and len(count) <= MAX_COUNT_DIGITS else 0


def typed_id(text: str | None) -> int:
    """An id as it came with a form or URL; 0, which nothing has, where it is none."""
    is_id = text is not None and text.isascii() and text.isdecimal() and len(text) <= MAX_ID_DIGITS
    return int(text) if is_id and text else 0


def asked_cursor(name: str) -> tuple[datetime, int] | None:
    """``<microseconds since 1970>-<id>``: where the page before ended; None if that is nowhere."""
    moment, _, row_id = request.args.get(name, "").partition("-")
    if not typed_id(moment) or not typed_id(row_id):
        return None
    try:
        return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(moment)), int(row_id)
    except OverflowError:
        return None


def cursor_text(at: datetime, row_id: int) -> str:
    """What ``asked_cursor`` reads."""
    return f"{(at - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)}-{row_id}"


def asked_shop() -> Shop | None:
    """The shop of the URL or form; None if it names none. 404 if it is another's."""
    wanted = request.values.get("shop")
    if not wanted:
        return None
    shop_id = typed_id(wanted)
    found = next((shop for shop in queries.shops(g.merchant_id) if shop.id == shop_id), None)
    return found or abort(404)


def asked_living_shop() -> Shop | None:
    """As ``asked_shop``; of one that was deregistered nothing can be changed: its page is shown
    instead (K12)."""
    shop = asked_shop()
    if shop is not None and shop.status == "deregistered":
        abort(redirect(url_for("dashboard.shops.show", shop_id=shop.id), 303))
    return shop


def plain(text: str) -> str:
    """What somebody typed into a field of one line."""
    return text.replace("\x00", "").strip()[:MAX_LINE_LENGTH]


def asked_day(name: str) -> date | None:
    """A date of the URL; None if there is none, or none that a filter can mean."""
    try:
        found = date.fromisoformat(request.args.get(name, ""))
    except ValueError:
        return None
    return found if found.year in YEARS else None


def register(app: Flask) -> None:
    """Words and formats for the templates."""
    app.jinja_env.globals.update(
        asset=asset,
        t=words.t,
        has_text=words.has_text,
        language=words.language,
        theme=theme,
        keys_are_on=keys_are_on,
        done=done,
        said_done=said_done,
        origin_of=origin_of,
        form_token=form_token,
        form_token_field=FORM_TOKEN_FIELD,
        order_badge=status.order_badge,
        refund_badge=status.refund_badge,
        batch_badge=status.batch_badge,
        shop_badge=status.shop_badge,
        update_badge=status.update_badge,
        mail_badge=status.mail_badge,
        posting_badge=status.posting_badge,
        order_word=status.order_word,
        reasons=sentences.reasons,
        say=sentences.say,
        bank_name=queries.bank_name,
        event_facts=event_facts,
        browser_name=browser_name,
    )
    app.jinja_env.filters.update(
        money=words.money,
        number=words.number,
        percent=words.percent,
        share=lambda share: words.percent(Decimal(str(share))),
        certainty=words.certainty,
        plain_amount=words.plain_amount,
        day=words.day,
        moment=words.moment,
        as_of=words.as_of,
        stamp=words.stamp,
        iban=words.iban,
        account_name=bank_queries.account_name,
        address=words.address,
        country=words.country,
        iso_day=lambda text: words.day(date.fromisoformat(text), "long"),
        whole_money=words.whole_money,
        whole=lambda amount: words.number(int(amount)),
    )


def origin_of(row: Assignment) -> str:
    """Who or what wrote a line of the ledger."""
    if row.origin in {"auto", "credit", "return"}:
        return str(words.t(f"origin.{row.origin}"))
    return row.decided_by


def event_facts(event: OrderEvent, order: Order) -> dict[str, str]:
    """The values of a line of the history; amounts are stored as decimal texts."""
    amounts = {"amount", "before", "after"}
    return {
        name: words.money(Decimal(value), order.currency) if name in amounts else str(value)
        for name, value in event.facts.items()
    }


_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("Firefox", "Firefox"),
    ("Chrom", "Chrome"),
    ("Safari", "Safari"),
)
_SYSTEMS = (
    ("Windows", "Windows"),
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Mac OS", "macOS"),
    ("Linux", "Linux"),
)


def browser_name(user_agent: str) -> str:
    """``Firefox auf Linux``, as far as the browser says."""
    browser = next((name for mark, name in _BROWSERS if mark in user_agent), None)
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), None)
    if browser is None:
        return str(words.t("account.unknown_browser"))
    return str(words.t("account.on", browser=browser, system=system)) if system else browser
