"""The kinds of mail: who reads each, which facts it states and which it may leave out.

A file of its own because it grows with the product and is read by whoever writes a mail, while
``rules.py`` is how any mail is made of its facts. A fact that is absent shows nothing; one that
is only asked for ("yes" or nothing) chooses sentences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """Who reads it, which facts it states and which it may leave out."""

    reader: str  # customer | merchant
    tone: str  # colour of the line above the title: info | good | warn
    footer: str  # why the reader gets it: order | optional | notice | account
    required: frozenset[str]
    optional: frozenset[str]
    items: frozenset[str] = frozenset()  # facts of one item where a fact is a list


def _names(names: str) -> frozenset[str]:
    return frozenset(names.split())


_ANY = _names("recipient_name legal_line help_url")
_TRANSFER = _names("creditor iban bic payment_reference payable_until girocode")
_DEMANDED = _names("shop_name order_number order_date amount_due creditor iban payment_reference")
_OF_DEMAND = (
    _ANY
    | _names("bic payable_until girocode prepayment page_url bank_as_of")
    | _names("invoice_number invoice_date received_total open_amount fees_total interest")
)
_PAYMENT = _names("shop_name order_number amount booked_on order_url posting_url")

KINDS: Mapping[str, Kind] = {
    "payment_information": Kind(
        reader="customer",
        tone="info",
        footer="order",
        required=_DEMANDED,
        optional=_ANY
        | _names("bic payable_until prepayment girocode invoice_number due_on sent_again")
        | _names("amount_changed previous_amount discount_amount discount_until"),
    ),
    "payment_received": Kind(
        reader="customer",
        tone="good",
        footer="optional",
        required=_names("shop_name order_number order_date received_total payments"),
        optional=_ANY | _names("prepayment unsubscribe_url"),
        items=_names("received_on amount"),
    ),
    "partially_paid": Kind(
        reader="customer",
        tone="info",
        footer="order",
        required=_names(
            "shop_name order_number order_date order_total received_total payments amount_due"
        ),
        optional=_ANY | _TRANSFER | _names("settled_otherwise prepayment"),
        items=_names("received_on amount"),
    ),
    "overpaid": Kind(
        reader="customer",
        tone="good",
        footer="optional",
        required=_names("shop_name order_number order_date received_total received_on surplus"),
        optional=_ANY | _names("order_total prepayment unsubscribe_url"),
    ),
    "reminder": Kind(
        reader="customer",
        tone="info",
        footer="order",
        required=_DEMANDED,
        optional=_OF_DEMAND,
    ),
    "dunning_notice": Kind(
        reader="customer",
        tone="warn",
        footer="order",
        required=_DEMANDED | _names("level"),
        optional=_OF_DEMAND | _names("is_last fee"),
    ),
    "cod_enquiry": Kind(
        reader="customer",
        tone="info",
        footer="order",
        required=_names("shop_name order_number order_date order_total"),
        optional=_ANY | _names("page_url"),
    ),
    "order_cancelled": Kind(
        reader="customer",
        tone="info",
        footer="order",
        required=_names("shop_name order_number order_date order_total"),
        optional=_ANY | _names("page_url"),
    ),
    "transfer_failed": Kind(
        reader="merchant",
        tone="warn",
        footer="notice",
        required=_names("shop_name order_number payment_status since order_url"),
        optional=_names("recipient_name reason"),
    ),
    "shop_error": Kind(
        reader="merchant",
        tone="warn",
        footer="notice",
        required=_names("shop_name since shop_settings_url"),
        optional=_names("recipient_name reason"),
    ),
    "payment_for_cancelled": Kind(
        reader="merchant",
        tone="warn",
        footer="notice",
        required=_PAYMENT,
        optional=_names("recipient_name customer payer overdue is_assigned shop_told"),
    ),
    "payment_for_removed": Kind(
        reader="merchant",
        tone="warn",
        footer="notice",
        required=_PAYMENT,
        optional=_names("recipient_name customer payer is_assigned"),
    ),
    "payment_returned": Kind(
        reader="merchant",
        tone="warn",
        footer="notice",
        required=_PAYMENT,
        optional=_names("recipient_name customer payer reason amount_open shop_told"),
    ),
    "postings_need_you": Kind(
        reader="merchant",
        tone="warn",
        footer="notice",
        required=_names("count postings postings_url"),
        optional=_names("recipient_name single rest"),
        items=_names("booked_on payer amount purpose likely_order posting_url"),
    ),
    "differences_booked": Kind(
        reader="merchant",
        tone="info",
        footer="notice",
        required=_names("count differences orders_url"),
        optional=_names("recipient_name single rest"),
        items=_names("order_number customer amount difference because order_url"),
    ),
    "orders_cancelled": Kind(
        reader="merchant",
        tone="info",
        footer="notice",
        required=_names("count orders orders_url"),
        optional=_names("recipient_name single rest"),
        items=_names("order_number customer amount order_url is_overdue"),
    ),
    "orders_to_collection": Kind(
        reader="merchant",
        tone="warn",
        footer="notice",
        required=_names("count orders orders_url"),
        optional=_names("recipient_name single rest"),
        items=_names("order_number customer amount order_url"),
    ),
    "run_waits": Kind(
        reader="merchant",
        tone="warn",
        footer="notice",
        required=_names("count usual run_url"),
        optional=_names("recipient_name"),
    ),
    "reminders_held": Kind(
        reader="merchant",
        tone="warn",
        footer="notice",
        required=_names("reasons waiting_count settings_url"),
        optional=_names("recipient_name"),
        items=_names("subject since"),
    ),
    "customer_says_paid": Kind(
        reader="merchant",
        tone="info",
        footer="notice",
        required=_names("shop_name order_number amount order_url"),
        optional=_names("recipient_name customer paid_on message has_proof paused_until"),
    ),
    "removals_wait": Kind(
        reader="merchant",
        tone="warn",
        footer="notice",
        required=_names("shop_name count open_count review_url"),
        optional=_names("recipient_name"),
    ),
    "bank_needs_you": Kind(
        reader="merchant",
        tone="warn",
        footer="notice",
        required=_names("bank_name bank_url"),
        optional=_names("recipient_name"),
    ),
    "postings_recognised": Kind(
        reader="merchant",
        tone="info",
        footer="notice",
        required=_names("pattern count received_total postings_url"),
        optional=_names("recipient_name"),
    ),
    "bank_consent_ends": Kind(
        reader="merchant",
        tone="info",
        footer="notice",
        required=_names("bank_name ends_on bank_url"),
        optional=_names("recipient_name"),
    ),
    "password_reset": Kind(
        reader="merchant",
        tone="info",
        footer="account",
        required=_names("email reset_url valid_until"),
        optional=_names("recipient_name"),
    ),
    "invitation": Kind(
        reader="merchant",
        tone="info",
        footer="account",
        required=_names("email merchant_name invited_by invitation_url valid_until"),
        optional=_names("recipient_name"),
    ),
}
