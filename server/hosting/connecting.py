"""From what is stored to a connector that may talk to its shop."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from plugin_sdk.connector import AppPackage, Connector, LoginWay, ShopCall, ShopReply
from plugin_sdk.errors import Misconfigured, Rejected
from plugin_sdk.http import Limits
from plugin_sdk.installed import connector_class, installed_connectors
from server.config import Settings, installed
from server.egress import limits as egress_limits
from server.shops.connections import (
    begin_login,
    change_settings,
    connection_at,
    connection_of_login,
    end_login,
    settings_of,
    webhook_token,
)
from server.shops.models import ShopConnection
from server.vault import VaultLocked

log = logging.getLogger(__name__)

READ_TIMEOUT_SECONDS = 15.0
DEADLINE_SECONDS = 30.0
WEBHOOK_PATH = "/webhooks/shops/"
LOGIN_PATH = "/logins/shops/"
RETURN_PATH = "/shops/login/"
WEBHOOK_URL, WEBHOOK_SECRET = "webhook_url", "webhook_secret"
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def connectors() -> list[type[Connector[Any]]]:
    """All that are installed, in the order of their titles.

    A package that cannot be loaded is left out and logged: it must not take the others away.
    """
    found = []
    for name in installed_connectors():
        try:
            found.append(connector_class(name))
        except Exception:  # whatever somebody else's module does
            log.exception("the connector %s cannot be loaded", name)
    return sorted(found, key=lambda one: (one.title or one.name).casefold())


def limits() -> Limits:
    """How a shop is talked to from here, by an address that a merchant typed."""
    return replace(
        egress_limits(installed()),
        read_timeout_seconds=READ_TIMEOUT_SECONDS,
        deadline_seconds=DEADLINE_SECONDS,
    )


def connector_of(row: ShopConnection) -> Connector[Any]:
    """Raises Misconfigured: it is not installed, or its settings do not make one."""
    try:
        settings, token = settings_of(row), webhook_token(row)
    except VaultLocked as locked:
        raise Misconfigured(str(locked)) from None
    return made(row.connector, with_webhooks(row.connector, settings, token, installed()))


def made(name: str, settings: Mapping[str, Any]) -> Connector[Any]:
    """A connector of these settings. Raises Misconfigured."""
    return connector_class(name)(settings, limits=limits())


def with_webhooks(
    name: str, settings: Mapping[str, Any], token: str, house: Settings
) -> dict[str, Any]:
    """The settings, and where the shop may tell us of orders, if its server can reach us there."""
    known = {one.name for one in fields(connector_class(name).Config)}
    if WEBHOOK_URL not in known:
        return dict(settings)
    if not _is_reachable(house.url, settings):  # nothing will be told, whatever secret there is
        return {name: value for name, value in settings.items() if name != WEBHOOK_SECRET}
    return {**settings, WEBHOOK_URL: house.url.rstrip("/") + WEBHOOK_PATH + token}


def login_way(state: str) -> LoginWay:
    """Where a log-in of this name comes back to."""
    base = installed().url.rstrip("/")
    return LoginWay(state, f"{base}{RETURN_PATH}{state}", f"{base}{LOGIN_PATH}{state}")


def login_url(row: ShopConnection, at: datetime) -> str:
    """Where the merchant's browser goes to log in at the shop system. Raises Misconfigured."""
    state = begin_login(row, at)
    return connector_class(row.connector).login_url(settings_of(row), login_way(state))


def take_login(
    state: str, given: Mapping[str, Any], at: datetime, commit: Callable[[], None]
) -> ShopConnection | None:
    """What the log-in gave is its connection's from now on; None if no log-in is waited for.

    The shop system may be talked to, so ``commit`` ends the transaction before. Raises
    ConnectorError. The caller commits.
    """
    row = connection_of_login(state, at)
    if row is None:
        return None
    name, settings = row.connector, settings_of(row)
    commit()
    got = connector_class(name).read_login(settings, login_way(state), given, limits())
    row = connection_of_login(state, at)
    if row is not None:
        _change(row, got, at)
        end_login(row)
    return row


def new_secrets(name: str) -> dict[str, str]:
    """Settings that the host makes up itself."""
    known = fields(connector_class(name).Config)
    is_ours = any(one.name == WEBHOOK_SECRET and one.metadata.get("from_host") for one in known)
    return {WEBHOOK_SECRET: secrets.token_urlsafe(32)} if is_ours else {}


def answer_call(
    row: ShopConnection, call: ShopCall, at: datetime, commit: Callable[[], None]
) -> ShopReply | None:
    """What else the shop's server asks at the connection's address.

    The shop system may be talked to, so ``commit`` ends the transaction before. Raises
    ConnectorError. The caller commits.
    """
    name, settings, token = row.connector, settings_of(row), webhook_token(row)
    commit()
    reply = connector_class(name).answer_call(settings, call, limits())
    if reply is not None and reply.settings:
        now_there = connection_at(token)
        if now_there is None:  # removed meanwhile
            return None
        _change(now_there, reply.settings, at)
    return reply


def app_package(row: ShopConnection, at: datetime) -> AppPackage:
    """What the merchant uploads in the shop system. Raises ConnectorError."""
    package = connector_class(row.connector).app_package(settings_of(row), address_of(row))
    _change(row, package.settings, at)
    return package


def _change(row: ShopConnection, more: Mapping[str, Any], at: datetime) -> None:
    """What a shop gave, beside what is there. Raises Rejected for more than fits."""
    settings = {**settings_of(row), **more}
    try:
        change_settings(row, settings, at)
    except ValueError:
        raise Rejected("What the shop gave is too long to be kept.") from None


def address_of(row: ShopConnection) -> str:
    """Where the shop's own server reaches us."""
    return installed().url.rstrip("/") + WEBHOOK_PATH + webhook_token(row)


def _is_reachable(own_url: str, settings: Mapping[str, Any]) -> bool:
    """Shops deliver to public addresses; a shop on this machine to this machine."""
    own = urlsplit(own_url)
    if own.scheme == "https":
        return True
    host = urlsplit(str(settings.get("shop_url", ""))).hostname
    return own.hostname in LOOPBACK and host in LOOPBACK
