"""Facts of every kind for Annas Antiquariat and its customer Erika Mustermann."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from server.mail.rules import KINDS, Facts, day, money, payment_facts
from server.mail.theme import KONTOR, Theme

IBAN = "DE89370400440532013000"  # the example account of the German IBAN literature
BIC = "COBADEFFXXX"
REFERENCE = "K4WX7P9MQ2"
GIROCODE = (
    "BCD\n002\n1\nSCT\nCOBADEFFXXX\nAnnas Antiquariat\nDE89370400440532013000\n"
    "EUR1284.60\n\n\nK4WX7P9MQ2"
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


def facts_for(kind: str, language: str) -> Facts:
    german = language == "de"
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
        **_of_dunning(language, merchant),
        "payment_information": {
            **order,
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
        "cod_enquiry": {**ended, **page, "order_total": total},
        "order_cancelled": {**ended, **page, "order_total": total},
    }


def _of_dunning(language: str, merchant: dict[str, str]) -> dict[str, Facts]:
    """What merchants are told about orders that nobody has paid."""
    german = language == "de"
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
        "removals_wait": {
            **merchant,
            "shop_name": "Annas Antiquariat",
            "count": "140",
            "open_count": "152",
            "review_url": f"{base}/shops/3/removals",
        },
    }
