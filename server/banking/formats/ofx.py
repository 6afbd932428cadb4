"""OFX 1.x (SGML without end tags) and 2.x (XML): statements of bank accounts and credit cards.

Standard: Open Financial Exchange 1.0.2 to 2.3, section 11. A reader of its own, because no XML
parser reads SGML, and because a bank's file must not reach anything that resolves entities: tags
are found by their angle brackets, entities are single characters, document types and processing
instructions are skipped.
"""

from __future__ import annotations

import codecs
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import BinaryIO

from server.banking.formats import fields
from server.banking.formats.items import (
    MAX_RAW_CHARACTERS,
    Balance,
    ForeignAmount,
    Item,
    ParsedPosting,
    Problem,
    StatementFacts,
    Unreadable,
)

SOURCE = "OFX"
BLOCK_BYTES = 64 * 1024
HEAD_BYTES = 4 * 1024
MAX_ELEMENT_CHARACTERS = 200_000
MAX_VALUES = 200

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_BEGIN = re.compile(r"\s*(?:<|OFXHEADER)", re.IGNORECASE)
_ROOT = re.compile(r"OFXHEADER|<OFX[\s>]", re.IGNORECASE)
_TAG = re.compile(r"<(/?)([A-Za-z0-9.]+)\s*/?>([^<]*)")
_INSTRUCTION = re.compile(r"<[?!][^<>]*>")
_ENCODING = re.compile(rb"""(?:^|\s)(ENCODING|CHARSET)[:=]["']?([A-Z0-9-]+)""", re.IGNORECASE)
_XML_ENCODING = re.compile(rb"""<\?xml[^>]*encoding=["']([A-Za-z0-9-]+)""")
_DATE = re.compile(r"(\d{4})(\d{2})(\d{2})")
_ENTITY = re.compile(r"&(#?\w+);")
_CODE_PAGES = {
    "1252": "cp1252",
    "8859-1": "latin-1",
    "ISO-8859-1": "latin-1",
    "8859-15": "iso8859-15",
    "UTF-8": "utf-8",
    "UNICODE": "utf-8",
}

_POSTINGS = {"STMTTRN": False, "STMTTRNP": True}
_STATEMENTS = {"STMTRS", "CCSTMTRS"}
_LISTS = {"BANKTRANLIST", "BANKTRANLISTP"}
_GROUPS = {
    *_LISTS,
    *_POSTINGS,
    *_STATEMENTS,
    *"BANKACCTFROM CCACCTFROM BANKACCTTO CCACCTTO LEDGERBAL AVAILBAL".split(),
    *"PAYEE CURRENCY ORIGCURRENCY".split(),
}
# Returned: the payment came back. Everything else says only what kind of posting it is.
_RETURN = re.compile(
    r"retoure|r(?:ue|ü)ck(?:lastschrift|buchung|(?:ue|ü)berweisung)|reversal", re.I
)


def looks_like(head: bytes) -> bool:
    """Whether these first bytes of a file are those of OFX."""
    text = head[:HEAD_BYTES].decode("utf-16" if head.startswith(_UTF16) else "latin-1", "replace")
    text = text.removeprefix("\ufeff").removeprefix("\xef\xbb\xbf")
    return _BEGIN.match(text) is not None and _ROOT.search(text) is not None


def read(source: BinaryIO) -> Iterator[Item]:
    """The postings of each statement, then its StatementFacts.

    Raises Unreadable when the file holds no statement.
    """
    document = _Document()
    for is_end, tag, content in _tags(source):
        yield from document.take(is_end, tag, content)
    yield from document.end_statement()
    if not document.has_statements:
        raise Unreadable("this is OFX, no camt, and holds no statement of an account or a card")


class _Document:
    """The place in a file: in which statement, and in which posting of it."""

    def __init__(self) -> None:
        self.has_statements = False
        self._statement: _Statement | None = None
        self._group: _Group | None = None

    def take(self, is_end: bool, tag: str, content: str) -> Iterator[Item]:
        """One tag; what ends with it comes out."""
        if tag in _STATEMENTS:
            yield from self.end_statement()
            self._statement = None if is_end else _Statement()
            self.has_statements = True
        elif self._statement is not None:
            if tag in _POSTINGS:
                yield from self._end_posting()
                self._group = None if is_end else _Group(tag)
            elif tag in _LISTS:
                yield from self._end_posting()
                self._statement.own.inner = "" if is_end else tag
            elif tag in _GROUPS:
                (self._group or self._statement.own).inner = "" if is_end else tag
            elif content and not is_end:
                (self._group or self._statement.own).put(tag, content)

    def end_statement(self) -> Iterator[Item]:
        """The facts of the statement, and the posting that its last lines belong to."""
        if self._statement is not None:
            yield from self._end_posting()
            yield from self._statement.facts()
        self._statement = None

    def _end_posting(self) -> Iterator[Item]:
        if self._statement is not None and self._group is not None:
            yield from self._statement.posting(self._group)
        self._group = None


def _tags(source: BinaryIO) -> Iterator[tuple[bool, str, str]]:
    """The tags of the file in their order: whether it ends an element, its name, and its text."""
    start = source.tell()
    head = source.read(HEAD_BYTES)
    source.seek(start)
    encoding = _encoding(head)
    decoder = None if encoding is None else codecs.getincrementaldecoder(encoding)("replace")
    rest = ""
    while block := source.read(BLOCK_BYTES):
        if decoder is not None:
            rest += decoder.decode(block)
        else:
            # Up to the last tag, so that no character is cut in two.
            tag_end = block.rfind(b">") + 1
            if 0 < tag_end < len(block):
                source.seek(tag_end - len(block), 1)
                block = block[:tag_end]
            rest += "\n".join(fields.decode(line) for line in block.split(b"\n"))
        rest = _INSTRUCTION.sub("", _plain(rest))
        # The last tag may go on in the next block, its text as well.
        border = rest.rfind("<")
        yield from _found(rest[:border] if border > 0 else "")
        rest = rest[max(border, 0) :]
        if len(rest) > MAX_ELEMENT_CHARACTERS:
            raise Unreadable(f"an element is longer than {MAX_ELEMENT_CHARACTERS} characters")
    yield from _found(rest)


def _plain(text: str) -> str:
    """The text without comments, and with CDATA sections as escaped text."""
    for begin, end in (("<!--", "-->"), ("<![CDATA[", "]]>")):
        pieces: list[str] = []
        at = 0
        while (start := text.find(begin, at)) >= 0 and (stop := text.find(end, start)) >= 0:
            inside = text[start + len(begin) : stop]
            pieces.append(text[at:start])
            pieces.append(html.escape(inside, quote=False) if begin == "<![CDATA[" else "")
            at = stop + len(end)
        text = "".join((*pieces, text[at:]))
    return text


def _found(text: str) -> Iterator[tuple[bool, str, str]]:
    for slash, tag, content in _TAG.findall(text):
        yield slash == "/", tag.upper(), _unescaped(content.strip())


def _unescaped(text: str) -> str:
    """A text without entities; banks leave a bare & as it is."""
    if "&" not in text:
        return text
    return _ENTITY.sub(lambda found: html.unescape(found[0]), text)


def _encoding(head: bytes) -> str | None:
    """The encoding that the header names, where Python knows it; None: each line tells."""
    if head.startswith(_UTF16):
        return "utf-16"
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if found := _XML_ENCODING.search(head):
        return _known_codec(found[1].decode("ascii"))
    if head.lstrip().startswith(b"<?"):
        return "utf-8" if _is_utf8(head) else None
    said = {key.upper(): value.decode("ascii").upper() for key, value in _ENCODING.findall(head)}
    # Many banks write 1252 and mean UTF-8, or the other way round: only what is certain counts.
    return "utf-8" if said.get(b"ENCODING") == "UTF-8" and _is_utf8(head) else None


def _is_utf8(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _known_codec(name: str) -> str | None:
    try:
        return codecs.lookup(_CODE_PAGES.get(name.upper(), name)).name
    except LookupError:
        return None


@dataclass(slots=True)
class _Group:
    """The values of one aggregate; those of the aggregates in it stand under their names."""

    tag: str
    values: dict[str, str] = field(default_factory=dict)
    inner: str = ""

    def put(self, tag: str, content: str) -> None:
        if len(self.values) < MAX_VALUES:
            key = f"{self.inner}.{tag}" if self.inner else tag
            self.values.setdefault(key, content)

    def get(self, *names: str) -> str | None:
        return next((fields.text(self.values[name]) for name in names if name in self.values), None)


class _Statement:
    """One STMTRS or CCSTMTRS."""

    def __init__(self) -> None:
        self.own = _Group("STMTRS")
        self._count = 0

    @property
    def _currency(self) -> str | None:
        return fields.currency(self.own.get("CURDEF"))

    @property
    def _account(self) -> str | None:
        return self.own.get("BANKACCTFROM.ACCTID", "CCACCTFROM.ACCTID")

    @property
    def _account_iban(self) -> str | None:
        bank, account = self.own.get("BANKACCTFROM.BANKID"), self._account
        return (
            fields.iban(self.own.get("BANKACCTFROM.IBAN"))
            or fields.iban(account)
            or fields.iban(bank)
        )

    def posting(self, said: _Group) -> Iterator[Item]:
        """One STMTTRN, or STMTTRNP of the list of pending ones."""
        self._count += 1
        where = f"entry {self._count}"
        raw = " ".join(f"<{key}>{value}" for key, value in said.values.items())[:MAX_RAW_CHARACTERS]
        printed = said.get("TRNAMT")
        amount = fields.plain_amount(printed)
        if amount is None:
            yield Problem(where, f"the amount “{fields.shown(printed or '')}” is no amount", raw)
            return
        problems: list[str] = []
        posted = said.get("DTPOSTED")
        booking_date = _date(posted, "booking date", problems)
        value_date = _date(
            said.get("DTAVAIL", "VALUEDATE", "DTUSER", "DTTRAN"), "value date", problems
        )
        kind = said.get("TRNTYPE")
        memo, name = said.get("MEMO"), said.get("EXTDNAME", "NAME", "PAYEE.NAME")
        iban = self._account_iban
        yield ParsedPosting(
            account_iban=iban,
            booking_date=booking_date,
            value_date=value_date,
            amount=amount,
            currency=self._currency_of(said),
            counterparty_name=name,
            counterparty_iban=fields.iban(said.get("BANKACCTTO.IBAN", "BANKACCTTO.ACCTID")),
            counterparty_bic=fields.bic(said.get("BANKACCTTO.BANKID")),
            remittance_information=_text(name, memo, said.get("CHECKNUM"), said.get("REFNUM")),
            bank_reference=said.get("FITID"),
            transaction_code=kind,
            is_return=bool(memo and _RETURN.search(memo)),
            is_pending=_POSTINGS[said.tag] or posted is None,
            source=SOURCE,
            account=None if iban else self._account,
            foreign=self._foreign(said, amount),
            where=where,
        )
        for what in problems:
            yield Problem(where, what, raw)

    def _currency_of(self, said: _Group) -> str | None:
        """CURRENCY says that the amount is in another currency than the statement's."""
        return fields.currency(said.get("CURRENCY.CURSYM")) or self._currency

    def _foreign(self, said: _Group, amount: Decimal) -> ForeignAmount | None:
        """ORIGCURRENCY: the amount was converted; its rate leads from the original currency."""
        code = fields.currency(said.get("ORIGCURRENCY.CURSYM"))
        rate = fields.plain_amount(said.get("ORIGCURRENCY.CURRATE"))
        if code is None or not rate or rate < 0 or code == self._currency:
            return None
        return ForeignAmount(round(abs(amount) / rate, 2), code, rate)

    def facts(self) -> Iterator[StatementFacts]:
        own = self.own
        balance = fields.plain_amount(own.get("LEDGERBAL.BALAMT"))
        on = _date(own.get("LEDGERBAL.DTASOF"), "", [])
        yield StatementFacts(
            account_iban=self._account_iban,
            account=self._account_iban or self._account,
            from_date=_date(own.get("BANKTRANLIST.DTSTART"), "", []),
            to_date=_date(own.get("BANKTRANLIST.DTEND"), "", []),
            closing=Balance(balance, self._currency, on) if balance is not None else None,
            currency=self._currency,
            source=SOURCE,
        )


def _text(name: str | None, *texts: str | None) -> str | None:
    """Memo and references. Many banks begin the purpose in NAME: no person's name has digits."""
    begins_in_name = name is not None and any(one.isdigit() for one in name)
    lines = [name if begins_in_name else None, *texts]
    return "\n".join(dict.fromkeys(one for one in lines if one)) or None


def _date(printed: str | None, what: str, problems: list[str]) -> date | None:
    """``20251118``, ``20251118120000.000[-5:EST]``: the day as the bank counts it."""
    if printed is None:
        return None
    found = _DATE.match(printed)
    day = fields.calendar_date(int(found[1]), int(found[2]), int(found[3])) if found else None
    if day is None:
        problems.append(f"the {what} “{fields.shown(printed[:40])}” is no date")
    return day
