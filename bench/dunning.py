"""The daily run over very many open orders, of which a few are due.

One process, one database of its own, slices committed as the worker does, without its rests.
"""

from __future__ import annotations

import resource
import shutil
import tempfile
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from sqlalchemy import text

from bench.house import IBANS, order
from plugin_sdk.schemas import OrderSchema
from server.banking.models import Posting
from server.banking.service import AccountTerms, add_account
from server.db import db
from server.dunning import runs
from server.dunning.calendar import Calendar
from server.dunning.models import DunningRun
from server.mail.models import Mail
from server.merchants.models import Merchant
from server.orders.models import Order, Reminder
from server.shops.models import Shop

OPEN_ORDERS = 100_000
DUE_SHARE = 50  # one in fifty
YOUNG, OLD = timedelta(days=3), timedelta(days=9)

_COLUMNS = """merchant_id, shop_id, ordered_at, currency, total, payment_method, payment_code,
    shop_status, customer_name, customer_email, language, search, wire, content_hash,
    payment_status, is_managed, needs_match, created_at, changed_at, sync, fee_total"""
_CLONE_ORDERS = f"""
    INSERT INTO "order" (external_id, number, payment_reference, {_COLUMNS})
    SELECT 'c' || n, 'C-' || n, 'C' || n, {
    _COLUMNS.replace(
        "ordered_at",
        "CASE WHEN n % :due_share = 0 THEN CAST(:old AS timestamptz) ELSE ordered_at END",
    )
}
    FROM "order" CROSS JOIN generate_series(1, :count) AS n WHERE "order".id = :id
"""
_CLONE_MAILS = r"""
    INSERT INTO mail (merchant_id, shop_id, order_id, once, kind, language, recipient, facts, theme,
        sender_name, sender_address, message_id, status, attempts, created_at, due_at)
    SELECT mail.merchant_id, mail.shop_id, one.id, 'order\:' || one.id || '\:payment_information',
        mail.kind, mail.language, mail.recipient, mail.facts, mail.theme, mail.sender_name,
        mail.sender_address, 'c' || one.id, 'done', 1, one.ordered_at, one.ordered_at
    FROM mail CROSS JOIN "order" AS one WHERE mail.order_id = :id AND one.id <> :id
"""


def run() -> dict[str, object]:
    from server import migrations
    from server.embedded import Embedded

    home = Path(tempfile.mkdtemp(prefix="kontor-bench-", dir="/tmp"))
    home.chmod(0o755)
    services = Embedded(home, lambda _: None)
    services.start(redis=False)
    try:
        migrations.upgrade(services.database_url)
        return _measure(services.database_url)
    finally:
        services.stop()
        shutil.rmtree(home, ignore_errors=True)


def _measure(database_url: str) -> dict[str, object]:
    from server.app import create_app
    from server.config import Settings

    settings = Settings(
        database_url,
        "redis://127.0.0.1:1",
        "x" * 32,
        ("A" * 43 + "=",),
        mail_from="Kontor <system@kontor.example.org>",
    )
    with create_app(settings).app_context():
        at = _good_morning()
        merchant_id = _fill(at)
        before = _peak_megabytes()
        looking = _timed(lambda: runs.preview_counts(merchant_id, at))
        busy = time.process_time()
        first = _timed(lambda: _play(merchant_id, at))
        busy = time.process_time() - busy
        again = _timed(lambda: _play(merchant_id, at))
        sent = db.session.query(Reminder).count()
        assert sent == OPEN_ORDERS // DUE_SHARE, sent
        assert sent == db.session.query(Mail).filter_by(kind="reminder").count()
        return {
            f"open orders, of which {sent:,} are due": f"{OPEN_ORDERS:,}",
            "daily run (goal: under 60 s)": f"{first:.1f} s",
            "processor time of it, without the database's": f"{busy:.1f} s",
            "the same run once more": f"{again:.1f} s",
            "preview of it": f"{looking:.1f} s",
            "peak memory grew by": f"{_peak_megabytes() - before:.0f} MB",
        }


def _good_morning() -> datetime:
    """The next day on which reminders go out, at ten."""
    day = Calendar("DE").next_good_day(datetime.now(UTC).date())
    return datetime(day.year, day.month, day.day, 10, tzinfo=UTC)


def _fill(at: datetime) -> int:
    """A merchant with many copies of one order, its mail sent, and a bank that was just heard."""
    from server.orders.intake import Arrival, receive_orders
    from server.orders.receiver import receiver_of

    merchant = Merchant(name="Bench")
    db.session.add(merchant)
    db.session.flush()
    account = add_account(merchant.id, AccountTerms(IBANS[0], "", "Bench"))
    shop = Shop(
        merchant_id=merchant.id,
        name="Shop",
        system="woocommerce",
        status="connected",
        connected_at=at - timedelta(days=90),
        default_mapping={"prepayment": {"methods": ["bacs"], "open_statuses": ["on-hold"]}},
    )
    db.session.add(shop)
    db.session.flush()
    raw = order("template", "T-1") | {"ordered_at": (at - YOUNG).isoformat()}
    receive_orders(receiver_of(shop.id), [Arrival(OrderSchema().load(raw), raw)], at - YOUNG)
    template = db.session.query(Order).one()
    values = {"id": template.id, "count": OPEN_ORDERS, "due_share": DUE_SHARE, "old": at - OLD}
    db.session.execute(text(_CLONE_ORDERS), values)
    db.session.execute(text(_CLONE_MAILS), {"id": template.id})
    db.session.execute(text("DELETE FROM mail WHERE order_id = :id"), {"id": template.id})
    db.session.execute(text("DELETE FROM order_key WHERE order_id = :id"), {"id": template.id})
    db.session.execute(text('DELETE FROM "order" WHERE id = :id'), {"id": template.id})
    heard = Posting(
        merchant_id=merchant.id,
        account_id=account.id,
        fingerprint="x",
        amount=Decimal(-1),
        currency="EUR",
        needs_match=False,
        created_at=at,
    )
    db.session.add(heard)
    db.session.commit()
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    return merchant.id


def _play(merchant_id: int, at: datetime) -> None:
    run = runs.ask_run(merchant_id, actor="", at=at)
    run.released_at, run.released_by = at, "bench"  # somebody has clicked already
    db.session.commit()
    assert isinstance(run, DunningRun)
    while runs.step(run, at):
        db.session.commit()
    db.session.commit()
    assert run.status == "done", run.status


def _timed(action: object) -> float:
    began = time.perf_counter()
    action()  # type: ignore[operator]
    return time.perf_counter() - began


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
