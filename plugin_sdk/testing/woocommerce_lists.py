"""What a list of orders shows: WooCommerce's filters, sorting, pages and fields.

A parameter that is not here is ignored without a word, as the real one does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from plugin_sdk.testing.woocommerce_answers import Reply, bad, copy_of, joined
from plugin_sdk.testing.woocommerce_orders import STATUSES, TRASH, Json

ORDER_BY = ("date", "id", "include", "title", "slug", "modified")


def list_orders(orders: Iterable[Json], query: Mapping[str, str], *, hpos: bool) -> Reply:
    """The answer to GET /orders: one page of those that the filters leave."""
    per_page = whole(query, "per_page", 10, 100)
    number = whole(query, "page", 1, None)
    rows = _sorted([order for order in orders if _is_asked_for(order, query)], query)
    listed = rows[(number - 1) * per_page : number * per_page]
    total = len(rows)
    if not listed and number > 1 and hpos:
        total = 0  # past the end HPOS forgets the total, the posts tables do not
    body = [shown(order, query) for order in listed]
    return Reply(200, body, total=total, pages=-(-total // per_page))


def _is_asked_for(order: Json, query: Mapping[str, str]) -> bool:
    """The filters of a list. A name that is not here is ignored, as the real one does."""
    if not _has_asked_status(order, query.get("status", "any")):
        return False
    if "include" in query and str(order["id"]) not in query["include"].split(","):
        return False
    if "exclude" in query and str(order["id"]) in query["exclude"].split(","):
        return False
    if "customer" in query and str(order["customer_id"]) != query["customer"]:
        return False
    if "created_via" in query and order["created_via"] not in query["created_via"].split(","):
        return False
    if "search" in query and not _contains(order, query["search"]):
        return False
    return _is_in_time(order, query)


def _has_asked_status(order: Json, wanted: str) -> bool:
    asked = wanted.split(",")
    allowed = ["any", TRASH, "auto-draft", *STATUSES]
    for at, status in enumerate(asked):
        if status not in allowed:
            text = f"status[{at}] is not one of {joined(allowed)}."
            raise bad("status", text, "rest_not_in_enum")
    if "any" in asked:
        return order["status"] not in (TRASH, "checkout-draft", "auto-draft")
    return order["status"] in asked


def _is_in_time(order: Json, query: Mapping[str, str]) -> bool:
    """All four limits are exclusive and to the second; without a zone they are local time."""
    in_gmt = query.get("dates_are_gmt") == "true"
    for name, date, is_after in (
        ("modified_after", "date_modified", True),
        ("modified_before", "date_modified", False),
        ("after", "date_created", True),
        ("before", "date_created", False),
    ):
        if name not in query:
            continue
        try:
            if "T" not in query[name]:
                raise ValueError
            limit = datetime.fromisoformat(query[name])
        except ValueError:
            raise bad(name, "Invalid date.", "rest_invalid_date") from None
        key = date if limit.tzinfo is None and not in_gmt else f"{date}_gmt"
        if limit.tzinfo is not None:
            limit = limit.astimezone(UTC).replace(tzinfo=None)
        value = datetime.fromisoformat(order[key])
        if not (value > limit if is_after else value < limit):
            return False
    return True


def _contains(order: Json, text: str) -> bool:
    """Number plugins put their numbers among what the search looks through."""
    numbers = [meta["value"] for meta in order["meta_data"] if "order_number" in meta["key"]]
    addresses = (*order["billing"].values(), *order["shipping"].values())
    places = (order["id"], order["number"], *numbers, *addresses)
    return any(text.lower() in str(place).lower() for place in places)


def _sorted(rows: list[Json], query: Mapping[str, str]) -> list[Json]:
    by = query.get("orderby", "date")
    if by not in ORDER_BY:
        text = f"orderby is not one of {joined(ORDER_BY)}."
        raise bad("orderby", text, "rest_not_in_enum")
    key = {"date": "date_created_gmt", "modified": "date_modified_gmt"}.get(by, "id")
    newest_first = query.get("order", "desc") == "desc"
    return sorted(rows, key=lambda order: (order[key], order["id"]), reverse=newest_first)


def shown(order: Json, query: Mapping[str, str]) -> Json:
    """An order as it goes out: a copy, with the fields that were asked for."""
    return only(copy_of(order), query)


def only(body: Json, query: Mapping[str, str]) -> Json:
    """``_fields`` keeps these keys; the links stay as well."""
    if "_fields" not in query:
        return body
    kept = {*query["_fields"].split(","), "_links"}
    return {key: value for key, value in body.items() if key in kept}


def whole(query: Mapping[str, str], name: str, default: int, most: int | None) -> int:
    """A parameter that is a number from 1 to ``most``. Raises Problem."""
    text = query.get(name, str(default))
    number = int(text) if re.fullmatch(r"-?\d{1,9}", text) else 0
    if number < 1 or (most is not None and number > most):
        if most is None:
            raise bad(name, f"{name} must be greater than or equal to 1", "rest_out_of_bounds")
        limits = f"{name} must be between 1 (inclusive) and {most} (inclusive)"
        raise bad(name, limits, "rest_out_of_bounds")
    return number
