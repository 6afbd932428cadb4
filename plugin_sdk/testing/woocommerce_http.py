"""The HTTP around a fake shop: addresses, log-in, and misbehaviour as overloaded shops show it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from plugin_sdk.testing.woocommerce_answers import (
    Asked,
    Problem,
    Reply,
    copy_of,
    nobody,
    object_of,
    php_json,
)
from plugin_sdk.testing.woocommerce_api import API
from plugin_sdk.testing.woocommerce_authorize import ENDPOINT, GRANTED
from plugin_sdk.testing.woocommerce_login import Call, Refused
from plugin_sdk.testing.woocommerce_page import page

if TYPE_CHECKING:
    from plugin_sdk.testing.fake_woocommerce import FakeWooCommerce

MAX_BODY_BYTES = 8 * 1024 * 1024
FAILURES: dict[str, tuple[int, str, str, dict[str, str]]] = {
    "500": (500, "application/json", '{"code":"internal_server_error","message":"Oops"}', {}),
    "503": (503, "text/html", "<!DOCTYPE html><h1>Maintenance</h1>", {"Retry-After": "600"}),
    "429": (429, "application/json", '{"code":"rate_limited"}', {"Retry-After": "7"}),
    "html": (200, "text/html", "<!DOCTYPE html><title>Just a moment</title>", {}),
    "type": (200, "text/csv", "id;number;total\n1;4711;39.90\n", {}),
    "empty": (200, "application/json", "", {}),
    "firewall": (403, "text/html", "<html><body>Access denied by firewall</body></html>", {}),
    "redirect": (301, "text/html", "", {"Location": "https://elsewhere.example.org/wp-json/"}),
    "cut": (200, "application/json", "", {}),
    "notice": (200, "application/json", "", {}),
    "hang": (200, "", "", {}),
    "drop": (200, "", "", {}),
}
NOTICE = (
    "<br />\n<b>Notice</b>:  Undefined index: [key] in <b>/x/{y}.php</b> on line <b>3</b><br />\n"
)


class Server(ThreadingHTTPServer):
    """One thread a visit; ``fake`` is the shop."""

    daemon_threads = True
    block_on_close = False
    fake: FakeWooCommerce

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hangs up is no news."""


class Visit(BaseHTTPRequestHandler):
    """One connection: the API, the demonstration's page, or nothing."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        self._visit("GET")

    def do_POST(self) -> None:
        self._visit("POST")

    def do_PUT(self) -> None:
        self._visit("PUT")

    def do_DELETE(self) -> None:
        self._visit("DELETE")

    def _visit(self, method: str) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            self._send(413, "text/plain", b"Too large.")
            return
        body = self.rfile.read(int(length))
        parts = urlsplit(self.path)
        fake = self.server.fake
        fake.requests.append(f"{method} {self.path}")
        if fake.demo and parts.path in ("/", "/_demo/orders") and "rest_route=" not in parts.query:
            self._visit_demo(method, parts.path, body)
            return
        if parts.path.rstrip("/") in (ENDPOINT, GRANTED) and method == "GET":
            self._visit_authorize(parts.path, dict(parse_qsl(parts.query)))
            return
        route = self._route(parts.path, dict(parse_qsl(parts.query)))
        if route is None:
            self._visit_nothing(parts.path)
            return
        self._visit_api(method, route, body)

    def _route(self, path: str, query: Mapping[str, str]) -> str | None:
        """What follows /wc/v3, or None when this is no address of the API."""
        for prefix in (f"/wp-json{API}", API):
            found = path if prefix != API else query.get("rest_route", "")
            if prefix != API and self.server.fake.plain_permalinks:
                continue
            if found.startswith(f"{prefix}/"):
                return found[len(prefix) :].rstrip("/")
        return None

    def _visit_authorize(self, path: str, query: Mapping[str, str]) -> None:
        fake = self.server.fake
        shown = fake.authorize.show(path, query, fake.name)
        headers = {"Location": shown.location} if shown.location else {}
        self._send(shown.status, "text/html; charset=utf-8", shown.html.encode(), headers)

    def _visit_nothing(self, path: str) -> None:
        if self.server.fake.plain_permalinks and path.startswith("/wp-json"):
            place = f"{self.server.fake.url}{path.rstrip('/')}/"
            self._send(301, "text/html", b"", {"Location": place})
        else:
            self._send(404, "text/html", b"<!DOCTYPE html><title>Page not found</title>")

    def _visit_api(self, method: str, route: str, body: bytes) -> None:
        fake = self.server.fake
        failure = fake.next_failure()
        if failure in ("hang", "drop"):
            if failure == "hang":
                fake.hang.wait(30)
            self.close_connection = True
            return
        if failure is not None and failure not in ("cut", "notice"):
            status, kind, text, headers = FAILURES[failure]
            self._send(status, kind, text.encode(), headers)
            return
        reply = self._reply(method, route, body)
        raw = php_json(reply.body)
        if failure == "cut":
            raw = raw[: len(raw) // 2]
        elif failure == "notice":
            raw = NOTICE.encode() + raw
        headers = {"Link": f'<{fake.url}/wp-json/>; rel="https://api.w.org/"'}
        if reply.total is not None:
            headers |= {"X-WP-Total": str(reply.total), "X-WP-TotalPages": str(reply.pages)}
        if reply.location:
            headers["Location"] = reply.location
        self._send(reply.status, "application/json; charset=UTF-8", raw, headers)

    def _reply(self, method: str, route: str, body: bytes) -> Reply:
        fake = self.server.fake
        scheme = "https" if fake.secure else "http"
        url = f"{scheme}://{self.headers.get('Host', '')}{self.path}"
        key = fake.login.check(Call(method, url, dict(self.headers.items())))
        if isinstance(key, Refused):
            return Problem(401, key.code, key.message).reply
        if key is None:
            return nobody(method, route)
        try:
            content = json.loads(body) if body else None
        except (ValueError, RecursionError):
            more = {"json_error_code": 4, "json_error_message": "Syntax error"}
            return Problem(400, "rest_invalid_json", "Invalid JSON body passed.", more).reply
        query = dict(parse_qsl(urlsplit(self.path).query))
        return fake.api.answer(Asked(method, route, query, content))

    def _visit_demo(self, method: str, path: str, body: bytes) -> None:
        """A form may only come from this page, JSON from programs: browsers ask before JSON."""
        fake = self.server.fake
        if method == "GET" and path == "/":
            text = page(fake.name, fake.demo_orders())
            self._send(200, "text/html; charset=utf-8", text.encode())
        elif method == "GET":
            self._send(200, "application/json", json.dumps(fake.demo_orders()).encode())
        elif method == "POST" and path != "/":
            self._demo_order(body)
        else:
            self._send(405, "text/plain", b"GET or POST.")

    def _demo_order(self, body: bytes) -> None:
        fake = self.server.fake
        is_json = self.headers.get("Content-Type", "").startswith("application/json")
        origin = self.headers.get("Origin")
        if not is_json and origin not in (None, f"http://{self.headers.get('Host')}"):
            self._send(403, "text/plain", b"Not from here.")
            return
        try:
            wanted = json.loads(body or b"{}") if is_json else {}
            order_id = fake.add_order(**object_of(wanted))
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, Problem):
            self._send(400, "text/plain", b"This is no order.")
            return
        if is_json:
            made = json.dumps(copy_of(fake.orders[int(order_id)])).encode()
            self._send(201, "application/json", made)
        else:
            self._send(303, "text/plain", b"", {"Location": "/"})

    def _send(
        self, status: int, kind: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        self.send_response_only(status)
        skew = self.server.fake.login.skew_seconds
        self.send_header("Date", formatdate(time.time() + skew, usegmt=True))
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: what matters is in ``FakeWooCommerce.requests``."""
