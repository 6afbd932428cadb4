"""Two simple engines, as published matchers are described, to compare with.

Both take what ``python -m server match`` takes and give what it gives.

first_number  the first token that is an order's number wins; nothing else is looked at
points        number, amount and name each give points; the best above a threshold wins, a tie is
              left to a person
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

from bench.matching import wording
from bench.matching.orders import owed

Line = dict[str, Any]
Engine = Callable[[Sequence[Line], Sequence[Line]], list[Line]]

NUMBER_POINTS: Final = 5
AMOUNT_POINTS: Final = 3
NAME_POINTS: Final = 2
FAMILY_POINTS: Final = 1
ENOUGH: Final = 7


def first_number(orders: Sequence[Line], postings: Sequence[Line]) -> list[Line]:
    """Whatever the first known number says, as long as the order is open and money came in."""
    by_number = {_squashed(order["number"]): order for order in orders}
    return [_first_number(by_number, posting) for posting in postings]


def _first_number(by_number: dict[str, Line], posting: Line) -> Line:
    if Decimal(posting["amount"]) <= 0:
        return _answer(posting, [])
    for token in _tokens(posting):
        order = by_number.get(token)
        if order is not None:
            return _answer(posting, [order] if order["payment_status"] != "paid" else [])
    return _answer(posting, [])


def points(orders: Sequence[Line], postings: Sequence[Line]) -> list[Line]:
    """The order with the most points, if they are enough and no other has as many."""
    by_number: dict[str, list[Line]] = {}
    by_amount: dict[tuple[str, Decimal], list[Line]] = {}
    for order in orders:
        if order["payment_status"] in {"unpaid", "partially_paid"}:
            invoices = [invoice["number"] for invoice in order["invoices"]]
            for number in (order["number"], *invoices, *order["references"]):
                by_number.setdefault(_squashed(number), []).append(order)
            by_amount.setdefault((order["currency"], owed(order)), []).append(order)
    return [_points(by_number, by_amount, posting) for posting in postings]


def _points(
    by_number: dict[str, list[Line]],
    by_amount: dict[tuple[str, Decimal], list[Line]],
    posting: Line,
) -> Line:
    amount = Decimal(posting["amount"])
    if amount <= 0 or posting["is_return"] or posting["is_pending"]:
        return _answer(posting, [])
    scores: dict[str, int] = {}
    known: dict[str, Line] = {}
    named = [order for token in set(_tokens(posting)) for order in by_number.get(token, [])]
    same = by_amount.get((posting["currency"], amount), [])
    for order in [*named, *same]:
        known[order["number"]] = order
    for number, order in known.items():
        has_number = any(order is one for one in named)
        has_amount = any(order is one for one in same)
        scores[number] = (
            NUMBER_POINTS * has_number + AMOUNT_POINTS * has_amount + _name_points(order, posting)
        )
    best = sorted(scores, key=lambda number: -scores[number])[:2]
    if not best or scores[best[0]] < ENOUGH - AMOUNT_POINTS:
        return _answer(posting, [])
    is_tie = len(best) > 1 and scores[best[0]] == scores[best[1]]
    is_auto = scores[best[0]] >= ENOUGH and not is_tie
    return _answer(posting, [known[number] for number in best], is_auto=is_auto)


def _name_points(order: Line, posting: Line) -> int:
    name = wording.key(posting["counterparty_name"] or "")
    address = order["billing_address"]
    first, last = wording.key(address["first_name"]), wording.key(address["last_name"])
    company = wording.key(address["company"])
    if (company and company in name) or (last in name and first in name):
        return NAME_POINTS
    return FAMILY_POINTS if last and last in name else 0


def _tokens(posting: Line) -> Iterable[str]:
    """Words of the text and of the payer's id, and neighbours put together."""
    for text in (posting["remittance_information"], posting["end_to_end_id"]):
        words = [_squashed(word) for word in re.split(r"[\s,;:+()]+", text or "")]
        for at, word in enumerate(words):
            yield from (word, "".join(words[at : at + 2]))


def _squashed(text: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", text.upper())


def _answer(posting: Line, found: Sequence[Line], *, is_auto: bool = True) -> Line:
    """In the words of ``match``; the first of ``found`` is booked if the answer is automatic."""
    amount = Decimal(posting["amount"])
    share = min(amount, owed(found[0])) if found else Decimal(0)
    is_auto = is_auto and share > 0
    return {
        "id": posting["id"],
        "decision": "auto" if is_auto else "suggest" if found else "none",
        "assignments": [{"order": found[0]["number"], "amount": f"{share:f}"}] if is_auto else [],
        "remainder": f"{amount - share:f}" if is_auto else f"{amount:f}",
        "probability": 0.99 if is_auto else 0.5 if found else 0.0,
        "evidence": [],
        "vetoes": [],
        "suggestions": []
        if is_auto
        else [{"orders": [order["number"]], "probability": 0.5} for order in found],
    }


BASELINES: Final[dict[str, Engine]] = {"first_number": first_number, "points": points}
