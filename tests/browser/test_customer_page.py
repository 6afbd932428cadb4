"""The customer's page in a real browser: every state for everybody, with and without scripts."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from server.db import db
from server.mail.theme import Theme
from server.orders.claims import claims_of, proofs_of
from server.orders.deferrals import requests_of
from server.orders.models import Refund
from tests.browser.conftest import PHONE, WIDE
from tests.factories import make_merchant, make_shop, today
from tests.proof_files import text_pdf
from tests.server.customer.states import STATES, owing, path_of, waits_for_account

BRIGHT = {"primary": "#ffd400", "header_background": "#ffe98a", "header_text": "#fff3b0"}
"""Colours that nobody could read as they are."""
LANGUAGES = {"de": {}, "en": BRIGHT, "fr": {"primary": "#c7d2ff", "font": "georgia"}}
WRONG = {
    "claim": ("", {"paid_on": "2999-01-01"}),
    "more": ("/more-time", {"until": "2020-01-01"}),
}


@pytest.fixture
def merchant(app):
    return make_merchant()


def everything(merchant, language: str) -> dict[str, str]:
    """State to path, of a shop with a look of its own."""
    shop = make_shop(merchant, f"Papier & Feder {language}", look=vars_of(LANGUAGES[language]))
    paths = {name: path_of(make(shop, language=language)) for name, make in STATES.items()}
    db.session.commit()
    return paths | {"unknown": "/pay/nothing"}


def vars_of(look: dict[str, str]) -> dict[str, object]:
    theme = Theme(**look)  # type: ignore[arg-type]
    return {name: getattr(theme, name) for name in Theme.__slots__} if look else {}


def is_too_wide(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > innerWidth"))


def small_targets(page: Page) -> list[str]:
    """What is smaller than 24 by 24 pixels (WCAG 2.2, 2.5.8)."""
    found = page.evaluate(
        """() => [...document.querySelectorAll('button, input, textarea, summary, a')]
            .filter(one => one.type !== 'hidden' && one.checkVisibility())
            .filter(one => one.offsetWidth < 24 || one.offsetHeight < 24)
            .map(one => one.outerHTML)"""
    )
    assert isinstance(found, list)
    return found


SEEN = {
    "runOnly": {"type": "rule", "values": ["color-contrast", "target-size", "link-in-text-block"]}
}
"""What depends on colours and width; the rest is the same page."""
LOOKS = ((PHONE, "light", None), (PHONE, "dark", SEEN), (WIDE, "light", SEEN), (WIDE, "dark", None))


def check(page: Page, name: str) -> None:
    """Nothing to complain of, phone and desk, light and dark; with everything unfolded."""
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    for size, theme, options in LOOKS:
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=theme)
        result = Axe().run(page, options=options)
        assert result.violations_count == 0, (name, theme, result.generate_report())
        assert not is_too_wide(page), (name, size)
        assert small_targets(page) == [], name


@pytest.mark.feature("N8", "S61")
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_state_can_be_read_by_everybody(merchant, live_server, chromium, language):
    paths = everything(merchant, language)
    context = chromium.new_context(locale=language)
    page, complaints = context.new_page(), []
    page.on("console", lambda one: complaints.append(f"{page.url}: {one.text}"))
    for name, path in paths.items():
        page.goto(live_server.url + path)
        check(page, name)
    assert [one for one in complaints if "404" not in one] == []
    for name, (form, typed) in WRONG.items():
        page.goto(live_server.url + paths["owing"])
        send(page, paths["owing"] + form, typed)
        page.wait_for_selector("[role=alert]")
        check(page, f"{name} refused")
    context.close()


def send(page: Page, action: str, typed: dict[str, str]) -> None:
    """What a browser's own checks would not let go."""
    fields = "".join(f'<input name="{name}" value="{value}">' for name, value in typed.items())
    page.evaluate(
        """([action, fields]) => {
            const form = document.createElement("form");
            form.method = "post";
            form.action = action;
            form.innerHTML = fields;
            document.body.append(form);
            form.submit();
        }""",
        [action, fields],
    )


@pytest.mark.feature("N8", "C26")
def test_the_details_are_copied_and_the_screen_reader_hears_it(merchant, live_server, chromium):
    order = owing(make_shop(merchant))
    db.session.commit()
    context = chromium.new_context(viewport=PHONE, has_touch=True, is_mobile=True)
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=live_server.url)
    page = context.new_page()
    page.goto(live_server.url + path_of(order))
    for label, wanted in (("IBAN", "DE02120300000000202051"), ("Betrag", "1284,60")):
        row = page.locator(".transfer > div").filter(has=page.get_by_text(label, exact=True))
        row.get_by_role("button").click()
        expect(page.get_by_role("status").filter(has_text="Kopiert")).to_be_attached()
        assert page.evaluate("navigator.clipboard.readText()") == wanted
    app = page.get_by_role("link", name="In der Banking-App öffnen")
    expect(app).to_be_visible()
    link = app.get_attribute("href") or ""
    assert link.startswith("payto://iban/DE02120300000000202051?amount=EUR%3A1284.60")
    assert order.payment_reference in link
    expect(page.get_by_role("img", name=re.compile("GiroCode"))).to_be_visible()
    context.close()


@pytest.fixture
def plain(chromium: Browser):
    """A phone without scripts."""
    context = chromium.new_context(viewport=PHONE, java_script_enabled=False, locale="de-DE")
    yield context.new_page()
    context.close()


@pytest.mark.feature("S61", "N8")
def test_without_scripts_a_customer_says_that_he_has_paid(merchant, live_server, plain, tmp_path):
    order = owing(make_shop(merchant))
    db.session.commit()
    slip = Path(tmp_path) / "Beleg.pdf"
    slip.write_bytes(text_pdf(["1.284,60 EUR"]))
    plain.goto(live_server.url + path_of(order))
    expect(plain.get_by_role("button", name="Kopieren")).to_have_count(0)
    plain.get_by_label("Nachricht").first.fill("Gestern überwiesen")
    plain.get_by_label(re.compile("^Beleg")).set_input_files(slip)
    plain.get_by_role("button", name="Absenden").click()
    expect(plain.get_by_text("Danke für Ihre Nachricht")).to_be_visible()
    db.session.expire_all()
    assert claims_of(order.id)[0].message == "Gestern überwiesen"
    assert proofs_of(order.id)[0].filename == "Beleg.pdf"


@pytest.mark.feature("N8")
def test_without_scripts_a_customer_asks_for_time(merchant, live_server, plain):
    order = owing(make_shop(merchant))
    db.session.commit()
    plain.goto(live_server.url + path_of(order))
    plain.get_by_text("Ich brauche mehr Zeit").last.click()
    plain.get_by_label("Bis wann?").fill((today() + timedelta(days=7)).isoformat())
    plain.get_by_role("button", name="Um Zeit bitten").click()
    expect(plain.get_by_text("Sie bitten um Zeit bis")).to_be_visible()
    db.session.expire_all()
    assert requests_of(order.id)[0].until_date == today() + timedelta(days=7)
    expect(plain.get_by_role("button", name="Um Zeit bitten")).to_have_count(0)


@pytest.mark.feature("N8", "K31", "K56")
def test_without_scripts_a_customer_names_his_account(merchant, live_server, plain):
    order = waits_for_account(make_shop(merchant))
    db.session.commit()
    plain.goto(live_server.url + path_of(order))
    plain.get_by_label("Name, auf den das Konto läuft").fill("Erika Mustermann")
    plain.get_by_label("IBAN", exact=True).fill("DE89370400440532013001")
    plain.get_by_role("button", name="Konto absenden").click()
    expect(plain.get_by_role("alert")).to_contain_text("Diese IBAN stimmt nicht")
    field = plain.get_by_label("IBAN", exact=True)
    expect(field).to_have_value("DE89 3704 0044 0532 0130 01")
    expect(field).to_be_focused()
    field.fill("DE89 3704 0044 0532 0130 00")
    plain.get_by_role("button", name="Konto absenden").click()
    expect(plain.get_by_text("auf das Konto DE89 •••• 3000")).to_be_visible()
    db.session.expire_all()
    assert db.session.query(Refund).one().payee_iban == "DE89370400440532013000"
