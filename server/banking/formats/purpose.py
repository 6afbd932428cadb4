"""The grammars banks use inside a text field: German keywords, Dutch codes, German subfields.

Standards: DFÜ-Abkommen of the German banks, annex 3, chapter 8 (structured field 86, subfields
00 to 63 and the SEPA keywords); SWIFT code words of the Dutch banks (``/REMI/…``). MT940, CSV
and camt texts all use them, so they are read here once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from server.banking.formats import fields
from server.check_digits import iban_is_valid

SUBFIELD_CHARACTERS = 27
LINE_CHARACTERS = 65
TAG = ":86:"
END_TO_END_CHARACTERS = 35
POLISH_FILLERS = {"˙", "ÿ"}  # one byte, read by two code pages
UNSTRUCTURED_CODE = "999"

# A subfield border may stand anywhere, so also inside a keyword.
_KEYWORDS = ("EREF KREF MREF CRED DEBT COAM OAMT SVWZ ABWA ABWE IBAN BIC BREF RREF PURP").split()
_KEYWORD = re.compile(
    "(?:" + "|".join("\n?".join(word) for word in _KEYWORDS) + r")\n?\+", re.ASCII
)
_CODES = (
    "TRTP RTYP IBAN BIC NAME REMI EREF KREF PREF NRTX PIND CSID MARF RTRN ORDP BENM CNTP ACCW"
    " ADDR ID ISDT PURP ULTD ULTC ULTB SVCL OCMT CHGS USTD STRD TRCD EXCH CRNM CACT CBIC BBAN"
).split()
# Where a line begins with what looks like a code, it is one that only its bank knows.
_CODE = re.compile(
    r"\s?/(" + "|".join("\n?".join(word) for word in _CODES) + r")\n?/|\n/([A-Z]{4})/"
)
# What these say is read, or is of no use for finding out what was paid.
_SETTLED_CODES = set(_CODES) - {"OCMT", "CHGS", "ULTD"}
_ACCOUNT_LINE = re.compile(r"\S*\d\S*")
_KNAB = re.compile(r"\bREK: ?(?P<iban>[A-Z]{2}\d{2}[A-Z0-9]{11,30})/NAAM: ?(?P<name>.+)", re.DOTALL)
_COLONS = re.compile(
    r"(?P<kind>[A-Z]+(?:_[A-Z]+)*):(?P<text>.*):(?P<name>[^:]+):"
    r"(?P<iban>[A-Z]{2}\d{2}[A-Z0-9]{11,30})(?::[^:]*)?",
    re.DOTALL,
)
# The labels of Polish banks: from or to which account, from or for whom.
_POLISH = re.compile(r"(?:^|;\s*)(Z RACH\.|NA RACH\.|OD|DLA): *([^;]+)")
_UNSTRUCTURED = re.compile(r"U\n?S\n?T\n?D\n?/\n?/?")
_STRUCTURED = re.compile(r"S\n?T\n?R\n?D\n?/[^/]*/([^/]+)")
_SUBFIELD_START = re.compile(r"\s*(?P<code>\d{3})?\s*(?P<mark>[^\w\s/])(?=\d\d)")
_PURPOSE_SUBFIELDS = {*(f"{n}" for n in range(20, 30)), *(f"{n}" for n in range(60, 66))}
_NAME_SUBFIELDS = ("32", "33")
_OTHER_NAME_SUBFIELDS = ("35", "36")
_KNOWN_SUBFIELDS = {"00", "10", "30", "31", "34", "38", "70", "71", *_NAME_SUBFIELDS}
_KNOWN_SUBFIELDS |= {*_PURPOSE_SUBFIELDS, *_OTHER_NAME_SUBFIELDS}


@dataclass(slots=True)
class Purpose:
    """What a text field says; everything not said is None."""

    remittance_information: str | None = None
    creditor_reference: str | None = None
    end_to_end_id: str | None = None
    mandate_id: str | None = None
    customer_reference: str | None = None
    bank_reference: str | None = None
    counterparty_name: str | None = None
    counterparty_iban: str | None = None
    counterparty_bic: str | None = None
    other_party: str | None = None
    business_code: str | None = None
    booking_text: str | None = None
    return_reason: str | None = None
    is_return: bool = False
    is_batch_total: bool = False
    batch_size: int | None = None
    is_free_text: bool = False


def join_lines(printed: list[str], *, tag_counts: bool = False) -> str:
    """The lines of a field 86 as one text.

    A full line was cut by its length and is glued; after a shorter one the bank may have cut a
    blank or meant a new line, which is kept as a line feed. A longer one was not cut at all.
    ``tag_counts``: the tag takes part of the first line, which is full earlier.
    """
    joined = ""
    full = LINE_CHARACTERS - 1 - (len(TAG) if tag_counts else 0)
    for line in filter(str.strip, printed):
        joined += line
        if not full <= len(line) <= LINE_CHARACTERS:
            joined += "\n"
        full = LINE_CHARACTERS - 1
    return joined.rstrip("\n")


def read(printed: list[str]) -> Purpose:
    """A field 86 in whatever grammar it is written; free text becomes the remittance."""
    joined = join_lines(printed)
    if (start := _SUBFIELD_START.match(joined)) and _has_subfields(joined, start):
        # Lines have no meaning of their own here, so a break is always a cut.
        return _read_subfields(join_lines(printed, tag_counts=True), start)
    if _CODE.search(joined):
        return read_codes(joined)
    return _read_free(joined)


def _read_free(joined: str) -> Purpose:
    """Free text, and the few banks that print who paid in it; all of it stays remittance."""
    purpose = Purpose(is_free_text=True)
    if leading := re.match(r"(\d{3})(?=PN\d)", joined):
        purpose.business_code = leading[1]
    elif joined.startswith(UNSTRUCTURED_CODE) and len(joined) > len(UNSTRUCTURED_CODE):
        purpose.business_code = UNSTRUCTURED_CODE
        joined = joined[len(UNSTRUCTURED_CODE) :]
        if joined[0].isdigit():
            # It may as well begin a longer number.
            joined = f"{UNSTRUCTURED_CODE}\n{joined}"
    if found := _KNAB.search(joined) or _COLONS.fullmatch(joined):
        purpose.counterparty_iban = fields.iban(found["iban"])
        purpose.counterparty_name = fields.text(found["name"].replace("\n", " "))
    elif ";" in joined:
        _read_polish(purpose, joined)
    purpose.remittance_information = fields.text(joined)
    return purpose


def _read_polish(purpose: Purpose, joined: str) -> None:
    """``…; Z RACH.: 26 digits; OD: NAME  STREET; TYT.: …``; an address follows after two blanks."""
    for label, content in _POLISH.findall(joined):
        if label.endswith("."):
            digits = "".join(content.split())
            polish = f"PL{digits}" if digits.isdigit() else digits
            purpose.counterparty_iban = fields.iban(polish) if iban_is_valid(polish) else None
        else:
            flat = content.strip().replace(" \n", " ").replace("\n", " ")
            purpose.counterparty_name = fields.text(flat.partition("  ")[0])


def _has_subfields(joined: str, start: re.Match[str]) -> bool:
    first = joined[start.end() : start.end() + 2]
    return first in _KNOWN_SUBFIELDS


@lru_cache(maxsize=64)
def _subfield_border(mark: str) -> re.Pattern[str]:
    """Where a subfield starts; a line may end anywhere, so also inside its mark and number."""
    return re.compile(rf"\n?{re.escape(mark)}(\n?\d\n?\d)")


def _read_subfields(joined: str, start: re.Match[str]) -> Purpose:
    """``166?00GUTSCHRIFT?20EREF+…?32NAME``; the mark (here ``?``) differs between banks."""
    subfields: dict[str, list[str]] = {}
    purposes: list[str] = []
    current: list[str] = []
    pieces = _subfield_border(start["mark"]).split(joined[start.end() - 1 :])
    for printed, content in zip(pieces[1::2], pieces[2::2], strict=True):
        number = printed.replace("\n", "")
        if number in _PURPOSE_SUBFIELDS:
            if content.strip() not in POLISH_FILLERS:
                purposes.append(content)
            current = purposes
        elif number in _KNOWN_SUBFIELDS:
            current = subfields.setdefault(number, [])
            current.append(content)
        elif current:
            # The mark is also a letter of texts: "what?55" is no subfield.
            current[-1] += f"{start['mark']}{printed}{content}"
    purpose = read_keywords(purposes)
    purpose.business_code = start["code"]
    purpose.booking_text = _token(subfields.get("00"))
    purpose.counterparty_bic = fields.bic(_token(subfields.get("30"))) or purpose.counterparty_bic
    account = fields.iban(_token(subfields.get("31"))) or fields.iban(_token(subfields.get("38")))
    purpose.counterparty_iban = account or purpose.counterparty_iban
    purpose.counterparty_name = _name(_names(subfields, _NAME_SUBFIELDS))
    other = _name(_names(subfields, _OTHER_NAME_SUBFIELDS))
    if other and other not in (purpose.counterparty_name or ""):
        _add(purpose, other)
    reason = _token(subfields.get("34"))
    purpose.return_reason = reason if reason and reason.startswith("9") else None
    return purpose


def _names(subfields: dict[str, list[str]], numbers: tuple[str, ...]) -> list[str]:
    found = [name for number in numbers for name in subfields.get(number, [])]
    return [name for name in found if name.strip() not in POLISH_FILLERS]


def _add(purpose: Purpose, said: str) -> None:
    """Put something more behind the remittance information."""
    known = purpose.remittance_information
    purpose.remittance_information = fields.text(f"{known}\n{said}" if known else said)


def read_keywords(purposes: list[str]) -> Purpose:
    """German SEPA keywords in the purpose subfields, wherever in a subfield they start.

    A reference ends with its subfield unless that is full (27 characters); what follows without
    a keyword is remittance. SVWZ runs up to the next keyword over all borders.
    """
    purpose = Purpose()
    joined = "\n".join(purposes)
    starts = list(_KEYWORD.finditer(joined)) if "+" in joined else []
    remittance = [joined[: starts[0].start()] if starts else joined]
    for index, found in enumerate(starts):
        end = starts[index + 1].start() if index + 1 < len(starts) else len(joined)
        word = found[0].replace("\n", "")[:-1]
        value = joined[found.end() : end]
        if word != "SVWZ":
            value, after = _cut_reference(joined, found.end(), end)
            _put_keyword(purpose, word, value, remittance)
            value = after
        remittance.append(value)
    if purpose.other_party:
        remittance.append(purpose.other_party)
    purpose.remittance_information = fields.text(
        "\n".join(part.strip("\n") for part in remittance if part.strip())
    )
    return purpose


def _cut_reference(joined: str, begin: int, end: int) -> tuple[str, str]:
    """A keyword's value, glued over full subfields, and the text that stands behind it."""
    value_end = begin
    line_start = joined.rfind("\n", 0, begin) + 1
    while True:
        border = joined.find("\n", value_end, end)
        if border < 0:
            value_end = end
            break
        if border - line_start < SUBFIELD_CHARACTERS:
            value_end = border
            break
        line_start = value_end = border + 1
    return joined[begin:value_end].replace("\n", ""), joined[value_end:end]


def _put_keyword(purpose: Purpose, word: str, value: str, remittance: list[str]) -> None:
    value = value.strip()
    if word == "EREF":
        purpose.end_to_end_id = fields.text(value[:END_TO_END_CHARACTERS])
        if rest := value[END_TO_END_CHARACTERS:].strip():
            remittance.append(rest)
    elif word == "MREF":
        purpose.mandate_id = fields.text(value)
    elif word == "KREF":
        purpose.customer_reference = fields.text(value)
    elif word == "BREF":
        purpose.bank_reference = fields.text(value)
    elif word == "IBAN":
        purpose.counterparty_iban = fields.iban(value)
    elif word == "BIC":
        purpose.counterparty_bic = fields.bic(value)
    elif word == "ABWA":
        purpose.other_party = fields.text(value)


def read_codes(joined: str) -> Purpose:
    """``/TRTP/SEPA OVERBOEKING/IBAN/…/REMI/…/EREF/…`` and the words before the first code."""
    purpose = Purpose()
    starts = list(_CODE.finditer(joined))
    values: dict[str, str] = {}
    for index, found in enumerate(starts):
        end = starts[index + 1].start() if index + 1 < len(starts) else len(joined)
        value = joined[found.end() : end].strip()
        values.setdefault((found[1] or found[2]).replace("\n", ""), value.rstrip("/"))
    before = joined[: starts[0].start()] if starts else joined
    written = _written(purpose, values.get("REMI") or values.get("USTD") or "")
    remittance = [before, written, *_unread(values)]
    # ING: /CNTP/account/BIC/name/city/
    counterparty = [*values.get("CNTP", "").split("/"), "", "", ""]
    party = values.get("NAME") or values.get("CRNM") or _party(values, remittance)
    party = party or counterparty[2]
    kind = values.get("TRTP") or values.get("RTYP") or ""
    account = _glued(values, "IBAN") or _glued(values, "ACCW").partition(",")[0]
    account = account or _glued(values, "CACT") or counterparty[0]
    purpose.counterparty_name = fields.text(party.replace("\n", " "))
    purpose.counterparty_iban = fields.iban(account)
    purpose.counterparty_bic = fields.bic(
        _glued(values, "BIC") or _glued(values, "CBIC") or counterparty[1]
    )
    purpose.end_to_end_id = fields.text(_glued(values, "EREF"))
    purpose.mandate_id = fields.text(_glued(values, "MARF"))
    purpose.customer_reference = fields.text(_glued(values, "PREF"))
    purpose.return_reason = fields.text(_glued(values, "RTRN"))
    purpose.is_return = purpose.return_reason is not None
    size = _glued(values, "NRTX")
    purpose.is_batch_total = "BATCH" in kind.upper() or size not in ("", "1")
    purpose.batch_size = int(size) if size.isascii() and size.isdigit() and len(size) < 10 else None
    purpose.booking_text = fields.text(kind)
    purpose.remittance_information = fields.text(
        "\n".join(part.strip() for part in remittance if part.strip())
    )
    return purpose


def _unread(values: dict[str, str]) -> list[str]:
    """What stands behind codes that are not known, and behind an amount and its slash."""
    return [
        content.partition("/")[2] if code in ("OCMT", "CHGS") else content
        for code, content in values.items()
        if code not in _SETTLED_CODES
    ]


def _party(values: dict[str, str], remittance: list[str]) -> str:
    """Who paid or was paid; some banks print lines of account, name and text behind the code."""
    lines = (values.get("ORDP") or values.get("BENM") or "").split("\n/")
    if len(lines) > 1 and _ACCOUNT_LINE.fullmatch(lines[0]):
        del lines[0]
    remittance += lines[1:]
    return lines[0]


def _written(purpose: Purpose, printed: str) -> str:
    """What stands behind ``/REMI/``: text, or ``USTD//text``, or ``STRD/issuer/reference``."""
    if found := _UNSTRUCTURED.match(printed):
        return printed[found.end() :]
    if found := _STRUCTURED.fullmatch(printed):
        purpose.creditor_reference = fields.text(found[1].replace("\n", ""))
        return ""
    return printed


def _glued(values: dict[str, str], code: str) -> str:
    return values.get(code, "").replace("\n", "").strip()


def _token(contents: list[str] | None) -> str | None:
    return fields.text("".join(contents).replace("\n", "")) if contents else None


def _name(parts: list[str]) -> str | None:
    """A name in two subfields: the first full one was cut by its length, a shorter one was not."""
    name = ""
    for part in parts:
        name += part.replace("\n", " ")
        if len(part) < SUBFIELD_CHARACTERS:
            name += " "
    return fields.text(" ".join(name.split()))
