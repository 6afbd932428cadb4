"""Every kind in every edition is a letter: whole, small, printable, and its code says the same."""

from __future__ import annotations

import base64
import io
import struct
import zlib

import pytest
from pypdf import PdfReader

from server.letters.compose import ComposeError, compose, compose_slip, written_day
from server.letters.kinds import KINDS, FactError
from server.letters.look import Look
from server.letters.wording import EDITIONS
from server.mail.kinds import KINDS as MAILS
from tests.unit.letters import samples
from tests.unit.letters.samples import AUSTRIAN, DATED, LOOK, RECIPIENT, SEPA, SWISS, letter

OURS = sorted(KINDS)


@pytest.mark.feature("S47")
@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize("kind", OURS)
def test_every_kind_in_every_edition(kind: str, edition: str) -> None:
    for facts in (SEPA, SWISS):
        pdf = letter(kind, edition, facts)
        assert len(pdf) < 200_000
        text = samples.text_of(pdf)
        assert "{{" not in text
        assert "**" not in text
        assert "\ue000" not in text
        assert "10482" in text
        assert samples.codes_of(pdf) == [facts["swiss_qr"] if facts is SWISS else facts["girocode"]]
        if "CH" in edition.split("-"):
            assert "ß" not in text.replace("Heidestraße", "")


@pytest.mark.feature("S77")
@pytest.mark.parametrize(("facts", "country"), [(SEPA, "DE"), (AUSTRIAN, "AT"), (SWISS, "CH")])
def test_the_form_of_a_country_holds_its_code(facts: dict[str, str], country: str) -> None:
    pdf = letter("transfer_form", "de", facts, country=country)
    assert samples.codes_of(pdf) == [facts.get("swiss_qr") or facts["girocode"]]
    text = samples.text_of(pdf)
    assert ("Zahlungsanweisung" in text) is (country == "AT")
    assert ("Empfangsschein" in text) is (country == "CH")
    assert ("SEPA-Überweisung" in text) is (country == "DE")


def test_letters_take_the_facts_that_mails_are_given() -> None:
    """Whoever writes the mail may hand the same facts to the letter."""
    for kind in ("payment_information", "reminder", "dunning_notice"):
        assert MAILS[kind].required == KINDS[kind].required
        assert MAILS[kind].optional <= KINDS[kind].facts


@pytest.mark.parametrize("kind", ["reminder", "dunning_notice"])
def test_how_the_amount_comes_about(kind: str) -> None:
    text = samples.text_of(
        letter(kind, "de", SEPA | samples.DEMAND if kind != "reminder" else SEPA)
    )
    assert ("Mahngebühren" in text) is (kind == "dunning_notice")


def test_the_same_facts_give_the_same_bytes() -> None:
    assert letter() == letter()
    assert letter() != letter(facts=SEPA | {"order_number": "10483"})


def test_it_is_a_pdf_a_with_its_fonts_in_it() -> None:
    pdf = letter("dunning_notice", is_registered=True)
    reader = PdfReader(io.BytesIO(pdf))
    marks = reader.trailer["/Root"]["/Metadata"].get_object().get_data().decode()
    assert "<pdfaid:part>2</pdfaid:part>" in marks
    assert "<pdfaid:conformance>U</pdfaid:conformance>" in marks
    assert reader.trailer["/Root"]["/OutputIntents"]
    fonts = _fonts(reader)
    assert {name.partition("+")[2] for name in fonts} == {"LiberationSans", "LiberationSans-Bold"}
    assert all(is_embedded for is_embedded in fonts.values())


def _fonts(reader: PdfReader) -> dict[str, bool]:
    found = {}
    for page in reader.pages:
        for font in page["/Resources"]["/Font"].values():
            inner = font.get_object()["/DescendantFonts"][0].get_object()
            described = inner["/FontDescriptor"].get_object()
            name = str(inner["/BaseFont"]).removeprefix("/")
            found[name] = any(key in described for key in ("/FontFile2", "/FontFile3"))
    return found


# --- where things stand -------------------------------------------------------------------------


def test_the_address_stands_in_the_window() -> None:
    """DIN 5008 form B: 85 x 45 mm from 20 | 45; in it 27.3 mm for the address from 62.7 on."""
    pdf = letter(country="AT", is_registered=True)
    for line in (*RECIPIENT, "AUSTRIA"):
        place = samples.piece(pdf, line)
        assert 25.0 <= place.left < 26.0
        assert place.top >= 62.7
        assert place.bottom <= 90.0
        assert place.right <= 105.0
    remark, sender = samples.piece(pdf, "Einschreiben"), samples.piece(pdf, "Musterweg 7 · 12345")
    for place in (remark, sender):
        assert 45.0 <= place.top <= place.bottom <= 62.7
    assert remark.bottom < sender.top
    assert samples.piece(pdf, "23.11.2026").left >= 125.0
    assert samples.piece(pdf, "23.11.2026").top >= 49.9


def test_six_lines_fit_into_the_window() -> None:
    lines = ("Firma", "Abteilung", "z. Hd. Erika Mustermann", "Heidestraße 17", "1010 Musterwien")
    pdf = letter(recipient=lines, country="AT")
    assert samples.piece(pdf, "AUSTRIA").bottom <= 90.0


def test_no_country_at_home() -> None:
    assert "GERMANY" not in samples.text_of(letter())
    abroad = Look("Annas Antiquariat", "Annas Antiquariat · Wien", country="AT")
    assert "GERMANY" in samples.text_of(letter(look=abroad))
    assert "XK" in samples.text_of(letter(country="XK")).split()


def test_a_very_long_name_stays_in_the_window() -> None:
    name = "Prof. Dr. Dr. h. c. Maximiliane-Alexandra von und zu Hohenbeispielhausen-Musterberg"
    pdf = letter(recipient=(name, *RECIPIENT[1:]))
    place = samples.piece(pdf, "Maximiliane")
    assert place.right <= 105.5
    assert place.bottom <= 90.0
    assert _letters(name) in _letters(samples.text_of(pdf))


def _letters(text: str) -> str:
    return "".join(letter for letter in text if letter.isalpha())


def test_a_long_letter_goes_on_and_its_slip_stays_whole() -> None:
    many = SEPA | {
        "shop_name": "Annas Antiquariat " + "und Buchbinderei " * 55,
        "invoice_number": "",
    }
    for facts in (many, many | {"swiss_qr": SWISS["swiss_qr"], "girocode": ""}):
        pdf = letter("dunning_notice", "de", facts)
        assert samples.page_count(pdf) == 2
        assert "Seite 2 von 2" in samples.text_of(pdf, 1)
        codes = [code for page in (0, 1) for code in samples.codes_of(pdf, page)]
        assert codes == [facts.get("swiss_qr") or facts["girocode"]]
        page = 0 if samples.codes_of(pdf, 0) else 1
        for word in (
            ("Referenz", "Zahlteil") if "swiss_qr" in facts else ("Verwendungszweck", "BIC")
        ):
            assert word in samples.text_of(pdf, page)


def test_one_page_has_no_number() -> None:
    assert "Seite" not in samples.text_of(letter())


def test_the_slip_of_an_invoice_is_a_page_of_its_own() -> None:
    pdf = compose_slip("de", SEPA, LOOK, dated=DATED)
    assert samples.page_count(pdf) == 1
    assert "Zahlschein zur Rechnung RE-2026-17" in samples.text_of(pdf)
    assert RECIPIENT[0] not in samples.text_of(pdf)
    assert samples.codes_of(pdf) == [SEPA["girocode"]]
    with pytest.raises(FactError, match="iban"):
        compose_slip("de", {**SEPA, "iban": ""}, LOOK, dated=DATED)


def test_without_a_code_the_slip_is_still_there() -> None:
    pdf = letter(facts={**SEPA, "girocode": "", "bic": ""})
    assert samples.codes_of(pdf) == []
    assert SEPA["iban"] in samples.text_of(pdf)


# --- what customers, shops and merchants may write ------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        '#panic("no")',
        '#image("/etc/passwd")',
        "*bold* _it_ $x^2$ `raw` <label> @ref \\ #{1+1} [x] // y /* z",
        '"}],"subject":"forged',
        "{{ iban }} {{#x}} **b**",
    ],
)
def test_nothing_that_somebody_wrote_is_markup(words: str) -> None:
    look = Look("A&O " + words, words, legal=((words,),), contact=((words, words),))
    facts = {**SEPA, "shop_name": words, "creditor": words, "order_number": words}
    pdf = letter("dunning_notice", "de", facts, look=look, recipient=(words, *RECIPIENT[1:]))
    squashed = "".join(samples.text_of(pdf).split())
    assert squashed.count("".join(words.split())) >= 6


def test_ornaments_go_and_foreign_letters_are_marked() -> None:
    pdf = letter(facts={**SEPA, "shop_name": "Blumen 🌸 \u202eevil\u202c Łódź Ñandú שלום"})
    text = " ".join(samples.text_of(pdf).split())
    assert "Blumen evil Łódź Ñandú ????" in text


@pytest.mark.parametrize("name", ["山田太郎", "سارة", "שרה לוי"])
def test_an_address_that_cannot_be_printed_is_refused(name: str) -> None:
    with pytest.raises(ComposeError, match="cannot be printed"):
        letter(recipient=(name, *RECIPIENT[1:]))


@pytest.mark.parametrize(
    "recipient", [(), ("Erika Mustermann",), ("x" * 121, "y"), tuple("abcdef")]
)
def test_an_address_has_two_to_five_lines(recipient: tuple[str, ...]) -> None:
    with pytest.raises(ComposeError):
        letter(recipient=recipient)


def test_facts_are_checked() -> None:
    with pytest.raises(FactError, match="no kind"):
        letter("love_letter")
    with pytest.raises(FactError, match="needs the fact 'iban'"):
        letter(facts={name: text for name, text in SEPA.items() if name != "iban"})
    with pytest.raises(FactError, match="without 'amount_due'"):
        letter(facts={**SEPA, "amount_due": ""})
    with pytest.raises(FactError, match="knows no fact 'colour'"):
        letter(facts={**SEPA, "colour": "red"})
    with pytest.raises(FactError, match="finished string"):
        letter(facts={**SEPA, "bic": 7})  # type: ignore[dict-item]
    with pytest.raises(FactError, match="'pl'"):
        letter(edition="pl")
    with pytest.raises(ComposeError, match="331 bytes"):
        letter(facts={**SEPA, "girocode": "x" * 332})


def test_a_day_as_people_write_it() -> None:
    assert [written_day(DATED, edition) for edition in ("de-CH-du", "en", "fr", "nl")] == [
        "23.11.2026",
        "23 November 2026",
        "23/11/2026",
        "23-11-2026",
    ]


# --- the header's picture -----------------------------------------------------------------------


def _png(width: int, height: int) -> str:
    def chunk(name: bytes, content: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + crc

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x5b\x2d\x4e" * width) * height)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + parts).decode()


def test_a_header_picture_is_printed() -> None:
    size = 'xmlns="http://www.w3.org/2000/svg" width="30" height="10"'
    svg = f'<svg {size}><path d="M0 0h30v10z"/></svg>'.encode()
    drawn = letter(look=_with(base64.b64encode(svg).decode(), "image/svg+xml"))
    raster = letter(look=_with(_png(60, 20), "image/png"))
    for pdf in (drawn, raster):
        assert len(pdf) < 200_000
        assert samples.codes_of(pdf) == [SEPA["girocode"]]
    above = [shape for shape in samples.shapes(drawn) if shape[3] < 40]
    assert any(abs(left - 25) < 1 and right - left > 60 for left, _, right, _ in above)


def test_a_wide_header_is_no_wider_than_the_text() -> None:
    size = 'xmlns="http://www.w3.org/2000/svg" width="900" height="10"'
    svg = f'<svg {size}><path d="M0 0h900v9z"/></svg>'.encode()
    pdf = letter(look=_with(base64.b64encode(svg).decode(), "image/svg+xml"))
    assert all(right <= 190.5 for _, _, right, bottom in samples.shapes(pdf) if bottom < 40)


def test_without_columns_the_foot_says_what_mails_say() -> None:
    plain = Look("Annas Antiquariat", "Musterweg 7")
    pdf = letter(look=plain, facts={**SEPA, "legal_line": "Inhaberin Anna Beispiel\nHRA 99"})
    assert samples.piece(pdf, "Inhaberin Anna Beispiel").top > 265
    assert "HRA 99" in samples.text_of(pdf)
    with_own = letter(facts={**SEPA, "legal_line": "Inhaberin Anna Beispiel"})
    assert "Inhaberin" not in samples.text_of(with_own)


def _with(header: str, header_type: str) -> Look:
    return Look("Annas Antiquariat", "Musterweg 7", header=header, header_type=header_type)


def test_a_letter_that_no_drawing_can_be_made_of_says_so() -> None:
    broken = base64.b64encode(b"<svg><path d='M0 0h30v10z'>").decode()
    with pytest.raises(ComposeError, match="drawn"):
        compose(
            "reminder",
            "de",
            SEPA,
            _with(broken, "image/svg+xml"),
            recipient=RECIPIENT,
            country="DE",
            dated=DATED,
        )
