"""``python -m server match``: the matcher without a server, on two files.

Orders in the wire format, postings as ``parse`` prints them, both JSON Lines; one decision a
posting, in input order. Needs no settings, database, Flask or RQ.

``--history`` are earlier assignments that people confirmed: whom an account has paid for.
"""

import argparse
import gc
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, TypeVar

from server.matching.rules import (
    Decision,
    Discount,
    MemoryStore,
    OpenOrder,
    Payer,
    PostingFacts,
    decide,
)
from server.matching.rules.case import NOT_PROVIDED
from server.matching.rules.evidence import VETOES
from server.matching.rules.memory import Confirmed, customer_names, remembered
from server.orders.rules import order_keys, payment_status

EXIT_BAD_INPUT: Final = 2
MAX_AMOUNT: Final = Decimal(10) ** 12
MAX_DISCOUNT_PERCENT: Final = 100

T = TypeVar("T")
Line = Mapping[str, Any]


class BadInput(Exception):
    """A line that cannot be read; the message names file, line and what is wrong."""


def main(argv: list[str]) -> int:
    """Decides over the files named in ``argv``. 0, or 2 if a file could not be read."""
    options = _options(argv)
    try:
        orders = _read(options.orders, read_order)
        postings = _read(options.postings, read_posting)
        postings = _told_of_refunds(postings)
        booked = _read(options.history, read_booked) if options.history is not None else []
    except BadInput as problem:
        sys.stderr.write(f"match: {problem}\n")
        return EXIT_BAD_INPUT
    store = MemoryStore(orders, remembered(booked, orders))
    gc.freeze()  # what was read lives to the end; nobody need look through it for garbage
    decisions = decide(postings, store, today=options.today)
    print_decisions = _print_json if options.json else _print_report
    print_decisions(decisions)
    return 0


def _told_of_refunds(postings: Sequence[PostingFacts]) -> list[PostingFacts]:
    """Money that comes back with the end-to-end id of money that went out is no payment."""
    sent = {
        posting.end_to_end_id
        for posting in postings
        if posting.end_to_end_id and posting.amount is not None and posting.amount < 0
    } - NOT_PROVIDED
    return [
        replace(posting, is_own_refund=True)
        if posting.end_to_end_id in sent and posting.available > 0
        else posting
        for posting in postings
    ]


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m server match", description=__doc__)
    parser.add_argument("--orders", type=Path, required=True, metavar="ORDERS.jsonl")
    parser.add_argument("--postings", type=Path, required=True, metavar="POSTINGS.jsonl")
    parser.add_argument("--history", type=Path, metavar="HISTORY.jsonl")
    parser.add_argument("--today", type=date.fromisoformat, metavar="DATE")
    parser.add_argument("--json", action="store_true", help="one JSON object a posting")
    return parser.parse_args(argv)


# --- Reading ----------------------------------------------------------------------------------


def _read(path: Path, build: Callable[[Line, int], T]) -> list[T]:
    """One value a line; blank lines are skipped. ``build`` gets the line's number from 0."""
    values: list[T] = []
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines):
                if line.strip():
                    values.append(_built(path, number, line, build))
    except OSError as problem:
        raise BadInput(f"{path}: {problem.strerror}") from None
    except UnicodeDecodeError:
        raise BadInput(f"{path}: is not UTF-8") from None
    return values


def _built(path: Path, number: int, line: str, build: Callable[[Line, int], T]) -> T:
    try:
        content = json.loads(line, parse_float=Decimal)
        if not isinstance(content, dict):
            raise ValueError("is not a JSON object")
        return build(content, number)
    except json.JSONDecodeError as problem:
        raise BadInput(f"{path}:{number + 1}: is not JSON: {problem.msg}") from None
    except ValueError as problem:
        raise BadInput(f"{path}:{number + 1}: {problem}") from None


def read_order(line: Line, number: int) -> OpenOrder:
    """A line in the wire format, as the rules see it. Raises ValueError saying what is wrong."""
    total = _amount(line, "total")
    if total is None:
        raise ValueError("total is missing")
    customer = _object(line, "customer")
    invoices = list(_objects(line, "invoices"))
    paid = _amount(line, "paid_total") or Decimal(0)
    addresses = [_object(line, name) for name in ("billing_address", "shipping_address")]
    order_number = _required(line, "number")
    payers = tuple(_payer(address) for address in addresses if address)
    status = _text(line, "payment_status") or payment_status(total, paid)
    return OpenOrder(
        id=number,
        number=order_number,
        currency=_required(line, "currency"),
        total=total,
        outstanding=max(total - paid, Decimal(0)),
        payment_status=status,
        ordered_date=_day(_required(line, "ordered_at"), "ordered_at"),
        payers=payers,
        discount=_discount(_object(line, "payment_terms")),
        terms_date=min(filter(None, (_date(each, "date") for each in invoices)), default=None),
        customer=customer_names(_text(customer, "email"), _text(customer, "number")),
        keys=order_keys(
            order_number,
            invoice_numbers=[_required(invoice, "number") for invoice in invoices],
            references=_texts(line, "references"),
            names=[name for payer in payers for name in (payer.last_name, payer.company)],
            people=[(payer.first_name, payer.last_name) for payer in payers],
            customer_number=_text(customer, "number"),
        ),
    )


def _payer(address: Line) -> Payer:
    return Payer(
        first_name=_text(address, "first_name") or "",
        last_name=_text(address, "last_name") or "",
        company=_text(address, "company") or "",
    )


def _discount(terms: Line) -> Discount | None:
    percent, days = _amount(terms, "discount_percent"), terms.get("discount_days")
    if percent is None or days is None:
        return None
    if not 0 < percent < MAX_DISCOUNT_PERCENT:
        raise ValueError(f"discount_percent is not between 0 and 100: {percent}")
    if not isinstance(days, int) or days < 0:
        raise ValueError(f"discount_days is not a number of days: {days!r}")
    return Discount(percent, days)


def read_posting(line: Line, number: int) -> PostingFacts:
    """A line as ``parse`` prints it. Raises ValueError saying what is wrong."""
    return PostingFacts(
        id=line.get("id", number),
        amount=_amount(line, "amount"),
        currency=_text(line, "currency"),
        booking_date=_date(line, "booking_date"),
        value_date=_date(line, "value_date"),
        counterparty_name=_text(line, "counterparty_name"),
        counterparty_iban=_text(line, "counterparty_iban"),
        remittance_information=_text(line, "remittance_information"),
        creditor_reference=_text(line, "creditor_reference"),
        end_to_end_id=_text(line, "end_to_end_id"),
        is_return=_flag(line, "is_return"),
        is_pending=_flag(line, "is_pending"),
        is_batch_total=_flag(line, "is_batch_total"),
    )


def read_booked(line: Line, number: int) -> Confirmed:
    """A line of the history. Raises ValueError saying what is wrong."""
    names = ("counterparty_iban", "counterparty_name", "customer_number", "customer_email")
    iban, name, customer_number, email = (_text(line, each) for each in names)
    return Confirmed(
        order=_required(line, "order"),
        counterparty_iban=iban,
        counterparty_name=name,
        customer=customer_names(email, customer_number),
        booked_date=_date(line, "booked_date"),
    )


# --- Fields -----------------------------------------------------------------------------------


def _text(line: Line, name: str) -> str | None:
    value = line.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} is not a text: {value!r}")
    return value or None


def _required(line: Line, name: str) -> str:
    value = _text(line, name)
    if value is None:
        raise ValueError(f"{name} is missing")
    return value


def _texts(line: Line, name: str) -> list[str]:
    return _list(line, name, str, "texts")


def _list(line: Line, name: str, kind: type[T], called: str) -> list[T]:
    values = line.get(name) or []
    if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
        raise ValueError(f"{name} is not a list of {called}")
    return values


def _object(line: Line, name: str) -> Line:
    value = line.get(name) or {}
    if not isinstance(value, dict):
        raise ValueError(f"{name} is not an object")
    return value


def _objects(line: Line, name: str) -> list[Line]:
    return _list(line, name, dict, "objects")


def _amount(line: Line, name: str) -> Decimal | None:
    value = line.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError(f"{name} is not an amount: {value!r}")
    try:
        amount = Decimal(value)
    except InvalidOperation:
        raise ValueError(f"{name} is not an amount: {value!r}") from None
    if not amount.is_finite() or abs(amount) >= MAX_AMOUNT:
        raise ValueError(f"{name} is not an amount: {value!r}")
    return amount


def _flag(line: Line, name: str) -> bool:
    value = line.get(name)
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"{name} is not true or false: {value!r}")
    return bool(value)


def _date(line: Line, name: str) -> date | None:
    value = _text(line, name)
    if value is None:
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{name} is not a date: {value!r}") from None


def _day(value: str, name: str) -> date:
    try:
        return datetime.fromisoformat(value).date()
    except ValueError:
        raise ValueError(f"{name} is not a time: {value!r}") from None


# --- Writing ----------------------------------------------------------------------------------


def _print_json(decisions: Sequence[Decision]) -> None:
    for decision in decisions:
        sys.stdout.write(json.dumps(_as_json(decision), ensure_ascii=False) + "\n")


def _as_json(decision: Decision) -> dict[str, object]:
    return {
        "id": decision.posting.id,
        "decision": decision.choice,
        "assignments": [
            {"order": share.order.number, "amount": f"{share.amount:f}"}
            for share in decision.shares
        ],
        "remainder": f"{decision.remainder:f}",
        "probability": round(decision.probability, 5),
        "evidence": [str(evidence) for evidence in decision.evidence],
        "vetoes": list(decision.vetoes),
        "suggestions": [
            {
                "orders": [share.order.number for share in proposal.shares],
                "probability": round(proposal.probability, 5),
            }
            for proposal in decision.proposals
        ],
    }


def _print_report(decisions: Sequence[Decision]) -> None:
    for decision in decisions:
        posting = decision.posting
        sys.stdout.write(
            f"{posting.id}: {posting.amount} {posting.currency or ''} "
            f"{posting.counterparty_name or ''} -> {decision.choice}\n"
        )
        for share in decision.shares:
            sys.stdout.write(f"    pays {share.order.number}: {share.amount:f}\n")
        for proposal in decision.proposals:
            numbers = " + ".join(share.order.number for share in proposal.shares)
            sys.stdout.write(f"    perhaps {numbers} ({proposal.probability:.1%})\n")
        for evidence in decision.evidence:
            sys.stdout.write(f"    because {evidence}\n")
        for veto in decision.vetoes:
            sys.stdout.write(f"    but {VETOES[veto]}\n")
    counts = dict.fromkeys(("auto", "suggest", "none"), 0)
    for decision in decisions:
        counts[decision.choice] += 1
    sys.stdout.write(", ".join(f"{count} {choice}" for choice, count in counts.items()) + "\n")
