"""camt.052, camt.053 and camt.054 (ISO 20022) of all versions and namespaces, streaming.

One walker for every version: it looks for names, never for a namespace or a position, so the
differences (``Dbtr/Nm`` or ``Dbtr/Pty/Nm``, ``BIC`` or ``BICFI``, ``Sts`` or ``Sts/Cd``) are
entries in one table. A leaf is a ``TxDtls``, or the entry where it has none. What the leaves of
an entry leave over (charges) stays as a leaf of its own, so the sum is always the entry's.

Memory does not grow with the file: every element is dropped as soon as it was read, and the
payments of a large batch are read one by one, not entry by entry.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, BinaryIO

from lxml import etree

from server.banking.formats import fields, purpose
from server.banking.formats.camt_names import Found, Names, collect, names
from server.banking.formats.items import (
    MAX_RAW_CHARACTERS,
    Balance,
    Entry,
    ForeignAmount,
    Item,
    ParsedPosting,
    Problem,
    StatementFacts,
    Unreadable,
)
from server.banking.formats.mended import Mended

# So many leaves wait for the end of their entry, which shows whether they are what it says.
MAX_HELD_LEAVES = 32
MAX_UNSPLIT_TEXTS = 500
MAX_REFERENCES = 50
MAX_UNSTATED_CHARGES = Decimal("0.1")  # of what was paid
MAX_CHARGES = Decimal("0.5")  # of what was paid; beyond, something else is wrong

PENDING_STATUSES = {"PDNG", "INFO", "FUTR"}
# ISO external code list, sub-families: money that came back, or has to go back
RETURN_FAMILIES = {"RRTN", "UPDD", "PRDD", "RCDD", "UPCT", "RPCR", "ARET", "AREV", "UPCQ"}
RETURN_BUSINESS_CODES = {"108", "109", "159"}
BATCH_BUSINESS_CODES = {str(code) for code in range(191, 200)}
_PROPRIETARY = re.compile(r"([A-Z]\w{3}\+(\d{3}))(?:\+.*)?")
_AMBIGUOUS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
# Swiss banks say here whether a payment slip had to be read by hand; no payer wrote it.
_SCANNER_CODE = re.compile(r"\?(?:REJECT|ERROR)\?\d*")
_STATEMENTS = {"Rpt": "camt.052", "Stmt": "camt.053", "Ntfctn": "camt.054"}
_MESSAGES = {"BkToCstmrStmt", "BkToCstmrAcctRpt", "BkToCstmrDbtCdtNtfctn"}
_DOCTYPE_REFUSED = (
    "the file declares a DOCTYPE, which no bank statement has; it may be an attack and is not read"
)


def read(source: BinaryIO) -> Iterator[Item]:
    """The postings of a camt message, with one StatementFacts for each statement in it.

    A file that ends or breaks in the middle gives what stands before that place, then a Problem.
    Raises Unreadable for XML that is no account statement and for any DOCTYPE.
    """
    walker = _Walker()
    stream = Mended(source)
    if b"<!DOCTYPE" in stream.head or b"<!ENTITY" in stream.head:
        raise Unreadable(_DOCTYPE_REFUSED)
    context = etree.iterparse(
        stream,
        events=("end",),
        tag=("{*}TxDtls", "{*}Ntry", *(f"{{*}}{name}" for name in _STATEMENTS)),
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        remove_blank_text=True,
        collect_ids=False,
    )
    seen = False
    try:
        for _, element in context:
            if not seen:
                _refuse_doctype(element)
                seen = True
            yield from walker.read(element)
    except etree.XMLSyntaxError as error:
        if not seen:
            reason = fields.shown(str(error))
            raise Unreadable(f"this is XML, but broken before its first entry: {reason}") from error
        yield from walker.read_cut()
        yield Problem(
            f"entry {walker.entries + 1}",
            f"the file breaks here and what follows is not read: {fields.shown(str(error))}",
        )
        return
    _refuse_doctype(context.root)
    if not seen and not _is_message(context.root):
        name = fields.shown(etree.QName(context.root).localname)
        raise Unreadable(f"this is XML, but no camt.052, camt.053 or camt.054 (it is “{name}”)")


def _refuse_doctype(element: Any) -> None:
    if element.getroottree().docinfo.doctype:
        raise Unreadable(_DOCTYPE_REFUSED)


def _is_message(root: Any) -> bool:
    found = {etree.QName(element).localname for element in (root, *root)}
    return bool(found & _MESSAGES)


@dataclass(slots=True)
class _Statement:
    """The account statement that the next entry belongs to.

    ``other_account`` is the account as the file names it, where that is no IBAN.
    """

    source: str
    account: str | None = None
    account_iban: str | None = None
    other_account: str | None = None
    currency: str | None = None
    number: str | None = None
    from_date: date | None = None
    to_date: date | None = None
    is_part: bool = False
    balances: dict[tuple[str, str | None], Balance] = field(default_factory=dict)

    def balance(self, code: str) -> Balance | None:
        """The balance of a kind, in the account's currency if it is in several."""
        found = [one for (kind, _), one in self.balances.items() if kind == code]
        own = [one for one in found if one.currency == self.currency]
        return next(iter(own or found), None)


@dataclass(slots=True)
class _Entry:
    """One Ntry while its leaves go by."""

    where: str
    values: Found = field(default_factory=dict)
    amount: Decimal | None = None
    currency: str | None = None
    booking_date: date | None = None
    value_date: date | None = None
    is_pending: bool = False
    leaves: int = 0
    held: list[Found] | None = field(default_factory=list)
    held_in: Any = None
    split: Decimal = Decimal(0)
    unsplit: list[Found] | None = None
    unsplit_count: int = 0
    shared: Entry | None = None

    @property
    def size(self) -> int | None:
        """How many payments the bank says are in it."""
        printed = [(one.get("size") or "").strip() for one in self.values.get("batches", ())]
        sizes = [int(one) for one in printed if one.isascii() and one.isdigit() and len(one) < 16]
        return sum(sizes) if sizes else None

    def as_shared(self) -> Entry | None:
        """The entry as its leaves point to it: one object for all of them."""
        if self.shared is None and self.amount is not None:
            values = self.values
            references = [values.get("bank_reference"), values.get("entry_reference")]
            for batch in values.get("batches", ())[:MAX_REFERENCES]:
                references += [batch.get("payment_id"), batch.get("message_id")]
            known = dict.fromkeys(filter(None, map(fields.text, references)))
            self.shared = Entry(self.amount, tuple(known), self.size)
        return self.shared

    def is_charges(self, difference: Decimal, gross: Decimal, leaves: list[Found]) -> bool:
        """Whether what the leaves have beyond the entry is charges: stated, or as low as they are.

        Anything else tells of other amounts than the account's.
        """
        if 0 < difference <= abs(gross) * MAX_UNSTATED_CHARGES:
            return True
        stated = [_charges(found, self.currency) for found in (self.values, *leaves)]
        return abs(difference) in (*filter(None, stated), sum(filter(None, stated)))

    def is_whole(self) -> bool:
        """Whether all that an entry must say could be read."""
        return (
            self.amount is not None
            and self.booking_date is not None
            and self.value_date is not None
            and self.values.get("direction") in _DIRECTIONS
        )

    def is_off(self) -> bool:
        """Whether the leaves, all with an amount and all listed, say another sum than charges do.

        Only of entries with several leaves, after all of them.
        """
        difference = self.split - (self.amount or self.split)
        if difference == 0 or self.unsplit_count or (self.size or 0) > self.leaves:
            return False
        stated = _charges(self.values, self.currency)
        return abs(difference) != stated and not 0 < difference <= abs(self.split) * MAX_CHARGES


class _Walker:
    """Turns the elements of one file, in their order, into items."""

    def __init__(self) -> None:
        self.entries = 0
        self._statement: _Statement | None = None
        self._entry: _Entry | None = None
        self._known: dict[str, tuple[str, Names]] = {}
        self._is_page: bool | None = None

    def read(self, element: Any) -> Sequence[Item]:
        tag = element.tag
        name, tables = self._known.get(tag) or self._know(element)
        if name == "TxDtls":
            return self._read_leaf(element, tables)
        if name == "Ntry":
            if element.getparent() is None:
                return ()
            found = self._read_entry(element, tables)
            self.entries += 1
            self._entry = None
            _drop(element)
            return found
        facts = self._facts(element, name, tables)
        self._statement = None
        _drop(element)
        return [facts]

    def read_cut(self) -> Sequence[Item]:
        """The leaves held back when the file broke, if they say their amount themselves."""
        entry = self._entry
        if entry is None or not entry.held:
            return ()
        return self._release(entry, self._known[entry.held_in.tag][1])

    def _know(self, element: Any) -> tuple[str, Names]:
        """The element's name without namespace, and the tables for the namespaces around it."""
        namespace, brace, name = element.tag.rpartition("}")
        around = {f"{{{uri}}}" for uri in element.nsmap.values()}
        found = names(frozenset({*around, namespace + brace}))
        self._known[element.tag] = name, found
        return name, found

    def _begin(self, entry_element: Any) -> _Entry:
        """The entry whose first leaf or whose end is here."""
        name, tables = self._known.get(entry_element.tag) or self._know(entry_element)
        if self._statement is None:
            container = entry_element.getparent()
            name, _ = self._known.get(container.tag) or self._know(container)
            self._statement = self._new_statement(container, name, tables)
            _note(self._statement, container, tables)
        self._entry = _Entry(f"entry {self.entries + 1}", held_in=entry_element)
        return self._entry

    def _new_statement(self, container: Any, name: str, tables: Names) -> _Statement:
        """A statement at its first entry or its end; the head of its message is dropped with it."""
        if self._is_page is None:
            message = container.getparent()
            found = {} if message is None else collect(message, tables.message, {})
            self._is_page = _is_page(found)
        return _Statement(_STATEMENTS.get(name, ""), is_part=self._is_page)

    def _read_leaf(self, element: Any, tables: Names) -> Sequence[Item]:
        entry = self._entry
        if entry is None:
            entry_element = _entry_of(element)
            if entry_element is None:
                return ()
            entry = self._begin(entry_element)
        found = collect(element, tables.leaf, {})
        entry.leaves += 1
        if entry.leaves > 1:
            # The first is dropped with its entry; most entries have only one.
            element.clear()
            _drop_previous(element)
        if entry.held is None:
            _drop_previous(element.getparent())
            return self._split_leaf(entry, found, entry.leaves - 1)
        entry.held.append(found)
        return () if len(entry.held) <= MAX_HELD_LEAVES else self._release(entry, tables)

    def _release(self, entry: _Entry, tables: Names) -> list[Item]:
        """The leaves that were held, before the end of their entry was seen."""
        assert entry.held is not None
        self._open(entry, entry.held_in, tables)
        held, entry.held = entry.held, None
        found: list[Item] = []
        for index, leaf in enumerate(held):
            found += self._split_leaf(entry, leaf, index)
        return found

    def _open(self, entry: _Entry, element: Any, tables: Names) -> None:
        """Read what the entry itself says, as far as it stands in the file by now."""
        assert self._statement is not None
        entry.values = values = collect(element, tables.entry, {})
        printed, currency = values.get("amount", _NO_AMOUNT)[0]
        entry.currency = fields.currency(currency) or self._statement.currency
        entry.amount = _signed(_amount(printed), values.get("direction"))
        entry.booking_date = _day(values.get("booked"))
        entry.value_date = _day(values.get("valued"))
        status = values.get("status")
        entry.is_pending = status != "BOOK" and (status or "").strip().upper() in PENDING_STATUSES

    def _split_leaf(self, entry: _Entry, found: Found, index: int) -> list[Item]:
        """A leaf of several, if it says its amount in the account's currency."""
        amount = _leaf_amount(found, entry)
        if amount is None:
            entry.unsplit_count += 1
            entry.unsplit = entry.unsplit or []
            if len(entry.unsplit) < MAX_UNSPLIT_TEXTS:
                entry.unsplit.append(found)
            return []
        entry.split += amount
        return [self._posting(entry, found, amount, index, entry.as_shared())]

    def _read_entry(self, element: Any, tables: Names) -> list[Item]:
        entry = self._entry or self._begin(element)
        self._open(entry, element, tables)
        if entry.leaves == 0:
            found = self._undivided(entry)
        elif entry.held is not None and entry.leaves == 1:
            found = self._single(entry, entry.held[0])
        else:
            found = self._several(entry)
        if entry.unsplit_count > 1:
            found.append(_unsplit_problem(entry, element))
        elif entry.leaves > 1 and entry.is_off():
            what = f"its payments add up to {entry.split}; the rest is kept as a posting of its own"
            found.append(Problem(entry.where, what, _raw(element)))
        if not entry.is_whole():
            found += _unreadable_values(entry, element)
        return found

    def _undivided(self, entry: _Entry) -> list[Item]:
        if entry.amount is None:
            return []
        has_batch = "batches" in entry.values and entry.size not in (0, 1)
        is_batch = (
            has_batch
            or _code(entry.values, {}).business_code in BATCH_BUSINESS_CODES
            or _is_unlisted_sum(entry, {})
        )
        shared = entry.as_shared() if is_batch or "batches" in entry.values else None
        return [self._posting(entry, {}, entry.amount, 0, shared, is_batch_total=is_batch)]

    def _single(self, entry: _Entry, found: Found) -> list[Item]:
        """The only leaf: what the account shows, unless charges explain a difference."""
        amount = _leaf_amount(found, entry)
        shared = entry.as_shared() if "batches" in entry.values else None
        if entry.amount is None:
            return [] if amount is None else [self._posting(entry, found, amount, 0, shared)]
        if (
            amount
            and amount != entry.amount
            and (amount > 0) == (entry.amount > 0)
            and entry.is_charges(amount - entry.amount, amount, [found])
        ):
            shared = entry.as_shared()
            return [
                self._posting(entry, found, amount, 0, shared, is_gross=True),
                self._fee(entry, entry.amount - amount),
            ]
        is_batch = shared is not None and (entry.size or 0) > 1
        if _is_unlisted_sum(entry, found):
            shared, is_batch = entry.as_shared(), True
        return [self._posting(entry, found, entry.amount, 0, shared, is_batch_total=is_batch)]

    def _several(self, entry: _Entry) -> list[Item]:
        """The leaves that are still held, and what all leave over."""
        found: list[Item] = []
        if entry.held is not None:
            _turn_if_mirrored(entry, entry.held)
            for index, leaf in enumerate(entry.held):
                found += self._split_leaf(entry, leaf, index)
        remainder = None if entry.amount is None else entry.amount - entry.split
        if remainder is None or (entry.unsplit_count == 0 and remainder == 0):
            return found
        if entry.unsplit:
            leaf = entry.unsplit[0] if entry.unsplit_count == 1 else _merged(entry.unsplit)
            is_batch = entry.unsplit_count > 1
        else:
            leaf = _FEE
            is_batch = (entry.size or 0) > entry.leaves
        found.append(
            self._posting(
                entry, leaf, remainder, entry.leaves, entry.as_shared(), is_batch_total=is_batch
            )
        )
        return found

    def _fee(self, entry: _Entry, amount: Decimal) -> ParsedPosting:
        return self._posting(entry, _FEE, amount, entry.leaves, entry.as_shared())

    def _posting(
        self,
        entry: _Entry,
        found: Found,
        amount: Decimal,
        index: int,
        shared: Entry | None,
        *,
        is_batch_total: bool = False,
        is_gross: bool = False,
    ) -> ParsedPosting:
        """One leaf. ``is_gross``: its charges are a leaf of their own and not said again here."""
        values, statement, text = entry.values, self._statement, fields.text
        assert statement is not None
        printed = found.get
        is_only = entry.leaves <= 1
        name, iban, bic = _counterparty(found, amount, statement.account_iban)
        remittance, said = _remittance(found, values if is_only else {}, name)
        code = _code(values, found)
        returned = printed("returned")
        references = printed("creditor_references")
        levels = (found, values) if is_only and found is not _FEE else (found,)
        reason = text(returned[0].get("reason")) if returned else None
        # In the order of its fields: twice as fast as by name, where it counts most.
        return ParsedPosting(
            statement.account_iban,
            entry.booking_date,
            entry.value_date,
            amount,
            entry.currency,
            text(name) or said.counterparty_name,
            iban or said.counterparty_iban,
            bic or said.counterparty_bic,
            remittance,
            text(references[0]) if references else said.creditor_reference,
            text(printed("end_to_end_id")) or said.end_to_end_id,
            text(printed("mandate_id")) or said.mandate_id,
            text(printed("bank_reference"))
            or text(values.get("bank_reference"))
            or text(printed("tx_id"))
            or text(printed("uetr")),
            code.printed,
            code.is_return or returned is not None or said.is_return or _is_reversal(values),
            reason or said.return_reason,
            entry.is_pending,
            is_batch_total,
            index,
            shared,
            statement.source,
            statement.other_account,
            _foreign(levels, entry.currency),
            None if is_gross else _charges_taken_off(levels, entry.currency),
            entry.where if is_only else f"{entry.where} payment {index + 1}",
        )

    def _facts(self, element: Any, name: str, tables: Names) -> StatementFacts:
        statement = self._statement or self._new_statement(element, name, tables)
        _note(statement, element, tables)
        opening = statement.balance("OPBD")
        previous = statement.balance("PRCD")
        closing = statement.balance("CLBD")
        from_date, to_date = statement.from_date, statement.to_date
        to_date = to_date or (closing.on if closing else None)
        if from_date is None and opening is not None:
            from_date = opening.on
        elif from_date is None and previous is not None and previous.on is not None:
            # What was booked on the day that it closed is in the statement before.
            from_date = min(previous.on + timedelta(days=1), to_date or date.max)
        return StatementFacts(
            account_iban=statement.account_iban,
            account=statement.account,
            from_date=from_date,
            to_date=to_date,
            opening=opening or previous,
            closing=closing,
            currency=statement.currency or (closing.currency if closing else None),
            source=statement.source,
            is_complete=statement.source == "camt.053" and not statement.is_part,
            number=statement.number,
        )


def _is_reversal(values: Found) -> bool:
    return values.get("reversal") in _TRUE


_FEE: Found = {"is_fee": True}
_AMOUNTS = ("amount", "transaction_amount", "instructed_amount")
_FOREIGN_AMOUNTS = {"instructed_amount", "transaction_amount"}
_NO_AMOUNT = [(None, None)]
_TRUE = ("true", "1")
_DIRECTIONS = ("CRDT", "DBIT")


def _note(statement: _Statement, container: Any, tables: Names) -> None:
    """Account, period and balances of a statement, as far as they stand there by now."""
    values = collect(container, tables.statement, {})
    statement.is_part = statement.is_part or _is_page(values)
    statement.account = statement.account or fields.text(values.get("account"))
    statement.account_iban = fields.iban(statement.account)
    statement.other_account = None if statement.account_iban else statement.account
    statement.currency = statement.currency or fields.currency(values.get("currency"))
    number = fields.text(values.get("number")) or fields.text(values.get("legal_number"))
    statement.number = statement.number or number
    statement.from_date = statement.from_date or _day(values.get("from"))
    statement.to_date = statement.to_date or _day(values.get("to"))
    for found in values.get("balances", ()):
        printed, currency = found.get("amount", _NO_AMOUNT)[0]
        amount = _signed(_amount(printed), found.get("direction"))
        code = (found.get("code") or "").strip()
        if amount is not None:
            balance = Balance(amount, fields.currency(currency), _day(found.get("on")))
            statement.balances.setdefault((code, balance.currency), balance)


def _entry_of(leaf: Any) -> Any:
    """The Ntry around a TxDtls; None where a damaged file has it elsewhere."""
    details = leaf.getparent()
    entry = details.getparent() if details is not None else None
    if entry is None or entry.getparent() is None:
        return None
    return entry if entry.tag.rpartition("}")[2] == "Ntry" else None


def _drop_previous(element: Any) -> None:
    """Forget the element before this one, if it is one of the same kind."""
    previous = element.getprevious()
    if previous is not None and previous.tag == element.tag:
        element.getparent().remove(previous)


def _is_page(values: Found) -> bool:
    """Whether what is here is one of several pages."""
    return values.get("is_last_page") in ("false", "0") or values.get("page", "1").strip() != "1"


def _drop(element: Any) -> None:
    """Forget an element that was read, and all that stands before it."""
    element.clear()
    parent = element.getparent()
    if parent is not None:
        while element.getprevious() is not None:
            del parent[0]


@lru_cache(maxsize=4096)
def _amount(printed: str | None) -> Decimal | None:
    """An amount as XML has it, or with a comma; ``1,234`` could be either and is not guessed."""
    if printed and _AMBIGUOUS.fullmatch(printed.strip()):
        return None
    return fields.plain_amount(printed)


def _signed(amount: Decimal | None, direction: str | None) -> Decimal | None:
    """A missing direction counts as debit: that never books a payment nobody made."""
    if amount is None or direction == "CRDT":
        return amount
    return amount if (direction or "").strip() == "CRDT" else -amount


def _leaf_amount(found: Found, entry: _Entry) -> Decimal | None:
    """What a leaf says it is worth in the account's currency."""
    direction = found.get("direction") or entry.values.get("direction")
    for key in _AMOUNTS:
        for printed, currency in found.get(key, ()):
            if currency is None or currency == entry.currency:
                return _signed(_amount(printed), direction)
    return None


def _turn_if_mirrored(entry: _Entry, leaves: list[Found]) -> None:
    """Some banks copy the direction of the order that an entry answers into its leaves.

    And some write zero where they do not know. Only where the sum shows it without doubt.
    """
    amounts = [_leaf_amount(found, entry) for found in leaves]
    if not entry.amount or None in amounts:
        return
    if not any(amounts):
        for found in leaves:
            for key in _AMOUNTS:
                found.pop(key, None)
    elif sum(filter(None, amounts)) == -entry.amount:
        direction = "CRDT" if entry.amount > 0 else "DBIT"
        if all(found.get("direction") != direction for found in leaves):
            for found in leaves:
                found["direction"] = direction


def _unsplit_problem(entry: _Entry, element: Any) -> Problem:
    return Problem(
        entry.where,
        f"{entry.unsplit_count} of its {entry.leaves} payments say no amount in"
        " the account's currency; they are kept as one posting",
        _raw(element),
    )


def _unreadable_values(entry: _Entry, element: Any) -> list[Problem]:
    values = entry.values
    found: list[str] = []
    if entry.amount is None:
        found.append("it has no readable amount")
    elif (values.get("direction") or "").strip() not in ("CRDT", "DBIT"):
        found.append("it does not say whether money came or went; it is kept as money that went")
    if entry.booking_date is None and values.get("booked"):
        found.append(f"the booking date “{fields.shown(values['booked'])}” is no date")
    if entry.value_date is None and values.get("valued"):
        found.append(f"the value date “{fields.shown(values['valued'])}” is no date")
    return [Problem(entry.where, what, _raw(element)) for what in found]


def _raw(element: Any) -> str | None:
    """What the element says, one text a line."""
    texts: list[str] = []
    length = 0
    for printed in element.itertext():
        texts.append(" ".join(fields.shown(printed).split()))
        length += len(texts[-1]) + 1
        if length > MAX_RAW_CHARACTERS:
            break
    return "\n".join(texts)[:MAX_RAW_CHARACTERS] or None


def _day(printed: str | None) -> date | None:
    return fields.printed_date(printed) if printed else None


def _charges(found: Found, currency: str | None) -> Decimal | None:
    """The sum of the stated charges in the account's currency; None where there are none."""
    total = Decimal(0)
    for stated in found.get("charges", ()):
        whole = stated.get("total")
        for one in ({"amount": whole},) if whole else (stated, *stated.get("records", ())):
            for printed, printed_currency in one.get("amount", ()):
                amount = _amount(printed)
                if amount is not None and printed_currency in (None, currency):
                    is_refunded = (one.get("direction") or "").strip() == "CRDT"
                    total += -amount if is_refunded else amount
    return total or None


def _charges_taken_off(levels: tuple[Found, ...], currency: str | None) -> Decimal | None:
    """The charges that made the amount smaller; Swiss banks state those of a later bill as well."""
    for found in levels:
        if "charges" in found:
            taken_off = [
                stated
                for stated in found["charges"]
                if any(one.get("included") != "false" for one in stated.get("records") or (stated,))
            ]
            return _charges({"charges": taken_off}, currency)
    return None


def _foreign(levels: tuple[Found, ...], currency: str | None) -> ForeignAmount | None:
    """What was instructed or moved in another currency than the account's."""
    for found in levels:
        if _FOREIGN_AMOUNTS.isdisjoint(found) and found.get("amount", _NO_AMOUNT)[0][1] == currency:
            continue
        for key in ("instructed_amount", "amount", "transaction_amount"):
            if key not in found:
                continue
            for printed, printed_currency in found[key]:
                if printed_currency == currency or not fields.currency(printed_currency):
                    continue
                if amount := _amount(printed):
                    rate = _amount(found.get("rate"))
                    return ForeignAmount(abs(amount), printed_currency, rate)
    return None


# name, ultimate party, account, name of the account, BIC
_DEBTOR = ("debtor", "ultimate_debtor", "debtor_account", "debtor_account_name", "debtor_bic")
_CREDITOR = (
    "creditor",
    "ultimate_creditor",
    "creditor_account",
    "creditor_account_name",
    "creditor_bic",
)


_NO_NAME = {"NOTPROVIDED", "NOT PROVIDED"}


def _counterparty(
    found: Found, amount: Decimal, own_iban: str | None
) -> tuple[str | None, str | None, str | None]:
    """Name, IBAN and BIC of the other side.

    Money comes from the debtor. In a return the parties keep the roles of the first payment, so
    the side that is our own account, or says nothing, gives way to the other.
    """
    sides = (_DEBTOR, _CREDITOR) if amount > 0 else (_CREDITOR, _DEBTOR)
    get = found.get
    for party, ultimate, account, account_name, agent in sides:
        printed = get(account)
        iban = fields.iban(printed)
        if iban is not None and iban == own_iban:
            continue
        name = get(party)
        if not name or name in _NO_NAME:
            name = get(ultimate) or get(account_name)
        if name or printed:
            return name or get("other_name"), iban, fields.bic(get(agent))
    return get("other_name"), None, fields.bic(get(sides[0][-1]))


_SAYING = {"remittance", "creditor_references", "end_to_end_id", "returned", "additional"}
_SAYING |= {*_DEBTOR, *_CREDITOR}


def _is_unlisted_sum(entry: _Entry, found: Found) -> bool:
    """Whether an entry is the day's slip payments, which the bank lists in a camt.054 only.

    Swiss banks book these together (VCOM). A single one says who paid, or what for.
    """
    if entry.size is not None or entry.values.get("sub_family") != "VCOM":
        return False
    return _SAYING.isdisjoint(found)


_UNSAID = purpose.Purpose()


def _remittance(
    found: Found, values: Found, name: str | None
) -> tuple[str | None, purpose.Purpose]:
    """What was written; where the bank has no field for it, its free text is read instead.

    ``values`` are those of the entry if this is its only leaf.
    """
    if found is _FEE:
        return None, _UNSAID
    texts = _texts(found)
    joined = _joined(texts) if texts else None
    if joined is None:
        free = found.get("additional") or values.get("additional")
        said = purpose.read(free.split("\n")) if free else _UNSAID
        return said.remittance_information, said
    if name is None and found.get("additional"):
        # The only place left that can hold the payer's name.
        joined = _joined([*texts, found["additional"]])
    return joined, _UNSAID


_SAID_ELSEWHERE = {"creditor_references", "returned", "ultimate_debtor", "ultimate_creditor"}


def _texts(found: Found) -> list[str | None]:
    texts: list[str | None] = list(found.get("remittance", ()))
    if _SAID_ELSEWHERE.isdisjoint(found):
        return texts
    if references := found.get("creditor_references"):
        texts += references[1:]
    for returned in found.get("returned", ()):
        texts += returned.get("texts", ())
    for party, ultimate, *_ in (_DEBTOR, _CREDITOR):
        if ultimate in found and found.get(party) not in (None, found[ultimate]):
            texts.append(found[ultimate])
    return texts


def _joined(texts: list[str | None]) -> str | None:
    """The texts of an element, without what pretty-printing and scanners put between them."""
    if len(texts) == 1 and texts[0] and texts[0][0] != "?" and texts[0].isprintable():
        return fields.text(texts[0])
    kept: list[str] = []
    for one in texts:
        printed = one.strip() if one else ""
        if not printed or (printed[0] == "?" and _SCANNER_CODE.fullmatch(printed)):
            continue
        if "\n" in printed:
            printed = "\n".join(map(str.strip, printed.split("\n")))
        kept.append(printed)
    return fields.text("\n".join(kept))


@dataclass(frozen=True, slots=True)
class _Code:
    """What kind of posting the bank says it is."""

    printed: str | None
    business_code: str | None
    is_return: bool


def _code(values: Found, found: Found) -> _Code:
    """The code of a leaf, or of its entry where it says none."""
    level = found if found.get("domain") else values
    return _read_code(
        level.get("domain"),
        level.get("family"),
        level.get("sub_family"),
        found.get("proprietary") or values.get("proprietary"),
    )


@lru_cache(maxsize=1024)
def _read_code(
    domain: str | None, family: str | None, sub_family: str | None, proprietary: str | None
) -> _Code:
    """``PMNT/RCDT/ESCT`` or the bank's ``NTRF+166``, and the German business code (166)."""
    german = _PROPRIETARY.fullmatch((proprietary or "").strip())
    business_code = german[2] if german else None
    if domain:
        printed = fields.text(
            "/".join(part.strip() for part in (domain, family, sub_family) if part)
        )
    else:
        printed = german[1] if german else fields.text(proprietary)
    is_return = (sub_family or "").strip() in RETURN_FAMILIES
    return _Code(printed, business_code, is_return or business_code in RETURN_BUSINESS_CODES)


def _merged(unsplit: list[Found]) -> Found:
    """Several leaves as one: all their texts, so that a search still finds each."""
    texts: list[str | None] = []
    for found in unsplit:
        texts += [*found.get("remittance", ()), *found.get("creditor_references", ())]
        texts += [found.get("end_to_end_id"), found.get("debtor") or found.get("creditor")]
    return {"remittance": texts}
