"""Facts to a letter: words, layout, PDF. Reads only the templates, texts and fonts of this room.

The PDF is PDF/A-2u (ISO 19005-2) with its fonts embedded, and the same facts on the same day give
the same bytes. typst gets everything as one JSON text that it shows and never evaluates.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import typst
from pypdf import PdfReader

from server.letters.codes import girocode_svg, swiss_qr_svg
from server.letters.countries import country_name
from server.letters.kinds import (
    KINDS,
    MAX_FACT_LENGTH,
    FactError,
    check_facts,
)
from server.letters.letterset import FONTS, printable, unprintable_letters
from server.letters.look import MAX_LEGAL_LINES, Look, LookError, header_svg
from server.letters.wording import (
    BILL_LANGUAGES,
    EDITIONS,
    filled,
    language_of,
    paragraphs,
    words_of,
)

TEMPLATES: Final = Path(__file__).parent / "templates"
STANDARD: Final = "a-2u"
MAX_RECIPIENT_LINES: Final = 5
"""And the country, which is the sixth line of the window."""
MAX_RECIPIENT_LENGTH: Final = 120
TINT: Final = 0.07
_SUMS: Final = ("received_total", "open_amount", "fees_total", "interest", "amount_due")
_WITH_SUMS: Final = frozenset({"reminder", "dunning_notice"})
_NAMES: Final = frozenset().union(*(kind.facts for kind in KINDS.values()))
_PAYLOADS: Final = frozenset({"girocode", "swiss_qr"})
"""Never shortened: a code that says less is another one."""


class ComposeError(ValueError):
    """No letter can be made of this: an address that nobody can read, a code that is too long."""


def compose(
    kind: str,
    edition: str,
    facts: Mapping[str, str],
    look: Look,
    *,
    recipient: Sequence[str],
    country: str,
    dated: date,
    is_registered: bool = False,
) -> bytes:
    """The letter as PDF; of an ``invoice`` the cover, with the slip if the facts hold one.

    ``recipient`` are the lines of the address without the country, ``country`` is ISO 3166.
    Raises FactError for facts that do not fit, ComposeError for an address that cannot be
    printed and for a code that its standard does not allow.
    """
    check_facts(kind, facts)
    values = _values(kind, edition, facts)
    words = words_of(edition, kind)
    common = words_of(edition, "letter")
    subject = _plain(filled(words["subject"], values))
    return _pdf(
        _frame(edition, look, subject, dated, values)
        | {
            "is_letter": True,
            "remark": common["registered"] if is_registered else "",
            "recipient": window_lines(recipient, country, look.country),
            "particulars": _particulars(common, values, look, written_day(dated, edition)),
            "greeting": filled(common["greeting"], values),
            "intro": paragraphs(filled(words["intro"], values)),
            "sums": _sums(edition, values) if kind in _WITH_SUMS else [],
            "after": paragraphs(filled(words["after"], values)),
            "closing": common["closing"],
        },
        dated,
    )


def compose_slip(edition: str, facts: Mapping[str, str], look: Look, *, dated: date) -> bytes:
    """A page with the payment slip alone, to follow the shop's invoice. Raises as ``compose``."""
    check_facts("invoice", facts)
    values = _values("invoice", edition, facts)
    if not values["iban"]:
        raise FactError("a slip cannot be written without 'iban'")
    title = _plain(filled(words_of(edition, "invoice")["slip_title"], values))
    return _pdf(
        _frame(edition, look, title, dated, values)
        | {
            "is_letter": False,
            "remark": "",
            "recipient": [],
            "particulars": [],
            "greeting": "",
            "intro": [],
            "sums": [],
            "after": [],
            "closing": "",
        },
        dated,
    )


def check_look(look: Look) -> None:
    """Whether letters can be drawn with it: for whoever saves one. Raises LookError."""
    try:
        compose(
            "reminder",
            "de",
            dict.fromkeys(KINDS["reminder"].required, "1"),
            look,
            recipient=("Erika Mustermann", "51147 Musterstadt"),
            country=look.country,
            dated=date(2026, 1, 1),
        )
    except ComposeError:
        raise LookError("header_unreadable") from None


def pages_of(pdf: bytes) -> int:
    """How many pages a PDF has that was made here; one of a stranger is asked in a child."""
    return len(PdfReader(BytesIO(pdf)).pages)


def window_lines(recipient: Sequence[str], country: str, posted_in: str) -> list[str]:
    """What stands in the window: the address and, abroad, the country. Raises ComposeError."""
    lines = [line for line in map(printable, recipient) if line]
    if not 2 <= len(lines) <= MAX_RECIPIENT_LINES:
        raise ComposeError(f"An address has 2 to {MAX_RECIPIENT_LINES} lines, not {len(lines)}.")
    if any(len(line) > MAX_RECIPIENT_LENGTH for line in lines):
        raise ComposeError(f"A line of the address has more than {MAX_RECIPIENT_LENGTH} letters.")
    if missing := unprintable_letters("".join(recipient)):
        raise ComposeError(f"The address has letters that cannot be printed: {missing[:20]}")
    return [*lines, country_name(country)] if country != posted_in else lines


def written_day(day: date, edition: str) -> str:
    """As the edition writes a day."""
    words = words_of(edition, "letter")
    month = words["months"].split()[day.month - 1]
    number = f"{day.day:02}" if month.isdecimal() else str(day.day)
    return filled(words["day"], {"day": number, "month": month, "year": str(day.year)})


# --- what stands where --------------------------------------------------------------------------


def _values(kind: str, edition: str, facts: Mapping[str, str]) -> dict[str, str]:
    """Every fact that the texts may name, absent ones empty."""
    if edition not in EDITIONS:
        raise FactError(f"there are letters in {', '.join(EDITIONS)}, not in {edition!r}")
    values = dict.fromkeys(_NAMES, "") | dict(facts)
    return {
        name: value if name in _PAYLOADS else _shortened(value) for name, value in values.items()
    }


def _shortened(value: str) -> str:
    return value if len(value) <= MAX_FACT_LENGTH else value[: MAX_FACT_LENGTH - 1] + "…"


def _frame(
    edition: str, look: Look, subject: str, dated: date, values: Mapping[str, str]
) -> dict[str, Any]:
    has_transfer = bool(values["iban"])
    is_bill = has_transfer and bool(values["swiss_qr"])
    return {
        "lang": language_of(edition),
        "region": "CH" if "CH" in edition.split("-") else None,
        "sender": printable(look.sender),
        "return_address": printable(look.return_address),
        "header": header_svg(look.header, look.header_type) if look.header else "",
        "ink": look.ink,
        "accent": look.accent,
        "legal": [[printable(line) for line in column] for column in _legal(look, values)],
        "page_of": words_of(edition, "letter")["page_of"],
        "date": written_day(dated, edition),
        "subject": subject,
        "slip": _slip(edition, look, values) if has_transfer and not is_bill else None,
        "bill": _bill(edition, values["swiss_qr"]) if is_bill else None,
    }


def _legal(look: Look, values: Mapping[str, str]) -> Sequence[Sequence[str]]:
    """The merchant's own columns, else what his mails say at their foot."""
    line = values["legal_line"]
    return look.legal or ([line.split("\n")[:MAX_LEGAL_LINES]] if line else [])


def _particulars(
    common: Mapping[str, str], values: Mapping[str, str], look: Look, today: str
) -> list[tuple[str, str]]:
    rows = [
        (common["date"], today),
        (common["order"], values["order_number"]),
        (common["order_date"], values["order_date"]),
        (common["invoice"], values["invoice_number"]),
        (common["invoice_date"], values["invoice_date"]),
        *look.contact,
    ]
    return [(printable(label), printable(value)) for label, value in rows if value]


def _sums(edition: str, values: Mapping[str, str]) -> list[tuple[str, str]]:
    """How the amount comes about; nothing where it is one sum."""
    words = words_of(edition, "sums")
    rows = [(words[name], printable(values[name])) for name in _SUMS if values[name]]
    return rows if len(rows) > 1 else []


def _slip(edition: str, look: Look, values: Mapping[str, str]) -> dict[str, Any]:
    words = {name: filled(text, values) for name, text in words_of(edition, "slip").items()}
    fields = {
        "creditor": (words["creditor"], printable(values["creditor"])),
        "iban": (words["iban"], printable(values["iban"])),
        "bic": (words["bic"], printable(values["bic"])) if values["bic"] else None,
        "amount": (words["amount"], printable(values["amount_due"])),
        "reference": (words["reference"], printable(values["payment_reference"])),
    }
    names = ("title", "caption", "code_alt", "payer", "payer_iban")
    return {
        **fields,
        **{name: words[name] for name in names},
        "form": "at" if values["form_at"] else "sepa",
        "tint": _mixed(look.accent, TINT),
        "code": _drawn(girocode_svg, values["girocode"]) if values["girocode"] else "",
    }


# --- the Swiss bill -----------------------------------------------------------------------------

_BLANK: Final = "\u00a0"
# Lines of the payload (SIX, QR-bill, 4.2.2), from 0.
_ACCOUNT, _CREDITOR, _AMOUNT, _CURRENCY, _DEBTOR, _REFERENCE, _MESSAGE = 3, 4, 18, 19, 20, 28, 29
_LEAST_LINES: Final = 31
_HOME: Final = frozenset({"CH", "LI"})


def _bill(edition: str, payload: str) -> dict[str, Any]:
    """What is printed on the bill is read from its code: both say the same (SIX, QR-bill, 3.5)."""
    lines = [*payload.split("\n"), *[""] * _LEAST_LINES]
    if lines[:3] != ["SPC", "0200", "1"]:
        raise ComposeError("The Swiss QR code does not begin as the standard wants it.")
    language = language_of(edition) if language_of(edition) in BILL_LANGUAGES else "en"
    amount = lines[_AMOUNT]
    return {
        "words": dict(words_of(edition if language_of(edition) == language else language, "bill")),
        "account": [
            _in_groups(lines[_ACCOUNT], 4),
            *_party(lines[_CREDITOR : _CREDITOR + 7]),
        ],
        "reference": _shown_reference(lines[_REFERENCE]),
        "message": printable(lines[_MESSAGE]),
        "debtor": _party(lines[_DEBTOR : _DEBTOR + 7]) if lines[_DEBTOR] else [],
        "currency": lines[_CURRENCY],
        "amount": f"{int(amount[:-3]):,}{amount[-3:]}".replace(",", _BLANK) if amount else "",
        "code": _drawn(swiss_qr_svg, payload),
    }


def _party(lines: Sequence[str]) -> list[str]:
    """Of a structured address: name, street and number, postcode and city; abroad its country."""
    _, name, street, number, postcode, city, country = lines
    place = f"{postcode} {city}" if country in _HOME else f"{country}-{postcode} {city}"
    return [printable(line) for line in (name, f"{street} {number}", place) if line.strip()]


def _shown_reference(reference: str) -> str:
    """A QR reference in fives from the right, an ISO 11649 one in fours from the left."""
    if not reference.isdecimal():
        return _in_groups(reference, 4)
    first = len(reference) % 5
    return f"{reference[:first]} {_in_groups(reference[first:], 5)}".strip()


def _in_groups(code: str, length: int) -> str:
    return " ".join(code[at : at + length] for at in range(0, len(code), length))


# --- drawing ------------------------------------------------------------------------------------


def _drawn(draw: Any, payload: str) -> str:
    try:
        svg: str = draw(payload)
    except ValueError as problem:
        raise ComposeError(f"The code of the payment slip cannot be drawn: {problem}") from None
    return svg


def _plain(text: str) -> str:
    return " ".join("".join(words for part in paragraphs(text) for _, words in part).split())


def _mixed(colour: str, share: float) -> str:
    """That much of the colour in white."""
    parts = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{round(255 - (255 - part) * share):02x}" for part in parts)


def _pdf(content: Mapping[str, Any], dated: date) -> bytes:
    try:
        pdf = _compiler().compile(
            format="pdf",
            sys_inputs={"data": json.dumps(content, ensure_ascii=False)},
            pdf_standards=STANDARD,
            timestamp=datetime(dated.year, dated.month, dated.day, tzinfo=UTC),
        )
    except typst.TypstError as problem:
        raise ComposeError(f"The letter cannot be drawn: {problem.message}") from problem
    assert isinstance(pdf, bytes), "one document"
    return pdf


@cache
def _compiler() -> typst.Compiler:
    """One a process: it keeps the fonts and the templates that it has read."""
    return typst.Compiler(
        input=TEMPLATES / "letter.typ",
        root=TEMPLATES,
        font_paths=[FONTS],
        ignore_system_fonts=True,
    )
