"""The mails of an order and the log in a real browser: what was sent, a mistyped address, the
phone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from playwright.sync_api import expect
from sqlalchemy import select

from server.db import db, now
from server.mail.delivery import Desk as Batch
from server.mail.delivery import note_success, write_letter
from server.mail.models import Mail
from server.orders.models import Order
from tests.factories import make_order, make_shop

VERY_LONG = "erika.mustermann.mit.einem.sehr.langen.namen@htmail.com"


@pytest.fixture
def order(merchant) -> Order:
    """Asked for its money, and the mail came back."""
    at = now() - timedelta(hours=2)
    customer = {"email": VERY_LONG, "language": "de"}
    order = make_order(make_shop(merchant), at=at, ordered_at=at.isoformat(), customer=customer)
    mail = mail_of(order)
    note_success(mail, write_letter(mail, Batch.of([mail], at)), "250 ok", "mx.example.org")
    mail.succeed(at)
    mail.delivery, mail.delivery_words = "bounced", "550 5.1.1 " + "unknown-user-" * 12
    db.session.commit()
    return order


def mail_of(order: Order) -> Mail:
    newest = select(Mail).where(Mail.order_id == order.id).order_by(Mail.id.desc())
    return db.session.scalars(newest).first()


@pytest.mark.feature("S4", "S7", "S69", "N13")
def test_from_the_order_to_the_mail_as_sent_and_to_what_was_meant(order, desk):
    page = desk.open(f"/orders/{order.id}")
    mails = page.get_by_role("region", name="E-Mails")
    expect(mails).to_contain_text("Kam zurück")
    mails.get_by_role("link").click()
    frame = page.frame_locator("iframe.letter")
    expect(frame.get_by_role("heading", level=1)).to_be_visible()
    page.get_by_role("link", name="Kopfzeilen").click()
    expect(page.locator("pre.source")).to_contain_text("Message-ID:")
    with page.expect_download() as download:
        page.get_by_role("link", name="Als .eml laden").click()
    assert download.value.suggested_filename.endswith(".eml")
    page.get_by_role("button", name="Übernehmen und senden").first.click()
    expect(page.locator(".toast")).to_contain_text("Wird noch einmal gesendet")
    db.session.expire_all()
    assert mail_of(order).recipient == VERY_LONG.replace("htmail", "hotmail")
    assert desk.complaints == []


@pytest.mark.feature("S69")
def test_the_log_on_the_desk(order, desk):
    page = desk.open("/mails")
    page.get_by_label("Stand").select_option("wrong")
    page.wait_for_url("**state=wrong**")
    expect(page.locator("tbody .go")).to_have_count(1)
    page.get_by_label("Stand").select_option("sent")
    page.wait_for_url("**state=sent**")
    expect(page.locator("main")).to_contain_text("Keine E-Mail passt")
    assert desk.complaints == []


@pytest.mark.feature("S4", "S69", "K42")
def test_no_page_of_mails_is_wider_than_a_phone(order, phone):
    mail = mail_of(order)
    paths = [f"/mails/{mail.id}{view}" for view in ("", "?view=text", "?view=headers")]
    for path in ("/mails", f"/orders/{order.id}", "/account/notices", *paths):
        page = phone.open(path)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, (path, width)
    assert phone.complaints == []
