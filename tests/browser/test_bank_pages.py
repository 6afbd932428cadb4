"""Statements, postings and ignore rules in a real browser: several files, several rows, phone."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from server.banking.models import Posting, Statement
from server.banking.service import add_rule, rules_of
from server.db import db, now
from tests.factories import IBAN, make_account, make_order, make_posting, make_shop

CSV = b"Valuta;Zahler;Info;Wert\n20.11.2026;Erika Mustermann;AA-1;418,60\n"
LONG_NAME = "Antiquariat und Buchhandlung am Fischmarkt Inhaberin Maria-Theresia von Obernitz"


def stored(merchant, name: str, **over) -> Statement:
    content = over.pop("content", name.encode())
    row = Statement(
        merchant_id=merchant.id,
        filename=name,
        content=content,
        size_bytes=len(content),
        content_hash=content[:32].ljust(32),
        finished_at=now(),
        **({"status": "done"} | over),
    )
    db.session.add(row)
    db.session.commit()
    return row


def test_several_files_are_sent_one_by_one_and_watched_until_they_are_read(merchant, desk):
    page = desk.open("/statements")
    files = [("november.csv", CSV), ("leer.csv", b""), ("dezember.sta", b":20:x")]
    page.set_input_files(
        "#file",
        [{"name": name, "mimeType": "text/plain", "buffer": content} for name, content in files],
    )
    expect(page.get_by_role("link", name="november.csv")).to_be_visible()
    expect(page.get_by_role("link", name="dezember.sta")).to_be_visible()
    expect(page.get_by_text("Die Datei ist leer.")).to_be_visible()
    expect(page.get_by_text("Dateien hierher ziehen")).to_be_visible()
    rows = db.session.query(Statement).all()
    assert {row.filename for row in rows} == {"november.csv", "dezember.sta"}
    for row in rows:
        row.status, row.postings_new = "done", 35
    db.session.commit()
    expect(page.get_by_text("35 neue Umsätze")).to_have_count(2)
    expect(page.get_by_role("progressbar")).to_have_count(0)
    assert [one for one in desk.complaints if "422" not in one] == []


def test_files_are_dropped_onto_the_page(desk):
    page = desk.open("/statements")
    transfer = page.evaluate_handle(
        """() => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([":20:x"], "gezogen.sta"));
            return transfer;
        }"""
    )
    page.dispatch_event(".drop", "dragover", {"dataTransfer": transfer})
    expect(page.locator(".drop.is-over")).to_have_count(1)
    page.dispatch_event(".drop", "drop", {"dataTransfer": transfer})
    expect(page.get_by_role("link", name="gezogen.sta")).to_be_visible()
    expect(page.locator(".drop.is-over")).to_have_count(0)
    assert desk.complaints == []


def test_a_file_that_does_not_get_through_says_so(desk):
    page = desk.open("/statements")
    page.route("**/statements", lambda route: route.abort())
    page.set_input_files("#file", [{"name": "a.sta", "mimeType": "text/plain", "buffer": b"x"}])
    expect(page.get_by_text("Die Datei kam nicht an.")).to_be_visible()
    assert db.session.query(Statement).count() == 0


@pytest.mark.feature("C2")
def test_the_preview_follows_the_columns_that_are_chosen(merchant, desk):
    row = stored(merchant, "neu.csv", content=CSV, status="failed", asks_columns=True)
    page = desk.open(f"/statements/{row.id}")
    for column, meaning in (("Valuta", "Buchungstag"), ("Zahler", "Name"), ("Info", "nicht nötig")):
        page.get_by_label(f"Bedeutung von {column}").select_option(meaning)
    page.get_by_label("Bedeutung von Wert").select_option("nicht nötig")
    expect(page.locator("#preview")).to_contain_text("Welche Spalte ist der Betrag?")
    page.get_by_label("Bedeutung von Wert").select_option("Betrag")
    expect(page.locator("#preview")).to_contain_text("418,60")
    expect(page.locator("#preview")).to_contain_text("Erika Mustermann")
    page.get_by_role("button", name="Mit diesen Spalten lesen").click()
    expect(page.get_by_role("progressbar")).to_be_visible()
    assert desk.complaints == []


@pytest.mark.feature("C10")
def test_ticked_rows_bring_the_bar_and_are_hidden_at_once(merchant, desk):
    for number in range(3):
        make_posting(merchant, f"{number + 1}.00", f"Text {number}")
    page = desk.open("/postings?state=all")
    bar = page.get_by_role("group", name="Mit den ausgewählten Umsätzen")
    expect(bar).to_be_hidden()
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(bar).to_contain_text("1 ausgewählt")
    page.get_by_label("Alle dieser Seite auswählen").check()
    expect(bar).to_contain_text("3 ausgewählt")
    page.get_by_label("Erika Mustermann, 2,00 € auswählen").uncheck()
    expect(bar).to_contain_text("2 ausgewählt")
    bar.get_by_role("button", name="Ignorieren").click()
    expect(page.locator(".toast")).to_contain_text("2 Umsätze ignoriert.")
    assert db.session.query(Posting).filter(Posting.ignored_at.is_not(None)).count() == 2
    page.get_by_label("Erika Mustermann, 2,00 € auswählen").check()
    expect(bar.get_by_role("button", name="Ignorieren")).to_be_visible()
    expect(bar.get_by_role("button", name="Wieder auf die Liste")).to_be_hidden()
    assert desk.complaints == []


def test_the_filter_of_the_postings_applies_itself(merchant, desk):
    make_posting(merchant, "5.00", "Miete")
    make_posting(merchant, "-7.00", "Porto")
    page = desk.open("/postings?state=all")
    page.get_by_label("Zustand").select_option("Ausgang")
    page.wait_for_url("**/postings?state=outgoing")
    expect(page.locator(".rows tbody tr")).to_have_count(1)
    page.get_by_text("Zeitraum und Betrag").click()
    page.get_by_role("group", name="Betrag").get_by_label("von").fill("50")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nichts gefunden")).to_be_visible()
    assert "least=50" in page.url and "text=" not in page.url
    page.get_by_role("link", name="Alle Umsätze zeigen").click()
    page.get_by_role("link", name="Betrag", exact=True).click()
    expect(page.locator("[aria-sort=descending]")).to_have_text("Betrag")
    with page.expect_download() as waiting:
        page.get_by_text("Export").click()
        page.get_by_role("link", name="Diese Liste als CSV").click()
    assert waiting.value.suggested_filename.endswith(".csv")
    assert desk.complaints == []


@pytest.mark.feature("K46")
def test_a_doubtful_payment_is_settled_from_the_inbox(merchant, desk):
    known = make_posting(merchant, "98.90", "Bestellung 1", is_open=False, needs_match=False)
    make_posting(merchant, "98.90", "Best. 1", duplicate_of_id=known.id)
    page = desk.open("/postings")
    page.get_by_role("link", name="Doppelt? 1").click()
    page.locator(".rows .go").click()
    panel = page.get_by_role("region", name="Dieselbe Zahlung wie eine andere?")
    expect(panel.locator(".differs")).to_have_count(1)
    panel.get_by_role("button", name="Dieselbe Zahlung").click()
    expect(page.locator(".toast")).to_contain_text("Als dieselbe Zahlung abgelegt")
    expect(page.get_by_role("button", name="Wieder auf die Liste")).to_be_visible()
    assert desk.complaints == []


@pytest.mark.feature("K44", "K45")
def test_a_rule_shows_what_it_hits_while_it_is_typed(merchant, desk):
    make_posting(merchant, "5.00", "Umbuchung Tagesgeld")
    page = desk.open("/ignore-rules/new")
    page.get_by_label("Art").select_option("Verwendungszweck")
    expect(page.get_by_label("Trotzdem eine E-Mail an mich")).to_be_visible()
    page.get_by_label("Was sie trifft").press_sequentially("{regex}.*tagesgeld")
    expect(page.locator("#hits")).to_contain_text("1 Umsatz.")
    page.get_by_label("Was sie trifft").press_sequentially("(")
    expect(page.locator("#hits")).to_contain_text("Dieses Muster ist nicht zu verstehen")
    page.get_by_label("Art").select_option("Alles ohne Bestellung")
    expect(page.get_by_label("Was sie trifft")).to_be_hidden()
    expect(page.get_by_text("Davon raten wir ab.")).to_be_visible()
    page.get_by_label("Art").select_option("Verwendungszweck")
    page.get_by_label("Was sie trifft").fill("Tagesgeld")
    page.get_by_role("button", name="Regel anlegen").click()
    expect(page.locator(".toast")).to_contain_text("Regel angelegt.")
    assert [(one.kind, one.value) for one in rules_of(merchant.id)] == [("text", "Tagesgeld")]
    assert desk.complaints == []


def every_path(merchant) -> list[str]:
    make_account(merchant, "DE89370400440532013000")
    make_order(make_shop(merchant))
    text = "EREF+" + "X" * 90 + " wort" * 40
    file = stored(
        merchant,
        "x" * 120 + ".xml",
        source="camt.053",
        account_iban=IBAN,
        postings_new=12345,
        problem_count=1,
        problems=[{"where": "line 1", "what": "no amount found in “x”", "raw": "y" * 400}],
    )
    asking = stored(merchant, "neu.csv", content=CSV, status="failed", asks_columns=True)
    known = make_posting(merchant, "19.90", text, counterparty_name=LONG_NAME)
    again = make_posting(
        merchant, "-1284.60", text, duplicate_of_id=known.id, statement_id=file.id,
        end_to_end_id="E" * 35, particulars={"entry_references": ["R" * 35] * 3},
    )  # fmt: skip
    rule = add_rule(merchant.id, "text", "{regex}" + "a|" * 60 + "b", tells_merchant=True, actor="")
    db.session.commit()
    return [
        "/statements",
        f"/statements/{file.id}",
        f"/statements/{asking.id}",
        "/postings?state=all",
        f"/postings?statement={file.id}&least=1",
        "/postings?text=nichts",
        f"/postings/{again.id}?state=all",
        "/ignore-rules",
        "/ignore-rules/new?kind=text&value=wort",
        f"/ignore-rules/{rule.id}",
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_makes_the_browser_complain(merchant, desk, theme):
    desk.page.emulate_media(color_scheme=theme)
    for path in every_path(merchant):
        desk.open(path)
        assert desk.complaints == [], path
        wide = desk.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, path


def test_on_the_phone_nothing_is_wider_than_the_screen(merchant, phone):
    for path in every_path(merchant):
        page = phone.open(path)
        page.evaluate("document.querySelectorAll('main details').forEach(d => d.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path
        small = page.evaluate(
            """[...document.querySelectorAll('main :is(button, .btn, select, td label, summary)')]
               .filter((e) => e.offsetParent && !e.closest('.sr'))
               .map((e) => [e.outerHTML.slice(0, 80), e.getBoundingClientRect()])
               .filter(([, box]) => Math.min(box.width, box.height) < 24)
               .map(([html]) => html)"""
        )
        assert small == [], path
    assert phone.complaints == []


def test_everything_works_without_javascript(merchant, live_server, chromium):
    from tests.browser.conftest import Desk

    make_posting(merchant, "5.00", "Tagesgeld")
    context = chromium.new_context(java_script_enabled=False, locale="de-DE")
    desk = Desk(context, live_server.url)
    desk.log_in()
    page = desk.open("/postings?state=all")
    page.get_by_label("Erika Mustermann, 5,00 € auswählen").check()
    page.get_by_role("button", name="Ignorieren").click()
    expect(page.locator(".toast")).to_contain_text("1 Umsatz ignoriert.")
    page = desk.open("/ignore-rules/new")
    page.get_by_label("Art").select_option("Verwendungszweck")
    page.get_by_label("Was sie trifft").fill("Tagesgeld")
    page.get_by_role("button", name="Ansehen, was sie trifft").click()
    expect(page.locator("#hits")).to_contain_text("1 Umsatz.")
    page.get_by_role("button", name="Regel anlegen").click()
    expect(page.locator(".toast")).to_contain_text("Regel angelegt.")
    row = stored(merchant, "neu.csv", content=CSV, status="failed", asks_columns=True)
    page = desk.open(f"/statements/{row.id}")
    page.get_by_label("Bedeutung von Zahler").select_option("Name")
    page.get_by_label("Bedeutung von Wert").select_option("Betrag")
    page.get_by_role("button", name="Vorschau").click()
    expect(page.locator("#preview")).to_contain_text("418,60")
    page.get_by_role("button", name="Mit diesen Spalten lesen").click()
    db.session.expire_all()
    assert db.session.get_one(Statement, row.id).columns is not None
    context.close()
