"""Reading bodies: sizes, JSON, and fields of a newer wire version than ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import request
from marshmallow import Schema, ValidationError
from werkzeug.exceptions import BadRequest

from plugin_sdk.types import WIRE_VERSION
from server.api.problems import Problem, messages_of

MAX_JSON_BYTES = 5 * 1024 * 1024
TOO_LARGE = f"A JSON body has at most {MAX_JSON_BYTES} bytes."
UNKNOWN = "Unknown field."
MAX_UNKNOWN_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a schema made of the JSON, the JSON without what we do not know, and those names."""

    value: Any
    raw: Any
    ignored: tuple[str, ...] = ()


def json_body() -> Any:
    """The body as JSON, at most 5 MB. Raises Problem."""
    if (request.content_length or 0) > MAX_JSON_BYTES:
        raise Problem(413, TOO_LARGE)
    if not request.is_json:
        raise Problem(415, "Send 'Content-Type: application/json'.")
    if len(request.get_data(cache=True)) > MAX_JSON_BYTES:  # sent in chunks, without its length
        raise Problem(413, TOO_LARGE)
    try:
        body = request.get_json()
    except (BadRequest, RecursionError):
        raise Problem(400, "The body is not valid JSON.") from None
    if not isinstance(body, dict):
        raise Problem(422, "The body must be a JSON object.")
    return body


def load(schema: Schema, raw: Any, quick: Callable[[Any], Any] | None = None) -> Loaded:
    """Unknown keys are errors (422, named), unless the sender speaks a newer version than we.

    ``quick``: the ``quick_loader`` of that schema.
    """
    try:
        return Loaded((quick or schema.load)(raw), raw)
    except ValidationError as error:
        if not _is_newer():
            raise
        return _load_what_is_known(schema, raw, error)


def _load_what_is_known(schema: Schema, raw: Any, error: ValidationError) -> Loaded:
    ignored: list[str] = []
    for _ in range(MAX_UNKNOWN_ROUNDS):
        raw = _without_unknown(raw, messages_of(error), "", ignored)
        try:
            return Loaded(schema.load(raw), raw, tuple(ignored))
        except ValidationError as again:
            error = again
    raise error


def _without_unknown(raw: Any, errors: Any, path: str, ignored: list[str]) -> Any:
    if not isinstance(errors, dict):
        return raw
    if isinstance(raw, list):
        return [
            _without_unknown(part, errors.get(index), f"{path}[{index}]", ignored)
            for index, part in enumerate(raw)
        ]
    if not isinstance(raw, dict):
        return raw
    kept = {}
    for name, part in raw.items():
        messages = errors.get(name)
        inside = f"{path}.{name}".strip(".")
        if messages == [UNKNOWN]:
            ignored.append(inside)
        else:
            kept[name] = _without_unknown(part, messages, inside, ignored)
    return kept


def _is_newer() -> bool:
    version = request.headers.get("Kontor-Wire-Version", "")
    return version.isascii() and version.isdigit() and int(version[:9]) > WIRE_VERSION
