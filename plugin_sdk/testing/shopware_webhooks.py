"""Webhooks as Shopware sends them: within the request that caused them, once, never again.

Those of an integration (``POST /api/webhook``) carry no signature, those of an app are signed with
the secret that the shop and the app agreed on.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import requests

from plugin_sdk.testing.shopware_orders import GERMAN, LIVE, Json, new_id
from plugin_sdk.testing.shopware_search import shown

TIMEOUT_SECONDS = 5.0
ORDER_PARTS: Json = {
    "transactions": {},
    "orderCustomer": {},
    "lineItems": {},
    "currency": {},
    "language": {},
}


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where an event goes. ``secret``: of the app (None: an integration's, unsigned)."""

    event: str
    url: str
    secret: str | None = None
    only_live: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to an order. ``version``: LIVE, or of a draft."""

    name: str
    payload: Any
    version: str = LIVE


@dataclass(frozen=True, slots=True)
class Source:
    """The shop that tells. ``shop_id``: only apps are told it."""

    url: str
    shop_id: str
    version: str


def entity_event(name: str, order_id: str, operation: str, version: str = LIVE) -> Event:
    """``order.written`` and ``order.deleted``: ids and names of fields, no values."""
    fields = {"insert": ["id", "versionId", "createdAt"], "update": ["updatedAt", "id"]}
    payload = {
        "entity": "order",
        "operation": operation,
        "primaryKey": order_id,
        "updatedFields": fields.get(operation, []),
        "versionId": version,
    }
    return Event(name, [payload], version)


def order_event(name: str, order: Json) -> Event:
    """A business event: the order with some of its parts, but no word on which of them changed."""
    return Event(name, {"order": shown("order", order, {"associations": ORDER_PARTS})})


def delivery_of(
    webhook: Webhook, event: Event, source: Source, now: datetime
) -> tuple[dict[str, str], bytes]:
    """Headers and body as they are sent."""
    place: Json = {"url": source.url, "eventId": new_id()}
    if webhook.secret is not None:
        place |= {"appVersion": "0.1.0", "shopId": source.shop_id}
    content = {
        "data": {"payload": event.payload, "event": event.name},
        "source": place,
        "timestamp": int(now.timestamp()),
    }
    body = json.dumps(content, separators=(",", ":")).replace("/", "\\/").encode()
    headers = {
        "User-Agent": "GuzzleHttp/7",
        "Content-Type": "application/json",
        "sw-version": source.version,
        "sw-context-language": GERMAN,
        "sw-user-language": "de-DE",
    }
    if webhook.secret is not None:
        proof = hmac.new(webhook.secret.encode(), body, hashlib.sha256).hexdigest()
        headers["shopware-shop-signature"] = proof
    return headers, body


def send(url: str, headers: Mapping[str, str], body: bytes) -> int | None:
    """The status of the answer; None: nobody answered. A redirect loses the body, as in reality."""
    try:
        answer = requests.post(
            url, data=body, headers=dict(headers), timeout=TIMEOUT_SECONDS, allow_redirects=True
        )
    except requests.RequestException:
        return None
    return answer.status_code
