"""What becomes of every column that can hold words: it goes with the customer, or it stays.

Pure. The one list that the erasure, the documentation and a test stand on: a column of a new table
that is not named here fails the test, so nobody adds a place for names without a rule for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any, Final
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class TableRule:
    """``goes``: may tell whose order it was, and is emptied or deleted with the customer.

    ``stays``: codes, numbers, statuses and hashes, and what is the merchant's or his people's own.
    Together they are all columns of texts, bytes, JSON and lists.
    """

    goes: frozenset[str]
    stays: frozenset[str]


def _rule(goes: str = "", stays: str = "") -> TableRule:
    return TableRule(frozenset(goes.split()), frozenset(stays.split()))


TABLES: Final[Mapping[str, TableRule]] = {
    # the merchant, his people and his settings
    "merchant": _rule(stays="name language timezone"),
    "user": _rule(stays="email name language password_hash"),
    "user_session": _rule(stays="token_hash user_agent"),
    "one_time_link": _rule(stays="token_hash"),
    "api_key": _rule(stays="id scope name secret_hash"),
    "setting_change": _rule(stays="name value changed_by decided_by"),
    "idempotency_key": _rule(goes="body", stays="api_key_id key request_hash"),
    "notice_choice": _rule(stays="kind"),
    # shops
    "shop": _rule(
        goes="error",
        stays="name system url status mapping default_mapping language sender_name sender_address"
        " reply_to look connector connector_version capabilities discovery error_source",
    ),
    "payment_update": _rule(
        goes="error",
        stays="external_id number payment_status currency intent shop_status open_statuses outcome"
        " status",
    ),
    "order_request": _rule(goes="error", stays="external_id number asked_by outcome status"),
    "shop_connection": _rule(
        goes="error", stays="connector settings state webhook_hash login_hash status"
    ),
    "order_hint": _rule(stays="external_id"),
    # mail
    "mail": _rule(
        goes="recipient facts subject html text smtp_response headers delivery_words error",
        stays="kind language redirected_to once theme sender_name sender_address reply_to"
        " message_id delivery sent_via failure status",
    ),
    "mail_report": _rule(goes="words raw", stays="kind status_code digest"),
    "mail_host": _rule(goes="because", stays="host"),
    "suppression": _rule(
        goes="address evidence", stays="address_hash kind reason created_by ended_by"
    ),
    "mail_text": _rule(stays="kind language words created_by"),
    "picture": _rule(stays="token content_type content"),
    "sending_domain": _rule(goes="error", stays="name report status"),
    "dkim_key": _rule(stays="selector private_key public_key status"),
    # letters
    "letter": _rule(
        goes="recipient facts enclosed pdf delivery_words error",
        stays="kind language country once look cost_currency service service_reference delivery"
        " actor cancelled_by status",
    ),
    "print_service": _rule(goes="error", stays="adapter settings prices currency changed_by"),
    # the bank
    "bank_account": _rule(
        stays="iban bic creditor_name creditor_address qr_iban currency label for_countries"
        " for_currencies for_shops payout_iban payout_name"
    ),
    "bank_connection": _rule(
        goes="error",
        stays="bank_code bank_name url user_name tan_method tan_medium credentials dialog health"
        " step found status",
    ),
    "statement": _rule(
        goes="filename content problems error",
        stays="content_hash source account_iban columns uploaded_by status",
    ),
    "statement_period": _rule(stays="source number"),
    "account_day": _rule(),
    "csv_layout": _rule(stays="header_key columns"),
    "posting": _rule(
        goes="counterparty_name counterparty_iban counterparty_bic remittance_information"
        " creditor_reference end_to_end_id mandate_id bank_reference return_reason particulars"
        " keys",
        stays="fingerprint source currency transaction_code ignored_by ignored_because",
    ),
    "posting_alias": _rule(stays="fingerprint"),
    "ignore_rule": _rule(goes="value", stays="kind created_by"),
    "account_movement": _rule(goes="reference", stays="kind created_by"),
    # callbacks: of orders they name numbers, amounts and statuses, never a person; those that
    # tell of a mail to a person go as a whole
    "callback_url": _rule(stays="url secret old_secret created_by off_because"),
    "callback": _rule(
        goes="answer error",
        stays="number kind payment_status message_id body queued_by outcome status",
    ),
    # orders
    "order": _rule(
        goes="customer_name customer_email search wire content_hash additional_name"
        " additional_number",
        stays="external_id number currency payment_method payment_code shop_status language"
        " payment_reference payment_status gone_evidence held_removal sync",
    ),
    "invoice": _rule(goes="pdf", stays="number"),
    "order_key": _rule(goes="key", stays="kind"),
    "assignment": _rule(goes="evidence", stays="because origin decided_by"),
    "credit": _rule(goes="customer_name customer_email customer_number", stays="mode kept_by"),
    "reminder": _rule(stays="actor"),
    "payment_claim": _rule(goes="message", stays="settled_by"),
    "deferral_request": _rule(goes="message", stays="status decided_by"),
    "proof": _rule(goes="filename content findings", stays="media_type"),
    "refund": _rule(
        goes="reason payee_name payee_iban payee_bic error",
        stays="currency reference external_reference details_by status holds requested_by"
        " approved_by",
    ),
    "refund_batch": _rule(
        goes="content error step dialog",
        stays="channel status message_id currency created_by sent_by",
    ),
    "collection_case": _rule(
        goes="partner_url error",
        stays="adapter partner_name partner_reference currency state handed_over_by status",
    ),
    "collection_event": _rule(goes="words", stays="kind state partner_event actor"),
    "collection_partner": _rule(
        goes="error", stays="adapter name contact_name contact_phone settings changed_by"
    ),
    "suggestion": _rule(goes="orders evidence vetoes"),
    "match_request": _rule(goes="error", stays="status"),
    "order_event": _rule(goes="facts", stays="kind actor"),
    # matching and reminders
    "match_decision": _rule(
        goes="evidence", stays="choice shares runner_up vetoes level mode rule_version"
    ),
    "forgotten_payer": _rule(goes="payer", stays="forgotten_by"),
    "dunning_run": _rule(
        goes="error", stays="origin actor released_by due_ids listed did hindered status"
    ),
    "base_rate": _rule(stays="country"),
    # the relay
    "relay_connection": _rule(stays="name user_name password_hash old_password_hash created_by"),
    "relay_domain": _rule(stays="list_help"),
    "relay_message": _rule(
        goes="subject content",
        stays="origin client_address client_name sender header_from domain message_id",
    ),
    "relay_delivery": _rule(
        goes="recipient smtp_response delivery_words error",
        stays="failure sent_via delivery status",
    ),
    "relay_event": _rule(goes="words", stays="kind code host"),
    "relay_stat": _rule(stays="domain"),
    "relay_plan": _rule(stays="name"),
    "relay_account": _rule(),
    "relay_entry": _rule(stays="kind words actor"),
}

KEPT_OF_WIRE: Final = (
    "external_id",
    "number",
    "ordered_at",
    "currency",
    "total",
    "payment_method",
    "payment_code",
    "shop_status",
    "invoices",
    "due_date",
    "reminder_base_date",
    "payment_terms",
    "foreign_total",
    "foreign_currency",
    "exchange_rate",
)
KEPT_FACTS: Final = frozenset(
    "after amount assignment_id because before cancelled_at case_id channel currency day fee fees"
    " fields holds interest kind letter letter_id level mail mode number order_id paid posting_id"
    " reference refund_id run_id shop_status state status until".split()
)
"""What a line of the history may keep. Of everything else only the name stays, so that its
sentence can still be said."""
TYPED_FACTS: Final = frozenset({"additional_set"})
"""Lines of which every fact was typed about the customer, whatever it is called."""
LONGEST_CODE: Final = 4
"""A bank's reason of a return is a code of so many characters, or words."""
MONTHS_A_YEAR: Final = 12


def kept_of_wire(wire: Mapping[str, Any]) -> dict[str, Any]:
    """An order as the shop told it, without the person: numbers, amounts, dates and countries."""
    kept: dict[str, Any] = {name: wire[name] for name in KEPT_OF_WIRE if name in wire}
    for name in ("billing_address", "shipping_address"):
        country = (wire.get(name) or {}).get("country")
        if country:
            kept[name] = {"country": country}
    return kept


def kept_facts(kind: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a line of the history that stay; names that do not are there with ""."""
    keeps = frozenset[str]() if kind in TYPED_FACTS else KEPT_FACTS
    return {name: value if name in keeps else "" for name, value in facts.items()}


def months_before(at: datetime, months: int, zone: str) -> datetime:
    """The beginning of the merchant's day so many months ago; of a shorter month its last day.

    Everything from before it is older than ``months``. ``at`` is aware.
    """
    today = at.astimezone(ZoneInfo(zone)).date()
    ordinal = today.year * MONTHS_A_YEAR + today.month - 1 - months
    year, month = divmod(ordinal, MONTHS_A_YEAR)
    day = today.day
    while True:
        try:
            found = date(year, month + 1, day)
        except ValueError:
            day -= 1
            continue
        return datetime.combine(found, time.min, ZoneInfo(zone)).astimezone(UTC)
