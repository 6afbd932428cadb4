"""Rows for tests: valid by default, so a test says only what it is about.

Personas: merchant *Annas Antiquariat*, customer *Erika Mustermann*, stranger *Bob*.
Everything is committed: a view that answers with an error rolls back.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from argon2 import PasswordHasher

from plugin_sdk.schemas import OrderSchema
from server.banking.models import BankAccount, Posting
from server.db import db, now
from server.merchants import service as merchants
from server.merchants.models import ApiKey, Merchant, User
from server.orders.intake import Arrival, receive_orders
from server.orders.models import Order
from server.orders.receiver import receiver_of
from server.shops.models import Shop

IBAN = "DE02120300000000202051"
CONNECTED_AT = datetime(2026, 1, 1, tzinfo=UTC)
AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
MAPPING: dict[str, Any] = {
    "prepayment": {
        "methods": ["bacs"],
        "open_statuses": ["on-hold", "pending"],
        "paid_status": "processing",
        "cancelled_status": "cancelled",
    },
    "invoice": {
        "methods": ["invoice"],
        "open_statuses": ["on-hold", "processing"],
        "paid_status": "completed",
    },
    "cash_on_delivery": {
        "methods": ["cod"],
        "open_statuses": ["processing"],
        "paid_status": "completed",
    },
}
_count = itertools.count(1)
_QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def today() -> date:
    """Where the merchants of the tests live; in the evening, UTC is a day behind."""
    return now().astimezone(ZoneInfo("Europe/Berlin")).date()


def make_merchant(name: str = "Annas Antiquariat", *, account: bool = True) -> Merchant:
    """With a bank account that customers pay to, unless ``account`` is False."""
    merchant = Merchant(name=name, language="de")
    db.session.add(merchant)
    db.session.commit()
    if account:
        make_account(merchant)
    return merchant


def make_account(merchant: Merchant, iban: str = IBAN) -> BankAccount:
    row = BankAccount(
        merchant_id=merchant.id,
        iban=iban,
        bic="BYLADEM1001",
        creditor_name=merchant.name,
        is_payee=True,
    )
    db.session.add(row)
    db.session.commit()
    return row


def make_user(
    merchant: Merchant, email: str = "anna@example.org", password: str | None = None
) -> User:
    row = User(
        merchant_id=merchant.id,
        email=email,
        name="Anna",
        language="de",
        password_hash=_QUICK.hash(password) if password else None,
    )
    db.session.add(row)
    db.session.commit()
    return row


def make_shop(merchant: Merchant, name: str = "Laden", **over: Any) -> Shop:
    values: dict[str, Any] = {
        "system": "woocommerce",
        "url": "https://shop.example.org",
        "status": "connected",
        "connected_at": CONNECTED_AT,
        "default_mapping": MAPPING,
    }
    row = Shop(merchant_id=merchant.id, name=name, **(values | over))
    db.session.add(row)
    db.session.commit()
    return row


def make_key(
    merchant: Merchant, scope: str = "shop", shop: Shop | None = None
) -> tuple[ApiKey, str]:
    """The row and the text of a key."""
    shop_id = shop.id if shop else None
    made = merchants.create_api_key(merchant.id, scope=scope, name="test", shop_id=shop_id)
    db.session.commit()
    return made


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def wire_order(**over: Any) -> dict[str, Any]:
    """An order as JSON; every call gives another id and number."""
    number = next(_count)
    order: dict[str, Any] = {
        "external_id": str(number),
        "number": f"AA-{10_000 + number * 37}",
        "ordered_at": "2026-03-01T10:00:00+00:00",
        "currency": "EUR",
        "total": "19.90",
        "payment_method": "bacs",
        "shop_status": "on-hold",
        "customer": {"email": "erika@example.org", "language": "de"},
        "billing_address": {
            "first_name": "Erika",
            "last_name": "Mustermann",
            "street": "Heidestraße 17",
            "postcode": "51147",
            "city": "Köln",
            "country": "DE",
        },
    }
    return order | over


def make_order(shop: Shop, *, at: datetime = AT, **over: Any) -> Order:
    """Received like any other order, so keys and mails are there."""
    raw = wire_order(**over)
    receive_orders(receiver_of(shop.id), [Arrival(OrderSchema().load(raw), raw)], at)
    db.session.commit()
    found = db.session.query(Order).filter_by(shop_id=shop.id, external_id=raw["external_id"])
    return found.one()


def make_posting(merchant: Merchant, amount: str = "19.90", text: str = "", **over: Any) -> Posting:
    account = db.session.query(BankAccount).filter_by(merchant_id=merchant.id).first()
    money = Decimal(amount)
    values: dict[str, Any] = {
        "account_id": (account or make_account(merchant)).id,
        "fingerprint": hashlib.sha256(random.randbytes(16)).hexdigest()[:32],
        "booking_date": date(2026, 3, 5),
        "value_date": date(2026, 3, 5),
        "currency": "EUR",
        "counterparty_name": "Erika Mustermann",
        "counterparty_iban": "DE89370400440532013000",
        "remittance_information": text,
        "is_open": money > 0,
        "needs_match": money > 0,
    }
    row = Posting(merchant_id=merchant.id, amount=money, **(values | over))
    db.session.add(row)
    db.session.commit()
    return row
