"""Evidence: one observation for or against "this posting pays this order", and how it is said.

Each weight is the decimal logarithm of a likelihood ratio: how much more often the observation
is made when the posting does pay the order than when it has nothing to do with it. 2.0 is a
hundred times. Weights add up.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

FIELDS: Final = ("remittance_information", "creditor_reference", "end_to_end_id")
"""The fields of a posting that are read for numbers, by their place in a reading."""


class Span(NamedTuple):
    """Where in the posting something stands: a name of ``PostingFacts``, and offsets in it."""

    field: str
    start: int
    end: int


class Evidence(NamedTuple):
    """One observation: its kind with the facts that its sentence needs, weight and place."""

    kind: str
    weight: float
    facts: Mapping[str, object]
    span: Span | None = None

    def __str__(self) -> str:
        return f"{self.sentence} ({self.weight:+.1f})"

    @property
    def sentence(self) -> str:
        """In English, without the weight."""
        told = {name: _told(value) for name, value in self.facts.items()}
        return SENTENCES[self.kind].format_map(told)

    def as_json(self) -> dict[str, Any]:
        """As it is stored with a decision."""
        return {
            "kind": self.kind,
            "weight": round(self.weight, 2),
            "facts": {name: _told(value) for name, value in self.facts.items()},
            "span": list(self.span) if self.span else None,
        }


def _told(value: object) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else str(value).replace("_", " ")


SENTENCES: Final[Mapping[str, str]] = {
    "number": "{written} is its {what}",
    "number_checked": "{written} is its {what}, check characters right",
    "number_slip": "{written} is nearly its {what} {meant} ({slip})",
    "number_unknown": "{written} is no order's number",
    "number_twice": "{written}, its {what}, is written as well",
    "amount_exact": "{amount} is what the order owes",
    "amount_with_fees": "{amount} is {owed} and the {fees} that its reminders charged",
    "amount_tolerated": "{amount} is {owed}, {difference} off, which counts as exact",
    "amount_discount": "{amount} is {owed} less {percent} % discount = {discount}",
    "amount_discount_late": "{amount} is {owed} less {percent} % discount, {days} days late",
    "amount_fee": "{amount} is {owed} less a bank's fee of {fee}",
    "amount_rounded": "{amount} is {owed} rounded",
    "amount_near": "{amount} is nearly {owed}",
    "amount_part": "{amount} is {owed} in {parts} parts",
    "amount_less": "{amount} is less than {owed}",
    "amount_more": "{amount} is more than {owed}",
    "amount_sum": "{amount} is what the {count} orders owe together: {formula}",
    "amount_currency": "{amount} {currency}, the order is in {other}",
    "amount_shared": "{count} open orders owe this amount",
    "name_full": "{name} is the customer's name",
    "name_company": "{name} is the customer's company",
    "name_initial": "{name} is the customer's family name and initial",
    "name_family": "{name} has the customer's family name",
    "name_added": "{name} is the payer that was added to the order",
    "name_in_text": "the text holds the customer's name",
    "name_different": "{name} is not the customer's name",
    "name_unknown": "no name to compare",
    "name_shared": "{count} orders carry this family name",
    "payer_known": "{payer} paid for this customer before, {times} times",
    "payer_of_others": "{payer} paid for other customers before",
    "before_order": "booked before the order was placed",
    "others_named": "the text names other orders too",
    "paid_after": "paid {days} days after the order",
    "paid_by_other": "another posting pays this order",
    "no_number": "no number that could be an order's",
}

VETOES: Final[Mapping[str, str]] = {
    "return": "money that bounced back",
    "own_refund": "our own refund came back",
    "pending": "the bank may still take it back",
    "batch_total": "a sum of several payments",
    "possible_duplicate": "perhaps the same payment as another",
    "currency_unknown": "the currency is not known",
    "other_currency": "the order is in another currency",
    "partly_assigned": "a part of it is assigned already",
    "booked_in_future": "dated after today",
    "slip_unconfirmed": "the number is not quite right and the amount is another",
    "no_reference": "no number, and too little else",
    "amount_far_off": "the amount is far from what is owed",
    "several_orders_named": "perhaps several orders are meant",
    "competing_posting": "another payer's posting claims the order as well",
    "not_unique": "another answer fits nearly as well",
    "payment_provider": "a payment provider's collective payout",
    "older_than_limit": "the order is older than the merchant's limit",
    "undone_by_person": "a person has undone it",
    "order_paid": "the order is paid",
    "order_cancelled": "the order is cancelled",
    "order_removed": "the shop has no longer this order",
    "order_not_managed": "the order is not managed",
    "order_refunded": "the order was refunded",
    "order_partially_refunded": "the order was refunded in part",
    "order_collection": "the order was handed to collection",
}
"""What no score overrules, and how it is said."""
