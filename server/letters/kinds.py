"""The kinds of letter: which facts each states and which it may leave out. Pure.

A file of its own because whoever queues a letter reads it. The facts have the names that they have
in mails, so that one snapshot serves both; a fact that is absent shows nothing, one that is only
asked for ("yes" or nothing) chooses sentences. Links are taken and not printed: nobody types one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """``encloses``: the shop's own PDF is the letter, ours is a cover or a slip at most."""

    required: frozenset[str]
    optional: frozenset[str]
    encloses: bool = False

    @property
    def facts(self) -> frozenset[str]:
        return self.required | self.optional


class FactError(ValueError):
    """The facts do not fit the kind: one is missing, unknown, empty or no text."""


def _names(names: str) -> frozenset[str]:
    return frozenset(names.split())


TRANSFER: Final = _names(
    "amount_due creditor iban bic payment_reference girocode swiss_qr form_at form_ch is_structured"
)
"""What a payment slip says."""
_ORDER: Final = _names("shop_name order_number order_date")
_DEMANDED: Final = _ORDER | _names("amount_due creditor iban payment_reference")
_ANY: Final = _names("recipient_name legal_line help_url page_url invoice_number invoice_date")
_OF_DEMAND: Final = (
    _ANY
    | TRANSFER
    | _names("payable_until prepayment bank_as_of received_total open_amount fees_total interest")
)

KINDS: Final[Mapping[str, Kind]] = {
    "payment_information": Kind(
        _DEMANDED,
        _OF_DEMAND
        | _names("due_on sent_again amount_changed previous_amount discount_amount discount_until"),
    ),
    "reminder": Kind(_DEMANDED, _OF_DEMAND),
    "dunning_notice": Kind(_DEMANDED | {"level"}, _OF_DEMAND | _names("is_last fee")),
    "transfer_form": Kind(_DEMANDED, _OF_DEMAND),
    "invoice": Kind(_ORDER, _OF_DEMAND, encloses=True),
}

MAX_FACT_LENGTH: Final = 1000


def check_fact_names(kind: str, facts: Mapping[str, str]) -> None:
    """Raises FactError if a fact is missing or none of this kind's: a mistake of the caller.

    Whether a required one is *empty* is decided when the letter is composed.
    """
    known = KINDS.get(kind)
    if known is None:
        raise FactError(f"there is no kind of letter called {kind!r}")
    for name in sorted(known.required - facts.keys()):
        raise FactError(f"{kind} needs the fact {name!r}")
    for name in sorted(facts.keys() - known.facts):
        raise FactError(f"{kind} knows no fact {name!r}")


def check_facts(kind: str, facts: Mapping[str, str]) -> None:
    """As ``check_fact_names``, and every required one says something. Raises FactError."""
    check_fact_names(kind, facts)
    for name, value in facts.items():
        if not isinstance(value, str):
            raise FactError(f"{name!r} must be a finished string, not {type(value).__name__}")
        if not value and name in KINDS[kind].required:
            raise FactError(f"{kind} cannot be written without {name!r}")
