"""What Shopware does otherwise than one would think, and the connector knows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from connectors.shopware import Shopware
from connectors.shopware.criteria import PRIVILEGES
from plugin_sdk.connector import Severity
from plugin_sdk.errors import Misconfigured, Rejected, Temporary
from plugin_sdk.testing.contract import everything, found_order, last_cursor
from plugin_sdk.testing.fake_shopware import APP_SECRET, CLIENT_ID, PDF, FakeShopware
from plugin_sdk.testing.shopware_login import Integration
from plugin_sdk.testing.shopware_orders import LIVE
from plugin_sdk.testing.shopware_states import PAYMENT, Machine
from plugin_sdk.types import Evidence, Intent, Outcome, PaymentStatus, PaymentUpdate


@pytest.fixture
def shop():
    with FakeShopware() as fake:
        yield fake
        assert fake.unexpected == []
        assert fake.mails == [], "the shop mailed besides us"


@pytest.fixture
def connector(shop):
    made = Shopware(shop.settings())
    yield made
    made.close()


def update(key, intent=Intent.PAID, **more):
    return PaymentUpdate(
        id="pu-1",
        external_id=key,
        number="10001",
        payment_status=PaymentStatus.PAID,
        paid_total=Decimal("39.90"),
        currency="EUR",
        intent=intent,
        created_at=datetime(2026, 11, 21, tzinfo=UTC),
        **more,
    )


def searches(shop):
    return [each for each in shop.requests if each == "POST /api/search/order"]


def log_ins(shop):
    return [each for each in shop.requests if each == "POST /api/oauth/token"]


def between_look_and_write(monkeypatch, shop, happens):
    """Somebody in the shop is quicker: after we asked what is possible, before we do it."""
    answer = shop.answer

    def answer_and_then(asked):
        reply = answer(asked)
        if asked.path.endswith("/state"):
            happens()
        return reply

    monkeypatch.setattr(shop, "answer", answer_and_then)


class TestTheToken:
    def test_one_log_in_serves_many_requests(self, shop, connector):
        key = shop.add_order()
        everything(connector)
        connector.get_orders([key])
        assert len(log_ins(shop)) == 1

    def test_a_token_is_renewed_before_it_runs_out(self, shop):
        now = [1000.0]
        connector = Shopware(shop.settings(), monotonic=lambda: now[0])
        everything(connector)
        now[0] += 539
        everything(connector)
        assert len(log_ins(shop)) == 1
        now[0] += 2
        everything(connector)
        assert len(log_ins(shop)) == 2

    def test_a_forgotten_token_costs_one_more_log_in(self, shop, connector):
        key = shop.add_order()
        everything(connector)
        shop.logins.forget_tokens()
        assert found_order(connector, key).external_id == key
        assert len(log_ins(shop)) == 2

    def test_a_malformed_key_is_for_a_person_although_it_is_a_500(self, shop):
        connector = Shopware({**shop.settings(), "client_id": "my shop"})
        with pytest.raises(Misconfigured, match="none of Shopware's"):
            connector.list_orders(None)

    def test_a_refusal_is_not_asked_for_again_and_again(self, shop):
        now = [1000.0]
        settings = {**shop.settings(), "client_secret": "wrong"}
        connector = Shopware(settings, monotonic=lambda: now[0])
        for _ in range(15):
            with pytest.raises(Misconfigured, match="secret access key is wrong"):
                connector.list_orders(None)
        assert len(log_ins(shop)) == 1
        now[0] += 31
        with pytest.raises(Misconfigured):
            connector.list_orders(None)
        assert len(log_ins(shop)) == 2

    def test_who_is_locked_out_waits_as_long_as_the_shop_says(self, shop):
        for _ in range(10):
            with pytest.raises(Misconfigured):
                Shopware({**shop.settings(), "client_secret": "wrong"}).list_orders(None)
        with pytest.raises(Temporary) as caught:
            Shopware(shop.settings()).list_orders(None)
        assert caught.value.retry_after_seconds == 10
        shop.pass_time(11)
        assert Shopware(shop.settings()).list_orders(None).orders == ()

    def test_a_deleted_integration_answers_500_and_is_found_out(self, shop, connector):
        everything(connector)
        del shop.logins.integrations[CLIENT_ID]
        with pytest.raises(Temporary):
            connector.list_orders(None)
        with pytest.raises(Misconfigured, match="key"):
            connector.list_orders(None)


@pytest.mark.feature("S26", "S27", "S37", "S42")
class TestPayments:
    @pytest.mark.parametrize(
        ("state", "action"),
        [
            ("open", "paid"),
            ("reminded", "pay"),
            ("paid_partially", "pay"),
            ("failed", "paid"),
            ("cancelled", "paid"),
            ("in_progress", "paid"),
            ("unconfirmed", "paid"),
        ],
    )
    def test_every_state_has_its_own_action_for_paid(self, shop, connector, state, action):
        key = shop.add_order()
        shop.set_status(key, state)
        assert connector.push_payment(update(key)).outcome is Outcome.APPLIED
        assert shop.status_of(key) == "paid"
        assert [path.rpartition("/")[2] for _, path, _ in shop.writes] == [action]

    def test_the_shop_is_asked_to_mail_nobody(self, shop, connector):
        key = shop.add_order()
        connector.push_payment(update(key))
        connector.push_payment(update(shop.add_order(), Intent.CANCELLED))
        assert [body for _, _, body in shop.writes] == [{"sendMail": False}] * 3

    @pytest.mark.parametrize(
        ("intent", "before", "after"),
        [
            (Intent.PARTIALLY_PAID, "open", "paid_partially"),
            (Intent.PARTIALLY_PAID, "reminded", "paid_partially"),
            (Intent.OVERDUE, "open", "reminded"),
            (Intent.OVERDUE, "paid_partially", "reminded"),
            (Intent.CANCELLED, "reminded", "cancelled"),
        ],
    )
    def test_other_intents_have_states_too(self, shop, connector, intent, before, after):
        key = shop.add_order()
        shop.set_status(key, before)
        acknowledgement = connector.push_payment(update(key, intent))
        assert (acknowledgement.outcome, shop.status_of(key)) == (Outcome.APPLIED, after)

    def test_a_paid_order_is_open_again_where_the_mapping_says_so(self, shop, connector):
        key = shop.add_order()
        shop.set_status(key, "paid")
        asked = update(key, Intent.UNPAID)
        assert connector.push_payment(asked).outcome is Outcome.NO_LONGER_OPEN
        opened = update(key, Intent.UNPAID, open_statuses=("paid",))
        assert connector.push_payment(opened).outcome is Outcome.APPLIED
        assert shop.status_of(key) == "open"

    @pytest.mark.feature("K5", "S78")
    def test_what_was_paid_may_be_refunded_in_parts_and_then_in_whole(self, shop, connector):
        key = shop.add_order()
        shop.set_status(key, "paid")
        for intent, after in (
            (Intent.PARTIALLY_REFUNDED, "refunded_partially"),
            (Intent.REFUNDED, "refunded"),
        ):
            asked = update(key, intent, open_statuses=("another",))
            assert connector.push_payment(asked).outcome is Outcome.APPLIED
            assert shop.status_of(key) == after

    def test_what_was_cancelled_is_not_refunded(self, shop, connector):
        key = shop.add_order()
        shop.set_status(key, "cancelled")
        asked = update(key, Intent.REFUNDED)
        assert connector.push_payment(asked).outcome is Outcome.NO_LONGER_OPEN

    def test_a_way_may_lead_over_states_that_mean_nothing(self, shop, connector):
        key = shop.add_order()
        shop.set_status(key, "failed")
        assert connector.push_payment(update(key, Intent.OVERDUE)).outcome is Outcome.APPLIED
        assert shop.status_of(key) == "reminded"
        assert [path.rpartition("/")[2] for _, path, _ in shop.writes] == ["reopen", "remind"]

    def test_no_way_leads_over_states_that_flows_hang_on(self, shop, connector):
        key = shop.add_order()
        acknowledgement = connector.push_payment(update(key, Intent.REFUNDED))
        assert acknowledgement.outcome is Outcome.REJECTED
        assert "no way leads from 'open' to 'refunded'" in acknowledgement.reason
        assert len(shop.writes) == 0

    def test_a_machine_that_the_merchant_changed_is_followed(self, shop, connector):
        arrows = {
            "open": {"check": "in_progress"},
            "in_progress": {"settle": "paid", "cancel": "cancelled"},
            "paid": {},
            "cancelled": {},
        }
        shop.store.machines[PAYMENT] = Machine(PAYMENT, arrows)
        key = shop.add_order()
        assert connector.push_payment(update(key)).outcome is Outcome.APPLIED
        assert [path.rpartition("/")[2] for _, path, _ in shop.writes] == ["check", "settle"]

    def test_the_active_payment_is_the_one_that_is_moved(self, shop, connector):
        key = shop.add_order()
        shop.change_method(key, "payment_invoicepayment")
        order = found_order(connector, key)
        assert (order.payment_method, order.shop_status) == ("payment_invoicepayment", "open")
        assert connector.push_payment(update(key)).outcome is Outcome.APPLIED
        states = [
            each["stateMachineState"]["technicalName"] for each in shop.orders[key]["transactions"]
        ]
        assert states == ["cancelled", "paid"]

    def test_an_order_without_a_payment_is_refused(self, shop, connector):
        key = shop.add_order(payment_method=None)
        assert found_order(connector, key).shop_status is None
        assert connector.push_payment(update(key)).outcome is Outcome.REJECTED

    def test_a_state_that_moved_meanwhile_is_looked_at_again(self, shop, connector, monkeypatch):
        key = shop.add_order()
        between_look_and_write(monkeypatch, shop, lambda: shop.set_status(key, "refunded"))
        assert connector.push_payment(update(key)).outcome is Outcome.TEMPORARY
        assert connector.push_payment(update(key)).outcome is Outcome.NO_LONGER_OPEN

    def test_between_two_looks_an_order_may_be_refunded(self, shop, connector, monkeypatch):
        key = shop.add_order()
        read = connector._read_status

        def read_and_then_somebody_refunds(external_id):
            status = read(external_id)
            shop.set_status(key, "refunded_partially")
            return status

        monkeypatch.setattr(connector, "_read_status", read_and_then_somebody_refunds)
        assert connector.push_payment(update(key)).outcome is Outcome.TEMPORARY
        assert len(shop.writes) == 0

    def test_an_order_deleted_meanwhile_is_no_disaster(self, shop, connector, monkeypatch):
        key = shop.add_order()
        between_look_and_write(monkeypatch, shop, lambda: shop.delete(key))
        assert connector.push_payment(update(key)).outcome is Outcome.TEMPORARY
        assert connector.push_payment(update(key)).outcome is Outcome.NO_LONGER_OPEN

    def test_a_cancelled_order_waits_for_no_money(self, shop, connector):
        key = shop.add_order()
        shop.set_order_state(key, "cancelled")
        assert found_order(connector, key).shop_status == "cancelled"
        partly = connector.push_payment(update(key, Intent.PARTIALLY_PAID))
        assert partly.outcome is Outcome.NO_LONGER_OPEN
        assert connector.push_payment(update(key)).outcome is Outcome.APPLIED, "but it may come"
        assert shop.status_of(key) == "paid"


@pytest.mark.feature("S27")
class TestCancelling:
    def state_of(self, shop, key):
        return shop.orders[key]["stateMachineState"]["technicalName"]

    def test_the_order_is_cancelled_with_its_payment(self, shop, connector):
        key = shop.add_order()
        acknowledgement = connector.push_payment(update(key, Intent.CANCELLED))
        assert acknowledgement.outcome is Outcome.APPLIED
        assert (self.state_of(shop, key), shop.status_of(key)) == ("cancelled", "cancelled")

    def test_only_the_payment_if_the_merchant_wants_it_so(self, shop):
        connector = Shopware({**shop.settings(), "cancel_orders": "no"})
        key = shop.add_order()
        connector.push_payment(update(key, Intent.CANCELLED))
        assert (self.state_of(shop, key), shop.status_of(key)) == ("open", "cancelled")

    @pytest.mark.parametrize("state", ["in_progress", "completed"])
    def test_an_order_that_somebody_works_on_is_not_cancelled(self, shop, connector, state):
        key = shop.add_order()
        shop.set_order_state(key, state)
        connector.push_payment(update(key, Intent.CANCELLED))
        assert (self.state_of(shop, key), shop.status_of(key)) == (state, "cancelled")


@pytest.mark.feature("S21", "S41")
class TestComparing:
    def test_what_moves_only_the_payment_is_seen(self, shop, connector):
        old = shop.now() - timedelta(days=3)
        shop.freeze(old)
        key = shop.add_order()
        shop.freeze(None)
        shop.add_order()
        cursor = last_cursor(connector)
        shop.set_status(key, "paid")
        assert shop.orders[key]["updatedAt"] is None
        changed = {order.external_id: order for order in everything(connector, cursor)}
        assert changed[key].shop_status == "paid"

    def test_an_invoice_that_is_made_later_is_seen(self, shop, connector):
        shop.freeze(shop.now() - timedelta(days=3))
        key = shop.add_order()
        shop.freeze(None)
        cursor = last_cursor(connector)
        shop.add_document(key, "RE-1")
        (order,) = everything(connector, cursor)
        assert [invoice.number for invoice in order.invoices] == ["RE-1"]

    def test_more_orders_than_fit_pages(self, shop, connector):
        made = [shop.add_order() for _ in range(230)]
        before = len(searches(shop))
        assert [order.external_id for order in everything(connector)] == made
        assert len(searches(shop)) - before == 3

    def test_orders_that_change_during_the_scan_skip_no_other(self, shop, connector):
        made = [shop.add_order() for _ in range(150)]
        first = connector.list_orders(None)
        shop.delete(made[3])
        for key in made[:60]:
            if key != made[3]:
                shop.set_status(key, "paid")
        rest = everything(connector, first.cursor)
        assert [order.external_id for order in (*first.orders, *rest)] == made

    def test_what_changed_behind_a_long_scan_is_in_the_next_one(self, shop, connector):
        made = [shop.add_order() for _ in range(150)]
        first = connector.list_orders(None)
        shop.set_status(made[0], "paid")
        shop.pass_time(3600)
        shop.set_status(made[149], "reminded")
        rest = connector.list_orders(first.cursor)
        assert not rest.has_more
        again = {order.external_id: order for order in everything(connector, rest.cursor)}
        assert again[made[0]].shop_status == "paid"

    def test_old_orders_come_only_if_their_money_is_awaited(self, shop):
        connector = Shopware({**shop.settings(), "history_days": "30"})
        shop.freeze(shop.now() - timedelta(days=90))
        _old, reminded, partly = (shop.add_order() for _ in range(3))
        shop.set_status(reminded, "reminded")
        shop.set_status(partly, "paid_partially")
        shop.freeze(None)
        new = shop.add_order()
        listed = [order.external_id for order in everything(connector)]
        assert listed == [reminded, partly, new]

    def test_an_unreadable_order_holds_up_no_other(self, shop, connector):
        broken, fine = shop.add_order(), shop.add_order()
        shop.orders[broken]["currency"] = None
        page = connector.list_orders(None)
        assert [order.external_id for order in page.orders] == [fine]
        assert len(page.problems) == 1
        assert broken in page.problems[0]

    def test_a_shop_that_lists_everything_whatever_is_asked_is_not_believed(
        self, shop, connector, monkeypatch
    ):
        key = shop.add_order()
        monkeypatch.setattr(shop.api, "_criteria", lambda asked: {})
        with pytest.raises(Temporary):
            connector.get_orders(["a" * 32])
        first = connector.list_orders(None)
        assert [order.external_id for order in first.orders] == []
        assert key in first.problems[0], "without associations there is no currency"

    def test_drafts_are_no_orders(self, shop, connector):
        key = shop.add_order()
        version = shop.open_draft(key)
        assert version != LIVE
        assert [order.external_id for order in everything(connector)] == [key]

    def test_an_id_that_is_none_is_refused_before_it_is_asked_for(self, shop, connector):
        for wrong in ("10001", "A" * 32, "0189-", "../order"):
            with pytest.raises(Rejected):
                connector.get_orders([wrong])
        assert len(shop.requests) == 0

    def test_many_ids_are_asked_for_a_hundred_at_once(self, shop, connector):
        made = [shop.add_order() for _ in range(120)]
        before = len(searches(shop))
        found = connector.get_orders([*made, "a" * 32, "b" * 32])
        assert len(searches(shop)) - before == 2
        assert [key for key, each in found.items() if each is Evidence.GONE] == ["a" * 32, "b" * 32]


@pytest.mark.feature("K67")
class TestSalesChannels:
    @pytest.fixture
    def other(self, shop):
        return shop.store.add_channel("Marktplatz")

    @pytest.mark.parametrize("by", ["name", "id"])
    def test_only_orders_of_the_chosen_channel(self, shop, other, by):
        connector = Shopware({**shop.settings(), "sales_channels": f"{other[by]}, "})
        ours = shop.add_order(sales_channel="Marktplatz", number="M-1")
        theirs = shop.add_order(number="S-1")
        assert [order.external_id for order in everything(connector)] == [ours]
        cursor = last_cursor(connector)
        for key in (ours, theirs):
            shop.set_status(key, "paid")
        assert [order.external_id for order in everything(connector, cursor)] == [ours]
        assert list(connector.get_orders([ours, theirs])) == [ours]
        assert connector.find_order("S-1") is None
        assert connector.find_order("M-1").external_id == ours

    def test_a_channel_that_there_is_not_is_named_with_those_there_are(self, shop, other):
        connector = Shopware({**shop.settings(), "sales_channels": "Markt"})
        with pytest.raises(Misconfigured, match=r"no sales channel Markt; it has Marktplatz"):
            connector.list_orders(None)
        problems = [each for each in connector.check() if each.severity is Severity.PROBLEM]
        assert [each.topic for each in problems] == ["settings"]

    def test_an_id_that_there_is_not_is_found_by_check(self, shop):
        connector = Shopware({**shop.settings(), "sales_channels": "c" * 32})
        problems = [each for each in connector.check() if each.severity is Severity.PROBLEM]
        assert "c" * 32 in problems[0].text


class TestRights:
    def rights(self, *but):
        every = {f"{entity}:read" for entity in PRIVILEGES.values()}
        return frozenset(every - set(but))

    def connect(self, shop, *but):
        shop.logins.integrations[CLIENT_ID].rights = self.rights(*but)
        return Shopware(shop.settings())

    def test_the_rights_of_the_readme_suffice_for_everything(self, shop):
        connector = self.connect(shop)
        key = shop.add_order()
        everything(connector)
        assert connector.discover().currency == "EUR"
        assert {each.severity for each in connector.check()} == {Severity.NOTE}
        shop.set_status(key, "failed")
        assert connector.push_payment(update(key, Intent.OVERDUE)).outcome is Outcome.APPLIED

    def test_missing_ones_are_named(self, shop):
        connector = self.connect(shop, "document:read", "order:read")
        with pytest.raises(Misconfigured, match="lacks rights: document:read, order:read"):
            connector.list_orders(None)
        missing = [each.text for each in connector.check() if each.severity is Severity.PROBLEM]
        assert missing == [
            "The right order:read is missing.",
            "The right document:read is missing.",
        ]

    def test_a_right_taken_away_later_is_for_a_person(self, shop, connector):
        everything(connector)
        shop.logins.integrations[CLIENT_ID] = Integration("x", frozenset())
        with pytest.raises(Misconfigured, match="order:read"):
            connector.list_orders(None)


@pytest.mark.feature("S74")
class TestByNumber:
    def test_case_and_accents_make_another_number(self, shop, connector):
        key = shop.add_order(number="RE-ä1")
        assert connector.find_order("RE-ä1").external_id == key
        assert connector.find_order("re-a1") is None

    def test_two_orders_with_one_number_are_for_a_person(self, shop, connector):
        for _ in range(2):
            shop.add_order(number="AA-1")
        with pytest.raises(Rejected, match="2 orders with the number AA-1"):
            connector.find_order("AA-1")


class TestDocuments:
    def test_the_file_of_an_invoice(self, shop, connector):
        key = shop.add_order()
        shop.add_document(key, "L-1", "delivery_note")
        made = shop.add_document(key, "RE-1")
        assert connector.get_invoice(key, "RE-1") == PDF
        assert connector.get_invoice(key, "L-1") is None
        shop.store.files[made["id"]] = b""
        assert connector.get_invoice(key, "RE-1") is None, "not rendered yet"

    def test_what_is_no_pdf_is_not_passed_on(self, shop, connector):
        key = shop.add_order()
        made = shop.add_document(key, "RE-1")
        shop.store.files[made["id"]] = b"<html>"
        with pytest.raises(Temporary, match="PDF"):
            connector.get_invoice(key, "RE-1")

    def test_an_order_that_is_gone_has_no_invoice(self, connector):
        assert connector.get_invoice("a" * 32, "RE-1") is None


class TestWebhooks:
    def test_entity_events_are_hints(self, shop, connector):
        key = shop.add_order()
        for topic in ("order.written", "order.deleted"):
            hint = connector.read_webhook(*shop.delivery(topic, key))
            assert (hint.ids, hint.topic) == ((key,), topic)

    def test_drafts_are_nothing_to_look_at(self, shop, connector):
        key = shop.add_order()
        assert (
            connector.read_webhook(*shop.delivery("order.written", key, version="d" * 32)) is None
        )

    def test_other_events_are_no_hints(self, shop, connector):
        key = shop.add_order()
        headers, body = shop.delivery("product.written", key)
        assert connector.read_webhook(headers, body) is None

    def test_those_of_an_integration_are_refused(self, shop, connector):
        key = shop.add_order()
        with pytest.raises(Rejected):
            connector.read_webhook(*shop.delivery("order.written", key, secret=None))

    def test_without_a_secret_everything_is_refused_and_the_shop_is_asked(self, shop):
        connector = Shopware({**shop.settings(), "webhook_secret": ""})
        assert not connector.is_told
        key = shop.add_order()
        for secret in ("", APP_SECRET):
            with pytest.raises(Rejected):
                connector.read_webhook(*shop.delivery("order.written", key, secret=secret))
        texts = [each.text for each in connector.check() if each.topic == "webhooks"]
        assert "next comparison" in texts[0]


class TestVersions:
    def test_before_6_5_7_methods_are_known_by_their_handlers(self):
        with FakeShopware(version="6.5.3.0") as shop:
            connector = Shopware(shop.settings())
            key = shop.add_order(payment_method="payment_invoicepayment")
            shop.add_document(key, "RE-1")
            order = found_order(connector, key)
            assert order.payment_method == "payment_invoicepayment"
            assert [invoice.number for invoice in order.invoices] == ["RE-1"]
            assert [each.code for each in connector.discover().payment_methods] == [
                "payment_prepayment",
                "payment_invoicepayment",
                "payment_cashpayment",
            ]

    def test_from_6_7_the_shop_names_the_payment_that_counts(self):
        with FakeShopware(version="6.7.10.1") as shop:
            connector = Shopware(shop.settings())
            key = shop.add_order()
            first = shop.orders[key]["transactions"][0]["id"]
            shop.change_method(key, "payment_invoicepayment")
            assert found_order(connector, key).payment_method == "payment_invoicepayment"
            shop.orders[key]["primaryOrderTransactionId"] = first
            assert found_order(connector, key).payment_method == "payment_prepayment"

    @pytest.mark.parametrize(
        ("version", "severity"),
        [("6.4.20.2", Severity.WARNING), ("6.5.8.1", Severity.NOTE), ("6.7.10.1", Severity.NOTE)],
    )
    def test_check_says_which_version_it_found(self, version, severity):
        with FakeShopware(version=version) as shop:
            findings = [
                each for each in Shopware(shop.settings()).check() if each.topic == "version"
            ]
            assert [each.severity for each in findings] == [severity]
            assert version in findings[0].text


def test_methods_and_states_in_the_words_of_the_shop(connector):
    found = connector.discover()
    assert {each.code: each.name for each in found.payment_methods} == {
        "payment_prepayment": "Vorkasse",
        "payment_invoicepayment": "Rechnung",
        "payment_cashpayment": "Nachnahme",
    }
    assert {"open", "paid", "reminded", "chargeback"} <= {each.code for each in found.statuses}
    assert (found.currency, found.version) == ("EUR", "6.6.7.0")


def test_another_system_at_the_address_is_told_as_such(shop):
    connector = Shopware({**shop.settings(), "shop_url": f"{shop.url}/blog"})
    with pytest.raises(Misconfigured, match="no Shopware 6"):
        connector.list_orders(None)


@pytest.mark.parametrize(
    "address",
    ["shop.example.org", "ftp://shop.example.org", "https://", "https://u:p@shop.example.org",
     "https://shop.example.org/?a=b", "https://shop.example.org:x"],
)  # fmt: skip
def test_an_address_that_is_none(shop, address):
    with pytest.raises(Misconfigured, match="shop_url"):
        Shopware({**shop.settings(), "shop_url": address})


def test_every_setting_has_german_words():
    for each in Shopware.Config.__dataclass_fields__.values():
        assert all(each.metadata["de"]), each.name


def test_repeating_an_update_is_harmless(shop, connector):
    key = shop.add_order()
    outcomes = [connector.push_payment(replace(update(key), attempt=n)).outcome for n in (1, 2)]
    assert outcomes == [Outcome.APPLIED, Outcome.ALREADY_THERE]
    assert len(shop.store.history) == 1
