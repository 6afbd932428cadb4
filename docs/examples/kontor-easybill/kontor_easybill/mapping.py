"""An invoice of easybill as Kontor's order. Pure.

Amounts are whole cents, times are written without a zone and mean Berlin, and the state of an
invoice stands in several fields: ``status_of`` has the words for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from plugin_sdk.errors import Rejected
from plugin_sdk.reading import read_currency, read_decimal, read_object, read_objects, read_text
from plugin_sdk.schemas import MAX_ITEMS
from plugin_sdk.types import Address, Customer, Invoice, Item, Order, PaymentTerms

BERLIN = ZoneInfo("Europe/Berlin")
INVOICE = "INVOICE"
OPEN, PARTIALLY_PAID, PAID = "open", "partially_paid", "paid"
CANCELLED, ARCHIVED = "cancelled", "archived"
MAX_DAYS = 3650


def order_from(row: Mapping[str, Any]) -> Order:
    """One document of /documents. Raises Rejected naming what cannot be read."""
    external_id = document_id(row)
    currency = read_currency(row.get("currency") or "EUR")
    amount = cents(row, "amount")
    if currency is None or amount is None:
        raise Rejected(f"Invoice {external_id}: its amount or its currency cannot be read.")
    number = read_text(row.get("number"), 64) or external_id
    dated = _date(row.get("document_date"))
    customer = read_object(row.get("customer_snapshot"))
    return Order(
        external_id=external_id,
        number=number,
        ordered_at=_ordered_at(row, dated),
        currency=currency,
        total=Decimal(amount).scaleb(-2),
        payment_method=INVOICE,
        shop_status=status_of(row),
        customer=_customer(customer),
        billing_address=_address(customer, ""),
        shipping_address=_address(customer, "delivery_"),
        invoices=(Invoice(number, dated),),
        due_date=_date(row.get("due_date")),
        payment_terms=_terms(row),
        items=tuple(_items(row.get("items"))),
        references=tuple(_references(row)),
    )


def document_id(row: Mapping[str, Any]) -> str:
    """easybill's key of a document. Raises Rejected."""
    found = row.get("id")
    if isinstance(found, bool) or not isinstance(found, int):
        raise Rejected("easybill sent a document without an id.")
    return str(found)


def is_invoice(row: Mapping[str, Any]) -> bool:
    """Finished, and an invoice: a draft has no number yet."""
    return row.get("type") == INVOICE and not row.get("is_draft")


def status_of(row: Mapping[str, Any]) -> str:
    """One word for where an invoice stands."""
    if row.get("cancel_id"):
        return CANCELLED
    if row.get("paid_at"):
        return PAID
    if row.get("is_archive"):
        return ARCHIVED
    return PARTIALLY_PAID if (cents(row, "paid_amount") or 0) > 0 else OPEN


def cents(row: Mapping[str, Any], name: str) -> int | None:
    """A field that holds whole cents; None for anything else."""
    value = row.get(name)
    return None if isinstance(value, bool) or not isinstance(value, int) else value


def is_older_than(row: Mapping[str, Any], days: int, today: date) -> bool:
    """True for an invoice dated before that; one without a date is young."""
    dated = _date(row.get("document_date"))
    return dated is not None and (today - dated).days > days


def _ordered_at(row: Mapping[str, Any], dated: date | None) -> datetime:
    try:
        made = datetime.fromisoformat(str(row.get("created_at")))
    except ValueError:
        if dated is None:
            raise Rejected(f"Invoice {row.get('id')}: it has no date.") from None
        made = datetime(dated.year, dated.month, dated.day)  # noqa: DTZ001 - Berlin, see below
    return (made if made.tzinfo else made.replace(tzinfo=BERLIN)).astimezone(UTC)


def _customer(row: Mapping[str, Any]) -> Customer:
    emails = row.get("emails")
    first = emails[0] if isinstance(emails, list) and emails else None
    return Customer(
        number=read_text(row.get("number"), 64),
        email=read_text(first, 320),
        vat_id=read_text(row.get("vat_identifier"), 32),
    )


def _address(row: Mapping[str, Any], prefix: str) -> Address | None:
    names = ("first_name", "last_name", "company_name", "street", "zip_code", "city", "country")
    found = [read_text(row.get(f"{prefix}{name}"), 200) for name in names]
    if not any(found):
        return None
    first_name, last_name, company, street, postcode, city, country = found
    is_known = country is not None and len(country) == 2 and country.isascii()
    return Address(
        first_name=first_name,
        last_name=last_name,
        company=company,
        street=street,
        postcode=postcode[:32] if postcode else None,
        city=city,
        country=country.upper() if country and is_known else None,
        phone=None if prefix else read_text(row.get("phone_1"), 64),
    )


def _terms(row: Mapping[str, Any]) -> PaymentTerms | None:
    """Skonto ("cash allowance") and the days until the money is due."""
    percent, days = read_decimal(row.get("cash_allowance")), _days(row.get("cash_allowance_days"))
    net_days = _days(row.get("due_in_days"))
    if not percent or not days:
        return PaymentTerms(net_days=net_days) if net_days is not None else None
    return PaymentTerms(percent, days, net_days)


def _days(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= MAX_DAYS else None


def _items(rows: Any) -> Iterator[Item]:
    for row in read_objects(rows)[:MAX_ITEMS]:
        name = read_text(row.get("description"), 500)
        quantity = read_decimal(row.get("quantity"))
        if name:
            number = read_text(row.get("number"), 128)
            yield Item(name, quantity if quantity and quantity > 0 else Decimal(1), number)


def _references(row: Mapping[str, Any]) -> Iterator[str]:
    for name in ("external_id", "order_number"):
        found = read_text(row.get(name), 128)
        if found:
            yield found


def _date(value: Any) -> date | None:
    try:
        return date.fromisoformat(str(value)[:10])
    except ValueError:
        return None
