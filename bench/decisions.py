"""How fast postings are decided: in memory beside orders of several counts, and in the database.

One process and one core. What is counted is deciding with evidence from postings and orders that
are read already, keys built; then a statement matched and booked in Postgres.
"""

from __future__ import annotations

import gc
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import text, update

from bench.matching.generate import Set, set_of
from bench.matching.names import person as name_of
from plugin_sdk.schemas import OrderSchema
from server.banking.models import BankAccount, Posting
from server.db import db
from server.mail.models import Mail
from server.match import read_order, read_posting
from server.matching.rules import MemoryStore, OpenOrder, PostingFacts, decide
from server.merchants.models import Merchant
from server.orders.intake import Arrival, receive_orders
from server.orders.models import Assignment, Order
from server.orders.receiver import receiver_of
from server.shops.models import Shop

STYLE = "prefixed"
POSTINGS = 3_000
PAID_AMONG = 2_000
FIRST_OTHER = 300_000
COUNTS = (1_000, 2_000, 100_000)
BOOKED_BESIDE = 100_000
STATEMENT = 50
BOOKED = 1_000
ROUNDS = 5
AT_ONCE = 100
AT = datetime(2026, 11, 21, 9, tzinfo=UTC)


def run() -> dict[str, object]:
    figures: dict[str, object] = {}
    costs = {}
    for count in COUNTS:
        made = _set(count, POSTINGS)
        postings = [read_posting(line, at) for at, line in enumerate(made.postings)]
        began = time.process_time()
        orders = [read_order(line, at) for at, line in enumerate(made.orders)]
        reading = time.process_time() - began
        costs[count] = _seconds_a_posting(postings, orders)
        figures[f"beside {count} open orders, postings/s"] = round(1 / costs[count])
    figures["orders read and keys built, orders/s"] = round(len(orders) / reading)
    figures[f"cost a posting, {COUNTS[-1]} orders / {COUNTS[0]}"] = round(
        costs[COUNTS[-1]] / costs[COUNTS[0]], 2
    )
    return figures | _booked()


def _set(open_orders: int, postings: int) -> Set:
    """A generated set, with so many more orders of other people that nobody pays."""
    made = set_of(STYLE, 77, min(open_orders, PAID_AMONG), postings)
    rng = Random(77)
    patterns = [line for line in made.orders if line.get("payment_status") == "unpaid"]
    others = []
    for number in range(open_orders - len(patterns)):
        pattern, person = rng.choice(patterns), name_of(rng)
        address = pattern["billing_address"] | {
            "first_name": person.first_name,
            "last_name": person.last_name,
            "company": person.company,
        }
        others.append(
            pattern
            | {
                "external_id": f"other-{number}",
                "number": f"SHOP-{FIRST_OTHER + number}",
                "total": f"{rng.randrange(500, 30_000) / 100:.2f}",
                "billing_address": address,
                "shipping_address": None,
                "customer": {"email": f"other{number}@example.org"},
                "invoices": [],
            }
        )
    return replace(made, orders=[*made.orders, *others])


def _seconds_a_posting(postings: Sequence[PostingFacts], orders: Sequence[OpenOrder]) -> float:
    """Process time, the best of some rounds, each with a store of its own."""
    best = float("inf")
    for _ in range(ROUNDS):
        store = MemoryStore(orders)
        gc.collect()
        began = time.process_time()
        decide(postings, store)
        best = min(best, time.process_time() - began)
    return best / len(postings)


# --- in the database ----------------------------------------------------------------------------


def _booked() -> dict[str, object]:
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

    settings = Settings(database_url, "redis://127.0.0.1:1", "x" * 32, ("A" * 43 + "=",))
    made = _set(BOOKED_BESIDE, BOOKED + STATEMENT)
    app = create_app(settings)
    with app.app_context():
        merchant = _merchant(made)
        first, statement = _match(merchant, made.postings[:STATEMENT])
        rest, booking = _match(merchant, made.postings[STATEMENT:])
        db.session.remove()
        db.engine.dispose()
    postings = len(made.postings) - STATEMENT
    return {
        f"a statement of {STATEMENT} beside {BOOKED_BESIDE} orders, seconds until booked": round(
            statement, 2
        ),
        "of them booked": first,
        f"matched and booked in Postgres beside {BOOKED_BESIDE} orders, postings/s": round(
            postings / booking
        ),
        "of them booked, of": f"{rest} of {postings}",
    }


def _merchant(made: Set) -> BankAccount:
    """The orders of the set, managed, in the database."""
    merchant = Merchant(name="Bench")
    db.session.add(merchant)
    db.session.flush()
    account = BankAccount(
        merchant_id=merchant.id,
        iban=made.postings[0]["account_iban"],
        creditor_name="Bench",
        is_payee=True,
    )
    shop = Shop(
        merchant_id=merchant.id,
        name="Bench",
        system="other",
        status="connected",
        connected_at=datetime(2020, 1, 1, tzinfo=UTC),
        mapping={"prepayment": {"methods": ["bacs"], "open_statuses": ["on-hold"]}},
    )
    db.session.add_all([account, shop])
    db.session.commit()
    schema = OrderSchema()
    lines = [line for line in made.orders if line.get("payment_status") == "unpaid"]
    for start in range(0, len(lines), AT_ONCE):
        some = [_pushed(line) for line in lines[start : start + AT_ONCE]]
        receive_orders(
            receiver_of(shop.id), [Arrival(schema.load(line), line) for line in some], AT
        )
        db.session.commit()
    db.session.execute(update(Mail).values(status="done"))  # they were asked long ago
    db.session.execute(update(Order).values(needs_match=False))  # and no posting waited for them
    db.session.commit()
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))  # as the server does by itself meanwhile
    return account


def _pushed(line: Mapping[str, Any]) -> dict[str, Any]:
    read_by_match = ("payment_status", "paid_total")
    told = {name: value for name, value in line.items() if name not in read_by_match}
    return told | {"payment_method": "bacs", "shop_status": "on-hold"}


def _match(account: BankAccount, lines: Sequence[Mapping[str, Any]]) -> tuple[int, float]:
    """Stores the postings and matches until nothing waits: how many were booked, in seconds."""
    from server.matching.service import match_postings

    for at, line in enumerate(lines):
        facts = replace(read_posting(line, at), id=at)
        db.session.add(
            Posting(
                merchant_id=account.merchant_id,
                account_id=account.id,
                fingerprint=f"{line['id']}",
                booking_date=facts.booking_date,
                value_date=facts.value_date,
                amount=facts.amount,
                currency=facts.currency,
                counterparty_name=facts.counterparty_name,
                counterparty_iban=facts.counterparty_iban,
                remittance_information=facts.remittance_information,
                creditor_reference=facts.creditor_reference,
                end_to_end_id=facts.end_to_end_id,
                is_return=facts.is_return,
                is_pending=facts.is_pending,
                is_batch_total=facts.is_batch_total,
                is_open=(facts.amount or 0) > 0,
            )
        )
    before = db.session.query(Assignment.posting_id).distinct().count()
    db.session.commit()
    began = time.perf_counter()
    while match_postings(account.merchant_id, AT):
        db.session.commit()
    db.session.commit()
    seconds = time.perf_counter() - began
    return db.session.query(Assignment.posting_id).distinct().count() - before, seconds
