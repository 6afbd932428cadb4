"""Settings as a text file that people read, keep in version control, compare and read in (N21).

A file of its own because it is a format: TOML 1.0, written and read here and nowhere else. Pure;
it holds what was set and no secrets. A place that the file does not name is left as it is; in a
place that it names, what the file does not set goes back to what is inherited.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from server.merchants.settings import CODE_DEFAULTS, SCHEMA, Setting, as_typed, checked

VERSION: Final = 1
MAX_FILE_BYTES: Final = 256_000
MAX_PROBLEMS: Final = 50
MAX_SAID_LENGTH: Final = 80

Values = Mapping[int | None, Mapping[str, Any]]
"""{shop id, or None for the general ones: {name: value as it is stored}}"""


@dataclass(frozen=True, slots=True)
class FileProblem:
    """What is wrong, as a message key, and where: a line counted from 1, None is the whole file."""

    key: str
    line: int | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


class WrongFile(ValueError):
    """The file cannot be used; nothing of it was applied. ``problems`` names every place."""

    def __init__(self, problems: Sequence[FileProblem]) -> None:
        super().__init__(", ".join(f"{one.line or '-'}: {one.key}" for one in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Difference:
    """What a file would change at one place; None is "as inherited"."""

    shop_id: int | None
    name: str
    before: Any
    after: Any


# --- writing ------------------------------------------------------------------------------------


def write_file(values: Values, shops: Mapping[int, str], *, merchant: str, at: datetime) -> str:
    """Everything that is set, with Kontor's own value beside it; what is not set as a comment.

    ``shops`` is {id: name} of all shops, each of which gets a section.
    """
    lines = [
        f"# Kontor settings of {_comment(merchant)}, {at:%Y-%m-%d %H:%M} UTC",
        "# A line that begins with # is not set: Kontor's own value or the general one counts.",
        f"version = {VERSION}",
        "",
        "[general]",
        *_section(values.get(None, {}), "general", with_defaults=True),
    ]
    for shop_id, name in shops.items():
        lines += ["", "[[shop]]", f"id = {shop_id}", f"name = {_text(name)}"]
        lines += _section(values.get(shop_id, {}), "shop", with_defaults=False)
    return "\n".join(lines) + "\n"


def _section(own: Mapping[str, Any], place: str, *, with_defaults: bool) -> Iterator[str]:
    yield from _lines(own, None, with_defaults=with_defaults)
    for code in CODE_DEFAULTS:
        of_code = list(_lines(own, code, with_defaults=with_defaults))
        if of_code:
            yield from ("", f"[{place}.{code}]", *of_code)


def _lines(own: Mapping[str, Any], code: str | None, *, with_defaults: bool) -> Iterator[str]:
    for name, setting in SCHEMA.items():
        if (setting.code.value if setting.code else None) != code:
            continue
        default = _written(setting, setting.default)
        if name in own:
            yield f"{setting.field} = {_written(setting, own[name])}  # default: {default}"
        elif with_defaults:
            yield f"# {setting.field} = {default}"


def _written(setting: Setting, value: Any) -> str:
    if setting.kind == "switch":
        return "true" if value else "false"
    return str(value) if setting.kind == "whole" else _text(as_typed(value))


def _text(value: str) -> str:
    """A basic string; TOML takes the escapes of JSON, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _comment(value: str) -> str:
    return "".join(c if c.isprintable() else " " for c in value)


# --- reading ------------------------------------------------------------------------------------


def read_file(content: bytes, shops: Mapping[int, str]) -> dict[int | None, dict[str, Any]]:
    """{place: values as they are stored} of every place that the file names. Raises WrongFile.

    ``shops`` is {id: name} of the merchant: a shop of the file must be one of them, by id and name.
    """
    tree, lines = _parsed(content)
    problems: list[FileProblem] = []
    found: dict[int | None, dict[str, Any]] = {}
    if tree.get("version") != VERSION or isinstance(tree.get("version"), bool):
        problems.append(FileProblem("file_version", lines.get(("version",))))
    for key in sorted(tree.keys() - {"version", "general", "shop"}):
        problems.append(FileProblem("file_key_unknown", lines.get((key,)), {"name": _said(key)}))
    general = tree.get("general")
    if isinstance(general, dict):
        found[None] = _values(general, ("general",), lines, problems, of_shop=False)
    elif general is not None:
        problems.append(FileProblem("file_no_section", lines.get(("general",))))
    for at, table in enumerate(_tables(tree, lines, problems)):
        place = (f"shop#{at}",)
        shop_id = _shop_of(table, shops, lines.get(place), problems)
        own = {key: value for key, value in table.items() if key not in ("id", "name")}
        values = _values(own, place, lines, problems, of_shop=True)
        if shop_id is None:
            continue
        if shop_id in found:
            problems.append(
                FileProblem("file_shop_twice", lines.get(place), {"shop": shops[shop_id]})
            )
        found[shop_id] = values
    if problems:
        raise WrongFile(sorted(problems, key=lambda one: one.line or 0)[:MAX_PROBLEMS])
    return found


Lines = Mapping[tuple[str, ...], int]


def _parsed(content: bytes) -> tuple[dict[str, Any], Lines]:
    if len(content) > MAX_FILE_BYTES:
        raise WrongFile([FileProblem("file_too_large")])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise WrongFile([FileProblem("file_no_text")]) from None
    try:
        return tomllib.loads(text, parse_float=Decimal), _line_numbers(text)
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"at line (\d+)", str(error))
        line = int(at[1]) if at else len(text.splitlines())  # else "at end of document"
        raise WrongFile([FileProblem("file_unreadable", line)]) from None
    except (RecursionError, ValueError, ArithmeticError):  # too deep, or a number of 5,000 digits
        raise WrongFile([FileProblem("file_unreadable")]) from None


_TABLE = re.compile(r"\s*\[(\[)?\s*([A-Za-z0-9_.\-]+)\s*\]")
_KEY = re.compile(r"\s*([A-Za-z0-9_.\-]+)\s*=")


def _line_numbers(text: str) -> Lines:
    """Where each key stands. Only bare keys are found, which is what every name is."""
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    shops = -1
    for number, line in enumerate(text.splitlines(), 1):
        head = _TABLE.match(line)
        key = _KEY.match(line)
        if head:
            parts = head[2].split(".")
            shops += bool(head[1]) and parts == ["shop"]
            table = tuple([f"shop#{shops}", *parts[1:]] if parts[0] == "shop" else parts)
            found.setdefault(table, number)
        elif key:
            found.setdefault((*table, *key[1].split(".")), number)
    return found


def _tables(
    tree: Mapping[str, Any], lines: Lines, problems: list[FileProblem]
) -> Sequence[Mapping[str, Any]]:
    tables = tree.get("shop", [])
    if isinstance(tables, list) and all(isinstance(one, dict) for one in tables):
        return tables
    problems.append(FileProblem("file_no_shops", lines.get(("shop#-1",)) or lines.get(("shop",))))
    return []


def _shop_of(
    table: Mapping[str, Any],
    shops: Mapping[int, str],
    line: int | None,
    problems: list[FileProblem],
) -> int | None:
    """By its id, whose name must be the same; without an id by a name that only one shop has."""
    name, shop_id = table.get("name"), table.get("id")
    said = {"shop": _said(name if name is not None else shop_id)}
    if shop_id is None:
        named = [one for one, other in shops.items() if other == name]
        if len(named) == 1:
            return named[0]
    elif isinstance(shop_id, int) and not isinstance(shop_id, bool) and shop_id in shops:
        if name is None or name == shops[shop_id]:
            return shop_id
        problems.append(FileProblem("file_shop_other", line, {**said, "here": shops[shop_id]}))
        return None
    problems.append(FileProblem("file_shop_unknown", line, said))
    return None


def _values(
    table: Mapping[str, Any],
    place: tuple[str, ...],
    lines: Lines,
    problems: list[FileProblem],
    *,
    of_shop: bool,
) -> dict[str, Any]:
    found = {}
    for path, value in _flat(table):
        name, line = ".".join(path), lines.get((*place, *path))
        said = {"name": _said(name), "value": _said(value)}
        setting = SCHEMA.get(name)
        if setting is None:
            problems.append(FileProblem("file_name_unknown", line, said))
            continue
        if of_shop and not setting.per_shop:
            problems.append(FileProblem("file_not_of_a_shop", line, said))
            continue
        try:
            found[name] = checked(name, _typed(setting, value))
        except ValueError:
            problems.append(FileProblem("file_value_wrong", line, said))
    return found


def _flat(table: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Names are at most two deep; what lies deeper is none."""
    for key, value in table.items():
        if key in CODE_DEFAULTS and isinstance(value, dict):
            yield from (((key, inner), one) for inner, one in value.items())
        else:
            yield (key,), value


_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "choice": (str,),
    "whole": (int,),
    "switch": (bool,),
    "percent": (str, int, Decimal),
    "amounts": (str,),
}


def _typed(setting: Setting, value: Any) -> str:
    """As a person would type it. Raises ValueError for a value of another type."""
    is_bool = isinstance(value, bool)
    if not isinstance(value, _TYPES[setting.kind]) or is_bool != (setting.kind == "switch"):
        raise ValueError("setting_of_another_type")
    return as_typed(value)


def _said(value: Any) -> str:
    """As the file has it, short enough for a page."""
    return _comment(str(value))[:MAX_SAID_LENGTH]


# --- comparing ----------------------------------------------------------------------------------


def diff(current: Values, wanted: Values) -> list[Difference]:
    """What ``wanted`` changes, place by place in the order of the schema."""
    return [
        Difference(shop_id, name, current.get(shop_id, {}).get(name), values.get(name))
        for shop_id, values in wanted.items()
        for name in SCHEMA
        if current.get(shop_id, {}).get(name) != values.get(name)
    ]
