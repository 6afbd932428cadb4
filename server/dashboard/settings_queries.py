"""What the pages of the settings read. Every query takes the merchant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from server.dashboard import queries
from server.db import db
from server.merchants.models import SettingChange
from server.shops.models import Shop

CHANGES_READ = 300


@dataclass(frozen=True, slots=True)
class Change:
    """A change that came into force, with what was set at that place before (None = inherited)."""

    row: SettingChange
    before: Any


def changes(
    merchant_id: int, *, names: Sequence[str] | None = None, limit: int = CHANGES_READ
) -> list[Change]:
    """The newest first; ``names`` None is all of them. What waits or was refused is left out."""
    before = func.lag(SettingChange.value, type_=SettingChange.value.type).over(
        partition_by=(SettingChange.shop_id, SettingChange.name), order_by=SettingChange.id
    )
    query = select(SettingChange, before).where(
        SettingChange.merchant_id == merchant_id, ~SettingChange.waits
    )
    if names is not None:
        query = query.where(SettingChange.name.in_(names))
    newest = query.order_by(SettingChange.id.desc()).limit(limit)
    return [Change(row, older) for row, older in db.session.execute(newest)]


def shops_in_test(merchant_id: int, general_mode: str) -> list[str]:
    """The names of the shops that write to nobody but the merchant (K66)."""
    own = queries.own_values(merchant_id, "mode")
    if general_mode == "live" and "test" not in own.values():
        return []
    shops = select(Shop.id, Shop.name).where(
        Shop.merchant_id == merchant_id, Shop.status != "deregistered"
    )
    return [
        name
        for shop_id, name in db.session.execute(shops.order_by(Shop.name))
        if own.get(shop_id, general_mode) == "test"
    ]
