"""What every connector promises, as tests. Subclass it, say how to reach a shop, and run pytest.

    class TestMyShop(ConnectorContract):
        @pytest.fixture
        def shop(self): ...                  # a Shop: a fake of yours, started
        def connect(self, shop, **settings): ...

A promise that a shop system cannot keep is an overridden test with the reason in its docstring.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar, Protocol

import pytest

from plugin_sdk import http
from plugin_sdk.connector import Capability, Connector, OrderPage, Severity, secrets_of
from plugin_sdk.errors import ConnectorError, Misconfigured, Rejected, Temporary
from plugin_sdk.schemas import HeartbeatSchema, OrderSchema
from plugin_sdk.types import (
    Evidence,
    Intent,
    Order,
    Outcome,
    PaymentStatus,
    PaymentUpdate,
    ShopMethod,
)

MAX_PAGES = 50
ODD_NAME = 'Łukasz <script>alert("ü")</script> 😀 & Söhne'
ODD_ITEM = "Tee & „Gebäck“ <b>500 g</b>"


class Shop(Protocol):
    """What the contract needs of a fake shop. Orders are named by their external id."""

    def set_status(self, order_id: str, status: str) -> None:
        """Somebody in the shop changes an order."""

    def status_of(self, order_id: str) -> str:
        """The status now."""

    def trash(self, order_id: str) -> None:
        """Put it into the trash."""

    def delete(self, order_id: str) -> None:
        """Delete it for good."""

    def delivery(self, topic: str, order_id: str) -> tuple[dict[str, str], bytes]:
        """A genuine webhook, headers and body."""

    def fail(self, kind: str, times: int = 1) -> None:
        """Spoil the next answers: 500, 429, html, cut, notice, hang, drop, redirect, firewall."""

    def heal(self) -> None:
        """Forget failures that were not met."""

    def freeze(self, moment: datetime | None) -> None:
        """Stop the shop's clock, or let it run."""

    @property
    def writes(self) -> Any:
        """Everything that was written to the shop by its API, as a sized collection."""


class ConnectorContract:
    """The promises. The statuses are the shop's own words for them."""

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

    # Orders

    def test_orders_survive_the_wire(self, shop: Any, connector: Connector[Any]) -> None:
        self.add_order(shop)
        (order,) = everything(connector)
        assert OrderSchema().load(OrderSchema().dump(order)) == order
        assert order.ordered_at.tzinfo is not None
        assert order.shop_status == self.open_status
        assert order.payment_method

    @pytest.mark.parametrize("total", ["0.01", "0.10", "19.90", "1234567.89"])
    def test_money_is_exact(self, shop: Any, connector: Connector[Any], total: str) -> None:
        key = self.add_order(shop, total=total)
        order = found_order(connector, key)
        assert isinstance(order.total, Decimal)
        assert order.total == Decimal(total)

    def test_text_arrives_as_it_was_written(self, shop: Any, connector: Connector[Any]) -> None:
        key = self.add_order(shop, name=ODD_NAME, item=ODD_ITEM)
        order = found_order(connector, key)
        assert order.billing_address is not None
        assert order.billing_address.last_name == ODD_NAME
        assert [item.name for item in order.items] == [ODD_ITEM]

    def test_every_order_is_listed_once(self, shop: Any, connector: Connector[Any]) -> None:
        made = [self.add_order(shop) for _ in range(7)]
        assert sorted(order.external_id for order in everything(connector)) == sorted(made)

    def test_nothing_new_is_an_empty_page(self, shop: Any, connector: Connector[Any]) -> None:
        self.add_order(shop)
        cursor = last_cursor(connector)
        assert everything(connector, cursor) == []

    def test_a_change_in_the_second_of_the_cursor_is_not_lost(
        self, shop: Any, connector: Connector[Any]
    ) -> None:
        shop.freeze(datetime(2026, 11, 21, 12, tzinfo=UTC))
        key = self.add_order(shop)
        cursor = last_cursor(connector)
        shop.set_status(key, self.closed_status)
        late = self.add_order(shop)
        changed = {order.external_id: order for order in everything(connector, cursor)}
        assert set(changed) == {key, late}
        assert changed[key].shop_status == self.closed_status

    def test_a_cursor_outlives_the_connector(self, shop: Any, connector: Connector[Any]) -> None:
        self.add_order(shop)
        cursor = last_cursor(connector)
        later = self.add_order(shop)
        again = self.connect(shop)
        assert later in [order.external_id for order in everything(again, cursor)]
        again.close()

    def test_a_broken_cursor_is_refused(self, connector: Connector[Any]) -> None:
        for cursor in ("nonsense", "{}", '{"version": 99}', "[]", "null"):
            with pytest.raises(Rejected):
                connector.list_orders(cursor)

    # By id

    def test_found_trashed_and_gone(self, shop: Any, connector: Connector[Any]) -> None:
        kept, trashed, deleted = (self.add_order(shop) for _ in range(3))
        shop.delete(deleted)
        wanted = [kept, deleted, self.unknown_id]
        if Capability.TRASH in connector.capabilities:
            shop.trash(trashed)
            wanted.append(trashed)
        found = connector.get_orders(wanted)
        assert isinstance(found[kept], Order)
        assert found[deleted] is Evidence.GONE
        assert found[self.unknown_id] is Evidence.GONE
        assert found.get(trashed) in (None, Evidence.TRASHED)
        assert len(found) == len(wanted)

    def test_an_order_is_found_by_its_number(self, shop: Any, connector: Connector[Any]) -> None:
        keys = [self.add_order(shop) for _ in range(3)]
        order = found_order(connector, keys[1])
        if Capability.FIND_BY_NUMBER not in connector.capabilities:
            with pytest.raises(Rejected):
                connector.find_order(order.number)
            return
        assert connector.find_order(order.number) == order
        for other in (f"{order.number}0", f"0{order.number}", self.unknown_id, "Erika", "*", "ü"):
            assert connector.find_order(other) is None

    def test_the_number_of_a_removed_order_finds_no_order(
        self, shop: Any, connector: Connector[Any]
    ) -> None:
        if Capability.FIND_BY_NUMBER not in connector.capabilities:
            return
        key = self.add_order(shop)
        number = found_order(connector, key).number
        shop.trash(key)
        assert connector.find_order(number) in (None, Evidence.TRASHED)
        shop.delete(key)
        assert connector.find_order(number) in (None, Evidence.GONE)

    @pytest.mark.parametrize("kind", ["500", "html", "cut", "drop", "redirect", "firewall"])
    def test_a_number_is_not_unknown_because_the_shop_is_in_trouble(
        self, shop: Any, connector: Connector[Any], kind: str
    ) -> None:
        number = found_order(connector, self.add_order(shop)).number
        shop.fail(kind, times=20)
        with pytest.raises(ConnectorError):
            connector.find_order(number)

    @pytest.mark.parametrize("kind", ["500", "html", "cut", "drop", "redirect", "firewall"])
    def test_a_shop_in_trouble_is_no_evidence(
        self, shop: Any, connector: Connector[Any], kind: str
    ) -> None:
        key = self.add_order(shop)
        shop.fail(kind, times=20)
        with pytest.raises(ConnectorError):
            connector.get_orders([key, self.unknown_id])

    # Telling the shop

    def test_paid_arrives(self, shop: Any, connector: Connector[Any]) -> None:
        key = self.add_order(shop)
        acknowledgement = connector.push_payment(self.update(key))
        assert acknowledgement.outcome is Outcome.APPLIED
        assert acknowledgement.shop_status == self.paid_status
        assert shop.status_of(key) == self.paid_status

    def test_a_second_push_writes_nothing(self, shop: Any, connector: Connector[Any]) -> None:
        key = self.add_order(shop)
        connector.push_payment(self.update(key))
        before = len(shop.writes)
        acknowledgement = connector.push_payment(self.update(key))
        assert acknowledgement.outcome is Outcome.ALREADY_THERE
        assert len(shop.writes) == before

    def test_a_closed_order_is_left_alone(self, shop: Any, connector: Connector[Any]) -> None:
        key = self.add_order(shop)
        shop.set_status(key, self.closed_status)
        before = len(shop.writes)
        acknowledgement = connector.push_payment(self.update(key))
        assert acknowledgement.outcome is Outcome.NO_LONGER_OPEN
        assert acknowledgement.shop_status == self.closed_status
        assert acknowledgement.reason
        assert len(shop.writes) == before
        assert shop.status_of(key) == self.closed_status

    def test_only_the_given_statuses_are_open(self, shop: Any, connector: Connector[Any]) -> None:
        key = self.add_order(shop)
        before = len(shop.writes)
        update = replace(self.update(key), open_statuses=("another",))
        assert connector.push_payment(update).outcome is Outcome.NO_LONGER_OPEN
        assert len(shop.writes) == before

    def test_paid_after_cancelled_is_the_exception(
        self, shop: Any, connector: Connector[Any]
    ) -> None:
        key = self.add_order(shop)
        shop.set_status(key, self.cancelled_status)
        assert connector.push_payment(self.update(key)).outcome is Outcome.APPLIED
        assert shop.status_of(key) == self.paid_status

    def test_trashed_and_deleted_orders_are_left_alone(
        self, shop: Any, connector: Connector[Any]
    ) -> None:
        deleted, trashed = self.add_order(shop), self.add_order(shop)
        shop.delete(deleted)
        shop.trash(trashed)
        before = len(shop.writes)
        for key in (deleted, trashed):
            acknowledgement = connector.push_payment(self.update(key))
            assert acknowledgement.outcome is Outcome.NO_LONGER_OPEN
        assert len(shop.writes) == before

    def test_the_named_status_is_written(self, shop: Any, connector: Connector[Any]) -> None:
        key = self.add_order(shop)
        update = replace(self.update(key), shop_status=self.closed_status)
        assert connector.push_payment(update).shop_status == self.closed_status
        assert shop.status_of(key) == self.closed_status

    def test_an_intent_without_a_status_is_not_supported(
        self, shop: Any, connector: Connector[Any]
    ) -> None:
        key = self.add_order(shop)
        update = replace(self.update(key), intent=Intent.COLLECTION)
        assert connector.push_payment(update).outcome is Outcome.NOT_SUPPORTED

    def test_a_plan_writes_nothing(self, shop: Any, connector: Connector[Any]) -> None:
        key = self.add_order(shop)
        before = len(shop.writes)
        connector.plan_payment(self.update(key))
        assert len(shop.writes) == before

    # Trouble

    @pytest.mark.parametrize("kind", ["500", "429", "html", "cut", "drop"])
    def test_trouble_is_temporary(self, shop: Any, connector: Connector[Any], kind: str) -> None:
        key = self.add_order(shop)
        shop.fail(kind, times=20)
        acknowledgement = connector.push_payment(self.update(key))
        assert acknowledgement.outcome is Outcome.TEMPORARY
        shop.heal()
        assert shop.status_of(key) == self.open_status
        assert connector.push_payment(self.update(key)).outcome is Outcome.APPLIED

    @pytest.mark.usefixtures("impatient")
    def test_a_silent_shop_is_temporary(self, shop: Any, connector: Connector[Any]) -> None:
        key = self.add_order(shop)
        shop.fail("hang", times=20)
        assert connector.push_payment(self.update(key)).outcome is Outcome.TEMPORARY
        with pytest.raises(Temporary):
            connector.list_orders(None)

    def test_a_wish_for_time_is_passed_on(self, shop: Any, connector: Connector[Any]) -> None:
        key = self.add_order(shop)
        shop.fail("429", times=20)
        assert connector.push_payment(self.update(key)).retry_after_seconds == 7

    def test_notices_before_the_json_do_no_harm(self, shop: Any, connector: Connector[Any]) -> None:
        key = self.add_order(shop)
        shop.fail("notice", times=20)
        assert found_order(connector, key).external_id == key

    def test_a_redirect_names_the_new_address(self, shop: Any, connector: Connector[Any]) -> None:
        shop.fail("redirect", times=20)
        with pytest.raises(Misconfigured, match=r"elsewhere\.example\.org"):
            connector.list_orders(None)

    def test_a_wrong_key_is_for_a_person(self, shop: Any) -> None:
        key = self.add_order(shop)
        connector = self.connect(shop, **self.wrong_key())
        assert connector.push_payment(self.update(key)).outcome is Outcome.MISCONFIGURED
        with pytest.raises(Misconfigured):
            connector.list_orders(None)
        findings = connector.check()
        assert any(finding.severity is Severity.PROBLEM for finding in findings)
        connector.close()

    def test_check_finds_nothing_wrong(self, shop: Any, connector: Connector[Any]) -> None:
        findings = connector.check()
        assert findings
        assert [each for each in findings if each.severity is Severity.PROBLEM] == []

    @pytest.mark.parametrize("kind", ["500", "html", "cut", "drop", "redirect", "firewall"])
    def test_check_never_raises(self, shop: Any, connector: Connector[Any], kind: str) -> None:
        shop.fail(kind, times=50)
        findings = connector.check()
        assert any(finding.severity is not Severity.NOTE for finding in findings)

    # Webhooks

    def test_a_webhook_is_a_hint(self, shop: Any, connector: Connector[Any]) -> None:
        key = self.add_order(shop)
        hint = connector.read_webhook(*shop.delivery(self.updated_topic, key))
        assert hint is not None
        assert hint.ids == (key,)
        assert hint.topic == self.updated_topic

    def test_a_forged_webhook_is_refused(self, shop: Any, connector: Connector[Any]) -> None:
        key = self.add_order(shop)
        headers, body = shop.delivery(self.updated_topic, key)
        forgeries: list[tuple[dict[str, str], bytes]] = [
            (headers, body + b" "),
            (headers, body.replace(b'"id":', b'"id": ', 1)),
            ({**headers, **dict.fromkeys(_proofs(headers), "AAAA")}, body),
            ({**headers, **dict.fromkeys(_proofs(headers), "ü")}, body),
            ({k: v for k, v in headers.items() if k not in _proofs(headers)}, body),
        ]
        for forged in forgeries:
            with pytest.raises(Rejected):
                connector.read_webhook(*forged)

    def test_header_names_have_no_case(self, shop: Any, connector: Connector[Any]) -> None:
        key = self.add_order(shop)
        headers, body = shop.delivery(self.updated_topic, key)
        for change in (str.lower, str.upper):
            hint = connector.read_webhook({change(k): v for k, v in headers.items()}, body)
            assert hint is not None

    # What a connector is

    def test_defaults_and_heartbeat_fit_the_wire(self, connector: Connector[Any]) -> None:
        heartbeat = connector.heartbeat("x" * 5000)
        assert HeartbeatSchema().load(HeartbeatSchema().dump(heartbeat)) == heartbeat
        assert heartbeat.defaults

    def test_what_is_discovered_fits_the_wire(self, connector: Connector[Any]) -> None:
        found = connector.discover()
        odd = (ShopMethod("", "no code"), ShopMethod("a\x00b", "NUL"), ShopMethod("ok", "n" * 999))
        found = replace(found, payment_methods=(*odd, *found.payment_methods), currency="Taler")
        heartbeat = connector.heartbeat(discovery=found, compare_seconds=180)
        assert HeartbeatSchema().load(HeartbeatSchema().dump(heartbeat)) == heartbeat
        assert heartbeat.discovery is not None
        assert heartbeat.discovery.statuses == found.statuses
        assert [each.code for each in heartbeat.discovery.payment_methods] == [
            "ok",
            *(each.code for each in found.payment_methods[len(odd) :]),
        ]

    def test_discover_names_what_the_defaults_use(
        self, shop: Any, connector: Connector[Any]
    ) -> None:
        discovery = connector.discover()
        statuses = {status.code for status in discovery.statuses}
        assert {self.open_status, self.paid_status, self.cancelled_status} <= statuses
        used = {
            status for mapping in connector.defaults.values() for status in mapping.open_statuses
        }
        assert used <= statuses
        assert discovery.payment_methods

    def test_unknown_and_missing_settings_are_named(self, shop: Any) -> None:
        with pytest.raises(Misconfigured, match="no_such_setting"):
            self.connect(shop, no_such_setting="1")

    def test_secrets_are_told_to_nobody(
        self, shop: Any, connector: Connector[Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        key = self.add_order(shop)
        secrets = secrets_of(connector.config)
        assert secrets, "a connector without any secret would be open to everybody"
        with caplog.at_level(logging.DEBUG):
            told = [repr(connector.config), str(connector.config)]
            for kind in ("500", "html", "cut", "drop", "redirect", "firewall"):
                shop.fail(kind, times=4)
                told += _words(lambda: connector.list_orders(None))
                told.append(str(connector.push_payment(self.update(key))))
                shop.heal()
            told += [str(finding) for finding in connector.check()]
        told.append(caplog.text)
        for secret in secrets:
            assert not [text for text in told if secret in text]

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
    orders: list[Order] = []
    for page in _pages(connector, cursor):
        assert page.problems == ()
        orders += page.orders
    return orders


def last_cursor(connector: Connector[Any]) -> str:
    """The cursor after everything has been listed."""
    *_, last = _pages(connector, None)
    return last.cursor


def found_order(connector: Connector[Any], key: str) -> Order:
    """The order behind an id."""
    order = connector.get_orders([key])[key]
    assert isinstance(order, Order)
    return order


def _pages(connector: Connector[Any], cursor: str | None) -> Iterator[OrderPage]:
    for _ in range(MAX_PAGES):
        page = connector.list_orders(cursor)
        yield page
        cursor = page.cursor
        if not page.has_more:
            return
    raise AssertionError(f"the list does not end after {MAX_PAGES} pages")


def _proofs(headers: Mapping[str, str]) -> list[str]:
    return [name for name in headers if "signature" in name.lower()]


def _words(call: Callable[[], Any]) -> list[str]:
    """What an error says, with everything that a traceback would print of it."""
    try:
        call()
    except ConnectorError as error:
        chain = [error, error.__cause__, None if error.__suppress_context__ else error.__context__]
        return [f"{each!r} {each}" for each in chain if each is not None]
    return []
