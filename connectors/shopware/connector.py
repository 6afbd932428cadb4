"""Speaks the Admin API of Shopware 6 (6.5 to 6.7), as real shops answer it.

Where Shopware behaves otherwise than one would think, the reason stands beside the code.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import quote

from connectors.shopware import criteria, handshake
from connectors.shopware.answers import (
    RULES,
    MissingPrivilege,
    ServerBroken,
    StateMoved,
    TokenRefused,
    UnknownPayment,
    named,
)
from connectors.shopware.app import hinted_orders, read_event
from connectors.shopware.mapping import (
    CANCELLED,
    INVOICE,
    active_payment,
    changed_at,
    documents_of,
    is_id,
    method_code,
    order_from,
    order_id,
    order_state,
    payment_state,
    status_of,
)
from connectors.shopware.scan import Scan
from connectors.shopware.settings import ShopwareConfig, checked_days
from connectors.shopware.tokens import Tokens
from connectors.shopware.transitions import Transition, configured, reported, step, way
from plugin_sdk.checks import base_address, clock_findings, encryption_findings, time_told
from plugin_sdk.connector import (
    VERIFY_ATTEMPTS,
    AppPackage,
    Capability,
    Connector,
    Finding,
    OrderPage,
    Severity,
    ShopCall,
    ShopReply,
    WebhookHint,
    problem_of,
)
from plugin_sdk.cursors import mark_of
from plugin_sdk.errors import ConnectorError, Misconfigured, Rejected, Temporary
from plugin_sdk.http import USUAL, Answer, Limits
from plugin_sdk.types import (
    CodeMapping,
    Discovery,
    Evidence,
    Intent,
    Order,
    PaymentCode,
    PaymentUpdate,
    ShopMethod,
)

VERSION = "0.1.0"
PER_PAGE = 100  # 500 is the shop's limit; a hundred whole orders are a quarter of a megabyte
LIST_LIMIT = 500
OLDEST_VERSION = (6, 5)
SYSTEM_CURRENCY = "b7d2554b0ce847cd82f3ac9bd1c0dfca"
NOBODY = "0" * 32  # no payment and no order has this id
PAYMENT_MACHINE = "order_transaction.state"
ORDER_UNTOUCHED = "open"


class Shopware(Connector[ShopwareConfig]):
    """A Shopware 6 shop, over its Admin API: as an integration, or as what its app was given."""

    name = "shopware"
    title = "Shopware 6"
    version = VERSION
    Config = ShopwareConfig
    capabilities = frozenset(
        {
            Capability.LIST_ORDERS,
            Capability.GET_ORDERS,
            Capability.DISCOVER,
            Capability.WEBHOOKS,
            Capability.PUSH_PAID,
            Capability.PUSH_CANCELLED,
            Capability.PUSH_ANY_STATUS,
            Capability.INVOICE_NUMBERS,
            Capability.INVOICE_PDF,
            Capability.FIND_BY_NUMBER,
            Capability.APP_PACKAGE,
        }
    )
    defaults: ClassVar[Mapping[PaymentCode, CodeMapping]] = {
        PaymentCode.PREPAYMENT: CodeMapping(
            methods=("payment_prepayment",),
            open_statuses=("open", "paid_partially", "reminded"),
            paid_status="paid",
            cancelled_status="cancelled",
        ),
        PaymentCode.INVOICE: CodeMapping(
            methods=("payment_invoicepayment",),
            open_statuses=("open", "paid_partially", "reminded"),
            paid_status="paid",
            overdue_status="reminded",
        ),
        PaymentCode.CASH_ON_DELIVERY: CodeMapping(
            methods=("payment_cashpayment",),
            open_statuses=("open", "paid_partially", "reminded"),
            paid_status="paid",
            overdue_status="reminded",
        ),
    }
    default_statuses: ClassVar[Mapping[Intent, str]] = {
        Intent.PAID: "paid",
        Intent.PARTIALLY_PAID: "paid_partially",
        Intent.UNPAID: "open",
        Intent.CANCELLED: "cancelled",
        Intent.OVERDUE: "reminded",
        Intent.REFUNDED: "refunded",
        Intent.PARTIALLY_REFUNDED: "refunded_partially",
    }
    default_open_statuses = frozenset(
        {"open", "in_progress", "unconfirmed", "paid_partially", "reminded", "failed"}
    )
    cancelled_statuses = frozenset({CANCELLED})

    def __init__(
        self,
        settings: Mapping[str, Any],
        *,
        limits: Limits = USUAL,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(settings, limits=limits)
        self._clock = clock
        self._base = base_address(self.config.shop_url)
        self._history = timedelta(days=checked_days(self.config.history_days))
        self._http = self.http_session(rules=RULES, secrets=(self.config.client_id,))
        self._tokens = Tokens(
            self._http,
            f"{self._base}/api/oauth/token",
            self.config.client_id,
            self.config.client_secret,
            monotonic,
        )
        self._channels: frozenset[str] | None = None

    @classmethod
    def answer_call(
        cls, settings: Mapping[str, Any], call: ShopCall, limits: Limits
    ) -> ShopReply | None:
        return handshake.answer(settings, call, datetime.now(UTC))

    @classmethod
    def app_package(cls, settings: Mapping[str, Any], address: str) -> AppPackage:
        return handshake.package(settings, address)

    def close(self) -> None:
        self._http.close()

    # Reading

    def list_orders(self, cursor: str | None) -> OrderPage:
        """Orders by the number that the database gave them, within a window of time.

        Pages by time would skip orders: a change moves them while the scan goes on, and there is
        no single time that every change moves. The number stays, and what changes during the scan
        is in the window of the next one. The first scan takes all orders of the history by their
        day, so that it also finds what no time shows.
        """
        at = Scan.read(cursor) if cursor else Scan(self._now() - self._history, is_whole=True)
        window = criteria.created_since if at.is_whole else criteria.changed_since
        wanted = [criteria.behind(at.last), window(at.since), *self._only_channels()]
        by = [{"field": "autoIncrement", "order": "ASC"}]
        answer = self._search("order", criteria.orders(*wanted, limit=PER_PAGE, by=by))
        at.began = at.began or min(time_told(answer.headers) or self._now(), self._now())
        rows = _rows(answer)
        orders: list[Order] = []
        problems: list[str] = []
        for row in rows:
            at.last = _number_behind(row, at.last)
            self._take(row, at, orders, problems)
        has_more = len(rows) >= PER_PAGE
        at = at.after_page(is_last=not has_more)
        return OrderPage(tuple(orders), at.text(), has_more, tuple(problems))

    def _take(
        self, row: dict[str, Any], at: Scan, orders: list[Order], problems: list[str]
    ) -> None:
        try:
            if at.is_news(order_id(row), changed_at(row), mark_of(row)):
                orders.append(order_from(row))
        except Rejected as error:
            problems.append(str(error))

    def get_orders(self, ids: Sequence[str]) -> Mapping[str, Order | Evidence]:
        """Many at once. What a proper answer does not hold is gone: Shopware has no trash."""
        found: dict[str, Order | Evidence] = {}
        wanted = list(dict.fromkeys(ids))
        for start in range(0, len(wanted), PER_PAGE):
            asked = wanted[start : start + PER_PAGE]
            rows = self._rows_with(asked)
            for identifier in asked:
                row = rows.get(identifier)
                if row is None:
                    found[identifier] = Evidence.GONE
                elif self._is_ours(row):
                    found[identifier] = order_from(row)
        return found

    def _rows_with(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        if not all(map(is_id, ids)):
            raise Rejected("This is no id of a Shopware order.")
        answer = self._search("order", criteria.orders_with(ids))
        rows = {str(row.get("id")): row for row in _rows(answer)}
        # Behind a proxy that spoils the content type, Shopware ignores what it was asked and lists
        # everything; such an answer says nothing about an order that is not in it.
        if not rows.keys() <= set(ids) or answer.body.get("total") != len(rows):
            raise Temporary("The shop answered with other orders than the ones asked for.")
        return rows

    def find_order(self, number: str) -> Order | Evidence | None:
        """By the shop's search, which knows no case and no accents; only exact hits count."""
        wanted = criteria.equals("orderNumber", number)
        answer = self._search(
            "order", criteria.orders(wanted, *self._only_channels(), limit=PER_PAGE)
        )
        found = [
            order_from(row)
            for row in _rows(answer)
            if str(row.get("orderNumber")).strip() == number
        ]
        if len(found) > 1:
            raise Rejected(f"The shop has {len(found)} orders with the number {number}.")
        return found[0] if found else None

    def _only_channels(self) -> list[dict[str, Any]]:
        channels = self._channel_ids()
        return [criteria.in_sales_channels(channels)] if channels else []

    def _is_ours(self, row: Mapping[str, Any]) -> bool:
        channels = self._channel_ids()
        return not channels or row.get("salesChannelId") in channels

    def _channel_ids(self) -> frozenset[str]:
        """The sales channels of the settings; names are looked up once."""
        if self._channels is None:
            given = set(self.config.sales_channels)
            if not all(map(is_id, given)):
                known = {name: identifier for identifier, name in self._sales_channels()}
                unknown = sorted(each for each in given if not is_id(each) and each not in known)
                if unknown:
                    raise Misconfigured(
                        f"The shop has no sales channel {', '.join(unknown)}; "
                        f"it has {', '.join(sorted(known))}."
                    )
                given = {known.get(each, each) for each in given}
            self._channels = frozenset(given)
        return self._channels

    def _sales_channels(self) -> list[tuple[str, str]]:
        asked = {"limit": LIST_LIMIT, "includes": {"sales_channel": ["id", "name", "translated"]}}
        rows = _rows(self._search("sales-channel", asked))
        return [(str(row.get("id")), _name(row)) for row in rows]

    # Writing

    def _read_status(self, external_id: str) -> str | Evidence:
        row = self._rows_with([external_id]).get(external_id)
        if row is None:
            return Evidence.GONE
        status = status_of(row)
        if status is None:
            raise Rejected("The order has no payment in the shop whose state could be set.")
        return status

    def _write_status(self, update: PaymentUpdate, shop_status: str) -> str:
        row = self._rows_with([update.external_id]).get(update.external_id)
        payment = active_payment(row) if row else None
        if row is None or payment is None:
            raise UnknownPayment("The payment was taken away in the shop; another look will tell.")
        try:
            status = status_of(row) or ""
            if status != shop_status and not self._may_write(update, status):
                raise StateMoved(f"The order became {status!r} in the shop meanwhile.")
            if shop_status == CANCELLED and self.config.cancel_orders:
                self._cancel_order(row)
            return self._move_payment(payment, shop_status)
        except StateMoved as error:
            if update.attempt < VERIFY_ATTEMPTS:
                raise
            raise Rejected(str(error)) from None

    def _move_payment(self, payment: Mapping[str, Any], target: str) -> str:
        """Over the machine that the shop reports: directly, or over states that mean nothing."""
        state = payment_state(payment) or ""
        if state == target:
            return state
        entity, identifier = "order_transaction", str(payment.get("id"))
        possible = self._possible(entity, identifier)
        direct = step(possible, target)
        steps = (direct,) if direct else way(self._payment_machine(), state, target)
        if not steps:
            raise Rejected(
                f"In this shop no way leads from {state!r} to {target!r}; from there it is "
                f"{', '.join(sorted({each.target for each in possible})) or 'nothing'}."
            )
        shown = state
        for each in steps:
            shown = self._transition(entity, identifier, each)
        return shown

    def _cancel_order(self, row: Mapping[str, Any]) -> None:
        """Shopware would cancel every order; but one that somebody works on may be on its way."""
        if order_state(row) != ORDER_UNTOUCHED:
            return
        cancel = step(self._possible("order", order_id(row)), CANCELLED)
        if cancel is not None:
            self._transition("order", order_id(row), cancel)

    def _possible(self, entity: str, identifier: str) -> list[Transition]:
        path = f"_action/state-machine/{entity}/{identifier}/state"
        return reported(self._call("GET", path).body)

    def _transition(self, entity: str, identifier: str, wanted: Transition) -> str:
        """Without ``sendMail: false`` the customer may get a mail of the shop besides ours. Flows
        of the shop run all the same: merchants hang their shipping on "paid".
        """
        path = f"_action/{entity}/{identifier}/state/{quote(wanted.action, safe='')}"
        body = self._call("POST", path, {"sendMail": False}).body
        state = body.get("data", body) if isinstance(body, dict) else None
        return str(state.get("technicalName", "")) if isinstance(state, dict) else ""

    def _payment_machine(self) -> list[Transition]:
        asked = {
            "limit": LIST_LIMIT,
            "filter": [criteria.equals("stateMachine.technicalName", PAYMENT_MACHINE)],
            "associations": {"fromStateMachineState": {}, "toStateMachineState": {}},
        }
        return configured(_rows(self._search("state-machine-transition", asked)))

    # Webhooks

    @property
    def is_told(self) -> bool:
        """Only an app signs its webhooks; what an integration has sent could be anybody's."""
        return bool(self.config.webhook_secret)

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> WebhookHint | None:
        """Events of the app. Drafts and what is no order are genuine, and nothing to look at."""
        event = read_event(body, headers, self._webhook_secrets())
        ids = tuple(identifier for identifier in hinted_orders(event) if is_id(identifier))
        return WebhookHint(ids=ids, topic=event.name) if ids else None

    def _webhook_secrets(self) -> tuple[str, ...]:
        """After a new registration what was on its way still has the signature of the last one."""
        if self._clock() < self.config.previous_until:
            return self.config.webhook_secret, self.config.previous_secret
        return (self.config.webhook_secret,)

    # The documents

    def get_invoice(self, external_id: str, number: str) -> bytes | None:
        """The file of the order's invoice with this number; None: no such, or no file yet."""
        row = self._rows_with([external_id]).get(external_id, {})
        for document in reversed(documents_of(row)):
            if document.kind == INVOICE and document.number == number and document.deep_link:
                path = f"_action/document/{document.id}/{quote(document.deep_link, safe='')}"
                content = self._fetch(path)
                if content and not content.startswith(b"%PDF-"):
                    raise Temporary("The shop answered with something else than a PDF.")
                return content or None
        return None

    # The shop about itself

    def check(self) -> list[Finding]:
        findings = encryption_findings(self._base)
        try:
            answer = self._call("GET", "_info/version")
        except ConnectorError as error:
            return [*findings, problem_of(error)]
        findings.append(Finding("auth", Severity.NOTE, "The access key works."))
        findings += self._check_version(answer)
        findings += clock_findings(answer.headers, self._clock())
        findings += self._check_reading()
        findings += self._check_writing()
        findings += self._check_channels()
        findings += self._check_webhooks()
        return findings

    def _check_version(self, answer: Answer) -> list[Finding]:
        version = _version_in(answer)
        numbers = tuple(int(each) for each in re.findall(r"\d+", version or "")[:2])
        if not numbers:
            text = "The shop does not say which version it is."
            return [Finding("version", Severity.WARNING, text)]
        if numbers < OLDEST_VERSION:
            text = f"Shopware {version} is older than 6.5; it may work, but nobody has tried it."
            return [Finding("version", Severity.WARNING, text)]
        return [Finding("version", Severity.NOTE, f"Shopware {version}.")]

    def _check_reading(self) -> list[Finding]:
        try:
            self._search("order", criteria.orders(limit=1))
        except MissingPrivilege:
            return self._check_each_right()
        except ConnectorError as error:
            return [problem_of(error)]
        return [Finding("permission", Severity.NOTE, "Orders can be read.")]

    def _check_each_right(self) -> list[Finding]:
        """Which ones are missing, one by one: the shop's own list of them may be cut off."""
        findings = []
        for path, entity in criteria.PRIVILEGES.items():
            try:
                self._search(path, {"limit": 1, "includes": {entity: ["id"]}})
            except MissingPrivilege:
                text = f"The right {entity}:read is missing."
                findings.append(Finding("permission", Severity.PROBLEM, text))
            except ConnectorError as error:
                return [*findings, problem_of(error)]
        return findings

    def _check_writing(self) -> list[Finding]:
        path = f"_action/order_transaction/{NOBODY}/state/paid"
        try:
            self._call("POST", path, {"sendMail": False})
        except UnknownPayment:
            # Whoever is told that there is no such payment might have changed it.
            return [Finding("permission", Severity.NOTE, "Payments can be written.")]
        except ConnectorError as error:
            return [Finding("permission", problem_of(error).severity, str(error))]
        text = "The shop accepted a change of a payment that cannot exist."
        return [Finding("permission", Severity.WARNING, text)]

    def _check_channels(self) -> list[Finding]:
        if not self.config.sales_channels:
            return []
        try:
            known = {identifier for identifier, _ in self._sales_channels()}
            missing = sorted(self._channel_ids() - known)
        except ConnectorError as error:
            return [Finding("settings", problem_of(error).severity, str(error))]
        if missing:
            text = f"The shop has no sales channel {', '.join(missing)}."
            return [Finding("settings", Severity.PROBLEM, text)]
        return [Finding("settings", Severity.NOTE, "All sales channels are there.")]

    def _check_webhooks(self) -> list[Finding]:
        if self.is_told:
            return [Finding("webhooks", Severity.NOTE, "The app's webhooks are verified.")]
        text = "No secret of an app is set: new orders are only seen at the next comparison."
        return [Finding("webhooks", Severity.WARNING, text)]

    def discover(self) -> Discovery:
        methods = self._search("payment-method", {"limit": LIST_LIMIT})
        states = self._search(
            "state-machine-state",
            {
                "limit": LIST_LIMIT,
                "filter": [criteria.equals("stateMachine.technicalName", PAYMENT_MACHINE)],
            },
        )
        currencies = _rows(self._search("currency", {"limit": 1, "ids": [SYSTEM_CURRENCY]}))
        return Discovery(
            payment_methods=tuple(
                ShopMethod(code, _name(row) or code)
                for row in _rows(methods)
                if row.get("active") and (code := method_code(row))
            ),
            statuses=tuple(
                ShopMethod(str(row["technicalName"]), _name(row) or str(row["technicalName"]))
                for row in _rows(states)
                if row.get("technicalName")
            ),
            currency=next((str(row.get("isoCode")) for row in currencies), None),
            version=_version_in(self._call("GET", "_info/version")),
        )

    # The way there

    def _search(self, entity: str, asked: Mapping[str, Any]) -> Answer:
        answer = self._call("POST", f"search/{entity}", asked)
        if not isinstance(answer.body, dict) or not isinstance(answer.body.get("data"), list):
            raise Temporary("The shop answered with something else than a list.")
        return answer

    def _call(self, method: str, path: str, json: Any = None) -> Answer:
        return self._with_token(
            lambda headers: self._http.request(
                method, f"{self._base}/api/{path}", json=json, headers=headers
            )
        )

    def _fetch(self, path: str) -> bytes:
        """The bytes behind an address of the API; the answer to nothing is nothing."""
        answer = self._with_token(
            lambda headers: self._http.fetch(
                "GET",
                f"{self._base}/api/{path}",
                accept="application/pdf, application/json",
                headers=headers,
            )
        )
        assert isinstance(answer.body, bytes)
        return answer.body

    def _with_token(self, send: Callable[[Mapping[str, str]], Answer]) -> Answer:
        """With one more log-in where the token is not taken."""
        for is_last in (False, True):
            token = self._tokens.get()
            try:
                # "bearer" in lower case is refused.
                return send({"Authorization": f"Bearer {token}"})
            except TokenRefused:
                self._tokens.forget(token)
                if is_last:
                    raise
            except ServerBroken:
                # Perhaps the integration was deleted: then the next log-in says so.
                self._tokens.forget(token)
                raise
            except MissingPrivilege as error:
                raise named(error) from None
        raise AssertionError("the last try returns or raises")

    def _now(self) -> datetime:
        return datetime.fromtimestamp(int(self._clock()), UTC)


def _rows(answer: Answer) -> list[dict[str, Any]]:
    return [row for row in answer.body["data"] if isinstance(row, dict)]


def _name(row: Mapping[str, Any]) -> str:
    """In the shop's own language."""
    translated = row.get("translated")
    words = translated if isinstance(translated, dict) else {}
    found = row.get("distinguishableName") or words.get("name") or row.get("name")
    return found if isinstance(found, str) else ""


def _number_behind(row: Mapping[str, Any], last: int) -> int:
    """The order's number in the database. It must be behind the last one, or nothing ends."""
    number = row.get("autoIncrement")
    if not isinstance(number, int) or number <= last:
        raise Temporary("The shop did not look at what it was asked; perhaps a proxy changed it.")
    return number


def _version_in(answer: Answer) -> str | None:
    version = answer.body.get("version") if isinstance(answer.body, dict) else None
    return version if isinstance(version, str) else None
