"""An invented letter of every kind: previews and test letters, which go to nobody (K39).

A file of its own because nothing of it is true: the people and accounts are those of the sample
mails. Never commits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import Final

from server.letters import service as letters
from server.letters.compose import compose
from server.letters.kinds import KINDS
from server.letters.look import Look
from server.mail.languages import is_swiss
from server.mail.samples import sample_facts
from server.orders.letters import facts_for, look_of
from server.shops.models import Shop

RECIPIENT: Final = ("Erika Mustermann", "Heidestraße 17")
PLACES: Final[Mapping[bool, tuple[str, str]]] = {
    False: ("51147 Köln", "DE"),
    True: ("8001 Zürich", "CH"),
}
"""Where she lives, by whether the edition is Swiss."""
_OF_MAIL: Final = {"transfer_form": "payment_information", "invoice": "payment_information"}


def sample_look(shop: Shop | None, merchant_name: str) -> Look:
    """Of the shop; without one plain, with the merchant's name."""
    if shop is None:
        return Look(sender=merchant_name, return_address=merchant_name)
    return look_of(shop, None)


def sample_letter(kind: str, edition: str, look: Look, shop_name: str | None, today: date) -> bytes:
    """The PDF of an invented letter; of an invoice the cover, with its slip."""
    lines, country = _address(edition)
    return compose(
        kind,
        edition,
        _facts(kind, edition, shop_name, today),
        replace(look, country=country),
        recipient=lines,
        country=country,
        dated=today,
    )


def queue_sample(
    kind: str,
    edition: str,
    look: Look,
    shop: Shop | None,
    *,
    merchant_id: int,
    actor: str,
    today: date,
    at: datetime,
) -> int:
    """A test letter: drawn by the worker like any other, handed over to nobody, and free."""
    lines, country = _address(edition)
    written = letters.queue_letter(
        kind,
        merchant_id=merchant_id,
        shop_id=shop.id if shop else None,
        order_id=None,
        language=edition,
        recipient=lines,
        country=country,
        once=f"merchant:{merchant_id}:test_letter:{at:%Y%m%d%H%M%S%f}",
        facts=_facts(kind, edition, shop.name if shop else None, today),
        look=replace(look, country=country),
        actor=actor,
        at=at,
        due_at=at,
        is_test=True,
    )
    assert written is not None, "no two are asked for in one moment"
    return written


def _facts(kind: str, edition: str, shop_name: str | None, today: date) -> dict[str, str]:
    facts = dict(sample_facts(_OF_MAIL.get(kind, kind), edition, today))
    if shop_name is not None:
        facts["shop_name"] = shop_name
    if kind == "invoice":
        facts["invoice_number"] = "10482"
    return facts_for(kind, facts)


def _address(edition: str) -> tuple[tuple[str, ...], str]:
    town, country = PLACES[is_swiss(edition)]
    return (*RECIPIENT, town), country


TEST_KINDS: Final = tuple(kind for kind, one in KINDS.items() if not one.encloses)
"""An invoice is the shop's own PDF: there is none to test with."""
