"""Who pushes orders: key, shop, the accounts that may be asked for and a setting, in one look.

A file of its own because it is remembered between pushes, which nothing else is. What is
remembered is never trusted: the statement that stores the orders checks it in passing
(``CURRENT``), and a push whose facts have changed meanwhile is done again with new ones. So a
revoked key, a new bank account and a changed mapping count from the next push on, in every
process, and still almost every push saves a look-up.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, String, bindparam, func, literal_column, or_, select, true

from server.banking.rules.accounts import Payee
from server.banking.service import payees_of, read_payees
from server.db import db
from server.merchants.models import ApiKey, SettingChange
from server.merchants.rules import split_api_key, token_hash
from server.merchants.service import TOUCH_AFTER, KeyFacts, checked_key, key_columns
from server.merchants.settings import SCHEMA
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
    reply_to: str | None
    reference_kind: str
    status: str
    mapping: dict[str, dict[str, Any]]
    mapping_pinned: bool
    connected_at: datetime | None
    last_order_at: datetime | None
    payees: tuple[Payee, ...]
    zero_is_paid: bool
    is_shadow: bool
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
                AND (change.shop_id IS NULL OR change.shop_id = shop.id)
                AND change.name IN ('zero_is_paid', 'assignment')
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
_OF_MERCHANT = or_(SettingChange.shop_id.is_(None), SettingChange.shop_id == Shop.id)
_SETTING = select(SettingChange.value).where(SettingChange.merchant_id == Shop.merchant_id)
_NEWEST = _SETTING.order_by(SettingChange.id.desc()).limit(1)
_ZERO = _NEWEST.where(SettingChange.name == "zero_is_paid")
_GENERAL = SettingChange.shop_id.is_(None)
_ASSIGNMENT = _NEWEST.where(SettingChange.name == "assignment", _GENERAL)
_CHANGES = _SETTING.where(
    _OF_MERCHANT, SettingChange.name.in_(("zero_is_paid", "assignment"))
).with_only_columns(func.count())
_RECEIVER = (
    select(
        Shop.id,
        Shop.merchant_id,
        Shop.name,
        Shop.language,
        Shop.sender_name,
        Shop.reply_to,
        Shop.reference_kind,
        Shop.status,
        Shop.mapping,
        Shop.default_mapping,
        Shop.mapping_pinned,
        Shop.connected_at,
        Shop.last_order_at,
        _PAYEES.c.payees,
        _ZERO.where(SettingChange.shop_id == Shop.id).scalar_subquery().label("own_zero"),
        _ZERO.where(_GENERAL).scalar_subquery().label("general_zero"),
        _ASSIGNMENT.scalar_subquery().label("assignment"),
        func.concat(
            literal_column("shop.xmin"), "/", _PAYEES.c.version, "/", _CHANGES.scalar_subquery()
        ).label("version"),
    )
    .select_from(Shop)
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
        reply_to=row.reply_to,
        reference_kind=row.reference_kind,
        status=row.status,
        mapping=effective_mapping(row.mapping, row.default_mapping),
        mapping_pinned=row.mapping_pinned,
        connected_at=row.connected_at,
        last_order_at=row.last_order_at,
        payees=read_payees(row.payees),
        zero_is_paid=_zero_is_paid(row.own_zero, row.general_zero),
        is_shadow=row.assignment == "shadow",
        version=row.version,
        key_id=key_id,
        key_hash=key_hash,
    )


def _zero_is_paid(own: bool | None, general: bool | None) -> bool:
    """The newest of the shop, else of the merchant, else the default (K32)."""
    if own is not None:
        return own
    return general if general is not None else bool(SCHEMA["zero_is_paid"].default)
