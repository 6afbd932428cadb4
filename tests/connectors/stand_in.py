"""A small HTTP server that stands in for Kontor's API, as far as an agent uses it."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from plugin_sdk.schemas import (
    AcknowledgementSchema,
    HeartbeatSchema,
    OrderSchema,
    RequestAnswerSchema,
)

KEY = "kontor_standin_secret"


def until(condition, what="it", seconds=20):
    """Wait for something that another thread or process does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen within {seconds} s")


class StandIn:
    """Remembers what it is sent. ``down`` answers 503 to everything."""

    def __init__(self):
        self.orders = {}
        self.pushes = []
        self.order_of_calls = []
        self.gone = []
        self.heartbeats = []
        self.acknowledged = []
        self.updates = []
        self.requests = []
        self.answers = []
        self.invoices = {}
        self.wire_versions = set()
        self.idempotency_keys = []
        self.down = False
        self.spoil = []
        self.refuse = set()
        self.deaf = False
        self._server = _Server(("127.0.0.1", 0), _Call)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._server.stand_in = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, method, path, query, body):
        self.order_of_calls.append(f"{method} {path}")
        name = (method, path.split("/")[0], path.split("/")[1] if "/" in path else "")
        match name:
            case ("POST", "orders", "batch"):
                return 200, {"results": self._store(json.loads(body)["orders"])}
            case ("POST", "orders", "gone"):
                self.gone.append(json.loads(body))
                for key in json.loads(body)["external_ids"]:
                    self.orders.pop(key, None)
                return 200, {"removed": 1}
            case ("GET", "orders", ""):
                return 200, self._page(query)
            case ("GET", "orders", key):
                if unquote(key) not in self.orders:
                    return 404, {"title": "Not Found", "detail": "This shop has no such order."}
                return 200, {"external_id": unquote(key)}
            case ("PUT", "orders", _):
                self.invoices[path] = body
                return 204, None
            case ("GET", "payment-updates", ""):
                return 200, self._due(query)
            case ("POST", "payment-updates", key):
                made = AcknowledgementSchema().load(json.loads(body))
                self.acknowledged.append((key, made))
                self.updates = [each for each in self.updates if each["id"] != key]
                return 200, {"id": key, "state": "done"}
            case ("POST", "order-requests", key):
                return self._hear(key, RequestAnswerSchema().load(json.loads(body)))
            case ("POST", "heartbeat", "") if self.deaf:
                return 503, {"detail": "Not now."}
            case ("POST", "heartbeat", ""):
                self.heartbeats.append(HeartbeatSchema().load(json.loads(body)))
                return 200, {"wire_version": 1, "shop_status": "connected", "later": 1}
        return 404, {"detail": "No such route."}

    def _hear(self, key, answer):
        if answer.order is not None and answer.order.external_id in self.refuse:
            return 422, {"title": "Unprocessable", "detail": "total: not today"}
        if key not in [each["id"] for each in self.requests]:
            return 404, {"title": "Not Found", "detail": "This shop has no such request."}
        self.answers.append((key, answer))
        self.requests = [each for each in self.requests if each["id"] != key]
        if answer.order is not None:
            self.orders[answer.order.external_id] = answer.order
        return 200, {"id": key, "state": "done"}

    def _store(self, orders):
        results = []
        for index, raw in enumerate(orders):
            order = OrderSchema().load(raw)
            key = order.external_id
            if key in self.refuse:
                outcome, problem = "invalid", "total: not today"
            else:
                outcome = "unchanged" if self.orders.get(key) == order else "updated"
                outcome, problem = outcome if key in self.orders else "created", None
                self.orders[key] = order
                self.pushes.append(key)
            answer = {"index": index, "external_id": key, "outcome": outcome, "later": True}
            results.append({**answer, "problem": problem} if problem else answer)
        return results

    def _page(self, query):
        keys = sorted(self.orders) if query["payment_status"] == ["unpaid"] else []
        start = int(query.get("cursor", ["0"])[0])
        shown = [
            {"external_id": key, "payment_status": "unpaid"} for key in keys[start : start + 2]
        ]
        more = start + 2 < len(keys)
        return {"orders": shown, "cursor": str(start + 2) if more else None}

    def _due(self, query):
        end = time.monotonic() + int(query["wait_seconds"][0])
        while not (self.updates or self.requests) and time.monotonic() < end and not self.down:
            time.sleep(0.02)
        found = {"payment_updates": list(self.updates)}
        return {**found, "order_requests": list(self.requests)} if self.requests else found


class _Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """An agent that hangs up in the middle of a poll is no news."""


class _Call(BaseHTTPRequestHandler):
    def do_GET(self):
        self._call("GET")

    def do_POST(self):
        self._call("POST")

    def do_PUT(self):
        self._call("PUT")

    def _call(self, method):
        stand_in = self.server.stand_in
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        stand_in.wire_versions.add(self.headers.get("Kontor-Wire-Version"))
        if "Idempotency-Key" in self.headers:
            stand_in.idempotency_keys.append(self.headers["Idempotency-Key"])
        parts = urlsplit(self.path)
        if stand_in.spoil:
            status, content, headers = stand_in.spoil.pop(0)
        elif stand_in.down:
            status, content, headers = 503, {"detail": "Away."}, {}
        elif self.headers.get("Authorization") != f"Bearer {KEY}":
            status, content, headers = 401, {"detail": "No valid API key."}, {}
        else:
            path = parts.path.removeprefix("/api/v1/")
            status, content = stand_in.answer(method, path, parse_qs(parts.query), body)
            headers = {}
        raw = b"" if content is None else json.dumps(content).encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_):
        pass
