"""Tables for programs that fetch them: accounting, a report, a spreadsheet (K34).

Such a program has a key of its own, which reads these tables and can do nothing else. The key goes
in the header only: what stands in an address stands in logs, histories and other people's tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Final

from flask import Response, g, request, stream_with_context
from flask_smorest import Blueprint
from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute

from server.api.access import scope
from server.api.problems import Problem
from server.db import db, now
from server.merchants.service import EXPORT
from server.orders import tables
from server.orders.tables import Period, Rows
from server.orders.told import zone_of
from server.relay import tables as relay_tables
from server.visitors import attempt_limits, client_network

blueprint = Blueprint("exports", __name__, url_prefix="/export")

MOST_ROWS: Final = 100_000
MOST_DAYS: Final = 366
DAYS_UNASKED: Final = 31
FIRST_YEAR, LAST_YEAR = 1900, 2200
FILES_OF_KEY: Final = RateLimitItemPerHour(60, namespace="export-key")
FAILURES: Final = RateLimitItemPerMinute(20, 15, namespace="export-failure")
ARGUMENTS: Final = ("from", "to")


def _ledger(merchant_id: int, period: Period) -> Rows:
    return relay_tables.ledger(merchant_id, period.first, period.last)


def _numbers(merchant_id: int, period: Period) -> Rows:
    return relay_tables.numbers(merchant_id, *period.times, period.zone.key)


EXPORTS: Final[Mapping[str, Callable[[int, Period], Rows]]] = {
    **tables.TABLES,
    "relay-ledger": _ledger,
    "relay-numbers": _numbers,
}
"""The name of a file to its rows; docs/api.md says what each is about."""


@blueprint.before_request
def slow_down_guessers() -> None:
    """Who presents wrong keys is not even asked for the next one for a while."""
    if attempt_limits().is_reached(FAILURES, client_network()):
        raise _too_many("Too many requests with wrong keys.", FAILURES)


@blueprint.after_request
def count_failure(response: Response) -> Response:
    if response.status_code == 401:
        attempt_limits().count(FAILURES, client_network())
    response.headers["Cache-Control"] = "no-store"
    return response


def get_table() -> Response:
    """One table of a period as CSV (RFC 4180, UTF-8), written while it is read."""
    assert request.endpoint is not None, "a route was found"
    name = request.endpoint.rpartition(".")[2]
    period = _asked_period()
    _within_limit()
    query = EXPORTS[name](g.api_key.merchant_id, period)
    if tables.count(query, MOST_ROWS + 1) > MOST_ROWS:
        raise Problem(422, f"These are more than {MOST_ROWS} rows. Ask for a shorter period.")
    db.session.commit()  # the use of the key is noted, whatever becomes of the file
    lines = stream_with_context(tables.csv_lines(tables.read(query)))
    response = Response(lines, content_type="text/csv; charset=utf-8; header=present")
    filename = f"{name}-{period.first.isoformat()}-{period.last.isoformat()}.csv"
    response.headers.set("Content-Disposition", "attachment", filename=filename)
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _within_limit() -> None:
    limits, key = attempt_limits(), g.api_key.id
    if limits.is_reached(FILES_OF_KEY, key):
        raise _too_many(f"A key fetches at most {FILES_OF_KEY.amount} files an hour.", FILES_OF_KEY)
    limits.count(FILES_OF_KEY, key)


def _too_many(why: str, limit: RateLimitItem) -> Problem:
    return Problem(429, why, headers={"Retry-After": str(limit.get_expiry())})


def _asked_period() -> Period:
    """From ``from`` to ``to``, both included; without them the last 31 days."""
    unknown = [one for one in request.args if one not in ARGUMENTS]
    if "key" in unknown:
        raise Problem(422, "The key belongs in 'Authorization: Bearer ...', not in the address.")
    if unknown:
        raise Problem(422, f"{unknown[0][:40]!r} is not known; there are 'from' and 'to'.")
    zone = zone_of(g.api_key.merchant_id)
    last = _asked_day("to") or now().astimezone(zone).date()
    first = _asked_day("from") or last - timedelta(days=DAYS_UNASKED - 1)
    if not 0 <= (last - first).days < MOST_DAYS:
        raise Problem(422, f"'from' is not after 'to', and at most {MOST_DAYS} days lie between.")
    return Period(first, last, zone)


def _asked_day(name: str) -> date | None:
    typed = request.args.get(name)
    if typed is None:
        return None
    try:
        found = date.fromisoformat(typed)
    except ValueError:
        found = None
    if found is None or not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise Problem(422, f"{name!r} is no date; write 2026-03-31.")
    return found


def _add_route(name: str) -> None:
    """A route for each table, so that the OpenAPI document names them."""
    described = blueprint.doc(
        parameters=[
            {
                "in": "query",
                "name": argument,
                "schema": {"type": "string", "format": "date"},
                "description": f"{which} day, in the merchant's time zone",
            }
            for argument, which in zip(ARGUMENTS, ("first", "last"), strict=True)
        ],
        responses={"200": {"description": "The table", "content": {"text/csv": {}}}},
    )
    blueprint.get(f"/{name}.csv", endpoint=name)(described(scope(EXPORT)(get_table)))


for _name in EXPORTS:
    _add_route(_name)
