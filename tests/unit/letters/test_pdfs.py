"""Files of strangers: what is printed, what is refused and why, and whom they are addressed to."""

from __future__ import annotations

import io
import random

import pytest
from pypdf import PdfReader

from server.letters import pdfs
from server.letters.pdfs import PdfRefused, checked_pdf, is_addressed_to, merge
from tests.unit.letters import hostile, samples
from tests.unit.letters.samples import RECIPIENT, letter

pytestmark = pytest.mark.feature("S75")


def test_an_invoice_can_be_printed() -> None:
    content = hostile.invoice(pages=3)
    assert checked_pdf(content) == pdfs.PdfFacts(3, len(content))
    assert checked_pdf(letter()).pages == 1
    assert checked_pdf(hostile.rotated()).pages == 1


def test_an_e_invoice_encloses_its_xml() -> None:
    assert checked_pdf(hostile.enclosing("factur-x.xml")).pages == 1


JS = "<< /S /JavaScript /JS (app.alert) >>"


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (b"", "not_pdf"),
        (b"<html>no such invoice</html>", "not_pdf"),
        (b"%PDF-1.7\n" + b"x" * 500, "broken"),
        (hostile.invoice()[:400], "broken"),
        (hostile.loop(), "broken"),
        (b"%PDF-1.7 " + b" " * pdfs.MAX_BYTES, "too_large"),
        (hostile.encrypted("secret"), "encrypted"),
        (hostile.encrypted(""), "encrypted"),
        (hostile.with_catalog(f"/OpenAction {JS}"), "scripts"),
        (hostile.with_catalog(f"/Names << /JavaScript << /Names [(a) {JS}] >> >>"), "scripts"),
        (hostile.with_page_entry(f"/AA << /O {JS} >>"), "scripts"),
        (hostile.with_page_entry(f"/Annots [<< /Subtype /Widget /A {JS} >>]"), "scripts"),
        (hostile.with_page_entry("/AA << /O << /S /J#61vaScript /J#53 (x) >> >>"), "scripts"),
        (hostile.with_loose_object(JS), "scripts"),
        (hostile.hidden_in_a_stream_of_objects(), "scripts"),
        (hostile.with_catalog("/OpenAction << /S /Launch /F (cmd.exe) >>"), "actions"),
        (hostile.with_catalog("/OpenAction << /S /SubmitForm /F (http://x) >>"), "actions"),
        (hostile.with_catalog("/OpenAction << /S /URI /URI (file:///etc/passwd) >>"), "actions"),
        (hostile.with_catalog("/OpenAction << /S /GoToR /F (other.pdf) >>"), "actions"),
        (hostile.with_catalog("/AcroForm << /XFA (x) >>"), "form_xfa"),
        (hostile.with_page_entry("/Annots [<< /Subtype /RichMedia >>]"), "media"),
        (hostile.enclosing("invoice.exe"), "program_enclosed"),
        (hostile.enclosing("invoice.pdf.JS "), "program_enclosed"),
        (hostile.invoice(pages=51), "too_many_pages"),
        (hostile.invoice(size=(612, 792)), "page_size"),
        (hostile.invoice(size=(hostile.A4[1], hostile.A4[0])), "page_size"),
        (hostile.with_page_entry("/UserUnit 2"), "page_size"),
    ],
)
def test_what_is_not_printed_and_why(content: bytes, key: str) -> None:
    with pytest.raises(PdfRefused) as refused:
        checked_pdf(content)
    assert refused.value.args == (key,)


def test_links_and_jumps_are_no_harm() -> None:
    link = "/Annots [<< /Subtype /Link /A << /S /URI /URI (https://example.org/) >> >>]"
    assert checked_pdf(hostile.with_page_entry(link)).pages == 1
    assert checked_pdf(hostile.with_catalog("/OpenAction [3 0 R /Fit]")).pages == 1


def test_a_file_that_unpacks_without_end_takes_nobody_with_it() -> None:
    content = hostile.bomb()
    assert len(content) < 1_000_000
    with pytest.raises(PdfRefused) as refused:
        is_addressed_to(content, RECIPIENT)
    assert refused.value.args[0] in {"too_complex", "broken"}


def test_broken_bytes_are_refused_or_printed_and_never_anything_else() -> None:
    content, dice = hostile.invoice(), random.Random(7)
    for _ in range(6):
        broken = bytearray(content)
        for _ in range(40):
            broken[dice.randrange(20, len(broken))] = dice.randrange(256)
        try:
            checked_pdf(bytes(broken))
        except PdfRefused as refused:
            assert refused.args[0]


def test_pages_are_put_together_in_their_order() -> None:
    whole = merge([letter(), hostile.invoice(["second"]), letter("reminder")])
    texts = [samples.text_of(whole, page) for page in range(3)]
    assert "Zahlung Ihrer Bestellung" in texts[0]
    assert "second" in texts[1]
    assert "Zahlungserinnerung" in texts[2]
    assert samples.codes_of(whole, 2) == [samples.SEPA["girocode"]]
    assert len(PdfReader(io.BytesIO(whole)).pages) == 3


# --- the address ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("left", "top"), [(25.0, 60.0), (22.0, 45.0), (25.0, 35.0), (120.0, 55.0)])
def test_the_windows_of_the_usual_envelopes(left: float, top: float) -> None:
    content = hostile.invoice(left=left, top=top)
    assert is_addressed_to(content, RECIPIENT)


def test_an_address_elsewhere_is_not_seen_through_the_window() -> None:
    content = hostile.invoice(left=25.0, top=150.0)
    assert not is_addressed_to(content, RECIPIENT)


@pytest.mark.parametrize(
    "lines",
    [
        ("ERIKA MUSTERMANN", "HEIDESTRASSE 17", "51147 MUSTERSTADT"),
        ("Frau", "Erika Mustermann", "Heidestr. 17", "", "D-51147 Musterstadt"),
        ("Musterfirma GmbH", "Erika  Mustermann", "Heidestraße 17", "51147  Musterstadt"),
    ],
)
def test_shops_write_addresses_in_their_own_way(lines: tuple[str, ...]) -> None:
    assert is_addressed_to(hostile.invoice(lines), RECIPIENT)


@pytest.mark.parametrize(
    "lines",
    [
        ("Bob Beispiel", "Heidestraße 17", "51147 Musterstadt"),
        ("Erika Mustermann", "Heidestraße 17", "51149 Musterstadt"),
        ("Annas Antiquariat", "Musterweg 7", "12345 Beispielstadt"),
        (),
    ],
)
def test_another_address_is_another(lines: tuple[str, ...]) -> None:
    assert not is_addressed_to(hostile.invoice(lines), RECIPIENT)
    assert not is_addressed_to(hostile.invoice(lines), ())


def test_umlauts_are_written_in_two_ways() -> None:
    content = hostile.invoice(("Jürgen Müßig", "Grüner Weg 1", "80331 München"))
    assert is_addressed_to(content, ("Juergen Muessig", "Gruener Weg 1", "80331 Muenchen"))


def test_our_own_letters_are_addressed() -> None:
    assert is_addressed_to(letter(), RECIPIENT)
