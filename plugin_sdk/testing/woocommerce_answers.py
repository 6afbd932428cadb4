"""Answers of WooCommerce's API as values: replies, and errors in WordPress's form."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plugin_sdk.testing.woocommerce_orders import Json


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the API. ``total`` is the X-WP-Total of a list."""

    status: int
    body: Any
    total: int | None = None
    pages: int | None = None
    location: str | None = None


class Problem(Exception):
    """An error answer in WordPress's form."""

    def __init__(self, status: int, code: str, message: str, extra: Any = None) -> None:
        super().__init__(message)
        more = {"status": status, **extra} if isinstance(extra, dict) else {"status": status}
        # Refund errors carry the bare number where all others carry an object.
        shown = extra if isinstance(extra, int) else more
        self.reply = Reply(status, {"code": code, "message": message, "data": shown})


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to the API: ``path`` behind /wc/v3, ``query`` with the last of each name."""

    method: str
    path: str
    query: Mapping[str, str]
    json: Any


def nobody(method: str, route: str) -> Reply:
    """What a request without a valid key is told; an unknown key is told the same."""
    if method == "GET":
        is_one = re.fullmatch(r".*/\d+", route)
        text = "view this resource" if is_one else "list resources"
        code = "woocommerce_rest_cannot_view"
        return Problem(401, code, f"Sorry, you cannot {text}.").reply
    verb = {"POST": "create", "PUT": "edit", "DELETE": "delete"}[method]
    text = f"Sorry, you are not allowed to {verb} this resource."
    return Problem(401, f"woocommerce_rest_cannot_{verb}", text).reply


def invalid_id(status: int) -> Problem:
    """There is no such order: 404 when read, 400 when written."""
    text = "Invalid ID." if status == 404 else "ID is invalid."
    return Problem(status, "woocommerce_rest_shop_order_invalid_id", text)


def bad(name: str, text: str, code: str = "") -> Problem:
    """A parameter that is refused."""
    extra: Json = {"params": {name: text}, "details": {}}
    if code:
        extra["details"] = {name: {"code": code, "message": text, "data": None}}
    return Problem(400, "rest_invalid_param", f"Invalid parameter(s): {name}", extra)


def object_of(value: Any) -> Json:
    """A body that must be an object; none at all is an empty one. Raises Problem."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise bad("body", "body is not of type object.")
    return value


def joined(words: Sequence[str]) -> str:
    """A list in words."""
    return f"{', '.join(words[:-1])}, and {words[-1]}"


def php_json(value: Any) -> bytes:
    """JSON as PHP prints it: no blanks, everything else than ASCII escaped, and slashes too."""
    return json.dumps(value, separators=(",", ":")).replace("/", "\\/").encode()


def copy_of(value: Any) -> Any:
    """What is sent must not change with the shop."""
    return json.loads(json.dumps(value))
