"""The wire format, once. The server and every connector load and dump with these.

Amounts are strings with a point ("19.90"), times ISO 8601 with an offset, dates ISO 8601.
An unknown key is an error that names it: a typo must not lose a field silently.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

from marshmallow import (
    RAISE,
    Schema,
    ValidationError,
    fields,
    post_dump,
    post_load,
    validate,
    validates_schema,
)

from plugin_sdk import types
from plugin_sdk.currencies import CURRENCIES

MAX_DECIMALS = 3  # the most that a currency of ISO 4217 in use has (KWD, TND)
MAX_NUMBER_LENGTH = 40
MAX_ITEMS = 500
MAX_REFERENCES = 50
BATCH_LIMIT = 100
MAX_DISCOVERED = 200
MAX_COMPARE_SECONDS = 7 * 86_400
MAX_PAYOUT_PARTS = 10_000


class Amount(fields.String):
    """A decimal string. Numbers are refused as well as exponents: 0.1 has no exact float.

    ``positive``: no amount below zero.
    """

    def __init__(self, *, positive: bool = False, **kwargs: Any) -> None:
        minus = "" if positive else "-?"
        self._pattern = rf"^{minus}[0-9]{{1,12}}(\.[0-9]{{1,{MAX_DECIMALS}}}0*)?$"
        super().__init__(metadata={"pattern": self._pattern, "example": "19.90"}, **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(value, str) or len(value) > MAX_NUMBER_LENGTH:
            raise ValidationError('Not an amount: a string such as "19.90" is wanted.')
        if not re.fullmatch(self._pattern.replace("$", r"\Z"), value):
            raise ValidationError(
                'Not an amount: a string such as "19.90" is wanted'
                f"{', not below zero' if value.startswith('-') else ''}, with at most"
                f" {MAX_DECIMALS} decimals."
            )
        return amount_with_cents(Decimal(value))

    def _serialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return None if value is None else amount_text(value)


def amount_with_cents(amount: Decimal) -> Decimal:
    """The same value with two decimals, or three where it needs them: 5 becomes 5.00."""
    exponent = amount.normalize().as_tuple().exponent
    assert isinstance(exponent, int), "amounts are finite"
    return amount.quantize(Decimal(1).scaleb(-max(2, -exponent)))


def amount_text(amount: Decimal) -> str:
    """Decimal(5) as "5.00"; never an exponent."""
    return f"{amount_with_cents(amount):f}"


class Exact(fields.String):
    """A decimal string that is no amount: percent, rate, quantity."""

    PATTERN = r"^-?[0-9]{1,12}(\.[0-9]{1,12})?$"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(metadata={"pattern": self.PATTERN, "example": "2.5"}, **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        wanted = self.PATTERN.replace("$", r"\Z")
        if not isinstance(value, str) or not re.fullmatch(wanted, value):
            raise ValidationError('Not a decimal: a string such as "2.5" is wanted.')
        return Decimal(value)

    def _serialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return None if value is None else f"{value:f}"


class Text(fields.String):
    """Printable text of limited length; NUL cannot be stored and is refused."""

    def __init__(self, longest: int, shortest: int = 0, **kwargs: Any) -> None:
        self.longest, self.shortest = longest, shortest
        checks: list[Callable[[str], Any]] = [
            validate.Length(min=shortest, max=longest),
            _no_nul,
        ]
        super().__init__(validate=checks, **kwargs)


def _no_nul(value: str) -> None:
    if "\x00" in value:
        raise ValidationError("A NUL character cannot be stored.")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ValidationError("A lone surrogate is no character.")


class WireSchema(Schema):
    """Loads into ``makes``; absent and null are the same; None is not dumped."""

    makes: Callable[..., Any]

    class Meta:
        unknown = RAISE

    @post_load
    def _make(self, loaded: dict[str, Any], **_: Any) -> Any:
        made = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in loaded.items()
            if value is not None
        }
        return self.makes(**made)

    @post_dump
    def _leave_out_nothing_known(self, dumped: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {name: value for name, value in dumped.items() if value is not None}


class CustomerSchema(WireSchema):
    makes = types.Customer

    number = Text(64, allow_none=True)
    email = Text(320, allow_none=True)
    language = Text(35, allow_none=True)
    vat_id = Text(32, allow_none=True)
    salutation = Text(64, allow_none=True)


class AddressSchema(WireSchema):
    makes = types.Address

    first_name = Text(200, allow_none=True)
    last_name = Text(200, allow_none=True)
    company = Text(200, allow_none=True)
    street = Text(300, allow_none=True)
    postcode = Text(32, allow_none=True)
    city = Text(200, allow_none=True)
    country = fields.String(
        allow_none=True,
        validate=validate.Regexp(r"[A-Z]{2}\Z", error="Two capital letters (ISO 3166-1)."),
    )
    phone = Text(64, allow_none=True)


class InvoiceSchema(WireSchema):
    makes = types.Invoice

    number = Text(64, 1, required=True)
    date = fields.Date(allow_none=True)


def _is_percent(value: Decimal) -> None:
    if not 0 <= value <= 100:
        raise ValidationError("A percentage is from 0 to 100.")


class PaymentTermsSchema(WireSchema):
    makes = types.PaymentTerms

    discount_percent = Exact(allow_none=True, validate=_is_percent)
    discount_days = fields.Integer(
        strict=True, allow_none=True, validate=validate.Range(min=0, max=3650)
    )
    net_days = fields.Integer(
        strict=True, allow_none=True, validate=validate.Range(min=0, max=3650)
    )


class ItemSchema(WireSchema):
    makes = types.Item

    number = Text(128, allow_none=True)
    name = Text(500, required=True)
    quantity = Exact(load_default=Decimal(1))


class Currency(fields.String):
    """An ISO 4217 code, in capitals."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(validate=_known_currency, **kwargs)


def _known_currency(value: str) -> None:
    if value not in CURRENCIES:
        raise ValidationError(f"{value[:8]!r} is no currency of ISO 4217.")


class OrderSchema(WireSchema):
    """wire.Order. ``payment_status`` and ``paid_total`` are for `match` and refused here."""

    makes = types.Order

    external_id = Text(64, 1, required=True)
    number = Text(64, 1, required=True)
    ordered_at = fields.AwareDateTime(required=True)
    currency = Currency(required=True)
    total = Amount(required=True, positive=True)
    payment_method = Text(128, allow_none=True)
    payment_code = fields.Enum(types.PaymentCode, by_value=True, allow_none=True)
    shop_status = Text(128, allow_none=True)
    customer = fields.Nested(CustomerSchema, allow_none=True)
    billing_address = fields.Nested(AddressSchema, allow_none=True)
    shipping_address = fields.Nested(AddressSchema, allow_none=True)
    invoices = fields.List(fields.Nested(InvoiceSchema), validate=validate.Length(max=20))
    due_date = fields.Date(allow_none=True)
    reminder_base_date = fields.Date(allow_none=True)
    payment_terms = fields.Nested(PaymentTermsSchema, allow_none=True)
    foreign_total = Amount(allow_none=True, positive=True)
    foreign_currency = Currency(allow_none=True)
    exchange_rate = Exact(allow_none=True)
    items = fields.List(fields.Nested(ItemSchema), validate=validate.Length(max=MAX_ITEMS))
    tracking_numbers = fields.List(Text(128, 1), validate=validate.Length(max=MAX_REFERENCES))
    references = fields.List(Text(128, 1), validate=validate.Length(max=MAX_REFERENCES))


class PaymentUpdateSchema(WireSchema):
    makes = types.PaymentUpdate

    id = Text(64, 1, required=True)
    external_id = Text(64, 1, required=True)
    number = Text(64, 1, required=True)
    payment_status = fields.Enum(types.PaymentStatus, by_value=True, required=True)
    paid_total = Amount(required=True)
    currency = Currency(required=True)
    intent = fields.Enum(types.Intent, by_value=True, required=True)
    shop_status = Text(128, allow_none=True)
    open_statuses = fields.List(Text(128, 1), validate=validate.Length(max=MAX_REFERENCES))
    attempt = fields.Integer(strict=True, validate=validate.Range(min=1))
    created_at = fields.AwareDateTime(required=True)


class AcknowledgementSchema(WireSchema):
    makes = types.Acknowledgement

    outcome = fields.Enum(types.Outcome, by_value=True, required=True)
    reason = Text(2000, allow_none=True)
    shop_status = Text(128, allow_none=True)
    retry_after_seconds = fields.Integer(
        strict=True, allow_none=True, validate=validate.Range(min=0, max=86_400)
    )


class OrderRequestSchema(WireSchema):
    makes = types.OrderRequest

    id = Text(64, 1, required=True)
    external_id = Text(64, 1, allow_none=True)
    number = Text(64, 1, allow_none=True)

    @validates_schema
    def _names_one(self, loaded: dict[str, Any], **_: Any) -> None:
        if (loaded.get("external_id") is None) == (loaded.get("number") is None):
            raise ValidationError("Exactly one of external_id and number is wanted.")


class RequestAnswerSchema(WireSchema):
    makes = types.RequestAnswer

    outcome = fields.Enum(types.RequestOutcome, by_value=True, required=True)
    order = fields.Nested(OrderSchema, allow_none=True)
    reason = Text(2000, allow_none=True)

    @validates_schema
    def _found_is_shown(self, loaded: dict[str, Any], **_: Any) -> None:
        is_found = loaded.get("outcome") is types.RequestOutcome.FOUND
        if is_found != (loaded.get("order") is not None):
            raise ValidationError("An order goes with 'found', and only with it.", "order")


class RefundRequestSchema(WireSchema):
    makes = types.RefundRequest

    amount = Amount(required=True, positive=True)
    reason = Text(140, allow_none=True)
    external_reference = Text(64, 1, allow_none=True)
    planned_for = fields.Date(allow_none=True)
    payee_name = Text(140, 1, allow_none=True)
    payee_iban = Text(42, 5, allow_none=True)


class RefundSchema(WireSchema):
    makes = types.Refund

    reference = Text(35, 1, required=True)
    external_reference = Text(64, allow_none=True)
    amount = Amount(required=True)
    currency = Currency(required=True)
    reason = Text(140)
    status = Text(24, 1, required=True)
    planned_for = fields.Date(allow_none=True)
    requested_at = fields.AwareDateTime(required=True)
    processed_at = fields.AwareDateTime(allow_none=True)
    error = fields.String(allow_none=True)


class OrderResultSchema(WireSchema):
    makes = partial(types.OrderResult, external_id=None)

    index = fields.Integer(strict=True, required=True)
    external_id = Text(64, allow_none=True, required=True)
    outcome = fields.String(
        required=True,
        validate=validate.OneOf(
            ["created", "updated", "unchanged", "not_managed", "ignored", "invalid"]
        ),
    )
    problem = fields.String(allow_none=True)


class PayoutPartSchema(WireSchema):
    makes = types.PayoutPart

    kind = fields.Enum(types.PayoutKind, by_value=True, required=True)
    gross = Amount(required=True)
    fee = Amount(load_default=Decimal(0))
    external_id = Text(64, 1, allow_none=True)
    reference = Text(64, 1, allow_none=True)
    booked_at = fields.AwareDateTime(allow_none=True)
    note = Text(500, allow_none=True)


class PayoutSchema(WireSchema):
    makes = types.Payout

    id = Text(64, 1, required=True)
    paid_at = fields.AwareDateTime(required=True)
    amount = Amount(required=True)
    currency = Currency(required=True)
    parts = fields.List(
        fields.Nested(PayoutPartSchema),
        required=True,
        validate=validate.Length(max=MAX_PAYOUT_PARTS),
    )
    bank_reference = Text(140, allow_none=True)
    account_digits = Text(8, allow_none=True)

    @validates_schema
    def _adds_up(self, loaded: dict[str, Any], **_: Any) -> None:
        if sum((part.net for part in loaded["parts"]), Decimal(0)) != loaded["amount"]:
            raise ValidationError("The parts do not add up to the amount.", "parts")


class CodeMappingSchema(WireSchema):
    makes = types.CodeMapping

    methods = fields.List(Text(128, 1), validate=validate.Length(max=100))
    open_statuses = fields.List(Text(128, 1), validate=validate.Length(max=100))
    paid_status = Text(128, allow_none=True)
    cancelled_status = Text(128, allow_none=True)
    overdue_status = Text(128, allow_none=True)
    collection_status = Text(128, allow_none=True)


class ShopMethodSchema(WireSchema):
    makes = types.ShopMethod

    code = Text(128, 1, required=True)
    name = Text(200, required=True)


class DiscoverySchema(WireSchema):
    makes = types.Discovery

    payment_methods = fields.List(
        fields.Nested(ShopMethodSchema), validate=validate.Length(max=MAX_DISCOVERED)
    )
    statuses = fields.List(
        fields.Nested(ShopMethodSchema), validate=validate.Length(max=MAX_DISCOVERED)
    )
    currency = Currency(allow_none=True)
    version = Text(64, allow_none=True)


class HeartbeatSchema(WireSchema):
    makes = types.Heartbeat

    wire_version = fields.Integer(strict=True, load_default=types.WIRE_VERSION)
    connector = Text(64, 1, required=True)
    connector_version = Text(64, 1, required=True)
    capabilities = fields.List(Text(64, 1), validate=validate.Length(max=50))
    mapping = fields.String(allow_none=True, validate=validate.OneOf(["pinned"]))
    last_error = Text(2000, allow_none=True)
    defaults = fields.Dict(
        keys=fields.Enum(types.PaymentCode, by_value=True),
        values=fields.Nested(CodeMappingSchema),
    )
    discovery = fields.Nested(DiscoverySchema, allow_none=True)
    compare_seconds = fields.Integer(
        strict=True, allow_none=True, validate=validate.Range(min=1, max=MAX_COMPARE_SECONDS)
    )
