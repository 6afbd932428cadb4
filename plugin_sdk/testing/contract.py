"""What every connector promises, as tests. Subclass it, say how to reach a shop, and run pytest.

    class TestMyShop(ConnectorContract):
        @pytest.fixture
        def shop(self): ...                  # a Shop: a fake of yours, started
        def connect(self, shop, **settings): ...

A promise that a shop system cannot keep is an overridden test with the reason in its docstring.
``pytest --kontor-table=README.md`` writes what a connector keeps into its README.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from plugin_sdk.connector import Capability, Connector, WebhookHint, secrets_of
from plugin_sdk.errors import Misconfigured, Rejected
from plugin_sdk.schemas import HeartbeatSchema
from plugin_sdk.testing import contract_reading, contract_writing
from plugin_sdk.testing.contract_ground import (
    ODD_ITEM,
    ODD_NAME,
    TROUBLE,
    Ground,
    Shop,
    everything,
    found_order,
    last_cursor,
    words_of,
)
from plugin_sdk.types import ShopMethod

__all__ = [
    "ODD_ITEM",
    "ODD_NAME",
    "ConnectorContract",
    "Shop",
    "everything",
    "found_order",
    "last_cursor",
]
CUSTOMER = "Wilhelmine Unverwechselbar"


class Webhooks(Ground):
    """Webhooks are verified hints: forged, replayed, doubled, out of order"""

    def test_a_webhook_is_a_hint(self, shop: Any, connector: Connector[Any]) -> None:
        self._needs_webhooks(connector)
        key = self.add_order(shop)
        hint = connector.read_webhook(*shop.delivery(self.updated_topic, key))
        assert hint is not None
        assert hint.ids == (key,)
        assert hint.topic == self.updated_topic

    def test_a_forged_webhook_is_refused(self, shop: Any, connector: Connector[Any]) -> None:
        self._needs_webhooks(connector)
        key = self.add_order(shop)
        headers, body = shop.delivery(self.updated_topic, key)
        forgeries: list[tuple[dict[str, str], bytes]] = [
            (headers, body + b" "),
            (headers, body[:-1] + bytes([body[-1] ^ 1])),
            (headers, shop.delivery(self.updated_topic, self.add_order(shop))[1]),
            ({**headers, **dict.fromkeys(_proofs(headers), "AAAA")}, body),
            ({**headers, **dict.fromkeys(_proofs(headers), "ü")}, body),
            ({k: v for k, v in headers.items() if k not in _proofs(headers)}, body),
        ]
        for forged in forgeries:
            with pytest.raises(Rejected):
                connector.read_webhook(*forged)

    def test_header_names_have_no_case(self, shop: Any, connector: Connector[Any]) -> None:
        self._needs_webhooks(connector)
        key = self.add_order(shop)
        headers, body = shop.delivery(self.updated_topic, key)
        for change in (str.lower, str.upper):
            hint = connector.read_webhook({change(k): v for k, v in headers.items()}, body)
            assert hint is not None

    def test_a_webhook_may_come_twice_late_and_in_any_order(
        self, shop: Any, connector: Connector[Any]
    ) -> None:
        self._needs_webhooks(connector)
        first, second = self.add_order(shop), self.add_order(shop)
        early = shop.delivery(self.updated_topic, first)
        shop.set_status(first, self.closed_status)
        late = shop.delivery(self.updated_topic, first)
        other = shop.delivery(self.updated_topic, second)
        hints = [connector.read_webhook(*each) for each in (late, other, early, late, early)]
        named = [hint.ids for hint in hints if isinstance(hint, WebhookHint)]
        assert named == [(first,), (second,), (first,), (first,), (first,)]
        assert found_order(connector, first).shop_status == self.closed_status

    def test_who_has_no_webhooks_believes_none(self, connector: Connector[Any]) -> None:
        for headers, body in (({}, b""), ({}, b"{}"), ({"X-Signature": "AAAA"}, b'{"id":"1"}')):
            with pytest.raises(Rejected):
                connector.read_webhook(headers, body)

    def _needs_webhooks(self, connector: Connector[Any]) -> None:
        if Capability.WEBHOOKS not in connector.capabilities:
            pytest.skip("no capability: webhooks")


class Itself(Ground):
    """Settings, defaults and what is discovered fit the wire; requests fit the documentation"""

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
        with pytest.raises(Misconfigured, match="no_such_setting") as told:
            self.connect(shop, no_such_setting="this-may-be-a-secret")
        assert "this-may-be-a-secret" not in str(told.value)

    def test_requests_are_those_that_the_shop_documents(
        self, shop: Any, connector: Connector[Any]
    ) -> None:
        """A misspelt filter is ignored by real shops, and everything comes. See ``unexpected``."""
        key = self.add_order(shop)
        if not hasattr(shop, "unexpected"):
            pytest.skip("the fake shop does not look at parameters")
        cursor = last_cursor(connector)
        everything(connector, cursor)
        number = found_order(connector, key).number
        connector.get_orders([key, self.unknown_id])
        if Capability.FIND_BY_NUMBER in connector.capabilities:
            connector.find_order(number)
        connector.check()
        connector.discover()
        connector.tend()
        connector.push_payment(self.update(key))
        assert shop.unexpected == []


class Privacy(Ground):
    """Secrets and customers are told to nobody: logs, errors, findings, texts of objects"""

    def test_secrets_are_told_to_nobody(
        self, shop: Any, connector: Connector[Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        key = self.add_order(shop)
        secrets = secrets_of(connector.config)
        assert secrets, "a connector without any secret would be open to everybody"
        with caplog.at_level(logging.DEBUG):
            told = [repr(connector.config), str(connector.config), repr(connector)]
            for kind in TROUBLE:
                shop.fail(kind, times=4)
                told += words_of(lambda: connector.list_orders(None))
                told.append(str(connector.push_payment(self.update(key))))
                shop.heal()
            told += [str(finding) for finding in connector.check()]
        told.append(caplog.text)
        for secret in secrets:
            assert not [text for text in told if secret in text]

    def test_customers_are_not_in_the_log(
        self, shop: Any, connector: Connector[Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        key = self.add_order(shop, name=CUSTOMER, item=CUSTOMER)
        with caplog.at_level(logging.DEBUG):
            told = [str(finding) for finding in connector.check()]
            everything(connector)
            told.append(repr(connector))
            for kind in TROUBLE:
                shop.fail(kind, times=4)
                told += words_of(lambda: connector.get_orders([key]))
                shop.heal()
            told.append(str(connector.push_payment(self.update(key))))
        told.append(caplog.text)
        assert [text for text in told if CUSTOMER in text] == []


class ConnectorContract(
    contract_reading.Mapping,
    contract_reading.Listing,
    contract_reading.ById,
    contract_writing.Writing,
    contract_writing.Trouble,
    contract_writing.Check,
    Webhooks,
    Itself,
    Privacy,
):
    """The promises. What a subclass must say is in ``contract_ground.Ground``."""

    promises = (
        contract_reading.Mapping,
        contract_reading.Listing,
        contract_reading.ById,
        contract_writing.Writing,
        contract_writing.Trouble,
        contract_writing.Check,
        Webhooks,
        Itself,
        Privacy,
    )


def _proofs(headers: Mapping[str, str]) -> list[str]:
    return [name for name in headers if "signature" in name.lower()]
