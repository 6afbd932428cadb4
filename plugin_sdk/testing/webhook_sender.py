"""Sends a fake shop's webhooks as WooCommerce does: late, signed, never twice after a failure.

The body is built at delivery, not when the event happened; six deliveries in a row that fail leave
the webhook active, the seventh switches it off; a redirect counts as success.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import queue
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 5.0
MAX_FAILURES = 5
MAX_KEPT = 1000


@dataclass(slots=True)
class Webhook:
    """A webhook of the shop. ``failures`` counts in a row."""

    id: int
    name: str
    topic: str
    delivery_url: str
    secret: str
    status: str = "active"
    created_at: float = field(default_factory=time.time)
    modified_at: float | None = None
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one webhook; ``body`` is called when it is sent."""

    webhook: Webhook
    body: Callable[[], bytes]


def signed_headers(webhook: Webhook, body: bytes, shop_url: str, version: str) -> dict[str, str]:
    """The headers of a delivery. The delivery id is not unique within a second, as in reality."""
    resource, _, event = webhook.topic.partition(".")
    proof = hmac.new(webhook.secret.encode(), body, hashlib.sha256).digest()
    mark = hashlib.md5(f"{webhook.id}{int(time.time())}".encode(), usedforsecurity=False)
    return {
        "User-Agent": f"WooCommerce/{version} Hookshot (WordPress/7.0.4)",
        "Content-Type": "application/json",
        "X-WC-Webhook-Source": f"{shop_url}/",
        "X-WC-Webhook-Topic": webhook.topic,
        "X-WC-Webhook-Resource": resource,
        "X-WC-Webhook-Event": event,
        "X-WC-Webhook-Signature": b64encode(proof).decode(),
        "X-WC-Webhook-ID": str(webhook.id),
        "X-WC-Webhook-Delivery-ID": mark.hexdigest(),
    }


class WebhookSender:
    """A thread that sends. ``hold`` and ``release`` let a test choose order and number."""

    def __init__(self, shop_url: Callable[[], str], version: str) -> None:
        self._shop_url = shop_url
        self._version = version
        self._queue: queue.Queue[Delivery | Webhook | None] = queue.Queue(MAX_KEPT)
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)
        self._held: list[Delivery] | None = None

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Send what is queued, and end."""
        self._queue.put(None)
        self._thread.join(TIMEOUT_SECONDS)

    def ping(self, webhook: Webhook) -> None:
        """The unsigned first message of a new webhook. Nobody needs to be there to hear it."""
        self._queue.put(webhook)

    def send(self, delivery: Delivery) -> None:
        """Queue a delivery, or keep it while held."""
        if self._held is not None:
            self._held.append(delivery)
        else:
            self._queue.put(delivery)

    def hold(self) -> None:
        """Keep deliveries back until ``release``."""
        self._held = []

    def release(self, *, reverse: bool = False, times: int = 1) -> None:
        """Send what was held back: in order or reversed, once or several times."""
        held, self._held = self._held or [], None
        for delivery in reversed(held) if reverse else held:
            for _ in range(times):
                self._queue.put(delivery)

    def settle(self) -> None:
        """Return when everything queued so far has been sent."""
        self._queue.join()

    def _run(self) -> None:
        while True:
            work = self._queue.get()
            try:
                if work is None:
                    return
                if isinstance(work, Webhook):
                    work.modified_at = time.time()
                    body = f"webhook_id={work.id}".encode()
                    kind = {"Content-Type": "application/x-www-form-urlencoded"}
                    _post(work.delivery_url, body, kind)
                else:
                    self._deliver(work)
            finally:
                self._queue.task_done()

    def _deliver(self, delivery: Delivery) -> None:
        webhook = delivery.webhook
        if webhook.status != "active":
            return
        webhook.modified_at = time.time()
        body = delivery.body()
        headers = signed_headers(webhook, body, self._shop_url(), self._version)
        status = _post(webhook.delivery_url, body, headers)
        if status is not None and (200 <= status < 300 or status in (301, 302)):
            webhook.failures = 0
            return
        # Looked at before it is counted, so it is the seventh failure in a row that switches off.
        if webhook.failures > MAX_FAILURES:
            webhook.status = "disabled"
        else:
            webhook.failures += 1


def _post(url: str, body: bytes, headers: dict[str, str]) -> int | None:
    """The status of the answer, None if there was none. Redirects are not followed."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("POST", parts.path or "/", body, headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
