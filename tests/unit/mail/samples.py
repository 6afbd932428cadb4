"""Facts of every kind for Annas Antiquariat and its customer Erika Mustermann."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from server.mail.kinds import KINDS
from server.mail.languages import day, language_of, money
from server.mail.rules import Facts, payment_facts
from server.mail.theme import KONTOR, Theme

IBAN = "DE89370400440532013000"  # the example account of the German IBAN literature
BIC = "COBADEFFXXX"
REFERENCE = "K4WX7P9MQ2"
GIROCODE = (
    "BCD\n002\n1\nSCT\nCOBADEFFXXX\nAnnas Antiquariat\nDE89370400440532013000\n"
    "EUR1284.60\n\n\nK4WX7P9MQ2"
)
SWISS_IBAN = "CH9300762011623852957"  # the example account of the Swiss IBAN literature
SWISS_QR = (
    "SPC\n0200\n1\nCH9300762011623852957\nS\nAnnas Antiquariat\nMusterweg\n7\n8000\nZürich\nCH\n"
    "\n\n\n\n\n\n\n1284.60\nCHF\n\n\n\n\n\n\n\nNON\n\nK4WX7P9MQ2\nEPD"
)
ANTIQUARIAT = Theme(primary="#7a2e2e", header_background="#3d1f1c", header_text="#f6ead9")


def theme_for(kind: str) -> Theme:
    """The shop's for its customers; Kontor's for merchants and for what is of no kind."""
    to_customer = kind in KINDS and KINDS[kind].reader == "customer"
    return ANTIQUARIAT if to_customer else KONTOR


def facts_of_change(language: str) -> dict[str, str]:
    """What a payment information states besides, if the amount changed and a discount is given."""
    return {
        "amount_changed": "yes",
        "previous_amount": money(Decimal("1399.90"), "EUR", language),
        "due_on": day(date(2026, 12, 14), language),
        "discount_amount": money(Decimal("1258.91"), "EUR", language),
        "discount_until": day(date(2026, 11, 24), language),
        "invoice_number": "R-2026-118",
    }


def facts_of_swiss_account(edition: str) -> dict[str, str]:
    """What a payment information states of an account in Switzerland, instead of the usual."""
    return {
        **payment_facts(
            language=edition,
            amount=Decimal("1284.60"),
            currency="CHF",
            creditor="Annas Antiquariat",
            iban=SWISS_IBAN,
            bic="",
            payment_reference=REFERENCE,
            payable_until=date(2026, 11, 28),
        ),
        "girocode": "",
        "swiss_qr": SWISS_QR,
        "form_ch": "yes",
    }


def facts_for(kind: str, language: str) -> Facts:
    """Facts of a kind in an edition."""
    german = language_of(language) == "de"
    legal = "Annas Antiquariat · Inhaberin Anna Beispiel · Musterweg 7 · 12345 Beispielstadt"
    order: Facts = {
        "recipient_name": "Erika Mustermann",
        "shop_name": "Annas Antiquariat",
        "order_number": "10482",
        "order_date": day(date(2026, 11, 14), language),
        "prepayment": "yes",
        "legal_line": legal,
        "help_url": "https://kontor.example.org/why",
    }
    merchant = {"recipient_name": "Anna Beispiel"}
    payment = {
        **merchant,
        "shop_name": "Annas Antiquariat",
        "order_number": "10482",
        "customer": "Erika Mustermann",
        "amount": money(Decimal("1284.60"), "EUR", language),
        "payer": "Max Mustermann",
        "booked_on": day(date(2026, 11, 18), language),
        "order_url": "https://kontor.example.org/orders/482",
        "posting_url": "https://kontor.example.org/postings/9001",
    }
    total = Decimal("1284.60")
    demand: Facts = {
        **order,
        "prepayment": "",
        **payment_facts(
            language=language,
            amount=Decimal("1291.60"),
            currency="EUR",
            creditor="Annas Antiquariat",
            iban=IBAN,
            bic=BIC,
            payment_reference=REFERENCE,
        ),
        "girocode": GIROCODE.replace("1284.60", "1291.60"),
        "invoice_number": "R-2026-118",
        "invoice_date": day(date(2026, 11, 16), language),
        "bank_as_of": day(date(2026, 12, 9), language),
        "page_url": "https://kontor.example.org/o/4nB8wK2t8fQ2vX7n",
    }
    by_kind: dict[str, Facts] = {
        **_of_customers(language, order, demand),
        **_of_refunds(language, order),
        **_of_dunning(language, merchant),
        **_of_events(language, payment),
        "payment_information": {
            **order,
            "page_url": "https://kontor.example.org/o/7hC3mQ9xT5rB2kWd",
            **payment_facts(
                language=language,
                amount=total,
                currency="EUR",
                creditor="Annas Antiquariat",
                iban=IBAN,
                bic=BIC,
                payment_reference=REFERENCE,
                payable_until=date(2026, 11, 28),
            ),
            "girocode": GIROCODE,
        },
        "payment_received": {
            **order,
            "page_url": "https://kontor.example.org/o/7hC3mQ9xT5rB2kWd",
            "received_total": money(total, "EUR", language),
            "payments": [
                {
                    "received_on": day(date(2026, 11, 17), language),
                    "amount": money(Decimal(1000), "EUR", language),
                },
                {
                    "received_on": day(date(2026, 11, 18), language),
                    "amount": money(Decimal("284.60"), "EUR", language),
                },
            ],
            "unsubscribe_url": "https://kontor.example.org/unsubscribe/4nB8wK2t",
        },
        "partially_paid": {
            **order,
            "page_url": "https://kontor.example.org/o/7hC3mQ9xT5rB2kWd",
            "order_total": money(total, "EUR", language),
            "received_total": money(Decimal(1200), "EUR", language),
            "payments": [
                {
                    "received_on": day(date(2026, 11, 17), language),
                    "amount": money(Decimal(1000), "EUR", language),
                },
                {
                    "received_on": day(date(2026, 11, 18), language),
                    "amount": money(Decimal(200), "EUR", language),
                },
            ],
            **payment_facts(
                language=language,
                amount=Decimal("84.60"),
                currency="EUR",
                creditor="Annas Antiquariat",
                iban=IBAN,
                bic=BIC,
                payment_reference=REFERENCE,
            ),
            "girocode": GIROCODE.replace("1284.60", "84.60"),
        },
        "overpaid": {
            **order,
            "page_url": "https://kontor.example.org/o/7hC3mQ9xT5rB2kWd",
            "order_total": money(total, "EUR", language),
            "received_total": money(Decimal(1300), "EUR", language),
            "received_on": day(date(2026, 11, 17), language),
            "surplus": money(Decimal("15.40"), "EUR", language),
            "unsubscribe_url": "https://kontor.example.org/unsubscribe/4nB8wK2t",
        },
        "payment_for_cancelled": payment,
        "payment_for_removed": {**payment, "is_assigned": "yes"},
        "payment_returned": {
            **payment,
            "reason": "Konto aufgelöst (AC04)" if german else "account closed (AC04)",
            "amount_open": money(total, "EUR", language),
            "shop_told": "yes",
        },
        "postings_need_you": {
            **merchant,
            "count": "14",
            "rest": "11",
            "postings": [
                {
                    "booked_on": day(date(2026, 11, 18), language),
                    "payer": "Erika Mustermann",
                    "amount": money(total, "EUR", language),
                    "purpose": "Rechnung 10482 vom 14.11.2026, danke",
                    "likely_order": "10482",
                    "posting_url": "https://kontor.example.org/postings/9001",
                },
                {
                    "booked_on": day(date(2026, 11, 18), language),
                    "payer": "Bergbau-Versorgungskasse Musterstadt Beispielkreis-Süd, Zahlstelle 4",
                    "amount": money(Decimal("123456.78"), "EUR", language),
                    "purpose": "SAMMELÜBERWEISUNG/KD4711000815/RE10482UNDRE10483UNDRE10484ABZ…",
                    "likely_order": "10482, 10483, 10484",
                    "posting_url": "https://kontor.example.org/postings/9002",
                },
                {
                    "booked_on": day(date(2026, 11, 17), language),
                    "payer": "",
                    "amount": money(Decimal("19.90"), "EUR", language),
                    "purpose": "",
                    "likely_order": "",
                    "posting_url": "https://kontor.example.org/postings/9003",
                },
            ],
            "postings_url": "https://kontor.example.org/postings",
        },
        "differences_booked": {
            **merchant,
            "count": "2",
            "differences": [
                {
                    "order_number": "10482",
                    "customer": "Erika Mustermann",
                    "amount": money(Decimal("1258.91"), "EUR", language),
                    "difference": money(Decimal("-25.69"), "EUR", language),
                    "because": "Skonto" if german else "cash discount",
                    "order_url": "https://kontor.example.org/orders/482",
                },
                {
                    "order_number": "10490",
                    "customer": "",
                    "amount": "",
                    "difference": "+" + money(Decimal("0.05"), "EUR", language),
                    "because": "in Ihrer Toleranz" if german else "within your tolerance",
                    "order_url": "https://kontor.example.org/orders/490",
                },
            ],
            "orders_url": "https://kontor.example.org/orders?status=paid",
        },
        "transfer_failed": {
            **merchant,
            "shop_name": "Annas Antiquariat",
            "order_number": "10482",
            "payment_status": "bezahlt" if german else "paid",
            "since": day(date(2026, 11, 18), language),
            "reason": 'HTTP 401 "woocommerce_rest_cannot_edit": Sorry, you cannot edit this.',
            "order_url": "https://kontor.example.org/orders/10482",
        },
        "shop_error": {
            **merchant,
            "shop_name": "Annas Antiquariat",
            "since": day(date(2026, 11, 18), language),
            "reason": 'HTTP 401 "woocommerce_rest_authentication_error": Invalid signature',
            "shop_settings_url": "https://kontor.example.org/shops/3",
        },
        "shop_disabled": {
            **merchant,
            "shop_name": "Annas Antiquariat",
            "since": day(date(2026, 10, 19), language),
            "reason": 'HTTP 401 "woocommerce_rest_authentication_error": Invalid signature',
            "shop_settings_url": "https://kontor.example.org/shops/3",
        },
        "relay_quota_low": {
            **merchant,
            "threshold": "2500",
            "left": "2499",
            "page_url": "https://kontor.example.org/relay/quota",
            "ends_on": day(date(2026, 12, 14), language),
        },
        "callback_failing": {
            **merchant,
            "url": "https://erp.example.org/hooks/kontor",
            "since": f"{day(date(2026, 11, 18), language)}, 04:12",
            "reason": "Kein Aufruf wurde mit 2xx beantwortet."
            if german
            else "No call was answered with 2xx.",
            "page_url": "https://kontor.example.org/settings/callbacks/3",
        },
        "bank_needs_you": {
            **merchant,
            "bank_name": "Musterbank Nord",
            "bank_url": "https://kontor.example.org/bank-connections/2",
        },
        "postings_recognised": {
            **merchant,
            "pattern": "{regex}.*SOFORT.*",
            "count": "3",
            "received_total": money(Decimal("184.60"), "EUR", language),
            "postings_url": "https://kontor.example.org/postings?state=ignored&statement=7",
        },
        "bank_consent_ends": {
            **merchant,
            "bank_name": "Musterbank Nord",
            "ends_on": day(date(2026, 11, 28), language),
            "bank_url": "https://kontor.example.org/bank-connections/2",
        },
        "password_reset": {
            **merchant,
            "email": "anna@example.org",
            "reset_url": "https://kontor.example.org/password/8fQ2vX7nR4kT8fQ2vX7nR4kT",
            "valid_until": day(date(2026, 11, 21), language),
        },
        "invitation": {
            "email": "bob@example.org",
            "merchant_name": "Annas Antiquariat",
            "invited_by": "Anna Beispiel",
            "invitation_url": "https://kontor.example.org/invitation/8fQ2vX7nR4kT8fQ2vX7nR4kT",
            "valid_until": day(date(2026, 11, 28), language),
        },
    }
    return by_kind[kind]


def _of_customers(language: str, order: Facts, demand: Facts) -> dict[str, Facts]:
    """What customers get as long as they have not paid."""
    total = money(Decimal("1284.60"), "EUR", language)
    ended: Facts = {name: value for name, value in order.items() if name != "prepayment"}
    page = {"page_url": "https://kontor.example.org/o/4nB8wK2t8fQ2vX7n"}
    return {
        "reminder": {**demand, "amount_due": total, "girocode": GIROCODE},
        "dunning_notice": {
            **demand,
            "level": "2",
            "open_amount": total,
            "fee": money(Decimal("2.50"), "EUR", language),
            "fees_total": money(Decimal("5.00"), "EUR", language),
            "interest": money(Decimal("2.00"), "EUR", language),
        },
        "order_overdue": {
            **{
                name: value
                for name, value in demand.items()
                if name in KINDS["order_overdue"].facts
            },
            "amount_due": total,
            "girocode": GIROCODE,
        },
        "more_time_answer": {
            **{
                name: value
                for name, value in demand.items()
                if name in KINDS["more_time_answer"].facts
            },
            "amount_due": total,
            "girocode": GIROCODE,
            "granted_until": day(date(2026, 12, 14), language),
            "payable_until": day(date(2026, 12, 14), language),
        },
        "cod_enquiry": {**ended, **page, "order_total": total},
        "order_cancelled": {**ended, **page, "order_total": total},
    }


def _of_refunds(language: str, order: Facts) -> dict[str, Facts]:
    """What customers get of money that goes back, or is collected."""
    ended: Facts = {name: value for name, value in order.items() if name != "prepayment"}
    stop = {"unsubscribe_url": "https://kontor.example.org/unsubscribe/4nB8wK2t"}
    page = "https://kontor.example.org/o/4nB8wK2t8fQ2vX7n"
    refund: Facts = {
        **ended,
        "refund_amount": money(Decimal("15.40"), "EUR", language),
        "reason": "Gutschrift G-2026-31",
    }
    account = {"refund_iban": "DE89 … 3000", "refund_holder": "Erika Mustermann"}
    return {
        "refund_announced": {
            **refund,
            **account,
            **stop,
            "refund_on": day(date(2026, 12, 4), language),
            "answer_until": day(date(2026, 12, 2), language),
            "confirm_url": f"{page}/confirm",
            "change_url": f"{page}/account",
        },
        "refund_executed": {
            **refund,
            **account,
            **stop,
            "refunded_on": day(date(2026, 12, 4), language),
        },
        "bank_details_request": {
            **refund,
            "page_url": page,
            "answer_until": day(date(2026, 12, 2), language),
        },
        "direct_debit_announced": {
            **ended,
            "amount_due": money(Decimal("1284.60"), "EUR", language),
            "debit_on": day(date(2026, 12, 1), language),
            "mandate_id": "M-2026-0482",
            "creditor_id": "DE98ZZZ09999999999",
            "creditor": "Annas Antiquariat",
            "debtor_iban": "DE89 … 3000",
            "invoice_number": "R-2026-118",
        },
    }


def _of_events(language: str, payment: dict[str, str]) -> dict[str, Facts]:
    """What merchants are told who chose to hear of each order, and of mails that failed."""
    german = language_of(language) == "de"
    base = "https://kontor.example.org"
    event = {
        name: payment[name]
        for name in ("recipient_name", "shop_name", "order_number", "customer", "order_url")
    } | {
        "amount": money(Decimal("1284.60"), "EUR", language),
        "stop_url": f"{base}/notices/stop/8fQ2vX7nR4kT",
    }
    booked = event | {"booked_on": day(date(2026, 11, 18), language)}
    return {
        "order_received": {**event, "payment_method": "Vorkasse" if german else "prepayment"},
        "order_paid": booked,
        "order_partially_paid": {
            **booked,
            "amount": money(Decimal(1200), "EUR", language),
            "amount_open": money(Decimal("84.60"), "EUR", language),
        },
        "order_overpaid": {
            **booked,
            "amount": money(Decimal(1300), "EUR", language),
            "surplus": money(Decimal("15.40"), "EUR", language),
        },
        "payment_for_manual_order": {
            **booked,
            "payer": "Max Mustermann",
            "amount_open": money(Decimal("84.60"), "EUR", language),
            "posting_url": f"{base}/postings/9001",
        },
        "mails_failed": {
            "recipient_name": "Anna Beispiel",
            "stop_url": f"{base}/notices/stop/8fQ2vX7nR4kT",
            "count": "23",
            "rest": "21",
            "mails": [
                {
                    "recipient": "erika@example.org",
                    "kind": "Zahlungsinformation" if german else "Payment information",
                    "words": "550 5.1.1 <erika@example.org>: Recipient address rejected",
                    "mail_url": f"{base}/mails/77",
                },
                {
                    "recipient": "max.mustermann-mit-sehr-langer-adresse@verwaltung.example.com",
                    "kind": "Zahlungserinnerung" if german else "Reminder",
                    "words": "552 5.2.2 mailbox full",
                    "mail_url": "",
                },
            ],
            "mails_url": f"{base}/mails?failed",
        },
        "domain_broken": {
            "recipient_name": "Anna Beispiel",
            "domain": "antiquariat.example",
            "problem": "Der Eintrag k1._domainkey fehlt."
            if german
            else "The record k1._domainkey is missing.",
            "since": day(date(2026, 11, 18), language),
            "page_url": f"{base}/domains/3",
        },
    }


def _of_dunning(language: str, merchant: dict[str, str]) -> dict[str, Facts]:
    """What merchants are told about orders that nobody has paid."""
    german = language_of(language) == "de"
    base = "https://kontor.example.org"
    first = {
        "order_number": "10482",
        "customer": "Erika Mustermann",
        "amount": money(Decimal("1284.60"), "EUR", language),
        "order_url": f"{base}/orders/482",
    }
    second = {
        "order_number": "2026-SONDERBESTELLUNG-10490-B",
        "customer": "",
        "amount": money(Decimal("123456.78"), "EUR", language),
        "order_url": f"{base}/orders/490",
    }
    return {
        "orders_cancelled": {
            **merchant,
            "count": "23",
            "rest": "21",
            "orders": [{**first, "is_overdue": ""}, {**second, "is_overdue": "yes"}],
            "orders_url": f"{base}/orders?status=cancelled",
        },
        "orders_to_collection": {
            **merchant,
            "count": "1",
            "single": "yes",
            "orders": [first],
            "orders_url": f"{base}/orders?status=collection",
        },
        "run_waits": {
            **merchant,
            "count": "412",
            "usual": "18",
            "run_url": f"{base}/dunning/runs/31",
        },
        "reminders_held": {
            **merchant,
            "waiting_count": "14",
            "reasons": [
                {
                    "subject": "Musterbank Nord: keine neuen Umsätze"
                    if german
                    else "Musterbank Nord: no new postings",
                    "since": day(date(2026, 12, 4), language),
                },
                {
                    "subject": "Der Shop Annas Antiquariat antwortet nicht"
                    if german
                    else "The shop Annas Antiquariat does not answer",
                    "since": "",
                },
            ],
            "settings_url": f"{base}/bank-connections",
        },
        "customer_says_paid": {
            **merchant,
            "shop_name": "Annas Antiquariat",
            "order_number": "10482",
            "customer": "Erika Mustermann",
            "amount": money(Decimal("1284.60"), "EUR", language),
            "paid_on": day(date(2026, 12, 8), language),
            "message": "Überwiesen vom Konto meines Mannes, bitte prüfen Sie das.",
            "has_proof": "yes",
            "paused_until": day(date(2026, 12, 17), language),
            "order_url": f"{base}/orders/482",
        },
        "more_time_asked": {
            **merchant,
            "shop_name": "Annas Antiquariat",
            "order_number": "10482",
            "customer": "Erika Mustermann",
            "amount": money(Decimal("1284.60"), "EUR", language),
            "asked_until": day(date(2026, 12, 20), language),
            "message": "Mein Gehalt kommt erst am 18.",
            "paused_until": day(date(2026, 12, 11), language),
            "order_url": f"{base}/orders/482",
        },
        "removals_wait": {
            **merchant,
            "shop_name": "Annas Antiquariat",
            "count": "140",
            "open_count": "152",
            "review_url": f"{base}/shops/3/removals",
        },
    }
