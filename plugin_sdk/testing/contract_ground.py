"""What the promises of ``contract`` stand on: a fake shop, a connector, and words to ask with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar, Protocol

import pytest

from plugin_sdk import http
from plugin_sdk.connector import Connector, OrderPage
from plugin_sdk.errors import ConnectorError
from plugin_sdk.types import Intent, Order, PaymentStatus, PaymentUpdate

MAX_PAGES = 50
ODD_NAME = 'Łukasz <script>alert("ü")</script> 😀 & Söhne'
ODD_ITEM = "Tee & „Gebäck“ <b>500 g</b>"
TROUBLE = ("500", "html", "cut", "drop", "redirect", "firewall")


class Shop(Protocol):
    """What the contract needs of a fake shop. Orders are named by their external id.

    A fake may offer more, and is then tested for more; ``plugin_sdk.testing.fake_shop.FakeShop``
    has all of it: ``unexpected`` (list of str: requests with parameters that the shop's
    documentation does not have), ``skew(seconds)`` (its clock goes wrong),
    ``decorate(order_id, fields)`` (a plugin adds fields to an order), ``trash(order_id)`` where
    the connector has Capability.TRASH, and the failures 503, empty and type.
    """

    def set_status(self, order_id: str, status: str) -> None:
        """Somebody in the shop changes an order."""

    def status_of(self, order_id: str) -> str:
        """The status now."""

    def delete(self, order_id: str) -> None:
        """Delete it for good."""

    def delivery(self, topic: str, order_id: str) -> tuple[dict[str, str], bytes]:
        """A genuine webhook, headers and body."""

    def fail(self, kind: str, times: int = 1) -> None:
        """Spoil the next answers: 500, 429, html, cut, notice, hang, drop, redirect, firewall.

        Raises ValueError for a kind that it does not know.
        """

    def heal(self) -> None:
        """Forget failures that were not met."""

    def freeze(self, moment: datetime | None) -> None:
        """Stop the shop's clock, or let it run."""

    @property
    def writes(self) -> Any:
        """Everything that was written to the shop by its API, as a sized collection."""


class Ground:
    """What a connector's test class says. The statuses are the shop's own words for them."""

    open_status: ClassVar[str]
    paid_status: ClassVar[str]
    closed_status: ClassVar[str]
    cancelled_status: ClassVar[str]
    deleted_topic: ClassVar[str] = "order.deleted"
    updated_topic: ClassVar[str] = "order.updated"
    unknown_id: ClassVar[str] = "999999"

    @pytest.fixture
    def shop(self) -> Iterator[Shop]:
        """A running shop without orders."""
        raise NotImplementedError("say how to start the shop")

    def connect(self, shop: Any, **settings: Any) -> Connector[Any]:
        """A connector to this shop; ``settings`` replace the right ones."""
        raise NotImplementedError("say how to connect")

    def wrong_key(self) -> Mapping[str, Any]:
        """Settings with a key that the shop refuses."""
        raise NotImplementedError("say what a wrong key looks like")

    def add_order(
        self, shop: Any, *, name: str = "Erika Mustermann", item: str = "Buch", total: str = "39.90"
    ) -> str:
        """An open order of this customer for this item, paid in advance; returns its id."""
        raise NotImplementedError("say how an order is made")

    @pytest.fixture
    def connector(self, shop: Any) -> Iterator[Connector[Any]]:
        """A connector with the right settings."""
        made = self.connect(shop)
        yield made
        made.close()

    @pytest.fixture
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Do not wait the half minute that a shop is given to answer."""
        monkeypatch.setattr(http, "READ_TIMEOUT_SECONDS", 0.3)

    @pytest.fixture(autouse=True)
    def only_documented_requests(self, shop: Any) -> Iterator[None]:
        """A parameter that the shop does not know is an error of the connector."""
        yield
        assert getattr(shop, "unexpected", []) == []

    def update(self, key: str) -> PaymentUpdate:
        """A payment update for an order: it is paid."""
        return PaymentUpdate(
            id="pu-1",
            external_id=key,
            number=key,
            payment_status=PaymentStatus.PAID,
            paid_total=Decimal("39.90"),
            currency="EUR",
            intent=Intent.PAID,
            created_at=datetime(2026, 11, 21, tzinfo=UTC),
        )


def everything(connector: Connector[Any], cursor: str | None = None) -> list[Order]:
    """All orders from a cursor on, as the agent collects them."""
    return everything_with_cursor(connector, cursor)[0]


def everything_with_cursor(
    connector: Connector[Any], cursor: str | None = None
) -> tuple[list[Order], str]:
    """All orders from a cursor on, and where the next comparison begins."""
    orders: list[Order] = []
    for page in _pages(connector, cursor):
        assert page.problems == ()
        orders += page.orders
        cursor = page.cursor
    assert cursor is not None
    return orders, cursor


def last_cursor(connector: Connector[Any]) -> str:
    """The cursor after everything has been listed."""
    *_, last = _pages(connector, None)
    return last.cursor


def found_order(connector: Connector[Any], key: str) -> Order:
    """The order behind an id."""
    order = connector.get_orders([key])[key]
    assert isinstance(order, Order)
    return order


def spoil(shop: Any, kind: str, times: int = 20) -> None:
    """``shop.fail``; skips the test where the fake does not know this kind of trouble."""
    try:
        shop.fail(kind, times=times)
    except (ValueError, KeyError):
        pytest.skip(f"the fake shop does not know {kind!r}")


def words_of(call: Callable[[], Any]) -> list[str]:
    """What an error says, with everything that a traceback would print of it."""
    try:
        call()
    except ConnectorError as error:
        chain = [error, error.__cause__, None if error.__suppress_context__ else error.__context__]
        return [f"{each!r} {each}" for each in chain if each is not None]
    return []


def _pages(connector: Connector[Any], cursor: str | None) -> Iterator[OrderPage]:
    for _ in range(MAX_PAGES):
        page = connector.list_orders(cursor)
        yield page
        cursor = page.cursor
        if not page.has_more:
            return
    raise AssertionError(f"the list does not end after {MAX_PAGES} pages")
