"""Speaks eBay's Sell APIs for one seller: orders, the few payments outside of eBay, payouts.

eBay itself collects what buyers pay, so hardly an order waits for a bank transfer; what reaches
the bank are eBay's payouts. Where eBay behaves otherwise than one would think, the reason stands
beside the code.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import parse_qsl, quote

from connectors.ebay import deletion, mapping, oauth, payouts, signing, trading
from connectors.ebay.config import MAX_HISTORY_DAYS, EbayConfig, hosts_of
from connectors.ebay.login import USER, config_before_login, keyset_of, log_in
from connectors.ebay.window import Window, stamp
from plugin_sdk.checks import clock_findings, time_told
from plugin_sdk.connector import (
    Capability,
    Connector,
    Finding,
    LoginWay,
    OrderPage,
    PayoutPage,
    Plan,
    Severity,
    ShopCall,
    ShopReply,
    WebhookHint,
    problem_of,
)
from plugin_sdk.cursors import mark_of
from plugin_sdk.errors import ConnectorError, LoginNeeded, Misconfigured, Rejected, Temporary
from plugin_sdk.http import USUAL, Answer, ErrorRule, HttpSession, Limits
from plugin_sdk.reading import read_moment, read_object, read_objects, read_text
from plugin_sdk.types import (
    Acknowledgement,
    CodeMapping,
    Discovery,
    Evidence,
    Intent,
    Order,
    Outcome,
    PaymentCode,
    PaymentUpdate,
    Payout,
    ShopMethod,
)

VERSION = "0.1.0"
PEER = "the eBay API"
ORDERS = "/sell/fulfillment/v1/order"
PAYOUTS = "/sell/finances/v1/payout"
TRANSACTIONS = "/sell/finances/v1/transaction"
PUBLIC_KEY = "/commerce/notification/v1/public_key"
TRADING = "/ws/api.dll"
DELETION_PATH = "deletion"

PAGE_ORDERS = 200  # eBay answers an error to more
MAX_IDS = 50  # likewise
PAYOUT_WINDOW = timedelta(days=60)  # eBay looks at most at 90 days at once
PAYOUT_OVERLAP = timedelta(days=30)  # so long a payout may be on its way before it has succeeded
PAGE_PAYOUTS = 20
PAGE_TRANSACTIONS = 200
MAX_TRANSACTION_PAGES = 50  # as many parts as the wire takes
LOGIN_WARNING = timedelta(days=30)
KEY_SECONDS = 3600
MAX_KEYS = 20
CURRENCIES = {
    "EBAY_AU": "AUD", "EBAY_CA": "CAD", "EBAY_CH": "CHF", "EBAY_GB": "GBP", "EBAY_PL": "PLN",
    "EBAY_US": "USD",
}  # fmt: skip


class UnknownOrder(Rejected):
    """eBay says in so many words that it has no such order."""


RULES = (
    *oauth.RULES,
    ErrorRule(trading.BadToken, "eBay does not take the access token", status=401, code="1001"),
    ErrorRule(
        LoginNeeded, "The consent lacks a right; log in at eBay once more", status=403, code="1100"
    ),
    ErrorRule(UnknownOrder, "eBay has no such order", code="32100"),
    # A 404 without words of eBay's comes from something on the way, and is no evidence.
    ErrorRule(Temporary, "Something else than eBay answered", status=404, code=""),
    ErrorRule(UnknownOrder, "eBay has no such thing", status=404),
    ErrorRule(Misconfigured, "The clocks of eBay and of this machine differ", code="30850"),
    ErrorRule(
        Misconfigured,
        "eBay wants digital signatures for this seller, or does not take ours; log in once more "
        "or enter a signing key",
        words="ignature",
    ),
)


class Ebay(Connector[EbayConfig]):
    """A seller's account at eBay."""

    name = "ebay"
    title = "eBay"
    version = VERSION
    Config = EbayConfig
    capabilities = frozenset(
        {
            Capability.LIST_ORDERS,
            Capability.GET_ORDERS,
            Capability.DISCOVER,
            Capability.PUSH_PAID,
            Capability.REFUNDS_IN_TOTAL,
            Capability.FIND_BY_NUMBER,
            Capability.BROWSER_LOGIN,
            Capability.PAYOUTS,
            Capability.FORGETS_PEOPLE,
        }
    )
    defaults: ClassVar[Mapping[PaymentCode, CodeMapping]] = {
        PaymentCode.PREPAYMENT: CodeMapping(
            methods=("EFT", "CASHIER_CHECK", "PERSONAL_CHECK"),
            open_statuses=(mapping.PENDING,),
            paid_status=mapping.PAID,
        ),
        PaymentCode.CASH_ON_DELIVERY: CodeMapping(
            methods=("CASH_ON_PICKUP",),
            open_statuses=(mapping.PENDING,),
            paid_status=mapping.PAID,
        ),
    }
    default_statuses: ClassVar[Mapping[Intent, str]] = {Intent.PAID: mapping.PAID}
    default_open_statuses = frozenset({mapping.PENDING})

    def __init__(
        self,
        settings: Mapping[str, Any],
        *,
        limits: Limits = USUAL,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(settings, limits=limits)
        self._clock = clock
        self._hosts = hosts_of(self.config)
        if not 1 <= self.config.history_days <= MAX_HISTORY_DAYS:
            raise Misconfigured(f"Settings: history_days is not within 1 and {MAX_HISTORY_DAYS}.")
        self._http = self.http_session(PEER, rules=RULES)
        keyset = keyset_of(self.config)
        of_user = {"grant_type": "refresh_token", "refresh_token": self.config.refresh_token}
        self._tokens = oauth.Tokens(self._http, keyset, of_user)
        of_application = {"grant_type": "client_credentials", "scope": oauth.SCOPE}
        self._application_tokens = oauth.Tokens(self._http, keyset, of_application)

    def close(self) -> None:
        self._http.close()

    # Logging in

    @classmethod
    def login_url(cls, settings: Mapping[str, Any], way: LoginWay) -> str:
        """eBay comes back to the address that is registered for the RuName, whatever we say."""
        config = config_before_login(settings)
        if not config.ru_name:
            raise Misconfigured("Settings: ru_name is missing (RuName (redirect URL name)).")
        return oauth.consent_url(hosts_of(config).auth, config.client_id, config.ru_name, way.state)

    @classmethod
    def read_login(
        cls, settings: Mapping[str, Any], way: LoginWay, given: Mapping[str, Any], limits: Limits
    ) -> Mapping[str, Any]:
        """The refresh token and whose it is; a pair of signing keys where there is none yet."""
        config = config_before_login(settings)
        code = given.get("code")
        if not isinstance(code, str) or not code:
            raise Rejected("The log-in at eBay was declined.")
        if given.get("state") != way.state:
            raise Rejected("This log-in at eBay belongs to another one that was begun.")
        agent = f"Kontor-{cls.title}/{cls.version}"
        secrets = (config.client_secret, code)
        http = HttpSession(PEER, user_agent=agent, rules=RULES, secrets=secrets, limits=limits)
        try:
            return log_in(http, config, code)
        finally:
            http.close()

    # Reading

    def list_orders(self, cursor: str | None) -> OrderPage:
        """Orders by time of change, as offsets into a window that stands still.

        The first page has an open end, and eBay's clock at its answer becomes the end: ours may be
        ahead, and eBay refuses dates in the future.
        """
        at = Window.read(cursor) if cursor else Window(self._now() - self._history())
        # eBay refuses what is older; only an agent that stood still for years asks for it.
        since = max(at.since, self._now() - timedelta(days=MAX_HISTORY_DAYS))
        end = stamp(at.until) if at.until else ""
        answer = self._get(
            self._hosts.api,
            ORDERS,
            filter=f"lastmodifieddate:[{stamp(since)}..{end}]",
            limit=str(PAGE_ORDERS),
            offset=str(at.offset),
        )
        rows, total = _page_of(answer, "orders")
        if at.until is None:
            at.until = max(time_told(answer.headers) or self._now(), since)
        orders: list[Order] = []
        problems: list[str] = []
        for row in rows:
            _take(row, at, orders, problems)
        has_more = at.turn_page(len(rows), total)
        return OrderPage(tuple(orders), at.text(), has_more, tuple(problems))

    def get_orders(self, ids: Sequence[str]) -> Mapping[str, Order | Evidence]:
        """Ask for many at once, then one by one for those that are missing in the answer.

        Only the single request says that there is no such order. eBay says it as well of orders
        that are older than two years.
        """
        wanted = list(dict.fromkeys(ids))
        found: dict[str, Order | Evidence] = {}
        for start in range(0, len(wanted), MAX_IDS):
            asked = wanted[start : start + MAX_IDS]
            for row in self._rows_of(asked):
                if row.get("orderId") in asked:
                    found[str(row["orderId"])] = mapping.order_from(row)
        for identifier in wanted:
            if identifier not in found:
                one = self._order_now(identifier)
                found[identifier] = Evidence.GONE if one is None else mapping.order_from(one)
        return found

    def find_order(self, number: str) -> Order | Evidence | None:
        """At eBay the number is the id. eBay lists what it knows of the ids it is asked for."""
        if not number or "," in number:
            return None
        for row in self._rows_of([number]):
            if row.get("orderId") == number:
                return mapping.order_from(row)
        return None

    def _rows_of(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        try:
            answer = self._get(self._hosts.api, ORDERS, orderIds=",".join(ids))
        except UnknownOrder:
            return []  # one that eBay cannot read spoils the answer about all
        return _page_of(answer, "orders")[0]

    def _order_now(self, identifier: str) -> dict[str, Any] | None:
        """None: eBay says that it has no such order."""
        if not re.fullmatch(r"[0-9A-Za-z!|_-]{1,64}", identifier):
            raise Rejected("This is no id of an order at eBay.")
        try:
            row = self._get(self._hosts.api, f"{ORDERS}/{quote(identifier, safe='')}").body
        except UnknownOrder:
            return None
        if not isinstance(row, dict) or row.get("orderId") != identifier:
            raise Temporary("eBay answered with another order than the one asked for.")
        return row

    # Writing

    def plan_payment(self, update: PaymentUpdate) -> Plan | Acknowledgement:
        """eBay takes one word only: that an order was paid past eBay.

        Of all the orders that eBay collects the money for, it does not want to hear anything, and
        that is a normal ending.
        """
        target = update.shop_status or self.default_statuses.get(update.intent)
        if target != mapping.PAID:
            return _not_supported("eBay can only be told that an order was paid.")
        plan = super().plan_payment(update)
        if isinstance(plan, Acknowledgement):
            return plan
        row = self._order_now(update.external_id)
        if row is not None and not mapping.is_payable_offline(row):
            method = mapping.payment_method(row)
            return _not_supported(f"eBay itself collects the money for this order ({method}).")
        return plan

    def _read_status(self, external_id: str) -> str | Evidence:
        row = self._order_now(external_id)
        return Evidence.GONE if row is None else mapping.status_of(row)

    def _write_status(self, update: PaymentUpdate, shop_status: str) -> str:
        """The answer does not show the order, so nothing is returned: the SDK looks for itself."""
        self._call_trading("CompleteSale", trading.complete_sale(update.external_id))
        return ""

    def _call_trading(self, call: str, body: bytes) -> trading.TradingAnswer:
        token = self._tokens.access_token()
        try:
            return self._call_trading_once(call, body, token)
        except trading.BadToken:
            return self._call_trading_once(call, body, self._tokens.access_token(refused=token))

    def _call_trading_once(self, call: str, body: bytes, token: str) -> trading.TradingAnswer:
        headers = {
            "Content-Type": "text/xml; charset=utf-8",
            "X-EBAY-API-CALL-NAME": call,
            "X-EBAY-API-SITEID": trading.SITES[self.config.marketplace],
            "X-EBAY-API-COMPATIBILITY-LEVEL": trading.COMPATIBILITY_LEVEL,
            "X-EBAY-API-IAF-TOKEN": token,
        }
        url = f"{self._hosts.api}{TRADING}"
        answer = self._http.fetch("POST", url, accept="text/xml", content=body, headers=headers)
        found = trading.read_answer(answer.body, call)
        trading.raise_failure(found)
        return found

    # Payouts

    def list_payouts(self, cursor: str | None) -> PayoutPage:
        """Payouts that have succeeded, each with all that it is made of.

        By the date on which they were begun, in windows: a payout may succeed days later, so each
        window steps back and those that were told already are left out.
        """
        at = Window.read(cursor) if cursor else Window(self._now() - self._history())
        now = self._now()
        at.until = at.until or max(min(at.since + PAYOUT_WINDOW, now), at.since)
        answer = self._get(
            self._hosts.apiz,
            PAYOUTS,
            is_signed=True,
            filter=f"payoutDate:[{stamp(at.since)}..{stamp(at.until)}]",
            limit=str(PAGE_PAYOUTS),
            offset=str(at.offset),
        )
        rows, total = _page_of(answer, "payouts")
        found: list[Payout] = []
        problems: list[str] = []
        for row in rows:
            self._take_payout(row, at, found, problems)
        at.offset += len(rows)
        if rows and at.offset < total:
            return PayoutPage(tuple(found), at.text(), True, tuple(problems))
        has_more = at.until < now
        at.since = min(at.until, max(at.since, now - PAYOUT_OVERLAP))
        at.until, at.offset = None, 0
        start = stamp(now - 2 * PAYOUT_OVERLAP)
        at.seen = {key: mark for key, mark in at.seen.items() if mark[0] >= start}
        return PayoutPage(tuple(found), at.text(), has_more, tuple(problems))

    def _take_payout(
        self, row: dict[str, Any], at: Window, found: list[Payout], problems: list[str]
    ) -> None:
        if row.get("payoutStatus") != payouts.PAID_OUT:
            return
        try:
            identifier = payouts.payout_id(row)
            if identifier in at.seen:
                return
            payout = payouts.payout_from(row, self._transactions_of(identifier))
            at.seen[identifier] = (stamp(payout.paid_at), "")
            found.append(payout)
        except Rejected as error:
            problems.append(str(error))

    def _transactions_of(self, payout_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for _ in range(MAX_TRANSACTION_PAGES):
            answer = self._get(
                self._hosts.apiz,
                TRANSACTIONS,
                is_signed=True,
                filter=f"payoutId:{{{payout_id}}}",
                limit=str(PAGE_TRANSACTIONS),
                offset=str(len(found)),
            )
            rows, total = _page_of(answer, "transactions")
            found += rows
            if not rows or len(found) >= total:
                return found
        raise Rejected(f"Payout {payout_id}: it has too many parts.")

    # What eBay tells by itself

    @property
    def is_told(self) -> bool:
        return False

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> WebhookHint | None:
        """Of orders eBay tells nothing that could be believed; deletions go another way."""
        raise Rejected("eBay tells nothing about orders by webhooks; it is asked instead.")

    @classmethod
    def answer_call(
        cls, settings: Mapping[str, Any], call: ShopCall, limits: Limits
    ) -> ShopReply | None:
        """Account deletions: the challenge before the first call ever, and who is to be forgotten.

        At ``address``/deletion. eBay gives the log-in only to whoever has passed the challenge.
        """
        if call.path != DELETION_PATH:
            return None
        settings = {**settings, "refresh_token": settings.get("refresh_token") or "none yet"}
        connector = cls(settings, limits=limits)
        try:
            return connector._answer_challenge(call) or connector._forget(call)
        finally:
            connector.close()

    def _answer_challenge(self, call: ShopCall) -> ShopReply | None:
        if call.method != "GET":
            return None
        code = dict(parse_qsl(call.query)).get("challenge_code", "")
        token = self.config.verification_token
        if not code or not deletion.is_token(token):
            raise Rejected("There is no challenge to answer, or no verification token.")
        endpoint = f"{call.address}/{call.path}"
        return ShopReply(deletion.challenge_answer(code, token, endpoint))

    def _forget(self, call: ShopCall) -> ShopReply:
        """What is not genuine is answered as eBay expects it: 412."""
        headers = {name.lower(): value for name, value in call.headers.items()}
        try:
            proof = deletion.read_proof(headers.get(deletion.SIGNATURE_HEADER, ""))
            deletion.verify(call.body, proof, self.public_key(proof.key_id))
            user = deletion.read_deletion(call.body)
        except Rejected as error:
            return ShopReply({"error": str(error)}, status=412)
        return ShopReply({}, forget=(user.username,) if user.username else ())

    def public_key(self, key_id: str) -> deletion.PublicKey:
        """The key that a notification of eBay's was signed with, kept for an hour.

        ``key_id`` comes from ``deletion.read_proof``. Kept for all connectors: eBay tells of every
        user who leaves, and gives an application few tokens a day. Raises Rejected for an unknown
        key.
        """
        place = (self._hosts.api, key_id)
        kept = _PUBLIC_KEYS.get(place)
        if kept is not None and self._clock() < kept[0]:
            return kept[1]
        url = f"{self._hosts.api}{PUBLIC_KEY}/{quote(key_id, safe='')}"
        body = self._ask(url, self._application_tokens).body
        found = {name: read_text(read_object(body).get(name), 4096) for name in _KEY_FIELDS}
        if not found["key"]:
            raise Temporary("eBay answered without a public key.")
        key = deletion.PublicKey(**{name: text for name, text in found.items() if text})
        if len(_PUBLIC_KEYS) >= MAX_KEYS:
            _PUBLIC_KEYS.clear()
        _PUBLIC_KEYS[place] = (self._clock() + KEY_SECONDS, key)
        return key

    # eBay about itself

    def check(self) -> list[Finding]:
        findings = []
        if self.config.environment == "sandbox":
            text = "This is eBay's test system; nothing in it is real."
            findings.append(Finding("environment", Severity.WARNING, text))
        try:
            answer = self._get(self._hosts.api, ORDERS, limit="1")
            _page_of(answer, "orders")
        except ConnectorError as error:
            return [*findings, problem_of(error)]
        findings.append(Finding("auth", Severity.NOTE, "Orders can be read."))
        findings += clock_findings(answer.headers, self._clock(), peer="eBay")
        findings += self._check_account()
        findings += self._check_login()
        findings += self._check_writing()
        findings += self._check_payouts()
        return findings

    def _check_account(self) -> list[Finding]:
        try:
            user = read_object(self._get(self._hosts.apiz, USER).body)
        except ConnectorError as error:
            return [Finding("account", Severity.WARNING, str(error))]
        name = read_text(user.get("username"), 64) or "?"
        wanted = self.config.account_id
        if wanted and user.get("userId") != wanted:
            text = f"The log-in belongs to another account than before ({name})."
            return [Finding("account", Severity.PROBLEM, text)]
        return [Finding("account", Severity.NOTE, f"Logged in as {name}.")]

    def _check_login(self) -> list[Finding]:
        until = read_moment(self.config.login_until)
        if until is None:
            return []
        severity = Severity.WARNING if until - self._now() < LOGIN_WARNING else Severity.NOTE
        return [Finding("login", severity, f"The log-in is valid until {until.date()}.")]

    def _check_writing(self) -> list[Finding]:
        try:
            self._call_trading("GeteBayOfficialTime", trading.official_time())
        except ConnectorError as error:
            return [Finding("permission", problem_of(error).severity, str(error))]
        return [Finding("permission", Severity.NOTE, "Payments can be told.")]

    def _check_payouts(self) -> list[Finding]:
        try:
            _page_of(self._get(self._hosts.apiz, PAYOUTS, is_signed=True, limit="1"), "payouts")
        except ConnectorError as error:
            # Orders can be kept up to date without them.
            return [Finding("payouts", Severity.WARNING, str(error))]
        return [Finding("payouts", Severity.NOTE, "Payouts can be read.")]

    def discover(self) -> Discovery:
        """eBay has the same words for everybody; asking shows that the log-in is good."""
        _page_of(self._get(self._hosts.api, ORDERS, limit="1"), "orders")
        return Discovery(
            payment_methods=_METHODS,
            statuses=_STATUSES,
            currency=CURRENCIES.get(self.config.marketplace, "EUR"),
        )

    # The way there

    def _get(self, host: str, path: str, *, is_signed: bool = False, **query: str) -> Answer:
        # Brackets, braces and bars must be escaped; requests leaves some of them as they are.
        asked = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        url = f"{host}{path}{'?' + asked if asked else ''}"
        return self._ask(url, self._tokens, is_signed=is_signed)

    def _ask(self, url: str, tokens: oauth.Tokens, *, is_signed: bool = False) -> Answer:
        """One GET; once more with a new token if eBay does not take the one that we kept."""
        token = tokens.access_token()
        try:
            return self._http.request("GET", url, headers=self._headers(url, token, is_signed))
        except trading.BadToken:
            token = tokens.access_token(refused=token)
            return self._http.request("GET", url, headers=self._headers(url, token, is_signed))

    def _headers(self, url: str, token: str, is_signed: bool) -> dict[str, str]:
        headers = {
            "Authorization": f"Bearer {token}",
            "X-EBAY-C-MARKETPLACE-ID": self.config.marketplace,
        }
        if is_signed and self.config.signing_key:
            key, jwe = self.config.signing_key, self.config.signing_jwe
            created = int(self._clock())
            headers |= signing.signature_headers(key, jwe, "GET", url, created)
        return headers

    def _history(self) -> timedelta:
        return timedelta(days=self.config.history_days)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(int(self._clock()), UTC)


_PUBLIC_KEYS: dict[tuple[str, str], tuple[float, deletion.PublicKey]] = {}
_KEY_FIELDS = ("key", "algorithm", "digest")
_METHODS = (
    ShopMethod("EFT", "Bank transfer"),
    ShopMethod("CASHIER_CHECK", "Cashier's check"),
    ShopMethod("PERSONAL_CHECK", "Personal check"),
    ShopMethod("CASH_ON_PICKUP", "Cash on pickup"),
    ShopMethod(mapping.NOT_CHOSEN, "Not yet known"),
    ShopMethod("EBAY", "Paid to eBay"),
)
_STATUSES = (
    ShopMethod(mapping.PENDING, "Payment pending"),
    ShopMethod(mapping.PAID, "Paid"),
    ShopMethod(mapping.FAILED, "Payment failed"),
    ShopMethod(mapping.PARTIALLY_REFUNDED, "Partially refunded"),
    ShopMethod(mapping.FULLY_REFUNDED, "Fully refunded"),
    ShopMethod(mapping.CANCELED, "Cancelled"),
)


def _not_supported(reason: str) -> Acknowledgement:
    return Acknowledgement(Outcome.NOT_SUPPORTED, reason=reason)


def _take(row: dict[str, Any], at: Window, orders: list[Order], problems: list[str]) -> None:
    try:
        identifier = mapping.order_id(row)
        changed_at = mapping.modified_at(row) or at.since
        if at.is_news(identifier, changed_at, mark_of(row)):
            orders.append(mapping.order_from(row))
    except Rejected as error:
        problems.append(str(error))


def _page_of(answer: Answer, name: str) -> tuple[list[dict[str, Any]], int]:
    """The rows of a page and the length of the whole list. Raises Temporary for anything else."""
    if answer.status == 204:  # how the Finances API says that there is nothing
        return [], 0
    body = answer.body
    if not isinstance(body, dict) or not isinstance(body.get("total"), int):
        raise Temporary("eBay answered with something else than a list.")
    return read_objects(body.get(name)), body["total"]
