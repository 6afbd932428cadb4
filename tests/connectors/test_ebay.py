"""The eBay connector against an eBay that answers as its contracts say."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import requests

from connectors.ebay import Ebay, window
from connectors.ebay import connector as ebay_connector
from plugin_sdk.connector import LoginWay, Severity
from plugin_sdk.errors import LoginNeeded, Misconfigured, Rejected, Temporary
from plugin_sdk.http import USUAL
from plugin_sdk.schemas import PayoutSchema
from plugin_sdk.testing import ebay_login, ebay_orders
from plugin_sdk.testing.contract import ConnectorContract, everything, found_order, last_cursor
from plugin_sdk.testing.fake_ebay import (
    CLIENT_ID,
    CLIENT_SECRET,
    REFRESH_TOKEN,
    RU_NAME,
    FakeEbay,
)
from plugin_sdk.types import Evidence, Intent, Outcome

WAY = LoginWay("state-4711", "https://kontor.example.org/login/state-4711", "")


def settings_of(shop, **more):
    if not shop.login.signing_keys:
        shop.keys = shop.login.make_signing_key()
    return {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "ru_name": RU_NAME,
        "refresh_token": REFRESH_TOKEN,
        "account_id": shop.seller.user_id,
        "signing_key": shop.keys["privateKey"],
        "signing_jwe": shop.keys["jwe"],
        "base_url": shop.url,
        **more,
    }


@pytest.fixture
def shop():
    with FakeEbay() as fake:
        yield fake


@pytest.fixture
def connector(shop):
    made = Ebay(settings_of(shop))
    yield made
    made.close()
    assert shop.unexpected == []


@contextmanager
def an_hour_ago(shop):
    """Payouts of this very second are told at the next comparison only."""
    shop.freeze(datetime.now(UTC) - timedelta(hours=1))
    yield
    shop.freeze(None)


def every_payout(connector, cursor=None):
    """All payouts from a cursor on, what was wrong with others, and the cursor behind them."""
    told, problems = [], []
    while True:
        page = connector.list_payouts(cursor)
        told += page.payouts
        problems += page.problems
        cursor = page.cursor
        if not page.has_more:
            return told, problems, cursor


def update_of(key, **changes):
    return replace(TestEbay().update(key), **changes)


@pytest.mark.feature("S21", "S22", "S26", "S42")
class TestEbay(ConnectorContract):
    open_status = "PENDING"
    paid_status = "PAID"
    closed_status = "FULLY_REFUNDED"
    cancelled_status = "CANCELED"
    unknown_id = "99-99999-99999"

    @pytest.fixture
    def shop(self):
        with FakeEbay() as fake:
            yield fake

    def connect(self, shop, **settings):
        return Ebay(settings_of(shop, **settings))

    def wrong_key(self):
        return {"refresh_token": "v^1.1#i^1#r^1#withdrawn"}

    def add_order(self, shop, *, name="Erika Mustermann", item="Buch", total="39.90"):
        return shop.add_order(name=name, item=item, total=total)

    def test_paid_after_cancelled_is_the_exception(self, shop, connector):
        """eBay marks no cancelled order as paid: the buyer would have to order again."""
        key = self.add_order(shop)
        shop.set_status(key, self.cancelled_status)
        assert connector.push_payment(self.update(key)).outcome is Outcome.NO_LONGER_OPEN
        assert len(shop.writes) == 0

    def test_the_named_status_is_written(self, shop, connector):
        """eBay can be told that an order was paid, and nothing else."""
        key = self.add_order(shop)
        update = update_of(key, shop_status=self.closed_status)
        assert connector.push_payment(update).outcome is Outcome.NOT_SUPPORTED
        assert shop.status_of(key) == self.open_status


class TestPaying:
    @pytest.mark.feature("S42")
    def test_the_sale_is_completed_once(self, shop, connector):
        key = shop.add_order(method="EFT")
        assert connector.push_payment(update_of(key)).outcome is Outcome.APPLIED
        assert connector.push_payment(update_of(key)).outcome is Outcome.ALREADY_THERE
        assert len(shop.writes) == 1
        (payment,) = shop.orders[key]["paymentSummary"]["payments"]
        assert payment["paymentStatus"] == "PAID"

    @pytest.mark.parametrize("method", ["EBAY", "PAYPAL", "CREDIT_CARD", "ESCROW"])
    def test_what_ebay_collects_is_not_told_and_that_is_normal(self, shop, connector, method):
        key = shop.add_order(method=method)
        acknowledgement = connector.push_payment(update_of(key))
        assert acknowledgement.outcome is Outcome.NOT_SUPPORTED
        assert method in acknowledgement.reason
        assert connector.plan_payment(update_of(key)).outcome is Outcome.NOT_SUPPORTED
        assert len(shop.writes) == 0

    def test_an_order_of_which_ebay_does_not_say_how_may_be_told(self, shop, connector):
        key = shop.add_order(method=None)
        assert found_order(connector, key).payment_method == "NOT_CHOSEN"
        assert connector.push_payment(update_of(key)).outcome is Outcome.APPLIED

    def test_cancelling_is_not_supported(self, shop, connector):
        key = shop.add_order()
        update = update_of(key, intent=Intent.CANCELLED)
        assert connector.push_payment(update).outcome is Outcome.NOT_SUPPORTED

    def test_a_refusal_inside_of_200_is_one(self, shop, connector, monkeypatch):
        key = shop.add_order()
        monkeypatch.setattr("plugin_sdk.testing.ebay_trading.OFFLINE", ())
        acknowledgement = connector.push_payment(update_of(key))
        assert acknowledgement.outcome is Outcome.REJECTED
        assert "cannot be changed by its seller" in acknowledgement.reason

    def test_an_ebay_that_says_yes_and_does_nothing(self, shop, connector):
        key = shop.add_order()
        shop.seller.ignores_sales = True
        outcomes = [
            connector.push_payment(update_of(key, attempt=attempt)).outcome for attempt in (1, 2, 3)
        ]
        assert outcomes == [Outcome.TEMPORARY, Outcome.TEMPORARY, Outcome.REJECTED]

    def test_a_limit_of_the_trading_api_is_temporary(self, shop, connector):
        key = shop.add_order()
        shop.calls_left = 2  # the two looks before the write
        acknowledgement = connector.push_payment(update_of(key))
        assert acknowledgement.outcome is Outcome.TEMPORARY
        assert acknowledgement.retry_after_seconds == 3600
        assert "518" in acknowledgement.reason

    def test_a_token_that_ended_before_its_time_is_replaced_once(self, shop, connector):
        key = shop.add_order()
        connector.plan_payment(update_of(key))
        shop.login.forget_access()
        assert connector.push_payment(update_of(key)).outcome is Outcome.APPLIED

    def test_the_trading_api_gets_a_new_token_too(self, shop, connector):
        connector.plan_payment(update_of(shop.add_order()))
        shop.login.forget_access()
        assert "Payments can be told." in [each.text for each in connector._check_writing()]


class TestTokens:
    def test_a_token_is_asked_for_once(self, shop, connector):
        for _ in range(3):
            everything(connector)
        assert [each for each in shop.requests if "token" in each] == [
            "POST /identity/v1/oauth2/token"
        ]

    def test_a_withdrawn_consent_is_a_log_in(self, shop, connector):
        key = shop.add_order()
        everything(connector)
        shop.login.revoke()
        with pytest.raises(LoginNeeded, match="log in at eBay once more"):
            connector.list_orders(None)
        assert connector.push_payment(update_of(key)).outcome is Outcome.MISCONFIGURED

    def test_a_consent_without_a_right_is_a_log_in(self, shop, connector):
        shop.login.refresh[REFRESH_TOKEN] = frozenset({ebay_login.SCOPE})
        with pytest.raises(LoginNeeded, match="lacks a right"):
            connector.list_orders(None)

    def test_a_wrong_keyset_is_told_as_such(self, shop):
        connector = Ebay(settings_of(shop, client_secret="PRD-wrong"))
        with pytest.raises(Misconfigured, match="Cert ID") as caught:
            connector.list_orders(None)
        assert not isinstance(caught.value, LoginNeeded)

    def test_too_many_calls(self, shop, connector):
        everything(connector)
        shop.calls_left = 0
        with pytest.raises(Temporary, match="request limit"):
            connector.list_orders(None)


@pytest.mark.feature("S21")
class TestLogin:
    def agree(self, shop, settings, answer="yes"):
        """What the seller does in the browser, and what comes back."""
        url = Ebay.login_url(settings, WAY)
        page = requests.get(url, timeout=10)
        assert "Agree" in page.text
        back = requests.get(f"{url}&answer={answer}", allow_redirects=False, timeout=10)
        place = requests.utils.urlparse(back.headers["Location"])
        assert place.geturl().startswith(shop.login.accept_url)
        return dict(part.split("=", 1) for part in requests.utils.unquote(place.query).split("&"))

    def before(self, shop):
        settings = settings_of(shop)
        for name in ("refresh_token", "account_id", "signing_key", "signing_jwe"):
            del settings[name]
        return settings

    def test_consent_gives_all_that_is_needed(self, shop):
        settings = self.before(shop)
        given = self.agree(shop, settings)
        known = Ebay.read_login(settings, WAY, given, USUAL)
        assert known["account_id"] == shop.seller.user_id
        assert datetime.fromisoformat(known["login_until"]).year > datetime.now(UTC).year
        connector = Ebay({**settings, **known})
        key = shop.add_order()
        with an_hour_ago(shop):
            shop.seller.book("SALE", "10.00")
            shop.seller.pay_out()
        assert [order.external_id for order in everything(connector)] == [key]
        assert len(every_payout(connector)[0]) == 1, "signed with the new key"

    def test_a_log_in_is_good_once(self, shop):
        settings = self.before(shop)
        given = self.agree(shop, settings)
        Ebay.read_login(settings, WAY, given, USUAL)
        with pytest.raises(Rejected, match="used before"):
            Ebay.read_login(settings, WAY, given, USUAL)

    def test_a_log_in_that_somebody_else_began(self, shop):
        settings = self.before(shop)
        given = self.agree(shop, settings)
        for state in ("another", "", None):
            with pytest.raises(Rejected, match="belongs to another"):
                Ebay.read_login(settings, WAY, {**given, "state": state}, USUAL)
        assert shop.login.codes, "the code was not used"

    def test_a_log_in_that_was_declined(self, shop):
        settings = self.before(shop)
        given = self.agree(shop, settings, answer="no")
        with pytest.raises(Rejected, match="declined"):
            Ebay.read_login(settings, WAY, given, USUAL)

    def test_another_account_is_another_shop(self, shop):
        settings = self.before(shop)
        given = self.agree(shop, settings)
        with pytest.raises(Rejected, match="another account"):
            Ebay.read_login({**settings, "account_id": "of-before"}, WAY, given, USUAL)

    def test_signing_keys_that_are_there_stay(self, shop):
        settings = settings_of(shop)
        known = Ebay.read_login(settings, WAY, self.agree(shop, settings), USUAL)
        assert "signing_key" not in known
        assert len(shop.login.signing_keys) == 1

    def test_without_a_ru_name_there_is_no_log_in(self, shop):
        with pytest.raises(Misconfigured, match="ru_name"):
            Ebay.login_url(settings_of(shop, ru_name=""), WAY)

    @pytest.mark.parametrize(
        ("environment", "host"),
        [("production", "https://auth.ebay.com/"), ("sandbox", "https://auth.sandbox.ebay.com/")],
    )
    def test_the_environments(self, environment, host):
        settings = {
            "client_id": "a", "client_secret": "b", "ru_name": "c", "environment": environment,
        }  # fmt: skip
        url = Ebay.login_url(settings, WAY)
        assert url.startswith(f"{host}oauth2/authorize?client_id=a&redirect_uri=c&")
        assert "state=state-4711" in url
        assert "sell.finances" in url


class TestComparing:
    @pytest.fixture
    def small(self, monkeypatch):
        monkeypatch.setattr(ebay_connector, "PAGE_ORDERS", 10)

    @pytest.fixture
    def many(self, shop, small):
        start = datetime.now(UTC) - timedelta(days=3)
        made = []
        for minute in range(35):
            shop.freeze(start + timedelta(minutes=minute))
            made.append(shop.add_order())
        shop.freeze(None)
        return made

    def test_more_orders_than_fit_a_page(self, shop, connector, many):
        listed = [order.external_id for order in everything(connector)]
        assert sorted(listed) == many
        assert everything(connector, last_cursor(connector)) == []

    def test_orders_that_change_during_the_scan_skip_no_other(self, shop, connector, many):
        first = connector.list_orders(None)
        for key in many[:7]:  # these leave the window, and all others move up
            shop.set_status(key, "FULLY_REFUNDED")
        rest = everything(connector, first.cursor)
        told = {order.external_id: order.shop_status for order in (*first.orders, *rest)}
        assert set(told) == set(many)
        # What changed in the very second of a scan of several pages is told by the next one.
        shop.freeze(datetime.now(UTC) + timedelta(seconds=2))
        again = everything(connector, _end(connector, first.cursor))
        told |= {order.external_id: order.shop_status for order in again}
        assert [told[key] for key in many[:7]] == ["FULLY_REFUNDED"] * 7

    def test_the_overlap_brings_back_what_was_saved_late(self, shop, connector):
        now = datetime.now(UTC) - timedelta(hours=1)
        shop.freeze(now)
        shop.add_order()
        cursor = last_cursor(connector)
        shop.freeze(now - timedelta(minutes=9))
        late = shop.add_order()
        shop.freeze(now)
        assert [order.external_id for order in everything(connector, cursor)] == [late]

    def test_an_agent_that_stood_still_for_years(self, shop, connector):
        old = window.Window(datetime(2020, 1, 1, tzinfo=UTC)).text()
        key = shop.add_order()
        assert [order.external_id for order in everything(connector, old)] == [key]

    def test_a_clock_that_is_ahead_asks_for_nothing_in_the_future(self, shop):
        ahead = datetime.now(UTC) + timedelta(days=2)
        connector = Ebay(settings_of(shop, signing_key=""), clock=ahead.timestamp)
        key = shop.add_order()
        cursor = last_cursor(connector)
        later = shop.add_order()
        assert [order.external_id for order in everything(connector, cursor)] == [later]
        assert found_order(connector, key).external_id == key

    def test_an_unreadable_order_holds_up_no_other(self, shop, connector):
        broken, fine = shop.add_order(), shop.add_order()
        shop.orders[broken]["pricingSummary"]["total"]["value"] = "many"
        page = connector.list_orders(None)
        assert [order.external_id for order in page.orders] == [fine]
        assert page.problems == (f"Order {broken}: its total cannot be read.",)

    def test_a_comparison_without_news_costs_one_request(self, shop, connector):
        shop.add_order()
        cursor = last_cursor(connector)
        before = len(shop.requests)
        assert everything(connector, cursor) == []
        assert len(shop.requests) == before + 1

    def test_many_ids_are_asked_for_fifty_at_once(self, shop, connector):
        keys = [shop.add_order() for _ in range(120)]
        connector.list_orders(None)
        before = len(shop.requests)
        assert set(connector.get_orders(keys)) == set(keys)
        assert len(shop.requests) == before + 3

    def test_a_404_that_is_not_ebays_is_no_evidence(self, shop, connector, monkeypatch):
        monkeypatch.setattr("plugin_sdk.testing.fake_ebay.ORDERS", "/elsewhere")
        with pytest.raises(Temporary):
            connector.get_orders(["12-00001-10001"])

    def test_an_order_that_ebay_forgot_is_gone(self, shop, connector):
        key = shop.add_order()
        shop.delete(key)
        assert connector.get_orders([key]) == {key: Evidence.GONE}

    def test_ids_that_are_none_are_not_asked_for(self, shop, connector):
        for identifier in ("../payout", "..", "a/b", "ü"):
            with pytest.raises(Rejected):
                connector.get_orders([identifier])


def _end(connector, cursor):
    page = connector.list_orders(cursor)
    while page.has_more:
        page = connector.list_orders(page.cursor)
    return page.cursor


@pytest.mark.feature("N6")
class TestPayouts:
    def test_a_payout_is_split_to_the_cent(self, shop, connector):
        key = shop.add_order(method="EBAY", status="PAID", total="22.00")
        with an_hour_ago(shop):
            shop.seller.book("SALE", "19.40", fee="2.60", orderId=key)
            shop.seller.book("REFUND", "-4.41", fee="0.59", orderId=key)
            shop.seller.book("NON_SALE_CHARGE", "-1.99", feeType="INSERTION_FEE")
            shop.seller.book("SHIPPING_LABEL", "-3.79", transactionMemo="Label")
            payout_id = shop.seller.pay_out()
        ((payout,), _, _) = every_payout(connector)
        assert (payout.id, payout.amount, payout.currency) == (payout_id, Decimal("9.21"), "EUR")
        assert payout.bank_reference == f"EBAY P*{payout_id}"
        assert payout.account_digits == "4711"
        assert [(part.kind, part.gross, part.fee, part.external_id) for part in payout.parts] == [
            ("fee", Decimal("0.00"), Decimal("-3.79"), None),
            ("fee", Decimal("0.00"), Decimal("-1.99"), None),
            ("refund", Decimal("-5.00"), Decimal("0.59"), key),
            ("sale", Decimal("22.00"), Decimal("-2.60"), key),
        ]
        assert sum(part.net for part in payout.parts) == payout.amount
        assert PayoutSchema().load(PayoutSchema().dump(payout)) == payout

    def test_parts_that_do_not_add_up_do_not_fit_the_wire(self, shop, connector):
        with an_hour_ago(shop):
            shop.seller.book("SALE", "10.00")
            shop.seller.pay_out()
        ((payout,), _, _) = every_payout(connector)
        told = PayoutSchema().dump(replace(payout, amount=Decimal("10.01")))
        assert "do not add up" in str(PayoutSchema().validate(told))

    def test_what_the_parts_do_not_explain_is_a_part(self, shop, connector):
        with an_hour_ago(shop):
            shop.seller.book("SALE", "10.00", fee="1.00")
            shop.seller.pay_out(amount="9.50")
        ((payout,), _, _) = every_payout(connector)
        assert [(part.kind, part.net) for part in payout.parts] == [
            ("sale", Decimal("10.00")),
            ("difference", Decimal("-0.50")),
        ]

    def test_each_is_told_once_and_only_when_it_has_succeeded(self, shop, connector):
        with an_hour_ago(shop):
            shop.seller.book("SALE", "10.00")
            first = shop.seller.pay_out()
            shop.seller.book("SALE", "20.00")
            second = shop.seller.pay_out(status="INITIATED")
        told, _, cursor = every_payout(connector)
        assert [payout.id for payout in told] == [first]
        shop.seller.payouts[second]["payoutStatus"] = "SUCCEEDED"
        told, _, cursor = every_payout(connector, cursor)
        assert [payout.id for payout in told] == [second]
        assert every_payout(connector, cursor)[0] == []

    def test_what_is_on_its_way_where_two_windows_meet_is_told_later(self, shop):
        connector = Ebay(settings_of(shop, history_days=61))
        shop.freeze(datetime.now(UTC) - timedelta(days=10))
        shop.seller.book("SALE", "10.00")
        slow = shop.seller.pay_out(status="INITIATED")
        shop.seller.book("SALE", "20.00")
        first = shop.seller.pay_out()
        shop.freeze(None)
        told, _, cursor = every_payout(connector)
        assert [payout.id for payout in told] == [first]
        shop.seller.payouts[slow]["payoutStatus"] = "SUCCEEDED"
        told, _, _ = every_payout(connector, cursor)
        connector.close()
        assert [payout.id for payout in told] == [slow]

    def test_many_payouts_with_many_parts(self, shop, connector, monkeypatch):
        monkeypatch.setattr(ebay_connector, "PAGE_PAYOUTS", 3)
        monkeypatch.setattr(ebay_connector, "PAGE_TRANSACTIONS", 2)
        start = datetime.now(UTC) - timedelta(days=80)
        made = []
        for week in range(11):
            shop.freeze(start + timedelta(weeks=week))
            for _ in range(5):
                shop.seller.book("SALE", "1.00")
            made.append(shop.seller.pay_out())
        shop.freeze(None)
        told, _, _ = every_payout(connector)
        assert [payout.id for payout in told] == made
        assert {(payout.amount, len(payout.parts)) for payout in told} == {(Decimal("5.00"), 5)}

    def test_a_seller_in_the_eu_needs_signatures(self, shop):
        connector = Ebay(settings_of(shop, signing_key=""))
        with pytest.raises(Misconfigured, match="digital signatures"):
            connector.list_payouts(None)
        findings = {each.topic: each.severity for each in connector.check()}
        assert findings["payouts"] is Severity.WARNING
        shop.login.wants_signatures = False
        assert connector.list_payouts(None).payouts == ()

    def test_a_signature_of_another_key_is_none(self, shop):
        settings = settings_of(shop)
        settings["signing_jwe"] = shop.login.make_signing_key()["jwe"]
        connector = Ebay(settings)
        with pytest.raises(Misconfigured, match="digital signatures"):
            connector.list_payouts(None)

    @pytest.mark.parametrize("key", ["no key", "TUlJ", "-----BEGIN PRIVATE KEY-----"])
    def test_a_key_that_is_none(self, shop, key):
        connector = Ebay(settings_of(shop, signing_key=key))
        with pytest.raises(Misconfigured, match="signing_key"):
            connector.list_payouts(None)

    def test_a_payout_that_cannot_be_read_holds_up_no_other(self, shop, connector):
        with an_hour_ago(shop):
            shop.seller.book("SALE", "10.00")["amount"]["currency"] = "USD"
            shop.seller.pay_out()
            shop.seller.book("SALE", "10.00")
            fine = shop.seller.pay_out()
        told, problems, _ = every_payout(connector)
        assert [payout.id for payout in told] == [fine]
        assert "another currency" in problems[0]

    def test_a_broken_cursor_is_refused(self, connector):
        for cursor in ("nonsense", "{}", "null"):
            with pytest.raises(Rejected):
                connector.list_payouts(cursor)


class TestCheck:
    def test_all_is_well(self, shop, connector):
        findings = connector.check()
        assert {each.severity for each in findings} == {Severity.NOTE}
        assert {each.topic for each in findings} == {"auth", "account", "permission", "payouts"}
        assert "annas-antiquariat" in str(findings)

    def test_a_log_in_that_ends_soon(self, shop):
        soon = (datetime.now(UTC) + timedelta(days=10)).date().isoformat()
        findings = Ebay(settings_of(shop, login_until=soon)).check()
        assert [each.topic for each in findings if each.severity is not Severity.NOTE] == ["login"]

    def test_another_account(self, shop):
        findings = Ebay(settings_of(shop, account_id="another")).check()
        assert [each.topic for each in findings if each.severity is Severity.PROBLEM] == ["account"]

    def test_the_test_system(self, shop):
        findings = Ebay(settings_of(shop, environment="sandbox")).check()
        assert findings[0].topic == "environment"

    def test_discovery(self, shop, connector):
        found = connector.discover()
        assert found.currency == "EUR"
        assert Ebay(settings_of(shop, marketplace="EBAY_GB")).discover().currency == "GBP"
        assert "EFT" in {method.code for method in found.payment_methods}

    def test_nothing_comes_by_webhook(self, shop, connector):
        assert not connector.is_told
        with pytest.raises(Rejected):
            connector.read_webhook(*shop.delivery("order.updated", shop.add_order()))


@pytest.mark.parametrize(
    ("setting", "value"),
    [("history_days", 0), ("history_days", 5000), ("marketplace", "EBAY_MARS"),
     ("environment", "real"), ("base_url", "ebay.example.org")],
)  # fmt: skip
def test_settings_that_cannot_be(setting, value):
    settings = {"client_id": "a", "client_secret": "b", "refresh_token": "c", setting: value}
    with pytest.raises(Misconfigured, match=setting):
        Ebay(settings)


def test_every_setting_has_german_words():
    from dataclasses import fields

    from connectors.ebay import EbayConfig

    assert [each.name for each in fields(EbayConfig) if not all(each.metadata["de"])] == []


def test_the_fake_is_as_strict_as_the_contract():
    assert (ebay_orders.MAX_LIMIT, ebay_orders.MAX_IDS) == (200, 50)
