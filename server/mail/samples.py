"""An invented order for every kind of mail in every edition: previews, test mails, pictures. Pure.

A file of its own because nothing of it is ever true: the people do not exist, and the accounts are
those that the standards print as examples. What one edition says, every other one says too, with
its own amounts, dates and currency; Switzerland pays in francs to a Swiss account.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from server.mail.kinds import KINDS
from server.mail.languages import day, is_swiss, language_of, money
from server.mail.rules import Facts, payment_facts

CUSTOMER: Final = "Erika Mustermann"
MERCHANT_PERSON: Final = "Anna Beispiel"
SHOP: Final = "Annas Antiquariat"
IBAN: Final = "DE89370400440532013000"  # the example of the German register of IBANs
BIC: Final = "COBADEFFXXX"
SWISS_IBAN: Final = "CH9300762011623852957"  # the example of the Swiss one
SWISS_BIC: Final = "POFICHBEXXX"
CUSTOMER_IBAN: Final = "DE02120300000000202051"
REFERENCE: Final = "K4WX7P9MQ2"
WEB: Final = "https://example.org/"

TOTAL: Final = Decimal("1284.60")
FIRST_PART: Final = Decimal(1000)
SECOND_PART: Final = Decimal(200)
REST: Final = TOTAL - FIRST_PART - SECOND_PART
FEE: Final = Decimal("2.50")
FEES: Final = Decimal("5.00")
SURPLUS: Final = Decimal("15.40")
REFUND: Final = Decimal("49.90")
INTEREST: Final = Decimal("2.00")
DISCOUNT: Final = Decimal("25.69")

_OF_THE_SHOP: Final = {
    "de": "Ein Buch ist nicht mehr lieferbar",
    "en": "One book is no longer available",
    "fr": "Un livre n’est plus disponible",
    "it": "Un libro non è più disponibile",
    "nl": "Eén boek is niet meer leverbaar",
    "es": "Un libro ya no está disponible",
}
_WORDS: Final = {
    "de": {
        "answer": 'HTTP 401 "woocommerce_rest_cannot_edit": Sorry, you cannot edit this.',
        "closed": "Konto aufgelöst (AC04)",
        "paid": "bezahlt",
        "method": "Vorkasse",
        "discount": "Skonto",
        "tolerance": "in Ihrer Toleranz",
        "purpose": "Rechnung 10482, danke",
        "message": "Überwiesen vom Konto meines Mannes, bitte prüfen Sie das.",
        "silent": "Musterbank Nord: keine neuen Umsätze",
        "away": "Der Shop antwortet nicht",
        "unknown": "Dieses Postfach gibt es dort nicht",
        "mail": "Zahlungsinformation",
        "record": "Der DKIM-Schlüssel steht nicht mehr im DNS",
        "untaken": "Kein Aufruf wurde mit 2xx beantwortet.",
    },
    "en": {
        "answer": 'HTTP 401 "woocommerce_rest_cannot_edit": Sorry, you cannot edit this.',
        "closed": "account closed (AC04)",
        "paid": "paid",
        "method": "prepayment",
        "discount": "cash discount",
        "tolerance": "within your tolerance",
        "purpose": "Invoice 10482, thank you",
        "message": "Paid from my husband’s account, please have a look.",
        "silent": "Musterbank Nord: no new postings",
        "away": "The shop does not answer",
        "unknown": "There is no such mailbox",
        "mail": "Payment information",
        "record": "The DKIM key is no longer in the DNS",
        "untaken": "No call was answered with 2xx.",
    },
}

CHOSEN_AWAY: Final[Mapping[str, frozenset[str]]] = {
    "": frozenset({"legal_line", "form_at", "is_structured"}),
    "payment_information": frozenset(
        "amount_changed previous_amount due_on sent_again invoice_number "
        "discount_amount discount_until".split()
    ),
    "partially_paid": frozenset({"payable_until", "settled_otherwise"}),
    "overpaid": frozenset({"prepayment"}),
    "reminder": frozenset({"prepayment", "open_amount", "fees_total", "interest"}),
    "dunning_notice": frozenset({"prepayment", "payable_until", "is_last", "received_total"}),
    "order_overdue": frozenset({"received_total", "payable_until"}),
    "more_time_answer": frozenset({"is_refused"}),
    "payment_for_cancelled": frozenset({"overdue", "is_assigned", "shop_told"}),
    "postings_need_you": frozenset({"single"}),
    "differences_booked": frozenset({"single", "rest"}),
    "orders_cancelled": frozenset({"single", "rest"}),
    "orders_to_collection": frozenset({"rest"}),
    "mails_failed": frozenset({"rest", "single"}),
    "payment_for_manual_order": frozenset({"amount_open"}),
    "callback_failing": frozenset({"is_gone"}),
}
"""Optional facts that a sample leaves out: they belong to another turn of the same mail."""


CASES: Final[Mapping[str, tuple[str, ...]]] = {
    "payment_information": ("amount_changed", "sent_again"),
    "reminder": ("received_total",),
    "dunning_notice": ("is_last", "received_total"),
    "order_overdue": ("received_total",),
    "more_time_answer": ("is_refused",),
}
"""Other turns of a kind than the usual one, by the fact that makes the difference."""


def sample_facts(kind: str, edition: str, today: date, case: str = "") -> Facts:
    """Facts that ``rules.compose`` takes for this kind in this edition; dates lie round ``today``.

    ``case`` is one of CASES of the kind, or empty for the usual one. KeyError for a kind or an
    edition that there is not.
    """
    usual = _usual_facts(kind, edition, today)
    return {**usual, **_of_case(kind, edition, today, case)} if case else usual


def _usual_facts(kind: str, edition: str, today: date) -> Facts:
    to_customer = KINDS[kind].reader == "customer"
    known = _of_customers(edition, today) if to_customer else _of_merchants(kind, edition, today)
    values: Facts = {**known, **_of_kind(kind, edition, today)}
    wanted = KINDS[kind].required | KINDS[kind].optional
    left_out = CHOSEN_AWAY[""] | CHOSEN_AWAY.get(kind, frozenset())
    return {name: values[name] for name in sorted(wanted - left_out) if values.get(name)}


def _of_case(kind: str, edition: str, today: date, case: str) -> dict[str, str]:
    currency = currency_of(edition)
    if case == "amount_changed":
        return {case: "yes", "previous_amount": money(TOTAL + REFUND, currency, edition)}
    if case == "is_refused":
        return {case: "yes", "payable_until": ""}
    if case != "received_total":
        return {case: "yes"}
    extras = FEES + INTEREST if kind == "dunning_notice" else Decimal(0)
    transfer = _transfer(edition, REST + extras, today)
    known = KINDS[kind].required | KINDS[kind].optional
    facts = {
        **{name: value for name, value in transfer.items() if name in known},
        "payable_until": "",
        case: money(FIRST_PART + SECOND_PART, currency, edition),
    }
    return facts | ({"open_amount": money(REST, currency, edition)} if extras else {})


def example_of(name: str, kind: str, edition: str, today: date) -> str:
    """What a fact of a customer's mail may read like, also one that the sample leaves out."""
    values: Facts = {**_of_customers(edition, today), **_of_kind(kind, edition, today)}
    value = values.get(name, "")
    return value if isinstance(value, str) else ""


def currency_of(edition: str) -> str:
    return "CHF" if is_swiss(edition) else "EUR"


def _of_customers(edition: str, today: date) -> Facts:
    """What any mail to a customer may say, by the names of the facts."""

    def m(amount: Decimal) -> str:
        return money(amount, currency_of(edition), edition)

    def d(days: int) -> str:
        return day(today + timedelta(days=days), edition)

    return {
        **_transfer(edition, TOTAL, today),
        "recipient_name": CUSTOMER,
        "shop_name": SHOP,
        "help_url": WEB,
        "unsubscribe_url": WEB,
        "page_url": WEB,
        "order_number": "10482",
        "order_date": d(-4),
        "order_total": m(TOTAL),
        "prepayment": "yes",
        "previous_amount": m(TOTAL + REFUND),
        "discount_amount": m(TOTAL - DISCOUNT),
        "discount_until": d(3),
        "due_on": d(12),
        "open_amount": m(TOTAL),
        "fees_total": m(FEES),
        "interest": m(INTEREST),
        "settled_otherwise": m(REFUND),
        "granted_until": d(10),
        "invoice_number": "R-2048",
        "invoice_date": d(-2),
        "bank_as_of": d(-1),
        "received_total": m(FIRST_PART + SECOND_PART),
        "received_on": d(-1),
        "payments": [
            {"received_on": d(-2), "amount": m(FIRST_PART)},
            {"received_on": d(-1), "amount": m(SECOND_PART)},
        ],
        "refund_amount": m(REFUND),
        "refund_iban": "DE02 •••• 2051",
        "refund_holder": CUSTOMER,
        "refund_on": d(7),
        "refunded_on": d(0),
        "reason": _OF_THE_SHOP[language_of(edition)],
        "confirm_url": WEB,
        "change_url": WEB,
        "answer_until": d(7),
        "debit_on": d(5),
        "mandate_id": "AA-2048",
        "creditor_id": "DE98ZZZ09999999999",
        "debtor_iban": "DE02 •••• 2051",
    }


def _transfer(edition: str, amount: Decimal, today: date) -> dict[str, str]:
    """Payee, amount and code of a transfer: by IBAN in euros, in Switzerland by its own bill."""
    swiss = is_swiss(edition)
    facts = payment_facts(
        language=edition,
        amount=amount,
        currency=currency_of(edition),
        creditor=SHOP,
        iban=SWISS_IBAN if swiss else IBAN,
        bic=SWISS_BIC if swiss else BIC,
        payment_reference=REFERENCE,
        payable_until=today + timedelta(days=10),
    )
    code = _swiss_qr(amount) if swiss else _girocode(amount)
    return facts | code


def _girocode(amount: Decimal) -> dict[str, str]:
    """EPC069-12."""
    lines = ("BCD", "002", "1", "SCT", BIC, SHOP, IBAN, f"EUR{amount:.2f}", "", "", REFERENCE)
    return {"girocode": "\n".join(lines)}


def _swiss_qr(amount: Decimal) -> dict[str, str]:
    """SIX, Implementation Guidelines QR-bill 2.3: without a debtor, its reference as a message."""
    creditor = ("S", SHOP, "Musterweg", "7", "3000", "Beispielwil", "CH")
    nobody = ("",) * 7
    lines = (
        *("SPC", "0200", "1", SWISS_IBAN, *creditor, *nobody, f"{amount:.2f}", "CHF"),
        *(*nobody, "NON", "", REFERENCE, "EPD"),
    )
    return {"swiss_qr": "\n".join(lines), "form_ch": "yes"}


def _of_merchants(kind: str, edition: str, today: date) -> Facts:
    """What any notice to a merchant may say; its lists are those of the kind."""
    words = _WORDS[language_of(edition)]

    def m(amount: Decimal) -> str:
        return money(amount, "EUR", edition)

    def d(days: int) -> str:
        return day(today + timedelta(days=days), edition)

    urls = (
        "stop_url order_url posting_url orders_url postings_url bank_url page_url run_url "
        "settings_url shop_settings_url review_url mails_url reset_url invitation_url"
    )
    reasons = {"payment_returned": words["closed"], "callback_failing": words["untaken"]}
    return {
        **dict.fromkeys(urls.split(), WEB),
        "recipient_name": MERCHANT_PERSON,
        "shop_name": SHOP,
        "order_number": "10482",
        "customer": CUSTOMER,
        "payment_method": words["method"],
        "amount": m(TOTAL),
        "amount_open": m(REST),
        "surplus": m(SURPLUS),
        "payer": "Max Mustermann",
        "booked_on": d(-1),
        "since": f"{d(-1)}, 10:42",
        "payment_status": words["paid"],
        "reason": reasons.get(kind, words["answer"]),
        "is_assigned": "yes",
        "shop_told": "yes",
        "single": "yes",
        "domain": "shop.example.org",
        "problem": words["record"],
        "url": f"{WEB}kontor",
        "threshold": "2500",
        "left": "2499",
        "usual": "18",
        "waiting_count": "14",
        "open_count": "152",
        "paid_on": d(-3),
        "message": words["message"],
        "has_proof": "yes",
        "paused_until": d(5),
        "asked_until": d(12),
        "bank_name": "Musterbank Nord",
        "pattern": "{regex}.*SOFORT.*",
        "received_total": m(Decimal("184.60")),
        "ends_on": d(10),
        "email": "anna@example.org",
        "valid_until": d(3),
        "merchant_name": SHOP,
        "invited_by": MERCHANT_PERSON,
    }


def _of_kind(kind: str, edition: str, today: date) -> Facts:
    """What only one kind says, or says otherwise than the others."""
    currency = currency_of(edition)

    def m(amount: Decimal) -> str:
        return money(amount, currency, edition)

    of_kind: dict[str, Facts] = {
        "partially_paid": _transfer(edition, REST, today),
        "payment_received": {"received_total": m(FIRST_PART + SECOND_PART)},
        "overpaid": {"received_total": m(TOTAL + SURPLUS), "surplus": m(SURPLUS)},
        "reminder": {"received_total": ""},
        "dunning_notice": _demand(edition, today),
        "postings_recognised": {"count": "3"},
        "removals_wait": {"count": "140"},
        "run_waits": {"count": "412"},
        "payment_for_manual_order": {"booked_on": day(today - timedelta(days=1), edition)},
    }
    return of_kind[kind] if kind in of_kind else _lists(kind, edition, today)


def _demand(edition: str, today: date) -> dict[str, str]:
    """The second dunning notice: its fee, that of the first one and interest."""
    currency = currency_of(edition)
    return _transfer(edition, TOTAL + FEES + INTEREST, today) | {
        "level": "2",
        "open_amount": money(TOTAL, currency, edition),
        "fee": money(FEE, currency, edition),
        "fees_total": money(FEES, currency, edition),
        "interest": money(INTEREST, currency, edition),
    }


def _lists(kind: str, edition: str, today: date) -> Facts:
    """The kinds that tell of several things at once."""
    if KINDS[kind].reader == "customer" or not KINDS[kind].items:
        return {}
    words = _WORDS[language_of(edition)]
    order = {
        "order_number": "10482",
        "customer": CUSTOMER,
        "amount": money(TOTAL, "EUR", edition),
        "order_url": WEB,
    }
    other = order | {"order_number": "10490", "customer": "Max Mustermann"}
    posting = {
        "booked_on": day(today - timedelta(days=1), edition),
        "payer": CUSTOMER,
        "amount": money(TOTAL, "EUR", edition),
        "purpose": words["purpose"],
        "likely_order": "10482",
        "posting_url": WEB,
    }
    difference = {
        **order,
        "amount": money(TOTAL - DISCOUNT, "EUR", edition),
        "difference": money(-DISCOUNT, "EUR", edition),
        "because": words["discount"],
    }
    small = {**other, "amount": "", "difference": money(Decimal("0.05"), "EUR", edition)}
    failed = {
        "recipient": "erika@example.org",
        "kind": words["mail"],
        "words": words["unknown"],
        "mail_url": WEB,
    }
    since = f"{day(today - timedelta(days=3), edition)}, 06:10"
    lists: dict[str, Facts] = {
        "postings_need_you": {"count": "14", "rest": "13", "postings": [posting]},
        "differences_booked": {
            "count": "2",
            "differences": [difference, small | {"because": words["tolerance"]}],
        },
        "orders_cancelled": {
            "count": "2",
            "orders": [order | {"is_overdue": ""}, other | {"is_overdue": "yes"}],
        },
        "orders_to_collection": {"count": "1", "orders": [order]},
        "mails_failed": {
            "count": "2",
            "mails": [failed, failed | {"recipient": "max@example.com"}],
        },
        "reminders_held": {
            "reasons": [
                {"subject": words["silent"], "since": since},
                {"subject": words["away"], "since": since},
            ],
        },
    }
    return lists[kind]
