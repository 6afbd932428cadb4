"""Texts into which a bank packs several fields of a CSV posting: who, where from, what for.

Each grammar is a function from the text and the amount's sign to what it says. What a grammar
does not find stays in the remittance information, so that nothing of the text is lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from server.banking.formats import fields
from server.banking.formats.purpose import Purpose, read_keywords
from server.check_digits import iban_is_valid

_KEYWORD = re.compile(r"(?:^|[^A-Z])(?:EREF|KREF|MREF|CRED|SVWZ|ABWA|ABWE)\n?\+")
# Lines are cut after 27 characters, so a line feed may stand inside a tag as well.
_TAGS = "EREF KREF MREF CRED DEBT SVWZ ABWA ABWE IBAN BIC ANAM PURP".split()
_TAG = re.compile(r"(?:^|(?<=\s))(" + "|".join("\n?".join(word) for word in _TAGS) + r")\n?:[ \n]")
_COMDIRECT = re.compile(
    r"(Auftraggeber:|Empfänger:|Zahlungspflichtiger:|Kto/IBAN:|BLZ/BIC:|Buchungstext:)"
)
_COMDIRECT_REFERENCE = re.compile(r"\s?Ref\. (?P<reference>[A-Z0-9]+(?:/\d+)?)\s*$")
_COMMERZBANK = re.compile(r"\s*(End-to-End-Ref\.:|Mandatsref:|Gl(?:ä|ae)ubiger-ID:)\s*")
_BANK_AND_ACCOUNT = re.compile(
    r"\s(?P<bic>[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?)\s(?P<iban>[A-Z]{2}\d{2}[A-Z0-9]{11,30})(?=\s|$)"
)
_THREE_BLANKS = re.compile(r" {3,}")


def read(text: str | None, grammar: str | None) -> Purpose:
    """What a text says by the named grammar; German SEPA keywords are understood in all."""
    if text is None:
        return Purpose()
    if "+" in text and _KEYWORD.search(text):
        return read_keywords([text])
    if grammar is None:
        return Purpose(remittance_information=text)
    return _GRAMMARS[grammar](text)


def colons(text: str) -> Purpose:
    """``Rechnung 5 EREF: … MREF: … IBAN: …``, the cooperative banks."""
    pieces = _TAG.split(text)
    said = Purpose(remittance_information=fields.text(pieces[0]))
    for tag, printed in zip(pieces[1::2], pieces[2::2], strict=True):
        content = fields.text(printed)
        _note(said, tag.replace("\n", ""), content, fields.text(printed.replace("\n", "")))
    return said


def _note(said: Purpose, tag: str, content: str | None, token: str | None) -> None:
    if tag == "EREF":
        said.end_to_end_id = token
    elif tag == "MREF":
        said.mandate_id = token
    elif tag == "IBAN":
        said.counterparty_iban = fields.iban(token)
    elif tag == "BIC":
        said.counterparty_bic = fields.bic(token)
    elif tag == "SVWZ":
        said.remittance_information = _joined(said.remittance_information, content)
    elif tag in ("ABWA", "ABWE", "ANAM"):
        said.other_party = token


def lines(text: str) -> Purpose:
    """The kind of posting in the first line, the purpose in lines of 27 characters below."""
    first, _, rest = text.partition("\n")
    if not rest.strip():
        return colons(text)
    said = colons(rest)
    said.booking_text = fields.text(first)
    return said


def comdirect(text: str) -> Purpose:
    """``Auftraggeber: … Buchungstext: … Ref. …``, with and without blanks before the labels."""
    said = Purpose()
    if found := _COMDIRECT_REFERENCE.search(text):
        said.bank_reference = found["reference"]
        text = text[: found.start()]
    pieces = _COMDIRECT.split(text)
    said.remittance_information = fields.text(pieces[0])
    for label, printed in zip(pieces[1::2], pieces[2::2], strict=True):
        content = fields.text(printed)
        if label == "Kto/IBAN:":
            said.counterparty_iban = fields.iban(content)
        elif label == "BLZ/BIC:":
            said.counterparty_bic = fields.bic(content)
        elif label == "Buchungstext:":
            said.remittance_information = _joined(said.remittance_information, content)
        else:
            said.counterparty_name = content
    return said


def commerzbank(text: str) -> Purpose:
    """``NAME BIC IBAN purpose End-to-End-Ref.: … Mandatsref: …``; BIC and IBAN may be missing."""
    pieces = _COMMERZBANK.split(text)
    said = Purpose(remittance_information=fields.text(pieces[0]))
    for label, printed in zip(pieces[1::2], pieces[2::2], strict=True):
        token = fields.text(printed.partition(" ")[0])
        if label == "End-to-End-Ref.:":
            said.end_to_end_id = token
        elif label == "Mandatsref:":
            said.mandate_id = token
    found = _BANK_AND_ACCOUNT.search(pieces[0])
    if found and iban_is_valid(found["iban"]):
        said.counterparty_name = fields.text(pieces[0][: found.start()])
        said.counterparty_bic = found["bic"]
        said.counterparty_iban = found["iban"]
        said.remittance_information = fields.text(pieces[0][found.end() :])
    return said


def blanks(text: str) -> Purpose:
    """``Gutschrift   NAME   IBAN   purpose``: parts with three blanks between them, Targobank."""
    parts = _THREE_BLANKS.split(text.strip())
    if len(parts) < 2:
        return Purpose(remittance_information=fields.text(text))
    said = Purpose(booking_text=fields.text(parts[0]))
    rest: list[str] = []
    for part in parts[1:]:
        iban = fields.iban(part)
        if iban and " " not in part and said.counterparty_iban is None:
            said.counterparty_iban = iban
        elif said.counterparty_iban and said.counterparty_bic is None and fields.bic(part):
            said.counterparty_bic = fields.bic(part)
        else:
            rest.append(part)
    if len(rest) > 1:
        said.counterparty_name = fields.text(rest.pop(0))
    said.remittance_information = fields.text("\n".join(rest))
    return said


def _joined(first: str | None, second: str | None) -> str | None:
    return "\n".join(one for one in (first, second) if one) or None


_GRAMMARS: dict[str, Callable[[str], Purpose]] = {
    "colons": colons,
    "lines": lines,
    "comdirect": comdirect,
    "commerzbank": commerzbank,
    "blanks": blanks,
}
