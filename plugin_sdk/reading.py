"""Values out of a shop's JSON, read with tolerance: real shops break their own schemas.

What is optional and unreadable is None, never a guess; it is the connector that refuses an order
when something is missing without which it means nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from plugin_sdk.currencies import CURRENCIES

AMOUNT_LIMIT = Decimal(10) ** 12  # the wire has room for twelve digits
CENT, THOUSANDTH = Decimal("0.01"), Decimal("0.001")
THREE_DECIMALS = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})  # of ISO 4217
MAX_EXPONENT = 16


def read_text(value: Any, longest: int) -> str | None:
    """Printable text of limited length, None for what is empty or no text at all."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = "".join(c for c in str(value) if c != "\x00" and not "\ud800" <= c <= "\udfff").strip()
    return text[:longest].strip() or None


def read_decimal(value: Any) -> Decimal | None:
    """A finite decimal from "53.31", 53 or 53.31 (by its shortest text, as it was printed)."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) < MAX_EXPONENT else None


def read_moment(value: Any) -> datetime | None:
    """A time of ISO 8601 in UTC; one without an offset is taken for UTC."""
    if not isinstance(value, str) or not value:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def read_currency(value: Any) -> str | None:
    """A code of ISO 4217 in capitals."""
    code = value.strip().upper() if isinstance(value, str) else ""
    return code if code in CURRENCIES else None


def read_objects(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; everything else in it is left out."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def read_object(value: Any) -> dict[str, Any]:
    """The object, or an empty one."""
    return value if isinstance(value, dict) else {}


def as_amount(value: Decimal, currency: str) -> Decimal:
    """Rounded to what can be transferred in the currency: cents, or thousandths."""
    smallest = THOUSANDTH if currency in THREE_DECIMALS else CENT
    return value.quantize(smallest, ROUND_HALF_UP)
