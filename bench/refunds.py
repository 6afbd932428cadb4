"""10,000 repayments to the bank: chosen, checked, written as one file, compared with ISO's schema.

One process, one database of its own. The file is pain.001.001.09; the schema comes with sepaxml.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib.resources import files
from pathlib import Path

from lxml import etree
from sqlalchemy import insert

from bench.house import IBANS
from server.banking.models import Posting
from server.banking.service import AccountTerms, add_account
from server.check_digits import make_iban
from server.db import db
from server.merchants.models import Merchant
from server.orders.models import Refund
from server.refunds import batches
from server.refunds.recognition import recognise

REPAYMENTS = 10_000
AT = datetime(2026, 3, 9, 9, tzinfo=UTC)
ACTOR = "anna@example.org"


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
        "a secret of thirty-two characters or more",
        ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",),
        log="ERROR",
    )
    app = create_app(settings)
    with app.app_context():
        merchant_id, account_id = _fill()
        ids = [row.id for row in batches.payable(merchant_id)[0].refunds]
        begun = time.perf_counter()
        batch = batches.make_batch(
            merchant_id, account_id, ids, channel="pain001", actor=ACTOR, at=AT
        )
        db.session.commit()
        made = time.perf_counter() - begun
        schema = etree.XMLSchema(
            etree.fromstring(files("sepaxml").joinpath("schemas/pain.001.001.09.xsd").read_bytes())
        )
        schema.assertValid(etree.fromstring(batch.content))
        checked = time.perf_counter() - begun
        batches.mark_batch_sent(batch, actor=ACTOR, at=AT)
        db.session.commit()
        closed = _close(merchant_id, account_id, batch.total)
        figures: dict[str, object] = {
            "repayments": batch.count,
            "chosen, checked and written, s": f"{made:.2f}",
            "and compared with the schema, s": f"{checked:.2f}",
            "the file, MB": f"{len(batch.content) / 1e6:.1f}",
            "closed by one debit for all, s": f"{closed:.2f}",
        }
        db.session.remove()
        db.engine.dispose()
    return figures


def _fill() -> tuple[int, int]:
    merchant = Merchant(name="Annas Antiquariat", language="de")
    db.session.add(merchant)
    db.session.flush()
    terms = AccountTerms(iban=IBANS[0], creditor_name="Annas Antiquariat")
    account = add_account(merchant.id, terms)
    db.session.flush()
    rows = [
        {
            "merchant_id": merchant.id,
            "amount": Decimal(500 + number % 9000).scaleb(-2),
            "currency": "EUR",
            "reference": f"R-{number:08d}-1",
            "reason": "Größe zu klein",
            "payee_name": "Erika Müller-Lüdenscheidt",
            "payee_iban": make_iban("DE", f"37040044{number:010d}"),
            "details_by": "bank",
            "status": "new",
            "holds": [],
            "is_automatic": False,
            "requested_at": AT,
            "requested_by": ACTOR,
            "changed_at": AT,
        }
        for number in range(REPAYMENTS)
    ]
    db.session.execute(insert(Refund), rows)
    db.session.commit()
    return merchant.id, account.id


def _close(merchant_id: int, account_id: int, total: Decimal) -> float:
    db.session.add(
        Posting(
            merchant_id=merchant_id,
            account_id=account_id,
            fingerprint="debit",
            booking_date=date(2026, 3, 10),
            amount=-total,
            currency="EUR",
            needs_match=True,
        )
    )
    db.session.commit()
    begun = time.perf_counter()
    while recognise(merchant_id, AT + timedelta(days=1)):
        db.session.commit()
    db.session.commit()
    taken = time.perf_counter() - begun
    open_ones = db.session.query(Refund).filter(Refund.status != "processed").count()
    assert open_ones == 0, "the debit closes all"
    return taken
