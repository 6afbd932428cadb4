"""What people change about a shop: its name, system and address, and its mapping (K66, S22).

A file of its own beside ``service``, which talks with the shop's connector. Who changed what stands
in the log of the settings. Never commits.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from server.db import db
from server.merchants.service import log_shop_change
from server.shops.connections import connection_of, remove_connection
from server.shops.models import Shop
from server.shops.rules import (
    CODES,
    STATUS_FIELDS,
    checked_mapping,
    effective_mapping,
    is_shop_url,
)
from server.shops.service import lock

MARKETPLACES: Final[Mapping[str, str]] = {"ebay": "https://www.ebay.de"}
"""Systems whose address is always the same."""
MAX_NAME_LENGTH: Final = 200


def change_shop(shop: Shop, *, name: str, system: str, url: str, actor: str, at: datetime) -> bool:
    """True if its mapping is gone with it. Raises ValueError with a message key.

    Another system has other payment methods and statuses: what is known of the old one is
    forgotten, and its connector introduces itself anew; a connection ends. Orders stay. The
    address of a connection is one of its settings, and not changed here.
    """
    name = name.strip()
    if not name or len(name) > MAX_NAME_LENGTH:
        raise ValueError("shop_name_missing")
    is_other = system != shop.system
    if is_other:
        lock(shop)
    row = connection_of(shop.merchant_id, shop.id)
    url = MARKETPLACES.get(system, url if row is None or is_other else shop.url)
    is_without = row is not None and not is_other and not shop.url
    if not is_without and not is_shop_url(url):
        raise ValueError("shop_url_invalid")
    for field, value in (("name", name), ("system", system), ("url", url)):
        _log(shop, f"shop.{field}", getattr(shop, field), value, actor, at)
    if is_other and row is not None:
        remove_connection(row)
        shop.status, shop.error = "not_connected", None
        shop.error_since = shop.error_source = None
    if is_other:
        shop.mapping, shop.default_mapping, shop.discovery = {}, {}, {}
        shop.mapping_pinned, shop.capabilities = False, []
        shop.connector = shop.connector_version = shop.compare_seconds = None
    shop.name, shop.system, shop.url = name, system, url
    return is_other


def set_mapping(
    shop: Shop, typed: Mapping[str, Mapping[str, Any]], *, actor: str, at: datetime
) -> None:
    """Store what a person typed, but for codes that say what the connector says anyway.

    Codes that are not named keep what they have. Raises WrongMapping, and ValueError with a
    message key where the plugin decides.
    """
    shop = _locked(shop)
    named = {**effective_mapping(shop.mapping, shop.default_mapping), **typed}
    wanted = {code: entry for code, entry in checked_mapping(named).items() if code in typed}
    own = {code: entry for code, entry in shop.mapping.items() if code not in typed}
    for code, entry in wanted.items():
        if entry != plain_entry(code, shop.default_mapping.get(code, {})):
            own[code] = entry
    _store(shop, own, actor, at)


def use_default(shop: Shop, code: str, *, actor: str, at: datetime) -> None:
    """From now on what the connector says of a payment code. Raises as ``set_mapping`` does.

    Where a default would claim a method that another code has by hand, that is an error too.
    """
    shop = _locked(shop)
    own = {other: entry for other, entry in shop.mapping.items() if other != code}
    checked_mapping(effective_mapping(own, shop.default_mapping))
    _store(shop, own, actor, at)


def _store(shop: Shop, own: dict[str, Any], actor: str, at: datetime) -> None:
    before = effective_mapping(shop.mapping, shop.default_mapping)
    after = effective_mapping(own, shop.default_mapping)
    for code in CODES:
        old, new = (plain_entry(code, each.get(code, {})) for each in (before, after))
        _log(shop, f"mapping.{code}", old, new, actor, at)
    shop.mapping = own


def _log(shop: Shop, name: str, before: Any, after: Any, actor: str, at: datetime) -> None:
    if before != after:
        log_shop_change(
            shop.merchant_id, shop.id, name, before=before, after=after, actor=actor, at=at
        )


def plain_entry(code: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """A stored entry of a payment code in the shape of ``checked_mapping``."""
    lists = {name: list(entry.get(name) or ()) for name in ("methods", "open_statuses")}
    return lists | {name: entry.get(name) or None for name in STATUS_FIELDS[code]}


def _locked(shop: Shop) -> Shop:
    """Two people may change it at once."""
    db.session.refresh(shop, with_for_update={"key_share": True})
    if shop.mapping_pinned:
        raise ValueError("mapping_pinned")
    return shop
