"""Who pushes orders: key, shop, the accounts that may be asked for and the settings, in one look.

A file of its own because it is remembered between pushes, which nothing else is. What is
remembered is never trusted: the statement that stores the orders checks it in passing
(``CURRENT``), and a push whose facts have changed meanwhile is done again with new ones. So a
revoked key, a new bank account and a changed mapping count from the next push on, in every
process, and still almost every push saves a look-up.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Row, String, bindparam, func, literal_column, or_, select, true
from sqlalchemy.dialects.postgresql import distinct_on

from server.banking.rules.accounts import Payee
from server.banking.service import payees_of, read_payees
from server.db import db
from server.merchants.models import ApiKey, Merchant, SettingChange
from server.merchants.rules import split_api_key, token_hash
from server.merchants.service import TOUCH_AFTER, KeyFacts, checked_key, key_columns
from server.merchants.settings import MerchantSettings, in_force
from server.shops.models import Shop
from server.shops.rules import effective_mapping

REMEMBERED = 10_000


class StaleReceiver(Exception):
    """What was remembered of key, shop or account is no longer so; nothing was stored."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """The shop that orders come from and the accounts that they may be paid to.

    ``version`` changes with every change of any; ``key_id`` and ``key_hash`` are there if a
    key was checked, and are checked again with the version.
    """

    id: int
    merchant_id: int
    name: str
    language: str
    sender_name: str
    sender_address: str | None
    reply_to: str | None
    look: dict[str, Any]
    status: str
    mapping: dict[str, dict[str, Any]]
    mapping_pinned: bool
    connected_at: datetime | None
    last_order_at: datetime | None
    payees: tuple[Payee, ...]
    settings: MerchantSettings
    zone: ZoneInfo
    version: str
    key_id: str | None = None
    key_hash: bytes | None = None

    @property
    def proof(self) -> dict[str, Any]:
        """The parameters of ``CURRENT``."""
        return {
            "of_shop": self.id,
            "version": self.version,
            "key_id": self.key_id,
            "key_hash": self.key_hash,
        }


CURRENT = """
    SELECT FROM shop
    WHERE shop.id = %(of_shop)s
        AND concat(shop.xmin, '/', (
            SELECT string_agg(payee.xmin::text, ',' ORDER BY payee.id) FROM bank_account AS payee
            WHERE payee.merchant_id = shop.merchant_id AND payee.is_payee
        ), '/', (
            SELECT count(*) FROM setting_change AS change
            WHERE change.merchant_id = shop.merchant_id
                AND (change.shop_id IS NULL OR change.shop_id = shop.id) AND NOT change.waits
        )) = %(version)s
        AND (CAST(%(key_id)s AS text) IS NULL OR EXISTS (
            SELECT FROM api_key
            WHERE id = %(key_id)s AND shop_id = shop.id AND secret_hash = %(key_hash)s
                AND revoked_at IS NULL
        ))
"""
"""One row if a receiver is as it was read, none if not. ``xmin`` is the row's last writer; of
settings, to which rows are only added, the count says as much."""

_VERSIONS = "string_agg(bank_account.xmin::text, ',' ORDER BY bank_account.id)"
_PAYEES = (
    payees_of(Shop.merchant_id)
    .add_columns(literal_column(_VERSIONS, String).label("version"))
    .lateral("payee")
)
_SET = (
    select(SettingChange)
    .where(
        SettingChange.merchant_id == Shop.merchant_id,
        or_(SettingChange.shop_id.is_(None), SettingChange.shop_id == Shop.id),
        ~SettingChange.waits,
    )
    .correlate(Shop)
)
_NEWEST = (
    _SET.with_only_columns(SettingChange.shop_id, SettingChange.name, SettingChange.value)
    .ext(distinct_on(SettingChange.shop_id, SettingChange.name))
    .order_by(SettingChange.shop_id, SettingChange.name, SettingChange.id.desc())
    .subquery()
)
_VALUES = select(
    func.json_agg(func.json_build_array(_NEWEST.c.shop_id, _NEWEST.c.name, _NEWEST.c.value))
)
_CHANGES = _SET.with_only_columns(func.count())
_RECEIVER = (
    select(
        Shop.id,
        Shop.merchant_id,
        Shop.name,
        Shop.language,
        Shop.sender_name,
        Shop.sender_address,
        Shop.reply_to,
        Shop.look,
        Shop.status,
        Shop.mapping,
        Shop.default_mapping,
        Shop.mapping_pinned,
        Shop.connected_at,
        Shop.last_order_at,
        _PAYEES.c.payees,
        Merchant.timezone,
        _VALUES.scalar_subquery().label("set_values"),
        func.concat(
            literal_column("shop.xmin"), "/", _PAYEES.c.version, "/", _CHANGES.scalar_subquery()
        ).label("version"),
    )
    .select_from(Shop)
    .join(Merchant, Merchant.id == Shop.merchant_id)
    .join(_PAYEES, true())
)
_OF_SHOP = _RECEIVER.where(Shop.id == bindparam("shop_id"))
_OF_KEY = key_columns(_RECEIVER).join(ApiKey, ApiKey.shop_id == Shop.id)

_remembered: OrderedDict[str, tuple[KeyFacts, Receiver, datetime]] = OrderedDict()


def receiver_of(shop_id: int) -> Receiver:
    """The shop as orders need it, without a key. The shop must be there."""
    return _receiver(db.session.execute(_OF_SHOP, {"shop_id": shop_id}).one())


def receiver_of_key(presented: str, at: datetime) -> tuple[KeyFacts, Receiver] | None:
    """Who pushes; from memory if it is there, so ``CURRENT`` must be checked later.

    None if the key is unknown, wrong, revoked, or of another scope than `shop`.
    """
    parts = split_api_key(presented)
    if parts is None:
        return None
    known = _remembered.get(parts[0])
    if known is not None:
        key, receiver, read_at = known
        fits = hmac.compare_digest(token_hash(parts[1]), receiver.key_hash or b"")
        if fits and at - read_at < TOUCH_AFTER:
            return key, receiver
    return _read(presented, parts[0], at)


def forget(key_id: str) -> None:
    """Read again next time."""
    _remembered.pop(key_id, None)


def check_is_current(shop: Receiver) -> None:
    """Raises StaleReceiver."""
    query = f"SELECT EXISTS ({CURRENT})"
    if not db.session.connection().exec_driver_sql(query, shop.proof).scalar():
        raise StaleReceiver


def _read(presented: str, key_id: str, at: datetime) -> tuple[KeyFacts, Receiver] | None:
    row = db.session.execute(_OF_KEY, {"key_id": key_id}).first()
    key = checked_key(presented, row, at)
    if key is None or row is None:
        return None
    receiver = _receiver(row, key_id, row.secret_hash)
    _remembered[key_id] = (key, receiver, at)
    if len(_remembered) > REMEMBERED:
        _remembered.popitem(last=False)
    return key, receiver


def _receiver(row: Row[Any], key_id: str | None = None, key_hash: bytes | None = None) -> Receiver:
    return Receiver(
        id=row.id,
        merchant_id=row.merchant_id,
        name=row.name,
        language=row.language,
        sender_name=row.sender_name,
        sender_address=row.sender_address,
        reply_to=row.reply_to,
        look=row.look,
        status=row.status,
        mapping=effective_mapping(row.mapping, row.default_mapping, is_pinned=row.mapping_pinned),
        mapping_pinned=row.mapping_pinned,
        connected_at=row.connected_at,
        last_order_at=row.last_order_at,
        payees=read_payees(row.payees),
        settings=_settings(row.set_values or ()),
        zone=ZoneInfo(row.timezone),
        version=row.version,
        key_id=key_id,
        key_hash=key_hash,
    )


def _settings(rows: Sequence[tuple[int | None, str, Any]]) -> MerchantSettings:
    """What is set for the merchant, with the shop's own on top (S43)."""
    layers = sorted(rows, key=lambda row: row[0] is not None)
    return in_force({name: value for _, name, value in layers if value is not None})
