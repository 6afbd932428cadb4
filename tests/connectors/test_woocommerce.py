"""The WooCommerce connector against a shop that answers as a real one does."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from connectors.woocommerce import WooCommerce
from plugin_sdk.connector import Severity
from plugin_sdk.errors import Misconfigured, Rejected
from plugin_sdk.testing import woocommerce_lists
from plugin_sdk.testing.contract import ConnectorContract, everything, found_order, last_cursor
from plugin_sdk.testing.fake_woocommerce import (
    CONSUMER_KEY,
    CONSUMER_SECRET,
    WEBHOOK_SECRET,
    FakeWooCommerce,
)
from plugin_sdk.testing.woocommerce_login import Key
from plugin_sdk.types import Evidence, Outcome


def settings_of(shop, **more):
    return {
        "shop_url": shop.url,
        "consumer_key": CONSUMER_KEY,
        "consumer_secret": CONSUMER_SECRET,
        "webhook_secret": WEBHOOK_SECRET,
        **more,
    }


@pytest.fixture
def shop():
    with FakeWooCommerce() as fake:
        fake.shop.catalogue.tax_percent = Decimal(0)
        yield fake


@pytest.fixture
def connector(shop):
    made = WooCommerce(settings_of(shop))
    yield made
    made.close()


@pytest.mark.feature("S21", "S22", "S26", "S41", "S42")
class TestWooCommerce(ConnectorContract):
    open_status = "on-hold"
    paid_status = "processing"
    closed_status = "completed"
    cancelled_status = "cancelled"

    @pytest.fixture
    def shop(self):
        with FakeWooCommerce() as fake:
            fake.shop.catalogue.tax_percent = Decimal(0)
            yield fake

    def connect(self, shop, **settings):
        return WooCommerce(settings_of(shop, **settings))

    def wrong_key(self):
        return {"consumer_secret": "cs_wrong"}

    def add_order(self, shop, *, name="Erika Mustermann", item="Buch", total="39.90"):
        return shop.add_order(
            billing={"first_name": "", "last_name": name, "email": "erika@example.org"},
            line_items=[{"name": item, "quantity": 1, "price": total}],
        )


class TestLogin:
    def test_over_http_requests_are_signed(self, shop, connector):
        key = shop.add_order()
        assert found_order(connector, key).external_id == key

    def test_basic_over_http_is_refused_before_the_secret_leaves(self, shop):
        with pytest.raises(Misconfigured, match="https"):
            WooCommerce(settings_of(shop, auth="basic"))

    def test_an_unknown_key_is_told_as_such(self, shop):
        connector = WooCommerce(settings_of(shop, consumer_key="ck_unknown"))
        with pytest.raises(Misconfigured, match="consumer key is wrong"):
            connector.list_orders(None)

    def test_a_wrong_clock_is_told_as_such(self, shop, connector):
        shop.login.skew_seconds = 3600
        findings = connector.check()
        assert [each.severity for each in findings] == [Severity.PROBLEM]
        assert "clocks" in findings[0].text

    def test_a_key_that_may_only_read_is_found_by_check(self, shop, connector):
        shop.login.keys[CONSUMER_KEY] = Key(CONSUMER_SECRET, may_write=False)
        problems = [each for each in connector.check() if each.severity is Severity.PROBLEM]
        assert [each.topic for each in problems] == ["permission"]
        assert "read/write" in problems[0].text

    def test_plain_permalinks(self):
        with FakeWooCommerce(plain_permalinks=True) as shop:
            connector = WooCommerce(settings_of(shop))
            key = shop.add_order()
            assert [order.external_id for order in everything(connector)] == [key]
            before = len(shop.requests)
            connector.get_orders([key])
            assert len(shop.requests) == before + 1, "the form that works is kept"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1, and a server's TLS context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.example.org")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path_factory.mktemp("tls") / "shop.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return pem, context


@pytest.fixture
def trusted(certificate, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    return certificate[1]


class TestLoginOverTls:
    @pytest.mark.parametrize("auth", ["auto", "basic", "query"])
    def test_password_and_query(self, trusted, auth):
        with FakeWooCommerce(tls=trusted) as shop:
            connector = WooCommerce(settings_of(shop, auth=auth))
            key = shop.add_order()
            assert found_order(connector, key).external_id == key
            assert len(shop.requests) == 1

    def test_a_wrong_secret_is_told_as_such(self, trusted):
        with FakeWooCommerce(tls=trusted) as shop:
            connector = WooCommerce(settings_of(shop, consumer_secret="cs_wrong"))
            with pytest.raises(Misconfigured, match="secret is wrong"):
                connector.list_orders(None)

    def test_a_proxy_that_hides_tls_is_found_out_once(self, trusted):
        with FakeWooCommerce(tls=trusted, secure=False) as shop:
            key = shop.add_order()
            connector = WooCommerce(settings_of(shop))
            assert found_order(connector, key).external_id == key
            tried = len(shop.requests)
            connector.get_orders([key])
            assert len(shop.requests) == tried + 1
            connector.close()

    def test_a_certificate_that_nobody_vouches_for(self, certificate):
        with FakeWooCommerce(tls=certificate[1]) as shop:
            connector = WooCommerce(settings_of(shop))
            with pytest.raises(Misconfigured, match="certificate"):
                connector.list_orders(None)


class TestStatuses:
    def test_on_hold_is_paid_by_status(self, shop, connector):
        key = shop.add_order(payment_method="bacs")
        assert shop.status_of(key) == "on-hold"
        update = TestWooCommerce().update(key)
        assert connector.push_payment(update).outcome is Outcome.APPLIED
        assert shop.orders[int(key)]["date_paid"] is not None
        assert [body for _, _, body in shop.writes] == [{"status": "processing"}]

    def test_a_shop_that_says_yes_and_does_nothing(self, shop, connector):
        key = shop.add_order()
        shop.shop.ignores_writes = True
        update = TestWooCommerce().update(key)
        outcomes = [
            connector.push_payment(replace(update, attempt=attempt)).outcome
            for attempt in (1, 2, 3)
        ]
        assert outcomes == [Outcome.TEMPORARY, Outcome.TEMPORARY, Outcome.REJECTED]

    def test_an_unknown_status_is_refused_for_good(self, shop, connector):
        key = shop.add_order()
        update = replace(TestWooCommerce().update(key), shop_status="bezahlt")
        acknowledgement = connector.push_payment(update)
        assert acknowledgement.outcome is Outcome.REJECTED
        assert "Invalid parameter(s): status" in acknowledgement.reason

    def test_drafts_are_no_orders(self, shop, connector):
        draft = shop.add_order(status="checkout-draft")
        assert everything(connector) == []
        assert connector.get_orders([draft]) == {}

    @pytest.mark.feature("S37")
    def test_a_credit_lowers_the_total(self, shop, connector):
        key = shop.add_order(line_items=[{"name": "Buch", "price": "50.00"}])
        shop.refund(key, "10.00")
        assert found_order(connector, key).total == Decimal("40.00")
        shop.refund(key, "40.00")
        order = found_order(connector, key)
        assert (order.total, order.shop_status) == (Decimal("0.00"), "refunded")

    def test_only_what_is_needed_is_asked_for(self, shop, connector):
        key, other = shop.add_order(), shop.add_order()
        everything(connector)
        connector.get_orders([key])
        connector.get_orders([key, other])
        assert shop.requests
        for asked in shop.requests:
            assert "_fields=id%2Cnumber%2Cstatus" in asked
            assert "transaction_id" not in asked

    def test_custom_and_invoice_numbers_arrive(self, shop, connector):
        key = shop.add_order(
            meta_data=[
                {"key": "_order_number", "value": "B-10003"},
                {"key": "_wcpdf_invoice_number", "value": "RE-7"},
            ]
        )
        order = found_order(connector, key)
        assert (order.number, order.references) == ("B-10003", (key,))
        assert [invoice.number for invoice in order.invoices] == ["RE-7"]

    def test_restored_orders_are_back(self, shop, connector):
        key = shop.add_order()
        shop.trash(key)
        assert connector.get_orders([key]) == {key: Evidence.TRASHED}
        shop.restore(key)
        assert found_order(connector, key).shop_status == "on-hold"


class TestComparing:
    @pytest.mark.parametrize("hpos", [True, False])
    def test_more_orders_than_fit_pages(self, shop, connector, hpos):
        shop.shop.hpos = hpos
        start = datetime.now(UTC) - timedelta(days=2)
        made = []
        for minute in range(250):
            shop.freeze(start + timedelta(minutes=minute))
            made.append(shop.add_order())
        listed = [order.external_id for order in everything(connector)]
        assert sorted(listed, key=int) == made
        assert len(set(listed)) == len(listed)

    def test_more_orders_in_one_second_than_fit_a_page(self, shop, connector):
        shop.freeze(datetime.now(UTC) - timedelta(hours=1))
        made = [shop.add_order() for _ in range(230)]
        listed = [order.external_id for order in everything(connector)]
        assert sorted(listed, key=int) == made

    def test_orders_that_change_during_the_scan_skip_no_other(self, shop, connector):
        start = datetime.now(UTC) - timedelta(days=2)
        for minute in range(250):
            shop.freeze(start + timedelta(minutes=minute))
            shop.add_order()
        first = connector.list_orders(None)
        shop.freeze(None)
        for number in range(1, 60):  # these leave their places, and all others move up
            shop.set_status(str(number), "processing")
        rest = everything(connector, first.cursor)
        listed = {order.external_id for order in (*first.orders, *rest)}
        assert listed == {str(number) for number in range(1, 251)}

    def test_the_overlap_brings_back_what_was_saved_late(self, shop, connector):
        now = datetime.now(UTC)
        shop.freeze(now)
        shop.add_order()
        cursor = last_cursor(connector)
        shop.freeze(now - timedelta(seconds=100))  # begun earlier, saved after we looked
        late = shop.add_order()
        assert [order.external_id for order in everything(connector, cursor)] == [late]

    def test_a_rest_of_a_comparison_costs_two_requests(self, shop, connector):
        for _ in range(3):
            shop.add_order()
        cursor = last_cursor(connector)
        before = len(shop.requests)
        assert everything(connector, cursor) == []
        assert len(shop.requests) - before == 2

    def test_the_cursor_stays_when_nothing_is_there(self, connector):
        first = connector.list_orders(None)
        again = connector.list_orders(first.cursor)
        assert again.cursor == first.cursor
        assert not again.has_more

    def test_an_unreadable_order_holds_up_no_other(self, shop, connector):
        broken, fine = shop.add_order(), shop.add_order()
        shop.orders[int(broken)]["total"] = None
        page = connector.list_orders(None)
        assert [order.external_id for order in page.orders] == [fine]
        assert len(page.problems) == 1
        assert broken in page.problems[0]

    def test_the_zone_of_the_shop_does_not_matter(self, shop, connector):
        shop.shop.utc_offset = timedelta(hours=-11)
        key = shop.add_order()
        cursor = last_cursor(connector)
        shop.set_status(key, "processing")
        assert [order.external_id for order in everything(connector, cursor)] == [key]


class TestWebhooks:
    def test_the_ping_is_harmless(self, connector):
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        assert connector.read_webhook(headers, b"webhook_id=1") is None

    def test_nothing_but_a_ping_passes_unsigned(self, connector):
        for body in (b"webhook_id=1&id=5", b'{"id":5}', b"", b"webhook_id=", b"webhook_id=x"):
            with pytest.raises(Rejected):
                connector.read_webhook({}, body)

    def test_a_signed_error_is_no_order(self, shop, connector):
        key = shop.add_order()
        shop.delete(key)
        headers, body = shop.delivery("order.updated", key)
        assert b'"code"' in body
        assert connector.read_webhook(headers, body) is None

    def test_without_a_secret_everything_is_refused(self, shop):
        connector = WooCommerce(settings_of(shop, webhook_secret=""))
        key = shop.add_order()
        for secret in ("", WEBHOOK_SECRET):
            with pytest.raises(Rejected):
                connector.read_webhook(*shop.delivery("order.updated", key, secret=secret))

    def test_a_secret_may_have_umlauts(self, shop):
        connector = WooCommerce(settings_of(shop, webhook_secret="größe"))
        key = shop.add_order()
        hint = connector.read_webhook(*shop.delivery("order.created", key, secret="größe"))
        assert hint is not None

    def test_other_topics_are_no_hints(self, shop, connector):
        key = shop.add_order()
        headers, body = shop.delivery("order.updated", key)
        headers["X-WC-Webhook-Topic"] = "product.updated"
        assert connector.read_webhook(headers, body) is None

    def test_webhooks_are_created_and_revived(self, shop):
        address = "http://127.0.0.1:9/hook"
        connector = WooCommerce(settings_of(shop, webhook_url=address))
        assert len(connector.tend()) == 4
        assert connector.tend() == []
        shop.sender.settle()
        shop.shop.webhooks[2].status = "disabled"
        (finding,) = connector.tend()
        assert "order.updated" in finding.text
        assert {hook.status for hook in shop.shop.webhooks.values()} == {"active"}
        assert len(shop.shop.webhooks) == 4


class TestDiscovery:
    def test_methods_and_statuses_in_the_words_of_the_shop(self, connector):
        found = connector.discover()
        methods = {method.code: method.name for method in found.payment_methods}
        assert methods == {
            "bacs": "Direkte Banküberweisung",
            "cheque": "Scheck",
            "cod": "Nachnahme",
        }
        assert "checkout-draft" not in {status.code for status in found.statuses}
        assert (found.currency, found.version) == ("EUR", "11.0.1")

    def test_old_versions_list_their_statuses_in_a_report(self, shop, connector):
        shop.shop.hpos = False
        assert "on-hold" in {status.code for status in connector.discover().statuses}


@pytest.mark.parametrize(
    "address",
    ["", "shop.example.org", "ftp://shop.example.org", "https://", "https://u:p@shop.example.org",
     "https://shop.example.org/?a=b", "https://shop.example.org:x"],
)  # fmt: skip
def test_an_address_that_is_none(address):
    with pytest.raises(Misconfigured, match="shop_url"):
        WooCommerce({"shop_url": address, "consumer_key": "ck", "consumer_secret": "cs"})


@pytest.mark.feature("K64")
class TestByNumber:
    def test_a_number_of_a_plugin_is_searched_for_and_compared(self, shop, connector):
        meta = [{"key": "_order_number", "value": "AA-1007"}]
        key, longer = shop.add_order(meta_data=meta), shop.add_order(number="AA-10071")
        assert connector.find_order("AA-1007").external_id == key
        assert connector.find_order("AA-10071").external_id == longer
        assert connector.find_order("AA-100") is None
        assert connector.find_order(key) is None, "nobody knows it by this number"

    def test_a_number_that_is_the_id_of_another_order(self, shop, connector):
        first = shop.add_order(number="2")
        second = shop.add_order(number="1")
        assert (first, second) == ("1", "2")
        assert connector.find_order("2").external_id == first

    def test_a_shop_that_ignores_the_search_is_not_believed(self, shop, connector, monkeypatch):
        for _ in range(3):
            shop.add_order()
        monkeypatch.setattr(woocommerce_lists, "_contains", lambda order, text: True)
        assert connector.find_order("AA-1007") is None
        assert connector.find_order("2").external_id == "2"

    def test_a_number_that_the_search_does_not_know_is_found_among_the_newest(
        self, shop, connector, monkeypatch
    ):
        for number in range(120):
            shop.add_order(number=f"AA-{number}")
        monkeypatch.setattr(woocommerce_lists, "_contains", lambda order, text: False)
        assert connector.find_order("AA-7").external_id == "8"
        assert connector.find_order("AA-120") is None

    def test_two_orders_with_one_number_are_for_a_person(self, shop, connector):
        for _ in range(2):
            shop.add_order(number="AA-1")
        with pytest.raises(Rejected, match="2 orders with the number AA-1"):
            connector.find_order("AA-1")

    def test_the_trash_is_looked_through_as_well(self, shop, connector):
        shop.trash(shop.add_order(number="AA-1"))
        assert connector.find_order("AA-1") is Evidence.TRASHED

    def test_a_cart_is_no_order(self, shop, connector):
        key = shop.add_order(status="checkout-draft")
        assert connector.find_order(key) is None
