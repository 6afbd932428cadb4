"""Chromium for the tests that need eyes and hands. Without one they skip, and say so once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, Playwright, sync_playwright

from server.merchants.models import Merchant
from tests.factories import make_merchant, make_user
from tests.server.dashboard.visitor import PASSWORD

INSTALL = (
    "no browser found; install Chromium (apt install chromium, or playwright install chromium)"
)
PATIENCE_MS = 10_000
WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


# A module at a time: Playwright keeps an event loop running in this thread, and tests of other
# modules have loops of their own.
@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    known = "/usr/bin/chromium"
    path = known if Path(known).exists() else next(filter(None, map(shutil.which, names)), None)
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    browser = None
    with suppress(Error):
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
    if browser is None:
        if os.environ.get("KONTOR_REQUIRE_BROWSER"):
            pytest.fail(INSTALL)
        pytest.skip(INSTALL)
    yield browser
    browser.close()


REPLACED = ("htmx:sendAbort", "htmx:afterRequest")
"""What htmx says of a search that the next letter has made superfluous."""


class Desk:
    """A page of the dashboard in a browser, which notes everything the browser complains of."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.context, self.url = context, url
        self.complaints: list[str] = []
        context.set_default_timeout(PATIENCE_MS)
        self.page = self.new_page()

    def new_page(self) -> Page:
        page = self.context.new_page()
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self._note("error", str(error)))
        return page

    def _note(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"} and not text.startswith(REPLACED):
            self.complaints.append(f"{self.page.url}: {text}")

    def open(self, path: str) -> Page:
        self.page.goto(self.url + path)
        return self.page

    def log_in(self, email: str = "anna@example.org") -> None:
        self.open("/login")
        self.page.get_by_label("E-Mail").fill(email)
        self.page.get_by_label("Passwort").fill(PASSWORD)
        self.page.get_by_role("button", name="Anmelden").click()
        self.page.wait_for_url(self.url + "/")

    def path(self) -> str:
        return self.page.url.removeprefix(self.url)


@pytest.fixture
def merchant(app) -> Merchant:
    merchant = make_merchant()
    make_user(merchant, "anna@example.org", PASSWORD)
    return merchant


@pytest.fixture
def desk(merchant, live_server, chromium) -> Iterator[Desk]:
    """Anna at her desk, logged in."""
    context = chromium.new_context(viewport=WIDE, locale="de-DE")
    desk = Desk(context, live_server.url)
    desk.log_in()
    yield desk
    context.close()


@pytest.fixture
def phone(merchant, live_server, chromium) -> Iterator[Desk]:
    """Anna on her phone, logged in."""
    context = chromium.new_context(viewport=PHONE, locale="de-DE", has_touch=True)
    phone = Desk(context, live_server.url)
    phone.log_in()
    yield phone
    context.close()
