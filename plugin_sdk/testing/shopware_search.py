"""Shopware's search over rows: filters, sorting, pages, associations, fields. Pure.

Silent where the real one is silent: an unreadable time finds everything, a time with an offset is
taken without it, letters are compared without case and accents, an unknown key means nothing.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from plugin_sdk.testing.fake_shop import Refusal, Reply

Json = dict[str, Any]

MAX_LIMIT = 500
PAGES_AHEAD = 6
UNCOUNTED = (None, 0, "none")
IN_ORDER = [(["autoIncrement"], False)]  # as the rows come anyway
KNOWN_KEYS = frozenset(
    """page limit filter sort post-filter associations aggregations grouping fields
    total-count-mode ids includes excludes""".split()
)
"""What the published schemas have. Others are ignored by the shop, and noticed by the fake."""

# Entity: its associations (name to entity, to-many ones with a star), and its fields beside those.
ENTITIES: Mapping[str, tuple[Mapping[str, str], str]] = {
    "order": (
        {
            "transactions": "order_transaction*",
            "deliveries": "order_delivery*",
            "lineItems": "order_line_item*",
            "documents": "document*",
            "addresses": "order_address*",
            "billingAddress": "order_address",
            "orderCustomer": "order_customer",
            "currency": "currency",
            "language": "language",
            "salesChannel": "sales_channel",
            "stateMachineState": "state_machine_state",
            "primaryOrderTransaction": "order_transaction",
        },
        """autoIncrement orderNumber orderDateTime orderDate amountTotal amountNet positionPrice
        shippingTotal taxStatus currencyId currencyFactor languageId salesChannelId stateId
        billingAddressId deepLinkCode campaignCode affiliateCode customerComment versionId
        primaryOrderTransactionId internalComment source""",
    ),
    "order_transaction": (
        {"paymentMethod": "payment_method", "stateMachineState": "state_machine_state"},
        "orderId paymentMethodId stateId versionId amount orderVersionId",
    ),
    "order_delivery": (
        {
            "shippingOrderAddress": "order_address",
            "shippingMethod": "shipping_method",
            "stateMachineState": "state_machine_state",
        },
        "trackingCodes stateId versionId shippingCosts shippingOrderAddressId orderId",
    ),
    "order_address": (
        {"country": "country"},
        """firstName lastName company department street zipcode city phoneNumber vatId countryId
        additionalAddressLine1 additionalAddressLine2 versionId orderId""",
    ),
    "order_customer": (
        {},
        "email firstName lastName company customerNumber vatIds customerId versionId orderId",
    ),
    "order_line_item": (
        {},
        "label type quantity position parentId good unitPrice totalPrice payload versionId orderId",
    ),
    "document": (
        {"documentType": "document_type"},
        """documentNumber deepLinkCode config sent static fileType orderVersionId documentTypeId
        referencedDocumentId orderId""",
    ),
    "document_type": ({}, "technicalName name"),
    "payment_method": (
        {},
        "technicalName name distinguishableName active formattedHandlerIdentifier",
    ),
    "shipping_method": ({}, "technicalName name active"),
    "state_machine": ({}, "technicalName name"),
    "state_machine_state": (
        {"stateMachine": "state_machine"},
        "technicalName name stateMachineId",
    ),
    "state_machine_transition": (
        {
            "stateMachine": "state_machine",
            "fromStateMachineState": "state_machine_state",
            "toStateMachineState": "state_machine_state",
        },
        "actionName stateMachineId fromStateId toStateId",
    ),
    "state_machine_history": (
        {
            "stateMachine": "state_machine",
            "fromStateMachineState": "state_machine_state",
            "toStateMachineState": "state_machine_state",
        },
        "entityName referencedId referencedVersionId integrationId userId transitionActionName",
    ),
    "currency": ({}, "isoCode name factor symbol isSystemDefault"),
    "country": ({}, "iso iso3 name active"),
    "language": ({"locale": "locale"}, "name localeId"),
    "locale": ({}, "code name"),
    "sales_channel": ({}, "name active typeId translated"),
}
WITH_KEYS = frozenset({"customFields", "config", "payload"})  # JSON: any key may be asked for
EVERY_FIELD = frozenset("id createdAt updatedAt customFields translated apiAlias".split())
ALSO_INCLUDED = frozenset({"calculated_price"})


class Problem(Refusal):
    """An error in the form of JSON:API, as Shopware answers all of them."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str | None,
        parameters: Any = None,
        title: str = "",
        pointer: str = "",
    ) -> None:
        super().__init__(status, code, detail or title)
        error: Json = {
            "status": str(status),
            "code": code,
            "title": title or TITLES.get(status, "Error"),
            "detail": detail,
        }
        if pointer:
            error["source"] = {"pointer": pointer}
        if parameters is not None:
            error["meta"] = {"parameters": parameters}
        self.reply = Reply(status, {"errors": [error]})


TITLES = {400: "Bad Request", 403: "Forbidden", 404: "Not Found", 500: "Internal Server Error"}


@dataclass(frozen=True, slots=True)
class Found:
    """The rows of a page, whole, and the ``total`` beside them."""

    rows: list[Json]
    total: int


def search(entity: str, rows: Iterable[Json], criteria: Json, lacking: frozenset[str]) -> Found:
    """The page that ``criteria`` ask for. ``lacking``: fields that this version has not.

    Raises Problem.
    """
    limit, page = _limit(criteria), _page(criteria)
    check = _Fields(entity, lacking)
    tests = [_test(check, each, f"/filter/{at}") for at, each in enumerate(_filters(criteria))]
    keys = _sorting(check, criteria)
    check.associations(entity, criteria.get("associations") or {})
    ids, mode = criteria.get("ids"), criteria.get("total-count-mode")
    fitting = (row for row in _with_ids(rows, ids) if all(test(row) for test in tests))
    start = (page - 1) * limit
    if mode in UNCOUNTED and keys in ([], IN_ORDER):
        found = list(itertools.islice(fitting, start, start + limit))
        return Found(found, len(found))
    kept = list(fitting)
    for path, is_down in reversed(keys):
        kept.sort(key=lambda row: _sort_key(row, path), reverse=is_down)
    found = kept[start : start + limit]
    return Found(found, _total(mode, len(kept), start, limit, found))


def shown(entity: str, row: Json, criteria: Json) -> Json:
    """A row as it goes out: associations that were not asked for are null, and so are their own;
    of what ``includes`` names only the named fields.
    """
    asked = criteria.get("associations")
    includes = criteria.get("includes")
    return _shown(
        entity,
        row,
        asked if isinstance(asked, dict) else {},
        includes if isinstance(includes, dict) else {},
    )


def asked_entities(entity: str, criteria: Json) -> list[str]:
    """Every entity that a search touches, by associations, filters and sorting, in that order."""
    found = [entity]
    _collect(entity, criteria.get("associations") or {}, found)
    for path in _paths(criteria):
        here = entity
        for part in path.split("."):
            target = ENTITIES[here][0].get(part)
            if target is None:
                break
            here = target.rstrip("*")
            found.append(here)
    return found


def surprises(entity: str, criteria: Json) -> list[str]:
    """What the shop would ignore without a word, and a connector should not send."""
    found = [f"criteria key {key}" for key in criteria if key not in KNOWN_KEYS]
    includes = criteria.get("includes") or {}
    for name, fields in includes.items():
        if name in ALSO_INCLUDED:
            continue
        if name not in ENTITIES:
            found.append(f"includes of {name}")
            continue
        associations, own = ENTITIES[name]
        known = {*associations, *own.split(), *EVERY_FIELD}
        found += [f"includes {name}.{field}" for field in fields if field not in known]
    return found


def _shown(entity: str, row: Json, asked: Mapping[str, Any], includes: Mapping[str, Any]) -> Json:
    associations = ENTITIES[entity][0]
    wanted = includes.get(entity)
    out: Json = {}
    for name in row if wanted is None else (*wanted, "apiAlias"):
        if name not in row:
            continue
        value, target = row[name], associations.get(name)
        if target is None:
            out[name] = _priced(value, includes)
        elif name not in asked or value is None:
            out[name] = None
        else:
            inner = asked[name].get("associations") or {} if isinstance(asked[name], dict) else {}
            out[name] = _shown_association(target, value, inner, includes)
    return out


def _shown_association(
    target: str, value: Any, inner: Mapping[str, Any], includes: Mapping[str, Any]
) -> Any:
    if target.endswith("*"):
        return [_shown(target[:-1], each, inner, includes) for each in value]
    return _shown(target, value, inner, includes)


def _priced(value: Any, includes: Mapping[str, Any]) -> Any:
    """Values with an alias of their own are cut by ``includes`` like rows."""
    alias = str(value.get("apiAlias")) if isinstance(value, dict) else ""
    if alias not in includes:
        return value
    return {key: each for key, each in value.items() if key in (*includes[alias], "apiAlias")}


class _Fields:
    """Which fields there are, for errors about those that there are not."""

    def __init__(self, entity: str, lacking: frozenset[str]) -> None:
        self._entity = entity
        self._lacking = lacking

    def check(self, path: str) -> list[str]:
        """The parts of a path such as ``order.transactions.updatedAt``; Problem if unknown."""
        parts = path.split(".")
        if parts[0] == self._entity and len(parts) > 1:
            parts = parts[1:]
        here = self._entity
        for part in parts[:-1]:
            if part in WITH_KEYS:
                return parts
            target = ENTITIES[here][0].get(part)
            if target is None:
                raise _unmapped(part, here)
            here = target.rstrip("*")
        associations, own = ENTITIES[here]
        last = parts[-1]
        known = {*associations, *own.split(), *EVERY_FIELD}
        if last not in known or f"{here}.{last}" in self._lacking:
            raise _unmapped(last, here)
        return parts

    def associations(self, entity: str, asked: Any) -> None:
        """An unknown association is a 500."""
        for name, inner in asked.items() if isinstance(asked, dict) else ():
            target = ENTITIES[entity][0].get(name)
            if target is None or f"{entity}.{name}" in self._lacking:
                text = f"Can not find association by name {name}"
                raise Problem(500, "FRAMEWORK__ASSOCIATION_NOT_FOUND", text, {"association": name})
            nested = inner.get("associations") if isinstance(inner, dict) else None
            self.associations(target.rstrip("*"), nested or {})


def _unmapped(field: str, entity: str) -> Problem:
    text = f'Field "{field}" in entity "{entity}" was not found.'
    named = {"field": field, "entity": entity}
    return Problem(400, "FRAMEWORK__UNMAPPED_FIELD", text, named)


Test = Callable[[Json], bool]


def _test(check: _Fields, given: Any, pointer: str) -> Test:
    """One filter of the list: it may bind another row of a to-many association than the next one,
    but within it all conditions speak of the same row.
    """
    condition, paths = _condition(check, given, pointer)

    def test(row: Json) -> bool:
        return any(condition(bound) for bound in _bindings(row, paths))

    return test


Bound = Mapping[str, Any]
WHOLE = ""  # the whole row among the bound values
Condition = Callable[[Bound], bool]


def _condition(check: _Fields, given: Any, pointer: str) -> tuple[Condition, list[list[str]]]:
    if not isinstance(given, dict) or "type" not in given:
        raise _bad_filter("Value for filter type is required.", pointer)
    kind = given["type"]
    if kind in ("multi", "not", "and", "or"):
        return _combined(check, given, pointer)
    if kind not in COMPARISONS:
        raise _bad_filter(f"Unsupported filter type: {kind}", f"{pointer}/type")
    field = given.get("field")
    if not isinstance(field, str) or not field:
        raise _bad_filter('Parameter "field" is missing.', f"{pointer}/field")
    path = check.check(field)
    compare = COMPARISONS[kind](given, pointer)
    key = ".".join(path)
    return (lambda bound: compare(bound.get(key))), [path]


def _combined(check: _Fields, given: Json, pointer: str) -> tuple[Condition, list[list[str]]]:
    inner = [
        _condition(check, each, f"{pointer}/queries/{at}")
        for at, each in enumerate(given.get("queries") or [])
    ]
    conditions = [condition for condition, _ in inner]
    paths = [path for _, each in inner for path in each]
    is_or = str(given.get("operator", given["type"])).lower() in ("or", "nor")
    join = any if is_or else all

    def combined(bound: Bound) -> bool:
        return not conditions or join(condition(bound) for condition in conditions)

    if given["type"] != "not":
        return combined, paths
    # No row of a to-many association may fit, not merely one that does not.
    return (lambda bound: not any(map(combined, _bindings(bound[WHOLE], paths)))), []


def _bindings(row: Json, paths: list[list[str]]) -> Iterable[Bound]:
    """Every choice of rows from the to-many associations in ``paths``, as a join would make them:
    an association without rows gives one with nothing in it.
    """
    many = sorted({path[0] for path in paths if isinstance(row.get(path[0]), list)})
    choices = [row[name] or [None] for name in many]
    for chosen in itertools.product(*choices):
        here = {**row, **dict(zip(many, chosen, strict=True))}
        yield {WHOLE: row} | {".".join(path): _value(here, path) for path in paths}


def _value(row: Any, path: list[str]) -> Any:
    for part in path:
        row = row.get(part) if isinstance(row, dict) else None
    return row


def _equals(given: Json, pointer: str) -> Callable[[Any], bool]:
    if "value" not in given:
        raise _bad_filter('Parameter "value" is missing.', f"{pointer}/value")
    if isinstance(given["value"], list | dict):
        raise _bad_filter('The "value" must be scalar.', f"{pointer}/value")
    if given["field"].rpartition(".")[2] == "id":
        _check_uuid(given["value"])
    wanted = _folded(given["value"])
    return lambda value: _folded(value) == wanted


def _equals_any(given: Json, pointer: str) -> Callable[[Any], bool]:
    value = given.get("value")
    values = value.split("|") if isinstance(value, str) else value
    if not values:
        raise _bad_filter('Parameter "value" is missing.', f"{pointer}/value")
    wanted = [_folded(each) for each in values]
    return lambda value: _folded(value) in wanted


def _contains(given: Json, pointer: str) -> Callable[[Any], bool]:
    wanted, kind = str(_folded(given.get("value", ""))), given["type"]

    def compare(value: Any) -> bool:
        text = str(_folded(value)) if isinstance(value, str) else ""
        if kind == "contains":
            return wanted in text
        return text.startswith(wanted) if kind == "prefix" else text.endswith(wanted)

    return compare


def _range(given: Json, pointer: str) -> Callable[[Any], bool]:
    limits = given.get("parameters")
    if not isinstance(limits, dict) or not limits:
        text = 'Parameter "parameters" for range filter is missing.'
        raise _bad_filter(text, f"{pointer}/parameters")
    for name in limits:
        if name not in ("gt", "gte", "lt", "lte"):
            raise _bad_filter(f"Invalid range filter key {name}", f"{pointer}/parameters")
    return lambda value: (
        value is not None and all(_within(value, name, limit) for name, limit in limits.items())
    )


COMPARISONS: Mapping[str, Callable[[Json, str], Callable[[Any], bool]]] = {
    "equals": _equals,
    "equalsAny": _equals_any,
    "contains": _contains,
    "prefix": _contains,
    "suffix": _contains,
    "range": _range,
}


def _within(value: Any, name: str, limit: Any) -> bool:
    if isinstance(value, str):
        moment = _without_offset(value)
        edge = _without_offset(str(limit))
        if moment is None or edge is None:
            return True  # an unreadable time is no condition
        return _ordered(moment, name, edge)
    return _ordered(value, name, float(limit))


def _ordered(value: Any, name: str, limit: Any) -> bool:
    if name == "gt":
        return bool(value > limit)
    if name == "gte":
        return bool(value >= limit)
    return bool(value < limit) if name == "lt" else bool(value <= limit)


def _without_offset(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        return None


def _folded(value: Any) -> Any:
    """Letters as the database compares them."""
    if not isinstance(value, str):
        return value
    plain = unicodedata.normalize("NFD", value.casefold().rstrip())
    return "".join(each for each in plain if not unicodedata.combining(each))


def _filters(criteria: Json) -> list[Any]:
    found: list[Any] = []
    for key in ("filter", "post-filter"):
        given = criteria.get(key) or []
        if isinstance(given, dict):  # {"orderNumber": "10001"}
            given = [
                {"type": "equals", "field": field, "value": value} for field, value in given.items()
            ]
        found += given
    return found


def _sorting(check: _Fields, criteria: Json) -> list[tuple[list[str], bool]]:
    keys = []
    given = criteria.get("sort") or []
    for each in given if isinstance(given, list) else []:
        path = check.check(str(each.get("field", "")))
        keys.append((path, str(each.get("order", "ASC")).upper() == "DESC"))
    return keys


def _sort_key(row: Json, path: list[str]) -> tuple[bool, Any]:
    value = _value(row, path)
    return (value is not None, value if value is not None else 0)


def _with_ids(rows: Iterable[Json], ids: Any) -> Iterable[Json]:
    if ids is None:
        return rows
    if not isinstance(ids, list) or not ids:
        raise Problem(400, "FRAMEWORK__INVALID_API_CRITERIA_IDS", "Ids must not be empty.")
    for each in ids:
        _check_uuid(each)
    wanted = set(ids)
    return [row for row in rows if row["id"] in wanted]


def _check_uuid(value: Any) -> None:
    if not re.fullmatch("[0-9a-fA-F]{32}", str(value)):
        text = f"Value is not a valid UUID: {value}"
        raise Problem(400, "FRAMEWORK__INVALID_UUID", text, {"input": value})


def _limit(criteria: Json) -> int:
    limit = _whole(criteria.get("limit", MAX_LIMIT))
    if limit is None or limit < 1:
        given = criteria.get("limit")
        text = (
            "The limit parameter must be a positive integer greater or equals than 1."
            f" Given: {given}"
        )
        raise Problem(
            400, "FRAMEWORK__INVALID_LIMIT_QUERY", text, {"limit": given}, pointer="/limit"
        )
    if limit > MAX_LIMIT:
        text = f"The limit must be lower than or equal to MAX_LIMIT(={MAX_LIMIT}). Given: {limit}"
        named = {"maxLimit": MAX_LIMIT, "limit": limit}
        raise Problem(400, "FRAMEWORK__QUERY_LIMIT_EXCEEDED", text, named, pointer="/limit")
    return limit


def _page(criteria: Json) -> int:
    page = _whole(criteria.get("page", 1))
    if page is None or page < 1:
        given = criteria.get("page")
        text = f"The page parameter must be a positive integer. Given: {given}"
        raise Problem(400, "FRAMEWORK__INVALID_PAGE_QUERY", text, {"page": given}, pointer="/page")
    return page


def _whole(value: Any) -> int | None:
    text = str(value)
    return int(text) if text.lstrip("-").isdecimal() and not isinstance(value, bool) else None


def _total(mode: Any, every: int, start: int, limit: int, found: list[Json]) -> int:
    if mode in (1, "1", "exact"):
        return every
    if mode in (2, "2", "next-pages"):
        return min(max(0, every - start), limit * PAGES_AHEAD + 1)
    return len(found)


def _bad_filter(text: str, pointer: str) -> Problem:
    named = {"path": pointer}
    return Problem(400, "FRAMEWORK__INVALID_FILTER_QUERY", text, named, pointer=pointer)


def _collect(entity: str, asked: Any, found: list[str]) -> None:
    for name, inner in asked.items() if isinstance(asked, dict) else ():
        target = ENTITIES[entity][0].get(name)
        if target is not None:
            found.append(target.rstrip("*"))
            nested = inner.get("associations") if isinstance(inner, dict) else None
            _collect(target.rstrip("*"), nested or {}, found)


def _paths(criteria: Json) -> Iterable[str]:
    waiting = [*_filters(criteria)]
    while waiting:
        each = waiting.pop(0)
        if isinstance(each, dict):
            waiting += each.get("queries") or []
            if isinstance(each.get("field"), str):
                yield each["field"]
    given = criteria.get("sort") or []
    for each in given if isinstance(given, list) else []:
        if isinstance(each, dict) and isinstance(each.get("field"), str):
            yield each["field"]
