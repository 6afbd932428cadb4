"""eBay on loopback, for one seller: as its contracts say, and as it was seen to behave.

A real HTTP server, so that a connector is tested with everything between it and eBay. What trips
connectors up is there on purpose: amounts of payments that are less eBay's fee, amounts converted
for the seller, people that are forgotten after 14 and 90 days, filters that must be escaped and
name dates in the past, Trading failures inside of 200, payouts that must be asked for with a
signature, and consents that are withdrawn.

As a process, for demonstrations:
    python -m plugin_sdk.testing.fake_ebay --port 8093
"""

from __future__ import annotations

import argparse
import hashlib
import json
import signal
import sys
import threading
from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from html import escape
from typing import Any
from urllib.parse import unquote, urlsplit

from plugin_sdk.testing.ebay_answers import EbayProblem
from plugin_sdk.testing.ebay_finances import list_payouts, list_transactions
from plugin_sdk.testing.ebay_login import SCOPE, Login
from plugin_sdk.testing.ebay_orders import list_orders, one_order
from plugin_sdk.testing.ebay_seller import Json, Seller, stamp
from plugin_sdk.testing.ebay_trading import trade
from plugin_sdk.testing.fake_shop import Asked, FakeShop, Refusal, Reply

CLIENT_ID = "AnnasAnt-Kontor-PRD-000000000-00000000"
CLIENT_SECRET = "PRD-demo-0000"  # noqa: S105 - opens an eBay that exists on this machine only
RU_NAME = "Annas_Antiquari-AnnasAnt-Kontor-demo"
REFRESH_TOKEN = "v^1.1#i^1#r^1#demo"  # noqa: S105 - as above
ALL_SCOPES = frozenset(
    {SCOPE}
    | {f"{SCOPE}/{name}" for name in (
        "sell.fulfillment", "sell.finances", "commerce.identity.readonly"
    )}
)  # fmt: skip
ORDERS = "/sell/fulfillment/v1/order"
TRADING = "/ws/api.dll"
KEY_ID = "5ab7e2b8-0000-4000-8000-000000000001"


class FakeEbay(FakeShop):
    """Start it, talk to it, look inside, stop it; a context manager does the first and the last.

    ``seller`` holds what there is, ``login`` who may do what. ``calls_left``: after so many calls
    eBay answers 429 (None: never). ``demo`` opens the page at / and the control API at /_demo/.
    """

    def __init__(self, port: int = 0, *, demo: bool = False) -> None:
        super().__init__(port)
        self.seller = Seller(self.now)
        self.login = Login(self.now, lambda: self.seller.user_id, CLIENT_ID, CLIENT_SECRET, RU_NAME)
        self.login.refresh[REFRESH_TOKEN] = ALL_SCOPES
        self.calls_left: int | None = None
        self.demo = demo
        self._notification_key: Any = None

    # For tests

    @property
    def orders(self) -> dict[str, Json]:
        """The orders by id, to look at and to change."""
        return self.seller.orders

    def add_order(self, **wanted: Any) -> str:
        """An order; see ``Seller.create``. Without more: open, to be paid by bank transfer."""
        with self.lock:
            return self.seller.create(**wanted)

    def set_status(self, order_id: str, status: str) -> None:
        """An order becomes what somebody made of it; CANCELED is no payment status at eBay."""
        with self.lock:
            order = self.orders[order_id]
            if status == "CANCELED":
                order["cancelStatus"] |= {
                    "cancelState": "CANCELED",
                    "cancelledDate": stamp(self.now()),
                }
            else:
                order["orderPaymentStatus"] = status
            self.seller.touch(order)

    def status_of(self, order_id: str) -> str:
        """In one word: cancelled, or the status of the payment."""
        order = self.orders[order_id]
        if order["cancelStatus"]["cancelState"] == "CANCELED":
            return "CANCELED"
        return str(order["orderPaymentStatus"])

    def decorate(self, order_id: str, fields: dict[str, Any]) -> None:
        """eBay adds fields to an order that it publishes nowhere."""
        with self.lock:
            self.orders[order_id] |= fields

    def delete(self, order_id: str) -> None:
        """eBay forgets an order, as it does after two years."""
        with self.lock:
            del self.orders[order_id]

    def delivery(self, topic: str, order_id: str) -> tuple[dict[str, str], bytes]:
        """The one thing that eBay tells with a signature: that a buyer is to be forgotten."""
        return self.deletion(str(self.orders[order_id]["buyer"]["username"]))

    def deletion(self, username: str, user_id: str = "uSeRiD0001") -> tuple[dict[str, str], bytes]:
        """Headers and body of a notification of a closed account."""
        content = {
            "metadata": {
                "topic": "MARKETPLACE_ACCOUNT_DELETION",
                "schemaVersion": "1.0",
                "deprecated": False,
            },
            "notification": {
                "notificationId": f"{hashlib.sha256(username.encode()).hexdigest()[:32]}",
                "eventDate": stamp(self.now()),
                "publishDate": stamp(self.now()),
                "publishAttemptCount": 1,
                "data": {"username": username, "userId": user_id, "eiasToken": "nY+sHZ2PrBmdj6=="},
            },
        }
        return self.signed(json.dumps(content, separators=(",", ":")).encode())

    def signed(self, body: bytes) -> tuple[dict[str, str], bytes]:
        """A body with the signature that eBay puts beside a notification."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        proof = self._signer().sign(body, ec.ECDSA(hashes.SHA1()))  # noqa: S303 - as eBay does
        told = {
            "alg": "ecdsa",
            "kid": KEY_ID,
            "signature": b64encode(proof).decode(),
            "digest": "SHA1",
        }
        header = b64encode(json.dumps(told, separators=(",", ":")).encode()).decode()
        return {"Content-Type": "application/json", "X-EBAY-SIGNATURE": header}, body

    def _signer(self) -> Any:
        from cryptography.hazmat.primitives.asymmetric import ec

        if self._notification_key is None:
            self._notification_key = ec.generate_private_key(ec.SECP256R1())
        return self._notification_key

    # For the server

    def server_date(self) -> str:
        """eBay's clock is that of its orders, whole seconds of it."""
        skewed = self.now().timestamp() + self._skew_seconds
        return format_datetime(datetime.fromtimestamp(int(skewed), UTC), usegmt=True)

    def is_write(self, asked: Asked) -> bool:
        """Tokens and the time are asked for by POST as well; only a sale changes something."""
        return asked.headers.get("x-ebay-api-call-name") == "CompleteSale"

    def answer(self, asked: Asked) -> Reply:
        """What eBay says."""
        if self.demo and asked.path in ("/", "/_demo/orders"):
            return self._demo(asked)
        if asked.path == "/oauth2/authorize":
            return self.login.authorize(asked)
        if asked.path == "/identity/v1/oauth2/token" and asked.method == "POST":
            return self.login.token(asked)
        if asked.path == TRADING and asked.method == "POST":
            return trade(self.seller, self.login, asked, self._has_call())
        if not self._has_call():
            words = "The request limit has been reached for the resource."
            raise EbayProblem(429, 2001, "Too many requests", words, domain="ACCESS")
        return self._rest(asked)

    def _has_call(self) -> bool:
        if self.calls_left is None:
            return True
        self.calls_left = max(-1, self.calls_left - 1)
        return self.calls_left >= 0

    def _rest(self, asked: Asked) -> Reply:
        raw_query = urlsplit(self.requests[-1].partition(" ")[2]).query if self.requests else ""
        if set(raw_query) & set("[]{}|"):
            return Reply(400, b"<html><body><h1>Bad Request</h1></body></html>")
        href = f"{self.url}{asked.path}?{raw_query}"
        place = (asked.method, asked.path)
        if place == ("GET", ORDERS):
            self.login.bearer(asked, "sell.fulfillment", "sell.fulfillment.readonly")
            self.only(asked, "fieldGroups", "filter", "limit", "offset", "orderIds")
            return list_orders(self.seller, asked, href)
        if asked.method == "GET" and asked.path.startswith(f"{ORDERS}/"):
            self.login.bearer(asked, "sell.fulfillment", "sell.fulfillment.readonly")
            self.only(asked, "fieldGroups")
            return one_order(self.seller, unquote(asked.path.removeprefix(f"{ORDERS}/")))
        if place[0] == "GET" and place[1] in _FINANCES:
            self.login.bearer(asked, "sell.finances")
            self.login.check_signature(asked)
            self.only(asked, "filter", "sort", "limit", "offset")
            return _FINANCES[place[1]](self.seller, asked, href)
        return self._rest_about_itself(asked)

    def _rest_about_itself(self, asked: Asked) -> Reply:
        keys = "/commerce/notification/v1/public_key/"
        if asked.method == "GET" and asked.path == "/commerce/identity/v1/user":
            self.login.bearer(asked, "commerce.identity.readonly")
            self.only(asked)
            return Reply(200, self._user())
        if asked.method == "GET" and asked.path.startswith(keys):
            self.login.bearer(asked, "", of_user=False)
            self.only(asked)
            return self._public_key(asked.path.removeprefix(keys))
        if asked.method == "POST" and asked.path == "/developer/key_management/v1/signing_key":
            self.login.bearer(asked, "", of_user=False)
            if asked.body != {"signingKeyCipher": "ED25519"}:
                raise EbayProblem(400, 210_001, "Invalid cipher", domain="KEY_MANAGEMENT")
            return Reply(200, self.login.make_signing_key())
        return Reply(404, b"<html><body>Resource not found</body></html>")

    def _user(self) -> Json:
        return {
            "userId": self.seller.user_id,
            "username": self.seller.username,
            "accountType": "BUSINESS",
            "registrationMarketplaceId": self.seller.marketplace,
            "status": "CONFIRMED",
        }

    def _public_key(self, key_id: str) -> Reply:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        if key_id != KEY_ID:
            raise EbayProblem(
                404, 195_001, "The specified key id is invalid.", domain="API_NOTIFICATION"
            )
        raw = (
            self._signer()
            .public_key()
            .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        )
        key = f"-----BEGIN PUBLIC KEY-----{b64encode(raw).decode()}-----END PUBLIC KEY-----"
        return Reply(200, {"key": key, "algorithm": "ECDSA", "digest": "SHA1"})

    # The demonstration

    def _demo(self, asked: Asked) -> Reply:
        """A form may only come from this page, JSON from programs: browsers ask before JSON."""
        if asked.method == "GET" and asked.path == "/":
            return Reply(200, demo_page(self.orders.values()).encode())
        if asked.method == "GET":
            return Reply(200, list(self.orders.values()))
        is_json = asked.headers.get("content-type", "").startswith("application/json")
        origin = asked.headers.get("origin")
        if not is_json and origin not in (None, f"http://{asked.headers.get('host')}"):
            return Reply(403, b"Not from here.")
        try:
            order_id = self.add_order(**(asked.body or {}))
        except (TypeError, ValueError, AttributeError, ArithmeticError):
            raise Refusal(400, "no_order", "This is no order.") from None
        if is_json:
            return Reply(201, self.orders[order_id])
        return Reply(303, b"", {"Location": "/"})


_FINANCES = {
    "/sell/finances/v1/payout": list_payouts,
    "/sell/finances/v1/transaction": list_transactions,
}

STYLE = """
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;
max-width:60rem;padding:0 1rem}table{border-collapse:collapse;width:100%}
th,td{padding:.5rem .75rem;text-align:left;border-bottom:1px solid #8884}
button{font:inherit;padding:.5rem 1rem}
"""
MAX_ROWS = 200


def demo_page(orders: Any) -> str:
    """The seller's orders, newest first. Everything that came from outside is escaped."""
    rows = "".join(_row(order) for order in list(orders)[::-1][:MAX_ROWS])
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta http-equiv=refresh content=5>"
        "<meta name=viewport content='width=device-width,initial-scale=1'>"
        f"<title>eBay</title><style>{STYLE}</style></head><body><h1>annas-antiquariat</h1>"
        "<p>A stand-in for eBay: it answers as the real one does.</p><form method=post "
        "action=/_demo/orders><button>Order something as a buyer</button></form><table><thead><tr>"
        "<th scope=col>Order<th scope=col>Payment<th scope=col>Total<th scope=col>Buyer"
        f"<th scope=col>Date</thead><tbody>{rows}</tbody></table></body></html>"
    )


def _row(order: Json) -> str:
    total = order["pricingSummary"]["total"]
    is_cancelled = order["cancelStatus"]["cancelState"] == "CANCELED"
    status = "CANCELED" if is_cancelled else order["orderPaymentStatus"]
    cells = (
        order["orderId"],
        status,
        f"{total['value']} {total['currency']}",
        order["buyer"]["username"],
        order["creationDate"],
    )
    return "<tr>" + "".join(f"<td>{escape(str(cell))}" for cell in cells)


def main(argv: Sequence[str] | None = None) -> int:
    """Run it until SIGTERM or SIGINT. Prints its address as the first line."""
    parser = argparse.ArgumentParser(description="An eBay seller's account for demonstrations.")
    parser.add_argument("--port", type=int, default=0, help="0 finds a free one")
    parser.add_argument("--accept-url", help="where the log-in comes back to")
    arguments = parser.parse_args(argv)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    fake = FakeEbay(arguments.port, demo=True)
    fake.login.wants_signatures = False
    fake.login.accept_url = arguments.accept_url or fake.login.accept_url
    with fake:
        sys.stdout.write(f"{fake.url}\n")
        sys.stdout.flush()
        while not stop.wait(60):
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
