"""The interface a shop system implements, and the rules that hold for every shop.

A connector reads orders and writes payment statuses. How a write is made safe (look first, write,
look at what came of it) is decided here once, in ``push_payment``; a connector only says how its
shop is asked and told.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin, get_type_hints

from plugin_sdk.currencies import CURRENCIES
from plugin_sdk.errors import ConnectorError, Misconfigured, Rejected, Temporary
from plugin_sdk.http import USUAL, ErrorRule, HttpSession, Limits
from plugin_sdk.schemas import MAX_DISCOVERED, ShopMethodSchema
from plugin_sdk.types import (
    Acknowledgement,
    CodeMapping,
    Discovery,
    Evidence,
    Heartbeat,
    Intent,
    Order,
    Outcome,
    PaymentCode,
    PaymentUpdate,
    Payout,
    ShopMethod,
)

VERIFY_ATTEMPTS = 3
"""So often a shop may answer "done" and do nothing before it counts as refusing."""

MAX_REASON = 2000
MAX_NAME = 200
MAX_VERSION = 64


class Capability(StrEnum):
    """What a connector can do; named in the heartbeat and in its README.

    ``forgets_people``: the shop system tells less of its customers as time goes by; what is missing
    in a later order is still true.
    """

    LIST_ORDERS = "list_orders"
    GET_ORDERS = "get_orders"
    DISCOVER = "discover"
    WEBHOOKS = "webhooks"
    TRASH = "trash"
    PUSH_PAID = "push_paid"
    PUSH_CANCELLED = "push_cancelled"
    PUSH_ANY_STATUS = "push_any_status"
    INVOICE_NUMBERS = "invoice_numbers"
    REFUNDS_IN_TOTAL = "refunds_in_total"
    FIND_BY_NUMBER = "find_by_number"
    INVOICE_PDF = "invoice_pdf"
    BROWSER_LOGIN = "browser_login"
    PAYOUTS = "payouts"
    APP_PACKAGE = "app_package"
    FORGETS_PEOPLE = "forgets_people"


class Severity(StrEnum):
    """``problem`` stops the connector from working, ``warning`` is worth a look."""

    PROBLEM = "problem"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that ``check`` found out. ``topic``: auth, permission, clock, version, ..."""

    topic: str
    severity: Severity
    text: str


@dataclass(frozen=True, slots=True)
class OrderPage:
    """A page of orders, oldest change first.

    ``cursor`` goes into the next ``list_orders``; with ``has_more`` at once, else at the next
    comparison. ``problems`` names orders that could not be read: they must not hold up the others.
    """

    orders: tuple[Order, ...]
    cursor: str
    has_more: bool
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PayoutPage:
    """A page of payouts; cursor, ``has_more`` and problems as in an ``OrderPage``."""

    payouts: tuple[Payout, ...]
    cursor: str
    has_more: bool
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WebhookHint:
    """What a verified webhook is worth: look at these orders. Its content is never trusted."""

    ids: tuple[str, ...]
    topic: str


@dataclass(frozen=True, slots=True)
class LoginWay:
    """One log-in in the browser. ``state`` is its unguessable one-time name.

    ``return_url``: where the browser comes back to. ``callback_url``: where the shop's own server
    may deliver what belongs to the log-in. The state is in both already, as their last part.
    """

    state: str
    return_url: str
    callback_url: str


@dataclass(frozen=True, slots=True)
class ShopCall:
    """A request of the shop system's own server to the address that a connection has at its host.

    ``path``: what stands behind ``address``; ``query``: as it came, percent-encoded.
    """

    address: str
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class ShopReply:
    """What to answer such a request, as JSON, and what follows from it.

    ``settings`` are to be kept with those of the connection. ``forget``: numbers of customers whose
    personal data must be erased.
    """

    body: Mapping[str, Any]
    status: int = 200
    settings: Mapping[str, Any] = field(default_factory=dict)
    forget: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AppPackage:
    """A file that the merchant uploads in the shop system; ``settings`` as in a ShopReply."""

    filename: str
    content: bytes
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """A write that is about to happen: the status found and the status wanted."""

    before: str
    target: str


def setting(  # noqa: PLR0913 - each says one thing about the field
    label: str,
    *,
    secret: bool = False,
    help: str = "",
    de: tuple[str, str] = ("", ""),
    choices: Sequence[str] = (),
    from_login: bool = False,
    from_host: bool = False,
    hidden: bool = False,
    default: Any = MISSING,
) -> Any:
    """A field of a connector's Config, of the form in the dashboard and of ``kontor.toml``.

    ``secret`` keeps its value out of ``repr`` and screens, and encrypted where it is stored.
    ``de``: label and help in German. ``choices``: the only values there are. ``from_login``: comes
    from ``read_login``, so a form does not ask for it where the merchant can log in instead.
    ``from_host``: only for who runs an agent; where Kontor runs the connector it knows it itself.
    ``hidden``: for tests and special cases; only ``kontor.toml`` and the environment set it, and
    no form shows or takes it.
    """
    metadata = {
        "label": label,
        "secret": secret,
        "help": help,
        "de": de,
        "choices": tuple(choices),
        "from_login": from_login,
        "from_host": from_host,
        "hidden": hidden,
    }
    if default is MISSING:
        return field(metadata=metadata, repr=not secret)
    return field(metadata=metadata, repr=not secret, default=default)


ConfigT = TypeVar("ConfigT")


def config_from(config_class: type[ConfigT], settings: Mapping[str, Any]) -> ConfigT:
    """Build a Config (str, int, bool, tuple[str, ...] fields) from text or TOML values.

    Raises Misconfigured naming every missing, unknown and unreadable setting at once.
    """
    hints = get_type_hints(config_class)
    known = {item.name: item for item in fields(config_class)}  # type: ignore[arg-type]
    complaints = [f"{name} is no setting" for name in settings if name not in known]
    values: dict[str, Any] = {}
    for name, item in known.items():
        given = settings.get(name)
        if given is None or given == "":
            if item.default is MISSING and item.default_factory is MISSING:
                complaints.append(f"{name} is missing ({item.metadata.get('label', name)})")
            continue
        try:
            values[name] = _read_setting(hints[name], given)
        except ValueError as error:
            complaints.append(f"{name} {error}")
            continue
        choices = item.metadata.get("choices")
        if choices and values[name] not in choices:
            complaints.append(f"{name} is none of {', '.join(choices)}")
    if complaints:
        raise Misconfigured("Settings: " + "; ".join(complaints) + ".")
    return config_class(**values)


def _read_setting(wanted: Any, given: Any) -> Any:
    """Never quotes ``given``: it may be a secret."""
    if get_origin(wanted) is tuple and get_args(wanted)[:1] == (str,):
        return _read_list(given)
    if wanted is bool:
        return _read_bool(given)
    if wanted is int:
        text = str(given).strip()
        if isinstance(given, bool) or not text.lstrip("-").isdecimal():
            raise ValueError("is no whole number")
        return int(text)
    if not isinstance(given, str):
        raise ValueError("is no text")
    return given.strip()


def _read_list(given: Any) -> tuple[str, ...]:
    parts = given.split(",") if isinstance(given, str) else given
    if not isinstance(parts, Sequence) or not all(isinstance(part, str) for part in parts):
        raise ValueError("is no list of texts")
    return tuple(part.strip() for part in parts if part.strip())


def _read_bool(given: Any) -> bool:
    if isinstance(given, bool):
        return given
    word = str(given).strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise ValueError("is neither yes nor no")


def secrets_of(config: Any) -> tuple[str, ...]:
    """The values of all settings marked secret."""
    return tuple(
        str(getattr(config, item.name))
        for item in fields(config)
        if item.metadata.get("secret") and getattr(config, item.name)
    )


class Connector(ABC, Generic[ConfigT]):
    """One shop system. Class attributes say what it is, the abstract methods how it speaks.

    ``cancelled_statuses``: where the shop puts what is cancelled; a late payment may still turn
    it to paid. ``default_statuses``: what to write for an intent when the update names no status.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    capabilities: ClassVar[frozenset[Capability]]
    Config: ClassVar[type[Any]]
    defaults: ClassVar[Mapping[PaymentCode, CodeMapping]] = {}
    default_statuses: ClassVar[Mapping[Intent, str]] = {}
    default_open_statuses: ClassVar[frozenset[str]] = frozenset()
    cancelled_statuses: ClassVar[frozenset[str]] = frozenset()

    title: ClassVar[str] = ""
    """What people call the shop system ("WooCommerce"); empty: the name."""

    def __init__(self, settings: Mapping[str, Any], *, limits: Limits = USUAL) -> None:
        self.config: ConfigT = config_from(self.Config, settings)
        self.limits = limits

    def http_session(
        self,
        peer: str = "the shop",
        *,
        rules: Sequence[ErrorRule] = (),
        secrets: Sequence[str] = (),
    ) -> HttpSession:
        """How a connector talks to its shop: within the limits of whoever runs it.

        ``secrets``: what no message may quote, beside the settings marked as secret.
        """
        return HttpSession(
            peer,
            user_agent=f"Kontor-{self.title or self.name}/{self.version}",
            rules=rules,
            secrets=(*secrets_of(self.config), *secrets),
            limits=self.limits,
        )

    @classmethod
    def login_url(cls, settings: Mapping[str, Any], way: LoginWay) -> str:
        """Where the merchant's browser goes to log in and agree. For Capability.BROWSER_LOGIN.

        ``settings``: what is known so far. Raises Misconfigured if something is missing for it.
        """
        raise Misconfigured("This shop system has no log-in in the browser.")

    @classmethod
    def read_login(
        cls, settings: Mapping[str, Any], way: LoginWay, given: Mapping[str, Any], limits: Limits
    ) -> Mapping[str, Any]:
        """The settings that the log-in gave, from the query or the JSON body that came back.

        Raises Rejected when it was refused or is not what it should be, Temporary, Misconfigured.
        """
        raise Rejected("This shop system has no log-in in the browser.")

    @classmethod
    def answer_call(
        cls, settings: Mapping[str, Any], call: ShopCall, limits: Limits
    ) -> ShopReply | None:
        """What the shop system asks beside webhooks: to register an app, to prove an address.

        None: it is not known here. ``settings`` may be incomplete. Raises ConnectorError.
        """
        return None

    @classmethod
    def app_package(cls, settings: Mapping[str, Any], address: str) -> AppPackage:
        """The app that calls ``address``. For Capability.APP_PACKAGE."""
        raise Misconfigured("This shop system takes no app.")

    @abstractmethod
    def check(self) -> list[Finding]:
        """Look at everything that must be right: reachable, key, rights, clock, version.

        Never raises ConnectorError: what is wrong is a finding.
        """

    @abstractmethod
    def discover(self) -> Discovery:
        """Payment methods, statuses, currency and version, as the shop reports them."""

    @abstractmethod
    def list_orders(self, cursor: str | None) -> OrderPage:
        """The next page of orders created or changed since ``cursor`` (None: from the beginning).

        The cursor is opaque, versioned text. It steps back by an overlap, so that an order changed
        in the second of the cursor comes again rather than never.
        """

    @abstractmethod
    def get_orders(self, ids: Sequence[str]) -> Mapping[str, Order | Evidence]:
        """Each asked id with its order, or the shop's positive word that it is gone or trashed.

        An id that the shop says nothing about (a draft, say) is left out. A shop that cannot be
        asked raises: silence is never evidence.
        """

    def find_order(self, number: str) -> Order | Evidence | None:
        """The order with exactly this number, or the shop's word that it is gone or trashed.

        None: the shop was asked and names no such order. Raises Rejected where a shop cannot be
        asked so, or has several orders with the number. For Capability.FIND_BY_NUMBER.
        """
        raise Rejected("This shop system cannot be asked for an order number.")

    def get_invoice(self, external_id: str, number: str) -> bytes | None:
        """The PDF of an invoice; None: the shop has none. For Capability.INVOICE_PDF.

        Raises ConnectorError.
        """
        return None

    def list_payouts(self, cursor: str | None) -> PayoutPage:
        """The next payouts to the merchant since ``cursor``, oldest first. For Capability.PAYOUTS.

        The cursor is as opaque as that of ``list_orders`` and lives apart from it. A payout may
        come again; its id tells. Raises ConnectorError.
        """
        raise Rejected("This shop system pays nothing out.")

    @property
    def is_told(self) -> bool:
        """Can the shop tell of new orders by itself, as it is set up? If not, it must be asked."""
        return Capability.WEBHOOKS in self.capabilities

    @abstractmethod
    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> WebhookHint | None:
        """Verify a delivery. None: genuine or harmless, but nothing to look at (a ping).

        Raises Rejected when the signature does not fit.
        """

    @abstractmethod
    def _read_status(self, external_id: str) -> str | Evidence:
        """The order's status now, never from a cache."""

    @abstractmethod
    def _write_status(self, update: PaymentUpdate, shop_status: str) -> str:
        """Write, and return the status that the shop's answer shows."""

    def tend(self) -> list[Finding]:
        """Look after what dies silently (webhooks that the shop switched off).

        Called with every comparison. Raises ConnectorError; the next comparison tries again.
        """
        return []

    def close(self) -> None:
        """Give connections back."""

    def heartbeat(
        self,
        last_error: str | None = None,
        *,
        discovery: Discovery | None = None,
        compare_seconds: int | None = None,
    ) -> Heartbeat:
        """What the server is told about this connector; of ``discovery`` what fits the wire."""
        return Heartbeat(
            connector=self.name,
            connector_version=self.version,
            capabilities=tuple(sorted(self.capabilities)),
            last_error=last_error[:MAX_REASON] if last_error else None,
            defaults=dict(self.defaults),
            discovery=_fitting(discovery) if discovery else None,
            compare_seconds=compare_seconds,
        )

    def push_payment(self, update: PaymentUpdate) -> Acknowledgement:
        """Tell the shop, safely: look, decide, write, look again. Repeating it changes nothing.

        Never raises ConnectorError; every ending is an outcome.
        """
        try:
            plan = self.plan_payment(update)
            if isinstance(plan, Acknowledgement):
                return plan
            return self._write_and_verify(update, plan)
        except Temporary as error:
            return _acknowledge(
                Outcome.TEMPORARY, str(error), retry_after_seconds=error.retry_after_seconds
            )
        except Rejected as error:
            return _acknowledge(Outcome.REJECTED, str(error))
        except Misconfigured as error:
            return _acknowledge(Outcome.MISCONFIGURED, str(error))

    def plan_payment(self, update: PaymentUpdate) -> Plan | Acknowledgement:
        """What would be written, or the outcome when nothing is to be written.

        Reads the shop and writes nothing. Raises ConnectorError.
        """
        target = update.shop_status or self.default_statuses.get(update.intent)
        if target is None:
            return _acknowledge(
                Outcome.NOT_SUPPORTED, f"This shop has no status for {update.intent.value!r}."
            )
        status = self._read_status(update.external_id)
        if isinstance(status, Evidence):
            return _acknowledge(
                Outcome.NO_LONGER_OPEN, f"The order is {_EVIDENCE_WORDS[status]} in the shop."
            )
        if status == target:
            return Acknowledgement(Outcome.ALREADY_THERE, shop_status=status)
        if not self._may_write(update, status):
            return _acknowledge(
                Outcome.NO_LONGER_OPEN,
                f"The order is {status!r} in the shop; nothing was written.",
                shop_status=status,
            )
        return Plan(before=status, target=target)

    def _may_write(self, update: PaymentUpdate, status: str) -> bool:
        # A customer who pays after the cancellation has paid; every other closed order stays
        # untouched, because somebody in the shop decided about it.
        if update.intent is Intent.PAID and status in self.cancelled_statuses:
            return True
        # Only what was paid is paid back, so the order is not open any more.
        if update.intent in _REFUNDS and status in self._paid_statuses():
            return True
        return status in (update.open_statuses or self.default_open_statuses)

    def _paid_statuses(self) -> set[str | None]:
        """Where this shop's orders stand of which money may go back."""
        return {self.default_statuses.get(intent) for intent in _BEFORE_REFUND}

    def _write_and_verify(self, update: PaymentUpdate, plan: Plan) -> Acknowledgement:
        shown: str | Evidence = self._write_status(update, plan.target)
        if shown != plan.target:
            # Plugins move an order on in the same breath (virtual goods are completed at once),
            # and shops answer 200 to a write that they ignored: only a second look tells.
            shown = self._read_status(update.external_id)
        if isinstance(shown, Evidence):
            return _acknowledge(
                Outcome.NO_LONGER_OPEN, f"The order is {_EVIDENCE_WORDS[shown]} in the shop."
            )
        if shown != plan.before:
            return Acknowledgement(Outcome.APPLIED, shop_status=shown)
        reason = f"The shop accepted {plan.target!r}, but the order still is {shown!r}."
        if update.attempt < VERIFY_ATTEMPTS:
            raise Temporary(reason)
        raise Rejected(reason)


_REFUNDS = (Intent.REFUNDED, Intent.PARTIALLY_REFUNDED)
_BEFORE_REFUND = (Intent.PAID, Intent.PARTIALLY_PAID, Intent.PARTIALLY_REFUNDED)
_EVIDENCE_WORDS = {Evidence.GONE: "deleted", Evidence.TRASHED: "in the trash"}


def _acknowledge(
    outcome: Outcome,
    reason: str,
    shop_status: str | None = None,
    retry_after_seconds: int | None = None,
) -> Acknowledgement:
    return Acknowledgement(
        outcome,
        reason=reason[:MAX_REASON],
        shop_status=shop_status,
        retry_after_seconds=retry_after_seconds,
    )


def _fitting(discovery: Discovery) -> Discovery:
    """Shops report what they like; one odd name must not cost the heartbeat."""
    version = discovery.version
    return Discovery(
        payment_methods=_fitting_methods(discovery.payment_methods),
        statuses=_fitting_methods(discovery.statuses),
        currency=discovery.currency if discovery.currency in CURRENCIES else None,
        version=version[:MAX_VERSION] if version and version.isprintable() else None,
    )


def _fitting_methods(found: Sequence[ShopMethod]) -> tuple[ShopMethod, ...]:
    schema = ShopMethodSchema()
    short = (ShopMethod(each.code, each.name[:MAX_NAME]) for each in found)
    return tuple(each for each in short if not schema.validate(schema.dump(each)))[:MAX_DISCOVERED]


def problem_of(error: ConnectorError) -> Finding:
    """An error as a finding: temporary trouble is a warning, the rest is a problem."""
    if isinstance(error, Temporary):
        return Finding("connection", Severity.WARNING, str(error))
    return Finding("settings", Severity.PROBLEM, str(error))
