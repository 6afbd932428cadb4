"""Repayments in a real browser: from the order to the bank, the phone, and screen readers."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from server.db import db, now
from server.orders import service
from server.orders.models import Order, Refund
from server.refunds import batches
from server.refunds import service as refunds
from server.refunds.models import RefundBatch
from server.refunds.rules import BankDetails
from tests.factories import make_order, make_posting, make_shop

ACTOR = "anna@example.org"
OTHER_IBAN = "DE75512108001245126199"


@pytest.fixture
def order(merchant) -> Order:
    """Paid 5 euros too much."""
    order = make_order(make_shop(merchant), total="20.00")
    posting = make_posting(merchant, "25.00", order.number)
    service.assign(merchant.id, posting.id, [(order.id, Decimal("25.00"))], actor=ACTOR, at=now())
    db.session.commit()
    return order


def arrange(merchant, order: Order, amount: str, **over) -> Refund:
    row = refunds.arrange(
        merchant.id, order_id=order.id, amount=Decimal(amount), actor=ACTOR, at=now(), **over
    )
    db.session.commit()
    return row


@pytest.mark.feature("S78", "C15", "K58")
def test_a_surplus_goes_back_to_where_it_came_from(merchant, order, desk):
    page = desk.open(f"/orders/{order.id}")
    page.get_by_role("link", name="Erstatten …", exact=True).click()
    expect(page.get_by_label("Betrag (EUR)")).to_have_value("5,00")
    expect(page.get_by_label("IBAN")).to_have_value("DE89 3704 0044 0532 0130 00")
    page.get_by_label("Grund").fill("Zu viel bezahlt")
    page.get_by_role("button", name="Erstattung veranlassen").click()
    expect(page.get_by_text("Geplant")).to_be_visible()
    page.get_by_role("button", name="Jetzt ausführen").click()
    page.get_by_role("link", name="Zum Auftrag an die Bank").click()
    page.get_by_role("button", name="Datei für die Bank machen").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Herunterladen").click()
    assert download.value.suggested_filename.endswith(".xml")
    page.reload()
    expect(page.get_by_text("Diese Datei wurde schon heruntergeladen")).to_be_visible()
    page.get_by_role("button", name="Eingereicht", exact=True).click()
    expect(page.locator("h1 + .badge")).to_have_text("Eingereicht")
    db.session.expire_all()
    assert db.session.query(RefundBatch).one().status == "sent"
    assert db.session.query(Refund).one().status == "in_process"
    assert desk.complaints == []


@pytest.mark.feature("N9", "C18")
def test_a_held_repayment_is_approved_by_typing_its_amount(merchant, order, desk):
    row = arrange(merchant, order, "5.00", payee=BankDetails("Max Beispiel", OTHER_IBAN))
    assert row.status == "held"
    page = desk.open("/")
    page.get_by_role("link", name="1 Erstattung ist angehalten").click()
    expect(page).to_have_url(re.compile(f"/repayments/{row.id}$"))
    page.get_by_role("button", name="Freigeben").click()
    expect(page.get_by_role("alert")).to_contain_text("Tippen Sie genau den Betrag ab")
    page.get_by_label("Betrag", exact=True).fill("5,00")
    page.get_by_role("button", name="Freigeben").click()
    expect(page.get_by_text("Geplant")).to_be_visible()


def addresses(merchant, order: Order) -> list[str]:
    """Every page about repayments, with something on it."""
    missing = make_posting(merchant, "33.00", "Irrtum", counterparty_iban=None)
    held = arrange(merchant, order, "3.00", payee=BankDetails("Max Beispiel", OTHER_IBAN))
    ready = arrange(merchant, order, "2.00")
    refunds.execute_now(ready, actor=ACTOR, at=now())
    (group,) = batches.payable(merchant.id)
    batch = batches.make_batch(
        merchant.id, group.account.id, [ready.id], channel="pain001", actor=ACTOR, at=now()
    )
    db.session.commit()
    return [
        "/repayments",
        f"/repayments/{held.id}",
        f"/repayments/{held.id}/change",
        f"/repayments/{held.id}/cancel",
        "/repayments/bank",
        f"/repayments/bank/{batch.id}",
        f"/orders/{order.id}",
        f"/orders/{order.id}/repay",
        f"/orders/{order.id}/keep-money",
        f"/postings/{missing.id}/send-back",
    ]


def test_every_page_fits_a_phone(merchant, order, phone):
    for path in addresses(merchant, order):
        page = phone.open(path)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= page.viewport_size["width"], (path, width)
    assert phone.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_hinders_anybody(merchant, order, desk, scheme):
    desk.page.emulate_media(color_scheme=scheme)
    axe = Axe()
    for path in addresses(merchant, order):
        found = axe.run(desk.open(path))
        assert found.violations_count == 0, (path, found.generate_report())
