"""The promises that every connector keeps, and what is special about easybill."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from kontor_easybill import Easybill
from kontor_easybill import connector as easybill
from kontor_easybill.connector import PAGES
from kontor_easybill.fake_shop import PDF, FakeEasybill

from plugin_sdk.connector import Connector
from plugin_sdk.errors import Misconfigured, Rejected, Temporary
from plugin_sdk.testing.contract import ConnectorContract, everything, found_order, last_cursor
from plugin_sdk.testing.contract_ground import everything_with_cursor
from plugin_sdk.types import Evidence, Intent, Outcome, PaymentStatus


class TestEasybill(ConnectorContract):
    """easybill's invoices as orders."""

    open_status = "open"
    paid_status = "paid"
    closed_status = "archived"
    cancelled_status = "cancelled"

    @pytest.fixture
    def shop(self) -> Iterator[FakeEasybill]:
        with FakeEasybill() as fake:
            yield fake

    def connect(self, shop: FakeEasybill, **settings: Any) -> Easybill:
        return Easybill({**shop.settings(), **settings})

    def wrong_key(self) -> Mapping[str, Any]:
        return {"easybill_key": "another-key"}

    def add_order(
        self, shop: Any, *, name: str = "Mustermann", item: str = "Buch", total: str = "39.90"
    ) -> str:
        return str(shop.add_order(name=name, item=item, total=total))

    def test_paid_after_cancelled_is_the_exception(
        self, shop: Any, connector: Connector[Any]
    ) -> None:
        """A cancelled invoice has a document that cancels it; a payment belongs to neither"""
        key = self.add_order(shop)
        shop.set_status(key, "cancelled")
        assert connector.push_payment(self.update(key)).outcome is Outcome.NO_LONGER_OPEN
        assert shop.payments == []

    def test_the_named_status_is_written(self, shop: Any, connector: Connector[Any]) -> None:
        """easybill knows payments; it cannot be told another state"""
        key = self.add_order(shop)
        update = replace(self.update(key), shop_status="archived")
        assert connector.push_payment(update).outcome is Outcome.REJECTED
        assert shop.status_of(key) == "open"

    # Payments

    def test_a_payment_is_recorded_with_its_day_and_cents(
        self, shop: FakeEasybill, connector: Easybill
    ) -> None:
        key = self.add_order(shop, total="1234.56")
        late = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)  # in Berlin it is the 21st already
        update = replace(self.update(key), paid_total=Decimal("1234.56"), created_at=late)
        assert connector.push_payment(update).outcome is Outcome.APPLIED
        (payment,) = shop.payments
        assert (payment["amount"], payment["payment_at"]) == (123456, "2026-11-21")
        assert payment["reference"] == update.id

    def test_with_a_discount_less_is_enough(self, shop: FakeEasybill, connector: Easybill) -> None:
        key = self.add_order(shop, total="100.00")
        update = replace(self.update(key), paid_total=Decimal("98.00"))
        assert connector.push_payment(update).outcome is Outcome.APPLIED
        assert [payment["amount"] for payment in shop.payments] == [9800]
        assert shop.status_of(key) == "paid"

    def test_parts_add_up_and_none_is_recorded_twice(
        self, shop: FakeEasybill, connector: Easybill
    ) -> None:
        key = self.add_order(shop, total="100.00")
        part = replace(
            self.update(key),
            intent=Intent.PARTIALLY_PAID,
            payment_status=PaymentStatus.PARTIALLY_PAID,
        )
        told = [
            connector.push_payment(replace(part, paid_total=Decimal(total))).outcome
            for total in ("30.00", "30.00", "55.50", "55.50")
        ]
        assert told == [Outcome.APPLIED, Outcome.ALREADY_THERE] * 2
        rest = replace(self.update(key), paid_total=Decimal("100.00"))
        assert connector.push_payment(rest).outcome is Outcome.APPLIED
        assert [payment["amount"] for payment in shop.payments] == [3000, 2550, 4450]

    def test_a_payment_whose_answer_got_lost_is_not_recorded_twice(
        self, shop: FakeEasybill, connector: Easybill, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key = self.add_order(shop)
        send = connector._http.request

        def lose(method: str, *args: Any, **more: Any) -> Any:
            answer = send(method, *args, **more)
            if method == "POST":
                raise Temporary("The answer was lost.")
            return answer

        monkeypatch.setattr(connector._http, "request", lose)
        assert connector.push_payment(self.update(key)).outcome is Outcome.TEMPORARY
        assert connector.push_payment(self.update(key)).outcome is Outcome.ALREADY_THERE
        assert len(shop.payments) == 1

    def test_what_somebody_recorded_meanwhile_is_not_recorded_as_less_than_nothing(
        self, shop: FakeEasybill, connector: Easybill
    ) -> None:
        key = self.add_order(shop, total="100.00")
        part = replace(self.update(key), paid_total=Decimal("30.00"))
        for known in (3000, 5000):
            shop.documents[int(key)]["paid_amount"] = known
            assert connector._write_status(part, "partially_paid") == ""
        assert shop.payments == []

    def test_another_currency_is_refused(self, shop: FakeEasybill, connector: Easybill) -> None:
        key = self.add_order(shop)
        shop.documents[int(key)]["currency"] = "CHF"
        assert connector.push_payment(self.update(key)).outcome is Outcome.REJECTED
        assert shop.payments == []

    # Reading

    def test_who_paid_in_easybill_is_told(self, shop: FakeEasybill, connector: Easybill) -> None:
        key = self.add_order(shop)
        cursor = last_cursor(connector)
        shop.set_status(key, "paid")
        (order,) = everything(connector, cursor)
        assert (order.external_id, order.shop_status) == (key, "paid")

    def test_many_pages_and_many_that_were_paid(
        self, shop: FakeEasybill, connector: Easybill
    ) -> None:
        keys = [self.add_order(shop) for _ in range(PAGES.size + 30)]
        cursor = last_cursor(connector)
        for key in keys[:45]:
            shop.set_status(key, "paid")
        told = everything(connector, cursor)
        assert sorted(order.external_id for order in told) == keys[:45]
        assert {order.shop_status for order in told} == {"paid"}

    def test_invoices_that_are_paid_during_the_scan_hide_no_other(
        self, shop: FakeEasybill, connector: Easybill
    ) -> None:
        keys = [self.add_order(shop) for _ in range(PAGES.size + 30)]
        cursor = last_cursor(connector)
        first = connector.list_orders(cursor)
        for key in keys[:10]:
            shop.set_status(key, "paid")  # ten of the second page move into the first
        moved, cursor = everything_with_cursor(connector, first.cursor)
        assert {order.shop_status for order in moved} == {"open"}
        told = everything(connector, cursor)
        assert {order.external_id: order.shop_status for order in told} == dict.fromkeys(
            keys[:10], "paid"
        )

    def test_a_vanished_invoice_that_cannot_be_read_holds_up_no_other(
        self, shop: FakeEasybill, connector: Easybill
    ) -> None:
        broken, good = self.add_order(shop), self.add_order(shop)
        cursor = last_cursor(connector)
        for key in (broken, good):
            shop.set_status(key, "paid")
        shop.documents[int(broken)]["amount"] = None
        assert connector.list_orders(cursor).has_more
        page = connector.list_orders(connector.list_orders(cursor).cursor)
        assert [order.external_id for order in page.orders] == [good]
        assert len(page.problems) == 1 and broken in page.problems[0]

    def test_a_list_without_an_end_is_noticed(
        self, shop: FakeEasybill, connector: Easybill, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(easybill, "MAX_LISTED", 1)
        self.add_order(shop)
        connector.list_orders(None)
        self.add_order(shop)
        with pytest.raises(Temporary, match="more than 1"):
            connector.list_orders(None)

    def test_drafts_and_old_invoices_are_no_orders(
        self, shop: FakeEasybill, connector: Easybill
    ) -> None:
        draft, old, kept = (self.add_order(shop) for _ in range(3))
        shop.documents[int(draft)] |= {"is_draft": True, "number": None}
        long_ago = (datetime.now(UTC) - timedelta(days=500)).date().isoformat()
        shop.documents[int(old)]["document_date"] = long_ago
        assert [order.external_id for order in everything(connector)] == [kept]
        assert connector.get_orders([draft]) == {}

    def test_an_invoice_that_grew_too_old_is_asked_for_once(
        self, shop: FakeEasybill, connector: Easybill
    ) -> None:
        key = self.add_order(shop)
        cursor = last_cursor(connector)
        long_ago = (datetime.now(UTC) - timedelta(days=500)).date().isoformat()
        shop.documents[int(key)]["document_date"] = long_ago
        told, cursor = everything_with_cursor(connector, cursor)
        assert [order.external_id for order in told] == [key]
        assert everything(connector, cursor) == []

    def test_the_pdf_of_an_invoice(self, shop: FakeEasybill, connector: Easybill) -> None:
        key = self.add_order(shop)
        number = found_order(connector, key).invoices[0].number
        assert connector.get_invoice(key, number) == PDF
        assert connector.get_invoice("1", "RE-1") is None
        shop.fail("html", times=2)
        with pytest.raises(Temporary):
            connector.get_invoice(key, number)

    def test_the_limit_of_the_plan_is_temporary(
        self, shop: FakeEasybill, connector: Easybill
    ) -> None:
        key = self.add_order(shop)
        shop.requests_a_minute = 1
        connector.list_orders(None)
        with pytest.raises(Temporary, match="Too many requests"):
            connector.list_orders(None)
        shop.freeze(datetime.now(UTC) + timedelta(seconds=61))
        assert connector.list_orders(None).orders[0].external_id == key

    def test_what_is_no_id_is_not_asked_for(self, shop: FakeEasybill, connector: Easybill) -> None:
        for odd in ("7/pdf", "../logins", "", "-1"):
            with pytest.raises(Rejected):
                connector.get_orders([odd])
        assert shop.requests == type(shop.requests)()
        assert connector.get_orders(["7"]) == {"7": Evidence.GONE}

    @pytest.mark.parametrize("days", ["0", "4000"])
    def test_settings_out_of_bounds(self, shop: FakeEasybill, days: str) -> None:
        with pytest.raises(Misconfigured, match="history_days"):
            self.connect(shop, history_days=days)
