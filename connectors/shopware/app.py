"""Kontor as a Shopware app: manifest, registration handshake, signed events. Pure functions.

How they follow on each other (``handshake`` does it for a host that keeps a connection's settings):

1. The shop asks ``GET <register_url>?shop-id&shop-url&timestamp``: ``read_registration``, then
   ``new_secret`` (keep it as pending, the old one stays valid) and ``registration_answer``. The
   shop waits five seconds for it.
2. The shop sends ``POST <confirmation_url>``: ``read_confirmation`` with the pending secret. Only
   now it replaces the old one, which is still taken for ``OLD_SECRET_SECONDS`` in events.
   ``settings_of`` are the settings of the connector.
3. Events come to ``<webhook_url>``: ``read_event``; ``lifecycle`` says whether the app itself was
   switched on, off, updated or deleted, ``hinted_orders`` which orders to look at.

Signatures are HMAC-SHA256 in hexadecimal over exactly the bytes that came.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit
from xml.etree import ElementTree

from connectors.shopware.mapping import LIVE_VERSION
from plugin_sdk.errors import Rejected

APP_NAME = "KontorPayments"
APP_VERSION = "0.1.0"
COMPATIBILITY = "~6.5.7 || ~6.6.0 || ~6.7.0"  # before 6.5.7 webhooks know no onlyLiveVersion
MAX_AGE = timedelta(minutes=15)
OLD_SECRET_SECONDS = 60
MAX_BODY_BYTES = 10 * 1024 * 1024
MAX_QUERY = 4096
SECRET_BYTES = 48  # 96 characters; Shopware takes 64 to 255

PAYMENT_STATES = (
    "open",
    "in_progress",
    "authorized",
    "unconfirmed",
    "paid",
    "paid_partially",
    "reminded",
    "failed",
    "cancelled",
    "refunded",
    "refunded_partially",
    "chargeback",
)
ORDER_STATES = ("open", "in_progress", "completed", "cancelled")
LIFECYCLE_EVENTS = ("app.activated", "app.deactivated", "app.updated", "app.deleted")
ORDER_EVENTS = (
    # order_transaction.written cannot be had; a payment tells of itself by entering a state.
    "checkout.order.placed",
    "checkout.order.payment_method.changed",
    "order.written",
    "order.deleted",
    *(f"state_enter.order_transaction.state.{state}" for state in PAYMENT_STATES),
    *(f"state_enter.order.state.{state}" for state in ORDER_STATES),
)
PERMISSIONS: Mapping[str, Sequence[str]] = {
    "read": (
        "order",
        "order_transaction",
        "order_customer",
        "order_address",
        "order_delivery",
        "order_line_item",
        "payment_method",
        "state_machine",
        "state_machine_state",
        "state_machine_transition",
        "state_machine_history",
        "currency",
        "language",
        "locale",
        "country",
        "sales_channel",
        "document",
        "document_type",
    ),
    "create": ("state_machine_history",),
    "update": ("order", "order_transaction"),
}


@dataclass(frozen=True, slots=True)
class Registration:
    """A shop that wants to be registered. ``given_url`` is its address as it wrote it.

    ``is_proven``: it knows the secret of its last registration, so it is the same shop. If it is
    not, a shop id that is known already must not be handed over: ask the merchant.
    """

    shop_id: str
    shop_url: str
    given_url: str
    is_proven: bool


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What ends a registration: the shop with its credentials for the Admin API."""

    shop_id: str
    shop_url: str
    client_id: str
    client_secret: str


@dataclass(frozen=True, slots=True)
class AppEvent:
    """A verified event. ``id`` is new with every delivery; ``sent_at`` has whole seconds."""

    name: str
    payload: Any
    shop_id: str
    shop_url: str
    id: str
    sent_at: datetime | None


class Lifecycle(StrEnum):
    """What happened to the app in the shop. After ``deleted`` its credentials are void."""

    ACTIVATED = "app.activated"
    DEACTIVATED = "app.deactivated"
    UPDATED = "app.updated"
    DELETED = "app.deleted"


def sign(content: bytes | str, secret: str) -> str:
    """HMAC-SHA256 in hexadecimal."""
    raw = content.encode() if isinstance(content, str) else content
    return hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()


def read_registration(
    query: str,
    headers: Mapping[str, str],
    *,
    app_secret: str,
    now: datetime,
    shop_secret: str | None = None,
) -> Registration:
    """The first request. ``query``: as it came, still percent-encoded, without the question mark.

    ``shop_secret``: the secret of this shop id's last registration, if there was one. Raises
    Rejected when a signature does not fit or the request is too old.
    """
    given = _lower(headers)
    if len(query) > MAX_QUERY:
        raise Rejected("The registration is too long.")
    if not _fits(query, given.get("shopware-app-signature"), app_secret):
        raise Rejected("The signature of the registration does not fit.")
    values = dict(parse_qsl(query, keep_blank_values=True))
    _check_age(values.get("timestamp"), now)
    shop_id = _shop_id(values.get("shop-id"))
    proof = given.get("shopware-shop-signature")
    if shop_secret and proof is not None and not _fits(query, proof, shop_secret):
        raise Rejected("The signature with the shop's last secret does not fit.")
    given_url = values.get("shop-url", "")
    return Registration(
        shop_id=shop_id,
        shop_url=clean_url(given_url),
        given_url=given_url,
        is_proven=bool(shop_secret and proof is not None),
    )


def new_secret() -> str:
    """A secret for one shop."""
    return secrets.token_hex(SECRET_BYTES)


def registration_answer(
    registration: Registration,
    *,
    app_secret: str,
    shop_secret: str,
    confirmation_url: str,
    app_name: str = APP_NAME,
) -> Mapping[str, str]:
    """The JSON to answer with, status 200. The proof is over the address as the shop wrote it."""
    proved = f"{registration.shop_id}{registration.given_url}{app_name}"
    return {
        "proof": sign(proved, app_secret),
        "secret": shop_secret,
        "confirmation_url": confirmation_url,
    }


def read_confirmation(
    body: bytes,
    headers: Mapping[str, str],
    *,
    shop_id: str,
    shop_secret: str,
    now: datetime,
    previous_secret: str | None = None,
) -> Confirmation:
    """The second request. ``shop_secret`` is the one that was answered with.

    ``previous_secret``: of the registration before, where this one was proven with it; then the
    shop signs with both. Raises Rejected.
    """
    given = _lower(headers)
    content = _signed_object(body, given.get("shopware-shop-signature"), (shop_secret,))
    if previous_secret and not _fits(
        body, given.get("shopware-shop-signature-previous"), previous_secret
    ):
        raise Rejected("The signature with the shop's last secret does not fit.")
    _check_age(content.get("timestamp"), now)
    if content.get("shopId") != shop_id:
        raise Rejected("The confirmation is for another shop.")
    client_id, client_secret = content.get("apiKey"), content.get("secretKey")
    if not (isinstance(client_id, str) and client_id and isinstance(client_secret, str)):
        raise Rejected("The confirmation has no key for the shop.")
    return Confirmation(
        shop_id=shop_id,
        shop_url=clean_url(str(content.get("shopUrl", ""))),
        client_id=client_id,
        client_secret=client_secret,
    )


def settings_of(confirmation: Confirmation, shop_secret: str) -> Mapping[str, str]:
    """What ``Shopware`` wants to know; the merchant's own settings go on top."""
    return {
        "shop_url": confirmation.shop_url,
        "client_id": confirmation.client_id,
        "client_secret": confirmation.client_secret,
        "webhook_secret": shop_secret,
    }


def read_event(body: bytes, headers: Mapping[str, str], shop_secrets: Sequence[str]) -> AppEvent:
    """Verify a delivery. ``shop_secrets``: the valid one, and for a minute the one before.

    Old events are taken: a shop's queue may be hours behind, and all that follows is a look at an
    order as it is now, so a repeated one does no harm. Raises Rejected.
    """
    given = _lower(headers)
    content = _signed_object(body, given.get("shopware-shop-signature"), shop_secrets)
    inner, source = content.get("data"), content.get("source")
    if not isinstance(inner, dict) or not isinstance(source, dict):
        raise Rejected("The event has not the form of Shopware's events.")
    return AppEvent(
        name=str(inner.get("event", "")),
        payload=inner.get("payload"),
        shop_id=str(source.get("shopId", "")),
        shop_url=str(source.get("url", "")),
        id=str(source.get("eventId", "")),
        sent_at=_moment(content.get("timestamp")),
    )


def lifecycle(event: AppEvent) -> Lifecycle | None:
    """What the event says of the app itself; None: nothing."""
    return Lifecycle(event.name) if event.name in LIFECYCLE_EVENTS else None


def hinted_orders(event: AppEvent) -> Iterator[str]:
    """Ids of the orders that the event speaks of, each once. Drafts of a change are no orders."""
    if event.name not in ORDER_EVENTS:
        return
    found: dict[str, None] = {}
    payload = event.payload
    if isinstance(payload, dict):  # a business event: {"order": {...}}
        order = payload.get("order")
        rows = [order] if isinstance(order, dict) else []
        found |= {str(each.get("id")): None for each in rows if _is_live(each)}
    elif isinstance(payload, list):  # an entity event: [{"entity", "primaryKey", "versionId"}]
        for each in payload:
            if isinstance(each, dict) and each.get("entity") == "order" and _is_live(each):
                found[str(each.get("primaryKey"))] = None
    yield from found


def clean_url(url: str) -> str:
    """An address without double slashes in its path and without one at its end; Raises Rejected.

    Shops whose address was entered with a slash at the end write "https://shop.example//".
    """
    try:
        parts = urlsplit(url.strip())
        _ = parts.port
    except ValueError:
        raise Rejected("The address of the shop is none.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise Rejected("The address of the shop is no http or https address.")
    path = re.sub("/+", "/", parts.path).rstrip("/")
    return urlunsplit((parts.scheme.lower(), parts.netloc.lower(), path, "", ""))


def manifest(
    *,
    register_url: str,
    webhook_url: str,
    app_secret: str | None = None,
    app_name: str = APP_NAME,
    version: str = APP_VERSION,
) -> str:
    """manifest.xml (Shopware's manifest 2.0). ``app_secret``: for an app that is uploaded instead
    of bought; whoever has the file has the secret, so every merchant gets one of their own.
    """
    root = ElementTree.Element("manifest")
    meta = ElementTree.SubElement(root, "meta")
    for tag, text, attributes in _meta(app_name, version):
        ElementTree.SubElement(meta, tag, attributes).text = text
    setup = ElementTree.SubElement(root, "setup")
    ElementTree.SubElement(setup, "registrationUrl").text = register_url
    if app_secret:
        ElementTree.SubElement(setup, "secret").text = app_secret
    permissions = ElementTree.SubElement(root, "permissions")
    for right, entities in PERMISSIONS.items():
        for entity in entities:
            ElementTree.SubElement(permissions, right).text = entity
    hosts = ElementTree.SubElement(root, "allowed-hosts")
    for host in sorted({urlsplit(url).hostname or "" for url in (register_url, webhook_url)}):
        ElementTree.SubElement(hosts, "host").text = host
    webhooks = ElementTree.SubElement(root, "webhooks")
    for event in (*LIFECYCLE_EVENTS, *ORDER_EVENTS):
        name = re.sub("[^a-z]+", "-", event)
        attributes = {"name": name, "url": webhook_url, "event": event}
        if event in ORDER_EVENTS:
            # Without it every edit in the administration and every document tells of a draft.
            attributes["onlyLiveVersion"] = "true"
        ElementTree.SubElement(webhooks, "webhook", attributes)
    ElementTree.indent(root, "    ")
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _meta(app_name: str, version: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    yield "name", app_name, {}
    yield "label", "Kontor payments", {}
    yield "label", "Kontor Zahlungen", {"lang": "de-DE"}
    yield "description", "Matches payments on your bank account to open orders.", {}
    german = "Ordnet die Zahlungen auf Ihrem Bankkonto den offenen Bestellungen zu."
    yield "description", german, {"lang": "de-DE"}
    yield "author", "Kontor", {}
    yield "copyright", "Kontor contributors", {}
    yield "version", version, {}
    yield "license", "Apache-2.0", {}
    yield "compatibility", COMPATIBILITY, {}


def _signed_object(body: bytes, proof: str | None, shop_secrets: Sequence[str]) -> dict[str, Any]:
    if len(body) > MAX_BODY_BYTES:
        raise Rejected("The request is too large.")
    if not any(_fits(body, proof, secret) for secret in shop_secrets):
        raise Rejected("The signature of the shop does not fit.")
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise Rejected("The shop signed something that is no JSON object.")
    return content


def _fits(content: bytes | str, proof: str | None, secret: str) -> bool:
    if not secret or not proof:
        return False
    return hmac.compare_digest(sign(content, secret).encode(), proof.encode("utf-8", "replace"))


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _shop_id(value: str | None) -> str:
    if not value or len(value) > 128 or not value.isprintable():
        raise Rejected("The registration has no id of a shop.")
    return value


def _check_age(timestamp: Any, now: datetime) -> None:
    sent_at = _moment(timestamp)
    if sent_at is None or abs(now - sent_at) > MAX_AGE:
        raise Rejected("The request is too old, or the clock of the shop is wrong.")


def _moment(timestamp: Any) -> datetime | None:
    """Seconds since 1970, as a number or as text."""
    text = str(timestamp)
    if isinstance(timestamp, bool) or not re.fullmatch("[0-9]{1,11}", text, re.ASCII):
        return None
    return datetime.fromtimestamp(int(text), UTC)


def _is_live(row: Mapping[str, Any]) -> bool:
    return row.get("versionId") in (None, LIVE_VERSION)
