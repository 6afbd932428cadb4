"""The form that the settings of a connector become: which fields, what was typed, what is wrong.

Made of the connector's own ``Config``, so that a connector somebody else wrote has a form too. A
secret never leaves the server again: its field is empty, and left empty it keeps what is stored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from dataclasses import Field as ConfigField
from typing import Any, get_origin, get_type_hints

from werkzeug.datastructures import MultiDict

from plugin_sdk.connector import Capability, Connector, config_from
from plugin_sdk.errors import Misconfigured
from server.config import installed
from server.dashboard import words
from server.dashboard.sentences import Sentence
from server.dashboard.words import t
from server.egress import AddressRefused, check_url
from server.hosting.connecting import made

ADDRESS = "shop_url"
"""The setting that is the shop's address, where a connector has one."""
MAX_LENGTH = 4_000
_COMPLAINT = re.compile(r"(?P<name>[A-Za-z_]\w*) (?P<what>.+)", re.DOTALL)
_KNOWN = (
    ("is missing", "missing"),
    ("is no whole number", "number"),
    ("is none of", "choice"),
    ("is no http or https address", "address"),
    ("is no address", "address"),
    ("has a password", "address_login"),
)
"""How the SDK's complaints begin, and the text that says the same."""


@dataclass(frozen=True, slots=True)
class Field:
    """``kind``: `text` `secret` `number` `bool` `list` `choice`. ``value``: what the form shows,
    never a secret's. ``is_stored``: a secret that is known; ``is_lost``: one that was typed into a
    form that was refused. ``wrong``: what is wrong with it."""

    name: str
    label: Sentence
    help: Sentence
    kind: str
    value: str
    is_required: bool
    is_stored: bool
    is_lost: bool
    choices: tuple[str, ...]
    wrong: Sentence | None = None


def has_login(kind: type[Connector[Any]]) -> bool:
    """Whether the merchant can log in at the shop system instead of copying keys."""
    return Capability.BROWSER_LOGIN in kind.capabilities


def has_app(kind: type[Connector[Any]]) -> bool:
    """Whether the shop system takes an app of ours, which brings the keys."""
    return Capability.APP_PACKAGE in kind.capabilities


def answers_calls(kind: type[Connector[Any]]) -> bool:
    """Whether the shop system has more to ask at a connection's address than to tell of orders."""
    return kind.answer_call.__func__ is not Connector.answer_call.__func__  # type: ignore[attr-defined]


def has_address(kind: type[Connector[Any]]) -> bool:
    """Whether each shop of this system has an address of its own."""
    return ADDRESS in {one.name for one in fields(kind.Config)}


def form_of(
    kind: type[Connector[Any]],
    settings: Mapping[str, Any],
    stored: Mapping[str, Any],
    *,
    by_login: bool,
) -> list[Field]:
    """The fields to show, with ``settings`` in them, of which ``stored`` are known already.

    ``by_login``: without those that the log-in brings.
    """
    hints = get_type_hints(kind.Config)
    return [
        _field(one, hints[one.name], settings.get(one.name), stored.get(one.name))
        for one in _asked(kind, by_login)
    ]


def _asked(kind: type[Connector[Any]], by_login: bool) -> list[ConfigField[Any]]:
    return [
        one
        for one in fields(kind.Config)
        if not one.metadata.get("from_host")
        and not one.metadata.get("hidden")
        and not (by_login and one.metadata.get("from_login"))
    ]


def _field(one: ConfigField[Any], hint: Any, given: Any, stored: Any) -> Field:
    meta, kind = one.metadata, _kind(one, hint)
    default = None if one.default is MISSING else one.default
    value = default if given is None else given
    if isinstance(value, list | tuple):
        value = ", ".join(value)
    label, help_text = (
        _said(meta.get("label") or one.name, meta, 0),
        _said(meta.get("help"), meta, 1),
    )
    return Field(
        name=one.name,
        label=label,
        help=help_text,
        kind=kind,
        value=_shown(kind, value),
        is_required=one.default is MISSING and one.default_factory is MISSING,
        is_stored=kind == "secret" and bool(stored),
        is_lost=kind == "secret" and bool(given) and given != stored,
        choices=tuple(meta.get("choices") or ()),
    )


def _kind(one: ConfigField[Any], hint: Any) -> str:
    if one.metadata.get("secret"):
        return "secret"
    if one.metadata.get("choices"):
        return "choice"
    if get_origin(hint) is tuple:
        return "list"
    return {bool: "bool", int: "number"}.get(hint, "text")


def _shown(kind: str, value: Any) -> str:
    if kind == "secret" or value is None:
        return ""
    if kind == "bool":
        return "yes" if value is True or str(value).lower() in {"1", "true", "yes", "on"} else ""
    return str(value)


def _said(english: str | None, meta: Mapping[str, Any], at: int) -> Sentence:
    german = (meta.get("de") or ("", ""))[at]
    if words.language() == "de" and german:
        return Sentence(german)
    return Sentence(english or "", None if words.language() == "en" else "en")


# --- what was typed -------------------------------------------------------------------------------


def typed_settings(
    kind: type[Connector[Any]],
    form: MultiDict[str, str],
    stored: Mapping[str, Any],
    *,
    by_login: bool,
) -> dict[str, Any]:
    """``stored`` with what the form says; fields that the form does not have stay as they are."""
    hints = get_type_hints(kind.Config)
    settings = dict(stored)
    for one in _asked(kind, by_login):
        what = _kind(one, hints[one.name])
        text = form.get(one.name, "").replace("\x00", "").strip()[: MAX_LENGTH + 1]
        if what == "bool":
            settings[one.name] = bool(text)
        elif text:
            settings[one.name] = text
        elif what != "secret":
            settings.pop(one.name, None)
    return settings


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong with settings: by field, and what is said of none of them."""

    of_field: Mapping[str, Sentence]
    more: Sequence[Sentence] = ()

    def __bool__(self) -> bool:
        return bool(self.of_field or self.more)

    def beside(self, shown: Sequence[Field]) -> list[Field]:
        return [replace(one, wrong=self.of_field.get(one.name)) for one in shown]


def wrong_with(kind: type[Connector[Any]], settings: Mapping[str, Any], *, by_login: bool) -> Wrong:
    """Everything at once. Talks to nobody. ``by_login``: what the log-in brings may be missing."""
    too_long = {
        name: Sentence(str(t("connect.wrong_long")))
        for name, value in settings.items()
        if isinstance(value, str) and len(value) > MAX_LENGTH
    }
    if too_long:
        return Wrong(too_long)
    refused = _refused_address(kind, settings)
    if refused:
        return Wrong({ADDRESS: refused})
    try:
        if by_login:
            config_from(kind.Config, settings)
        else:
            made(kind.name, settings).close()
    except Misconfigured as error:
        found = complaints(kind, error)
        coming = {one.name for one in fields(kind.Config) if one.metadata.get("from_login")}
        waits = coming if by_login else set()
        of_field = {name: one for name, one in found.of_field.items() if name not in waits}
        return Wrong(of_field, found.more)
    return Wrong({})


def complaints(kind: type[Connector[Any]], error: Misconfigured) -> Wrong:
    """An error of the connector, sorted by the fields that it names."""
    names = {one.name for one in fields(kind.Config)}
    of_field: dict[str, Sentence] = {}
    more: list[Sentence] = []
    text = str(error)
    parts = text.removeprefix("Settings: ").removesuffix(".").split("; ")
    for part in parts if text.startswith("Settings: ") else [text]:
        found = _COMPLAINT.fullmatch(part)
        if found and found["name"] in names:
            of_field.setdefault(found["name"], _wrong(found["what"]))
        else:
            more.append(_english(part))
    return Wrong(of_field, more)


def _wrong(what: str) -> Sentence:
    for beginning, key in _KNOWN:
        if what.startswith(beginning):
            return Sentence(str(t(f"connect.wrong_{key}")))
    return _english(what)


def _english(text: str) -> Sentence:
    return Sentence(text, None if words.language() == "en" else "en")


def _refused_address(kind: type[Connector[Any]], settings: Mapping[str, Any]) -> Sentence | None:
    """An address that is surely never called is told at once, not at the first visit."""
    address = settings.get(ADDRESS)
    if not has_address(kind) or not address:
        return None
    try:
        check_url(str(address), installed())
    except AddressRefused as error:
        return Sentence(str(t(f"connect.refused_{error.reason}")))
    return None
