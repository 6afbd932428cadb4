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
    is_important: bool = False  # asks for money, sets a term or opens a door: sent twice, not never
    is_essential: bool = True  # to merchants: to the administrators if nobody chose it (K42)

    @property
    def is_optional(self) -> bool:
        """Whether a customer can do without it: with a link to unsubscribe (S11, S12)."""
        return self.footer == "optional"

    @property
    def facts(self) -> frozenset[str]:
        """Every name that its templates may show."""
        return self.required | self.optional | self.items


def _names(names: str) -> frozenset[str]:
    return frozenset(names.split())


_ANY = _names("recipient_name legal_line help_url")
_CODE = _names("girocode swiss_qr form_at form_ch is_structured")  # how a transfer is drawn
_TRANSFER = _names("creditor iban bic payment_reference payable_until") | _CODE
_DEMANDED = _names("shop_name order_number order_date amount_due creditor iban payment_reference")
_OF_DEMAND = (
    _ANY
    | _CODE
    | _names("bic payable_until prepayment page_url bank_as_of")
    | _names("invoice_number invoice_date received_total open_amount fees_total interest")
)
_PAYMENT = "shop_name order_number amount booked_on order_url posting_url"
_NOTICE = _names("recipient_name stop_url")
_OPTIONAL = _ANY | _names("unsubscribe_url page_url")


def _notice(
    tone: str, required: str, optional: str = "", *, items: str = "", is_essential: bool = True
) -> Kind:
    """What a merchant's people are told, and each of them can stop (K38)."""
    return Kind(
        reader="merchant",
        tone=tone,
        footer="notice",
        required=_names(required),
        optional=_NOTICE | _names(optional),
        items=_names(items),
        is_essential=is_essential,
    )


KINDS: Mapping[str, Kind] = {
    "payment_information": Kind(
        reader="customer",
        tone="info",
        footer="order",
        required=_DEMANDED,
        optional=_ANY
        | _CODE
        | _names("bic payable_until prepayment invoice_number due_on sent_again page_url")
        | _names("amount_changed previous_amount discount_amount discount_until"),
        is_important=True,
    ),
    "payment_received": Kind(
        reader="customer",
        tone="good",
        footer="optional",
        required=_names("shop_name order_number order_date received_total payments"),
        optional=_OPTIONAL | _names("prepayment"),
        items=_names("received_on amount"),
    ),
    "partially_paid": Kind(
        reader="customer",
        tone="info",
        footer="order",
        required=_names(
            "shop_name order_number order_date order_total received_total payments amount_due"
        ),
        optional=_ANY | _TRANSFER | _names("settled_otherwise prepayment page_url"),
        items=_names("received_on amount"),
    ),
    "overpaid": Kind(
        reader="customer",
        tone="good",
        footer="optional",
        required=_names("shop_name order_number order_date received_total received_on surplus"),
        optional=_OPTIONAL | _names("order_total prepayment"),
    ),
    "reminder": Kind(
        reader="customer",
        tone="info",
        footer="order",
        required=_DEMANDED,
        optional=_OF_DEMAND,
        is_important=True,
    ),
    "dunning_notice": Kind(
        reader="customer",
        tone="warn",
        footer="order",
        required=_DEMANDED | _names("level"),
        optional=_OF_DEMAND | _names("is_last fee"),
        is_important=True,
    ),
    "cod_enquiry": Kind(
        reader="customer",
        tone="info",
        footer="order",
        required=_names("shop_name order_number order_date order_total"),
        optional=_ANY | _names("page_url"),
        is_important=True,
    ),
    "order_cancelled": Kind(
        reader="customer",
        tone="info",
        footer="order",
        required=_names("shop_name order_number order_date order_total"),
        optional=_ANY | _names("page_url"),
        is_important=True,
    ),
    "order_overdue": Kind(
        reader="customer",
        tone="warn",
        footer="order",
        required=_names("shop_name order_number order_date amount_due"),
        optional=_ANY | _TRANSFER | _names("page_url received_total invoice_number"),
        is_important=True,
    ),
    "more_time_answer": Kind(
        reader="customer",
        tone="info",
        footer="order",
        required=_names("shop_name order_number order_date amount_due"),
        optional=_ANY | _TRANSFER | _names("page_url granted_until is_refused"),
        is_important=True,
    ),
    "refund_announced": Kind(
        reader="customer",
        tone="info",
        footer="optional",
        required=_names("shop_name order_number order_date refund_amount"),
        optional=_OPTIONAL
        | _names("refund_iban refund_holder refund_on reason confirm_url change_url answer_until"),
    ),
    "refund_executed": Kind(
        reader="customer",
        tone="good",
        footer="optional",
        required=_names("shop_name order_number order_date refund_amount refunded_on"),
        optional=_OPTIONAL | _names("refund_iban refund_holder reason"),
    ),
    "bank_details_request": Kind(
        reader="customer",
        tone="info",
        footer="order",
        required=_names("shop_name order_number order_date refund_amount page_url"),
        optional=_ANY | _names("reason answer_until"),
        is_important=True,
    ),
    "direct_debit_announced": Kind(
        reader="customer",
        tone="info",
        footer="order",
        required=_names(
            "shop_name order_number order_date amount_due debit_on mandate_id creditor_id"
        ),
        optional=_ANY | _names("creditor debtor_iban invoice_number"),
        is_important=True,
    ),
    "order_received": _notice(
        "info",
        "shop_name order_number amount order_url",
        "customer payment_method",
        is_essential=False,
    ),
    "order_paid": _notice(
        "good", "shop_name order_number amount order_url", "customer booked_on", is_essential=False
    ),
    "order_partially_paid": _notice(
        "info",
        "shop_name order_number amount amount_open order_url",
        "customer booked_on",
        is_essential=False,
    ),
    "order_overpaid": _notice(
        "info",
        "shop_name order_number amount surplus order_url",
        "customer booked_on",
        is_essential=False,
    ),
    "payment_for_manual_order": _notice(
        "good",
        "shop_name order_number amount order_url",
        "customer payer booked_on amount_open posting_url",
    ),
    "mails_failed": _notice(
        "warn", "count mails mails_url", "single rest", items="recipient kind words mail_url"
    ),
    "domain_broken": _notice("warn", "domain problem page_url", "since"),
    "transfer_failed": _notice(
        "warn", "shop_name order_number payment_status since order_url", "reason"
    ),
    "shop_error": _notice("warn", "shop_name since shop_settings_url", "reason"),
    "shop_disabled": _notice("warn", "shop_name since shop_settings_url", "reason"),
    "relay_quota_low": _notice("warn", "threshold page_url", "left ends_on"),
    "callback_failing": _notice("warn", "url since reason page_url", "is_gone"),
    "payment_for_cancelled": _notice(
        "warn", _PAYMENT, "customer payer overdue is_assigned shop_told"
    ),
    "payment_for_removed": _notice("warn", _PAYMENT, "customer payer is_assigned"),
    "payment_returned": _notice("warn", _PAYMENT, "customer payer reason amount_open shop_told"),
    "postings_need_you": _notice(
        "warn",
        "count postings postings_url",
        "single rest",
        items="booked_on payer amount purpose likely_order posting_url",
    ),
    "differences_booked": _notice(
        "info",
        "count differences orders_url",
        "single rest",
        items="order_number customer amount difference because order_url",
    ),
    "orders_cancelled": _notice(
        "info",
        "count orders orders_url",
        "single rest",
        items="order_number customer amount order_url is_overdue",
    ),
    "orders_to_collection": _notice(
        "warn",
        "count orders orders_url",
        "single rest",
        items="order_number customer amount order_url",
    ),
    "run_waits": _notice("warn", "count usual run_url"),
    "reminders_held": _notice("warn", "reasons waiting_count settings_url", items="subject since"),
    "customer_says_paid": _notice(
        "info",
        "shop_name order_number amount order_url",
        "customer paid_on message has_proof paused_until",
    ),
    "more_time_asked": _notice(
        "info",
        "shop_name order_number amount asked_until order_url",
        "customer message paused_until",
    ),
    "removals_wait": _notice("warn", "shop_name count open_count review_url"),
    "bank_needs_you": _notice("warn", "bank_name bank_url"),
    "postings_recognised": _notice("info", "pattern count received_total postings_url"),
    "bank_consent_ends": _notice("info", "bank_name ends_on bank_url"),
    "password_reset": Kind(
        reader="merchant",
        tone="info",
        footer="account",
        required=_names("email reset_url valid_until"),
        optional=_names("recipient_name"),
        is_important=True,
    ),
    "invitation": Kind(
        reader="merchant",
        tone="info",
        footer="account",
        required=_names("email merchant_name invited_by invitation_url valid_until"),
        optional=_names("recipient_name"),
        is_important=True,
    ),
}
