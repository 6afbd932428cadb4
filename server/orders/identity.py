"""Who a mail to a customer comes from, in which colours and in which words (S2, S3, S62, K20).

A file of its own because every mail to a customer asks it, whichever room writes the mail. Whether
the shop's own address may be used is decided when the mail is sent (S17). Never commits.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, Final, Protocol

from plugin_sdk import types as wire
from server.config import installed
from server.db import db
from server.mail.domain_rules import DomainError, checked_domain
from server.mail.languages import LANGUAGES, edition
from server.mail.rules import MAX_DISPLAY_NAME_LENGTH, MAX_FACT_LENGTH, checked_address, clean
from server.mail.service import sender_of
from server.mail.theme import Theme
from server.merchants.service import log_shop_change
from server.merchants.settings import MerchantSettings
from server.shops.models import Shop

log = logging.getLogger(__name__)

_THEME_FIELDS = frozenset(one.name for one in fields(Theme))


class Sender(Protocol):
    """What a mail to a customer needs to know of the shop that it comes from."""

    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def language(self) -> str: ...
    @property
    def sender_name(self) -> str: ...
    @property
    def sender_address(self) -> str | None: ...
    @property
    def reply_to(self) -> str | None: ...
    @property
    def look(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Identity:
    """``sender_address`` is the one that the shop wants, or ours if it wants none.

    ``legal_line`` are the particulars that a merchant must state in business letters, in lines; ""
    for none.
    """

    theme: Theme
    sender_name: str
    sender_address: str
    reply_to: str | None
    legal_line: str = ""


def identity_of(shop: Sender) -> Identity:
    return Identity(
        theme_of(shop.look),
        shop.sender_name or shop.name,
        shop.sender_address or system_address(),
        shop.reply_to,
        legal_line_of(shop.look),
    )


def system_address() -> str:
    """Where mails come from until the shop's own domain is proven (S17)."""
    return sender_of(installed().mail_from)[1]


def legal_line_of(look: Mapping[str, Any]) -> str:
    stored = look.get("legal_line")
    return stored if isinstance(stored, str) else ""


def theme_of(look: Mapping[str, Any]) -> Theme:
    """The colours, font and picture that are stored; the standard look where they are none.

    A value that the theme has stopped to take must not keep a payment information back.
    """
    return _theme(json.dumps(look, sort_keys=True)) if look else Theme()


@lru_cache(maxsize=1024)
def _theme(look: str) -> Theme:
    try:
        stored: dict[str, Any] = json.loads(look)
        return Theme(**{name: value for name, value in stored.items() if name in _THEME_FIELDS})
    except (TypeError, ValueError):
        log.warning("a stored look is none, so the standard one is used: %s", look)
        return Theme()


def edition_for(
    language: str | None, country: str | None, shop: Sender, settings: MerchantSettings
) -> str:
    """The edition of a customer's mail: his language, his country's wording, the shop's tone."""
    informal = settings.address_form == "informal"
    return edition(language, country, shop.language, informal=informal)


def country_of(order: wire.Order) -> str | None:
    """Of the billing address (S62), else of where the goods go."""
    address = order.billing_address or order.shipping_address
    return address.country if address is not None else None


def stored_country(raw: Mapping[str, Any]) -> str | None:
    """``country_of`` an order as it is stored, without reading all of it."""
    address = raw.get("billing_address") or raw.get("shipping_address") or {}
    country = address.get("country")
    return str(country) if country else None


# --- changing it ----------------------------------------------------------------------------------

COLOURS: Final = ("primary", "text", "header_background", "header_text")
LOOK: Final = (*COLOURS, "font")
MAX_LEGAL_LINE_LENGTH: Final = MAX_FACT_LENGTH


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a shop's form says, checked: an identity to be and the language of its mails."""

    sender_name: str
    sender_address: str | None
    reply_to: str | None
    language: str
    theme: Theme
    legal_line: str


class WrongIdentity(ValueError):
    """``problems``: {field: message key}, for every field that cannot be."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__(", ".join(f"{name}: {key}" for name, key in problems.items()))
        self.problems = dict(problems)


def checked_identity(typed: Mapping[str, str], picture: tuple[str, int] | None) -> Wanted:
    """What somebody typed, field by field. Raises WrongIdentity naming all that is wrong.

    ``typed`` has the fields of ``Wanted`` and of LOOK; empty addresses are none. ``picture`` is
    the address and height of the header picture, None for none. An address at a provider of
    mailboxes for everybody is refused: nobody but the provider can prove it (S14).
    """
    problems: dict[str, str] = {}
    legal_line = cleaned_lines(typed.get("legal_line", ""))

    def tried(name: str, check: Callable[[str], str], key: str) -> str:
        try:
            return check(typed.get(name, "").strip())
        except ValueError as refused:
            problems[name] = f"sender_{refused}" if isinstance(refused, DomainError) else key
            return ""

    sender_name = clean(typed.get("sender_name", "")).strip()
    if len(sender_name) > MAX_DISPLAY_NAME_LENGTH:
        problems["sender_name"] = "sender_name_long"
    if len(legal_line) > MAX_LEGAL_LINE_LENGTH:
        problems["legal_line"] = "legal_line_long"
    sender_address = tried("sender_address", _own_address, "address_invalid")
    reply_to = tried("reply_to", _address, "address_invalid")
    if typed.get("language") not in LANGUAGES:
        problems["language"] = "setting_no_choice"
    look: dict[str, Any] = {
        name: tried(name, partial(_of_look, name), "colour_invalid") for name in COLOURS
    }
    look["font"] = tried("font", partial(_of_look, "font"), "setting_no_choice")
    if problems:
        raise WrongIdentity(problems)
    image, height = picture or ("", Theme().header_height_pixels)
    theme = Theme(**look, header_image=image, header_height_pixels=height)
    return Wanted(
        sender_name, sender_address or None, reply_to or None, typed["language"], theme, legal_line
    )


def cleaned_lines(typed: str) -> str:
    """The lines of it that say something."""
    return "\n".join(line for each in typed.splitlines() if (line := clean(each).strip()))


def _address(typed: str) -> str:
    if typed:
        checked_address(typed)
    return typed


def _own_address(typed: str) -> str:
    if typed:
        checked_domain(checked_address(typed).rpartition("@")[2])
    return typed


def _of_look(name: str, typed: str) -> str:
    one: dict[str, Any] = {name: typed}
    return str(getattr(Theme(**one), name))


def change_identity(shop: Shop, wanted: Wanted, *, actor: str, at: datetime) -> bool:
    """Store it and write down who changed what; False if nothing was changed."""
    db.session.refresh(shop, with_for_update={"key_share": True})
    look = {} if wanted.theme == Theme() else asdict(wanted.theme)
    if wanted.legal_line:
        look["legal_line"] = wanted.legal_line
    before, after = _as_logged(shop.look), _as_logged(look)
    for name in ("sender_name", "sender_address", "reply_to", "language"):
        before[name] = getattr(shop, name) or ""
        after[name] = getattr(wanted, name) or ""
    for name, value in after.items():
        if before[name] != value:
            log_shop_change(
                shop.merchant_id,
                shop.id,
                f"shop.{name}",
                before=before[name],
                after=value,
                actor=actor,
                at=at,
            )
    shop.sender_name, shop.language = wanted.sender_name, wanted.language
    shop.sender_address, shop.reply_to = wanted.sender_address, wanted.reply_to
    shop.look = look
    return before != after


def _as_logged(look: Mapping[str, Any]) -> dict[str, str]:
    """Colours, font, picture and legal particulars as the log of the settings writes them."""
    theme = theme_of(look)
    written = {f"look_{name}": str(getattr(theme, name)) for name in LOOK}
    return written | {
        "look_picture": theme.header_image.rpartition("/")[2][:8],
        "look_legal_line": legal_line_of(look),
    }
