"""Connecting a system to the relay in a real browser, its log, and every page on a phone."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from server.db import db, now
from server.mail import domains
from server.merchants.models import Merchant
from server.relay import connections, counting, intake, links, quota
from server.relay.intake import Origin
from server.relay.models import RelayConnection, RelayDelivery, RelayDomain
from tests.server.relay.systems import DOMAIN, System, a_mail, make_system, prove

LONG = "erika.mustermann.mit.einem.sehr.langen.namen@eine-recht-lange-domain.example.com"
HTML = (
    f"From: buchung@{DOMAIN}\r\nTo: {LONG}\r\nSubject: {'Ihre Rechnung ' * 9}\r\n"
    "Content-Type: text/html\r\n\r\n<h1>Danke</h1><script>document.title = 'X'</script>\r\n"
).encode()


def hand_in(system: System, raw: bytes) -> int:
    caller = intake.caller_now(system.connection.id)
    assert caller is not None
    number = intake.accept(
        caller,
        raw,
        sender=f"buchung@{DOMAIN}",
        recipients=[LONG],
        origin=Origin("smtp", "192.0.2.7", "kasse.example.org"),
        at=now(),
    )
    db.session.commit()
    return number


@pytest.mark.feature("S89", "S90", "S91", "S92")
def test_from_the_empty_page_to_the_password(merchant, desk):
    page = desk.open("/relay")
    page.get_by_role("link", name="Neues System verbinden").click()
    page.get_by_label("Eigener Name").fill("Kasse")
    own = domains.add(merchant.id, DOMAIN, now())
    own.checked_at = now()  # nobody asks the DNS
    db.session.commit()
    page.get_by_role("button", name="Weiter").click()
    page.get_by_label("Domain", exact=True).select_option(label=DOMAIN)
    page.get_by_role("radio", name="Eigene Adresse").check()
    field = page.get_by_role("combobox", name="Eigene Adresse").or_(
        page.get_by_role("textbox", name="Eigene Adresse")
    )
    field.fill("ftp://shop.example.org")
    page.get_by_role("button", name="Domain hinzufügen").click()
    expect(page.get_by_role("alert")).to_contain_text("https://")
    page.get_by_role("textbox", name="Eigene Adresse").fill("mailto:hilfe@shop.example.org")
    page.get_by_role("button", name="Domain hinzufügen").click()
    expect(page.get_by_text("DKIM fehlt")).to_be_visible()
    expect(page.get_by_role("heading", name="Zugangsdaten")).to_have_count(0)
    prove(own)
    db.session.commit()
    page.reload()
    page.get_by_role("button", name="Passwort erzeugen").click()
    expect(page.locator("#smtp-password")).to_have_count(1)
    expect(page.locator("#smtp-user")).to_have_text(
        db.session.query(RelayConnection).one().user_name
    )
    page.get_by_text("Ändern", exact=False).last.click()
    why = page.get_by_role("link", name="Seite ansehen").get_attribute("href")
    assert why is not None
    page = desk.open(why[why.index("/relay/why/") :])
    expect(page.get_by_role("heading", level=1)).to_have_text("Warum kam diese E-Mail?")
    refused = "422"
    assert [one for one in desk.complaints if refused not in one] == []


@pytest.mark.feature("S87", "S96")
def test_a_mail_of_the_log_is_shown_without_power_and_sent_again(merchant, desk):
    system = make_system(merchant=merchant)
    hand_in(system, HTML)
    row = db.session.query(RelayDelivery).one()
    row.give_up("550 5.1.1 unknown", now())
    db.session.commit()
    page = desk.open("/relay/log")
    page.get_by_label("Stand").select_option("failed")
    page.wait_for_url("**state=failed**")
    page.locator("tbody .go").click()
    expect(page.frame_locator("iframe.letter").get_by_role("heading", level=1)).to_have_text(
        "Danke"
    )
    assert "Ihre Rechnung" in page.title()
    page.get_by_role("link", name="Kopfzeilen").click()
    expect(page.locator("pre.source")).to_contain_text("Subject:")
    page.get_by_role("button", name="Noch einmal senden").click()
    expect(page.locator(".toast")).to_contain_text("Wird noch einmal gesendet")
    assert db.session.query(RelayDelivery).count() == 2


def addresses(merchant: Merchant) -> list[str]:
    """Every page of the relay, with something on it."""
    merchant.is_operator = True
    system = make_system(merchant=merchant)
    second = domains.add(merchant.id, "eine.recht.lange.domain.example.org", now())
    prove(second, "missing")
    system.connection.name = "Terminbuchungssystem der Niederlassung in Oberbayern"
    waiting = connections.add_connection(merchant.id, "Webseite", actor="anna", at=now())
    connections.set_domain(waiting, second.id, "https://shop.example.org/warum", now())
    plan = quota.add_plan("Klein", 25_000, Decimal("19.00"), now())
    quota.use(merchant.id, {date(2026, 3, 1): 1_600}, now())
    quota.book(merchant.id, plan.id, actor="anna@example.org", at=now())
    number = hand_in(system, HTML)
    [row] = db.session.query(RelayDelivery)
    row.give_up("550 5.1.1 unknown", now())
    counting.count(now())
    db.session.commit()
    relay = f"/relay/{system.connection.id}"
    why = links.help_url(db.session.query(RelayDomain).first().id)
    return [
        "/relay",
        "/relay/new",
        relay,
        f"{relay}?span=days",
        f"/relay/{waiting.id}",
        f"{relay}/remove",
        "/relay/log",
        f"/relay/log/{number}",
        f"/relay/log/{number}?view=headers",
        "/relay/quota",
        "/relay/plans",
        "/relay/help",
        why[why.index("/relay/") :],
    ]


@pytest.mark.feature("S95", "S96", "S97")
def test_no_page_of_the_relay_is_wider_than_a_phone(merchant, phone):
    for path in addresses(merchant):
        page = phone.open(path)
        for more in page.locator("main details").all():
            more.evaluate("one => one.open = true")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, (path, width)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_of_the_relay_hinders_anybody(merchant, desk, scheme):
    desk.page.emulate_media(color_scheme=scheme)
    axe = Axe()
    for path in addresses(merchant):
        page = desk.open(path)
        for more in page.locator("main details").all():
            more.evaluate("one => one.open = true")
        found = axe.run(page)
        assert found.violations_count == 0, (path, found.generate_report())


@pytest.mark.feature("S96")
def test_numbers_can_be_seen_by_the_day(merchant, desk):
    system = make_system(merchant=merchant)
    hand_in(system, a_mail())
    counting.count(now())
    db.session.commit()
    page = desk.open(f"/relay/{system.connection.id}")
    page.get_by_role("link", name="30 Tage").click()
    expect(page.get_by_role("img", name="E-Mails je Tag")).to_have_count(1)
    expect(page.get_by_role("row", name=DOMAIN).first).to_contain_text("1")
    assert desk.complaints == []
