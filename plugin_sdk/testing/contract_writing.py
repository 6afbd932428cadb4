"""The promises about telling the shop, and about a shop in trouble."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from plugin_sdk.connector import Capability, Connector, Finding, Severity
from plugin_sdk.errors import ConnectorError, Misconfigured, Temporary
from plugin_sdk.testing.contract_ground import TROUBLE, Ground, found_order, spoil
from plugin_sdk.types import Intent, Outcome


class Writing(Ground):
    """Payment statuses are written safely: looked at before and after, once, only where open"""

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
        removed = [self.add_order(shop)]
        shop.delete(removed[0])
        if Capability.TRASH in connector.capabilities:
            removed.append(self.add_order(shop))
            shop.trash(removed[1])
        before = len(shop.writes)
        for key in removed:
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


class Trouble(Ground):
    """A shop in trouble: timeouts, 429, 5xx, web pages, cut answers, redirects, wrong types"""

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

    @pytest.mark.parametrize("kind", ["503", "type", "empty"])
    def test_an_answer_of_another_kind_is_temporary(
        self, shop: Any, connector: Connector[Any], kind: str
    ) -> None:
        key = self.add_order(shop)
        spoil(shop, kind)
        assert connector.push_payment(self.update(key)).outcome is Outcome.TEMPORARY
        shop.heal()
        assert shop.status_of(key) == self.open_status

    @pytest.mark.parametrize("kind", TROUBLE)
    def test_what_a_shop_in_trouble_answers_is_no_invoice(
        self, shop: Any, connector: Connector[Any], kind: str
    ) -> None:
        key = self.add_order(shop)
        if Capability.INVOICE_PDF not in connector.capabilities:
            assert connector.get_invoice(key, "RE-1") is None
            return
        spoil(shop, kind)
        with pytest.raises(ConnectorError):
            connector.get_invoice(key, "RE-1")


class Check(Ground):
    """check() says what is wrong and never raises: the key, the clock, the way there"""

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

    @pytest.mark.parametrize("kind", TROUBLE)
    def test_check_never_raises(self, shop: Any, connector: Connector[Any], kind: str) -> None:
        shop.fail(kind, times=50)
        findings = connector.check()
        assert any(finding.severity is not Severity.NOTE for finding in findings)

    @pytest.mark.parametrize("seconds", [600, -600])
    def test_check_finds_a_wrong_clock(
        self, shop: Any, connector: Connector[Any], seconds: int
    ) -> None:
        if not hasattr(shop, "skew"):
            pytest.skip("the clock of the fake shop cannot be set wrong")
        assert [each for each in connector.check() if each.topic == "clock" and _is_bad(each)] == []
        shop.skew(seconds)
        assert any(each.topic == "clock" and _is_bad(each) for each in connector.check())


def _is_bad(finding: Finding) -> bool:
    return finding.severity is not Severity.NOTE
