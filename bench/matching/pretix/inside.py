"""Runs inside the interpreter that pretix is installed in; knows nothing of this project.

    python -I inside.py --home EMPTY_DIRECTORY --orders O.jsonl --postings P.jsonl

Sets pretix up in the directory (SQLite, unless ``PRETIX_DATABASE_*`` names a database), creates
one organizer, one event and the orders, and gives the postings to pretix' own bank import.
Prints JSON Lines: one ``{"id", "orders", "state"}`` a posting in input order, then one
``{"figures": …}``. Everything that pretix itself prints goes to stderr.

How the orders are told to pretix: its numbers read EVENT-CODE, so ``SHOP-20000`` is the order with
the code ``20000`` in the event ``SHOP``. Its own codes are letters and digits without those that
are easily confused; the column and the import take any code of A-Z and 0-9 (``MAX_CODE`` long),
so codes are kept as they are, and pretix is told their length, as if it had made them itself. Every
order has one item and one transfer that has been announced, as after a checkout. An invoice number
is cut before its last digits into pretix' prefix and number.

How the postings are told: an import of pretix has one currency and knows neither pending nor
unreadable entries, so those are not given. Creditor reference and end-to-end id are given as
further lines of the text, as pretix' own readers of bank files do. They are imported for the
organizer, not for the event: an import for one event does not look up how long codes are and takes
at most five characters.
"""

from __future__ import annotations

import argparse
import collections
import functools
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

PURE_RUNS = 3
MAX_CODE = 16
PAYMENT_DAYS = 14
PLUGIN = "pretix.plugins.banktransfer"
NUMBER = re.compile(rf"(?P<event>[A-Za-z0-9][A-Za-z0-9.-]*)-(?P<code>[A-Z0-9]{{1,{MAX_CODE}}})")
INVOICE_NUMBER = re.compile(r"(?P<prefix>.*[^0-9])(?P<number>[0-9]{1,19})")
STATUSES = {"paid": "p", "cancelled": "c"}  # everything else is pending: "n"

Line = dict[str, Any]


class CannotBeTold(SystemExit):
    """The orders cannot be expressed in pretix; the text says why."""


def main() -> None:
    options = _options()
    answer = _own_stdout()
    orders, postings = _lines(options.orders), _lines(options.postings)
    slug, codes = split_numbers([order["number"] for order in orders])
    _start(options.home, min(len(code) for code in codes))
    with import_module("django_scopes").scopes_disabled():
        currency = collections.Counter(order["currency"] for order in orders).most_common(1)[0][0]
        event = _create_event(slug, currency)
        began = time.perf_counter()
        _create_orders(event, orders, codes, currency)
        _say(f"{len(orders)} orders created in {time.perf_counter() - began:.0f} s")
        given = [posting for posting in postings if can_be_given(posting, currency)]
        pure = _measure_pure(event, given)
        booking, outcomes = _measure_booking(event, given)
    for posting in postings:
        state, booked = outcomes.get(id(posting), ("not given", []))
        numbers = [f"{slug}-{code}" for code in booked]
        answer(json.dumps({"id": posting["id"], "orders": numbers, "state": state}))
    answer(json.dumps({"figures": {"postings": len(given), **_versions(), **pure, **booking}}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--orders", type=Path, required=True)
    parser.add_argument("--postings", type=Path, required=True)
    return parser.parse_args()


def _own_stdout() -> Callable[[str], None]:
    """Our stdout, for the answer alone: pretix and its migrations print to stderr from now on."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return functools.partial(print, file=stream, flush=True)


def _lines(path: Path) -> list[Line]:
    """One object a line; one without ``id`` gets its line's number from 0."""
    with path.open(encoding="utf-8-sig") as lines:
        return [{"id": at, **json.loads(line)} for at, line in enumerate(lines) if line.strip()]


def split_numbers(numbers: list[str]) -> tuple[str, list[str]]:
    """The event's name and each order's code. ``CannotBeTold`` unless all are of one event."""
    found = [NUMBER.fullmatch(number) for number in numbers]
    events = {match["event"] for match in found if match}
    if not numbers or len(events) != 1 or not all(found):
        raise CannotBeTold(
            "pretix' order numbers read EVENT-CODE, with one EVENT for all orders of a file and "
            f"a CODE of at most {MAX_CODE} capital letters and digits; these do not."
        )
    return events.pop(), [match["code"] for match in found if match]


# --- Setting pretix up ------------------------------------------------------------------------


def _start(home: Path, code_length: int) -> None:
    """pretix as its manual installs it, but that nobody works off the mails it queues."""
    os.chdir(home)
    os.environ |= {
        "DATA_DIR": str(home),
        "DJANGO_SETTINGS_MODULE": "pretix.settings",
        "PRETIX_CONFIG_FILE": str(home / "none.cfg"),
        "PRETIX_CELERY_BROKER": "memory://",
        "PRETIX_CELERY_BACKEND": "cache+memory://",
        "PRETIX_ENTROPY_ORDER_CODE": str(code_length),
    }
    import_module("django").setup()
    began = time.perf_counter()
    import_module("django.core.management").call_command("migrate", verbosity=0)
    _say(f"database set up in {time.perf_counter() - began:.0f} s")


def _create_event(slug: str, currency: str) -> Any:
    models = import_module("pretix.base.models")
    now = import_module("django.utils.timezone").now()
    organizer = models.Organizer.objects.create(
        name="Annas Antiquariat", slug="annas-antiquariat", plugins=PLUGIN
    )
    event = models.Event.objects.create(
        organizer=organizer,
        name="Shop",
        slug=slug,
        currency=currency,
        date_from=now + timedelta(days=365),
        live=True,
        plugins=PLUGIN,
    )
    event.settings.set("payment_banktransfer__enabled", True)
    return event


def _create_orders(event: Any, orders: list[Line], codes: list[str], currency: str) -> None:
    atomic = import_module("django.db.transaction").atomic
    item = event.items.create(name="Book", default_price=Decimal("10.00"))
    quota = event.quotas.create(name="Books", size=None)
    quota.items.add(item)
    with atomic():
        for order, code in zip(orders, codes, strict=True):
            if order["currency"] == currency:
                _create_order(event, item, order, code)


def _create_order(event: Any, item: Any, order: Line, code: str) -> None:
    now = import_module("django.utils.timezone").now()
    channel = event.organizer.sales_channels.get(identifier="web")
    total = Decimal(order["total"])
    status = order.get("payment_status") or "unpaid"
    created = event.orders.create(
        code=code,
        status=STATUSES.get(status, "n"),
        email=(order.get("customer") or {}).get("email") or "erika@example.org",
        datetime=now,
        expires=now + timedelta(days=PAYMENT_DAYS),
        total=total,
        locale="de",
        sales_channel=channel,
    )
    created.positions.create(item=item, variation=None, price=total)
    created.create_transactions()
    paid = total if status == "paid" else Decimal(order.get("paid_total") or 0)
    for state, amount in (("confirmed", paid), ("created", total - paid)):
        if amount > 0:
            created.payments.create(provider="banktransfer", state=state, amount=amount)
    for invoice in order.get("invoices") or []:
        _create_invoice(event, created, invoice)


def _create_invoice(event: Any, order: Any, invoice: Line) -> None:
    number = INVOICE_NUMBER.fullmatch(invoice["number"])
    if number is not None:
        order.invoices.create(
            event=event,
            organizer=event.organizer,
            prefix=number["prefix"],
            invoice_no=number["number"],
        )


# --- Measuring --------------------------------------------------------------------------------


def can_be_given(posting: Line, currency: str) -> bool:
    return (
        posting.get("amount") is not None
        and (posting.get("currency") or currency) == currency
        and not posting.get("is_pending")
    )


def row(posting: Line) -> dict[str, str]:
    """One line of a bank file, as pretix' readers hand it to the import."""
    texts = ("remittance_information", "creditor_reference", "end_to_end_id")
    return {
        "payer": posting.get("counterparty_name") or "",
        "iban": posting.get("counterparty_iban") or "",
        "reference": "\n".join(posting[name] for name in texts if posting.get(name)),
        "amount": posting["amount"],
        "date": posting.get("booking_date") or posting.get("value_date") or "",
    }


class OrderFound(Exception):
    """Raised by a ``Probe`` as soon as pretix knows the order."""


class Probe:
    """Stands in for pretix' stored bank posting: lets its search run, and nothing behind it.

    ``order`` is the first thing pretix writes once it has found orders in the text.
    """

    def __init__(self, told: Mapping[str, str]) -> None:
        self.reference = told["reference"]
        self.amount = Decimal(told["amount"])
        self.state: str | None = None

    def __setattr__(self, name: str, value: object) -> None:
        if name == "order":
            raise OrderFound
        super().__setattr__(name, value)

    def save(self) -> None:
        """Nothing is stored while only the search is measured."""


def _measure_pure(event: Any, postings: list[Line]) -> dict[str, object]:
    """CPU seconds of finding the orders in the text: pattern and look-ups, nothing written.

    pretix' import is run whole, but stored postings are replaced by probes, which end the work on
    one as soon as its order is known. Without a transaction each, which pretix needs only to write.
    """
    tasks = import_module("pretix.plugins.banktransfer.tasks")
    rows = [row(posting) for posting in postings]
    search = tasks._handle_transaction.__wrapped__
    found = 0

    def only_search(*args: Any, **named: Any) -> None:
        nonlocal found
        try:
            search(*args, **named)
        except OrderFound:
            found += 1

    seconds = []
    with _replaced(tasks, "_handle_transaction", only_search):
        for _ in range(PURE_RUNS):
            found = 0
            probes = [Probe(told) for told in rows]
            give_probes = functools.partial(_return_first, probes)
            with _replaced(tasks, "_get_unknown_transactions", give_probes), _counted() as asked:
                seconds.append(_run_import(event, rows)[1]["cpu_seconds"])
    return {"pure_seconds": min(seconds), "pure_found": found, "pure_statements": len(asked)}


def _return_first(value: object, *_: object, **__: object) -> object:
    return value


def _measure_booking(
    event: Any, postings: list[Line]
) -> tuple[dict[str, object], dict[int, tuple[str, list[str]]]]:
    """The import as merchants run it; what it decided, by ``id()`` of the posting."""
    rows = [row(posting) for posting in postings]
    with _counted() as asked:
        job, took = _run_import(event, rows)
    stored = list(job.transactions.order_by("pk"))
    assert len(stored) == len(postings), "pretix dropped postings of a first import"
    booked = _booked_orders(event)
    outcomes: dict[int, tuple[str, list[str]]] = {
        id(posting): (kept.state, booked.get(kept.pk, []) if kept.state == "valid" else [])
        for posting, kept in zip(postings, stored, strict=True)
    }
    figures: dict[str, object] = {
        "booking_seconds": took["seconds"],
        "booking_cpu_seconds": took["cpu_seconds"],
        "booking_statements": len(asked),
    }
    return figures, outcomes


def _booked_orders(event: Any) -> dict[int, list[str]]:
    """The codes of the orders each stored posting was booked on, by the posting's key."""
    models = import_module("pretix.base.models")
    booked: dict[int, list[str]] = collections.defaultdict(list)
    for model in (models.OrderPayment, models.OrderRefund):
        for money in model.objects.filter(order__event=event).select_related("order"):
            stored = money.info_data.get("trans_id")
            if stored is not None:
                booked[stored].append(money.order.code)
    return booked


def _run_import(event: Any, rows: list[dict[str, str]]) -> tuple[Any, dict[str, float]]:
    """pretix' import job of these rows, and how long it took: by the clock, and this process."""
    tasks = import_module("pretix.plugins.banktransfer.tasks")
    models = import_module("pretix.plugins.banktransfer.models")
    job = models.BankImportJob.objects.create(organizer=event.organizer, currency=event.currency)
    began, worked = time.perf_counter(), time.process_time()
    tasks.process_banktransfers.apply(kwargs={"job": job.pk, "data": rows}, throw=True)
    took = {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - worked,
    }
    job.refresh_from_db()
    assert job.state == "completed", f"pretix' import ended as {job.state}"
    return job, took


@contextmanager
def _replaced(module: Any, name: str, value: object) -> Iterator[None]:
    original = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, original)


@contextmanager
def _counted() -> Iterator[list[None]]:
    """One entry for each SQL statement that was sent."""
    asked: list[None] = []

    def count(execute: Callable[..., Any], *args: Any) -> Any:
        asked.append(None)
        return execute(*args)

    with import_module("django.db").connection.execute_wrapper(count):
        yield asked


def _versions() -> dict[str, str]:
    return {
        "pretix": import_module("pretix").__version__,
        "python": ".".join(str(part) for part in sys.version_info[:3]),
        "database": import_module("django.db").connection.vendor,
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
