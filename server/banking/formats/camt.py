"""camt.052, camt.053 and camt.054 (ISO 20022) of all versions and namespaces, streaming.

One walker for every version: it looks for names, never for a namespace or a position, so the
differences (``Dbtr/Nm`` or ``Dbtr/Pty/Nm``, ``BIC`` or ``BICFI``, ``Sts`` or ``Sts/Cd``) are
entries in one table. A leaf is a ``TxDtls``, or the entry where it has none. What the leaves of
an entry leave over (charges) stays as a leaf of its own, so the sum is always the entry's.

Memory does not grow with the file: every element is dropped as soon as it was read, and the
payments of a batch are read one by one, not entry by entry.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any, BinaryIO

from lxml import etree

from server.banking.formats import fields, purpose
from server.banking.formats.items import (
    Balance,
    Item,
    ParsedPosting,
    Problem,
    StatementFacts,
    Unreadable,
)

MAX_UNSPLIT_TEXTS = 500
HEAD_BYTES = 4096
MAX_UNSTATED_CHARGES = Decimal("0.1")  # of what was paid

PENDING_STATUSES = {"PDNG", "INFO", "FUTR"}
RETURN_FAMILIES = {"RRTN", "UPDD", "PRDD", "UPCT", "RPCR"}  # ISO external code list, sub-families
RETURN_BUSINESS_CODES = {"108", "109", "159"}
_PROPRIETARY = re.compile(r"([A-Z]\w{3}\+(\d{3}))(?:\+.*)?")
_STATEMENT_TAGS = ("{*}Stmt", "{*}Rpt", "{*}Ntfctn")
_MESSAGES = {"BkToCstmrStmt", "BkToCstmrAcctRpt", "BkToCstmrDbtCdtNtfctn"}
_DOCTYPE_REFUSED = (
    "the file declares a DOCTYPE, which no bank statement has; it may be an attack and is not read"
)

# How often a value may stand: the first counts, all count, all count with their currency.
# And of elements that hold others: their own text, or only that they are there.
ONE, MANY, MONEY, OWN, PRESENT = range(5)

# name in the file -> name here; nested where the file nests, "" for the element itself.
_Shape = dict[str, Any]
_CODE: _Shape = {
    "Domn": {
        "Cd": ("domain", ONE),
        "Fmly": {"Cd": ("family", ONE), "SubFmlyCd": ("sub_family", ONE)},
    },
    "Prtry": {"Cd": ("proprietary", ONE)},
}
_CHARGES: _Shape = {
    "TtlChrgsAndTaxAmt": ("charges", MONEY),
    "Amt": ("charges", MONEY),
    "Rcrd": {"Amt": ("charges", MONEY)},
}
_AMOUNT_DETAILS: _Shape = {
    "TxAmt": {"Amt": ("transaction_amount", MONEY)},
    "CntrValAmt": {"Amt": ("transaction_amount", MONEY)},
}


def _party(name: str) -> _Shape:
    return {
        "Nm": (name, ONE),
        "Pty": {"Nm": (name, ONE)},
        "Agt": {"FinInstnId": {"Nm": (name, ONE)}},
    }


def _account(name: str) -> _Shape:
    return {"Id": {"IBAN": (name, ONE), "Othr": {"Id": (name, ONE)}}}


def _agent(name: str) -> _Shape:
    return {"FinInstnId": {"BIC": (name, ONE), "BICFI": (name, ONE)}}


_LEAF: _Shape = {
    "Refs": {
        "EndToEndId": ("end_to_end_id", ONE),
        "TxId": ("tx_id", ONE),
        "UETR": ("uetr", ONE),
        "MndtId": ("mandate_id", ONE),
        "AcctSvcrRef": ("bank_reference", ONE),
    },
    "Amt": ("amount", MONEY),
    "CdtDbtInd": ("direction", ONE),
    "AmtDtls": _AMOUNT_DETAILS,
    "Chrgs": _CHARGES,
    "BkTxCd": _CODE,
    "RltdPties": {
        "Dbtr": _party("debtor"),
        "UltmtDbtr": _party("ultimate_debtor"),
        "DbtrAcct": _account("debtor_account"),
        "Cdtr": _party("creditor"),
        "UltmtCdtr": _party("ultimate_creditor"),
        "CdtrAcct": _account("creditor_account"),
    },
    "RltdAgts": {"DbtrAgt": _agent("debtor_bic"), "CdtrAgt": _agent("creditor_bic")},
    "RmtInf": {
        "Ustrd": ("remittance", MANY),
        "Strd": {
            "CdtrRefInf": {"Ref": ("creditor_references", MANY)},
            "RfrdDocInf": {"Nb": ("remittance", MANY)},
            "AddtlRmtInf": ("remittance", MANY),
        },
    },
    "RtrInf": {
        "": ("returned", PRESENT),
        "Rsn": {"Cd": ("return_reason", ONE), "Prtry": ("return_reason", ONE)},
        "AddtlInf": ("return_texts", MANY),
    },
    "AddtlTxInf": ("additional", ONE),
}
_ENTRY: _Shape = {
    "Amt": ("amount", MONEY),
    "CdtDbtInd": ("direction", ONE),
    "RvslInd": ("reversal", ONE),
    "Sts": {"": ("status", OWN), "Cd": ("status", ONE), "Prtry": ("status", ONE)},
    "BookgDt": {"Dt": ("booked", ONE), "DtTm": ("booked", ONE)},
    "ValDt": {"Dt": ("valued", ONE), "DtTm": ("valued", ONE)},
    "AcctSvcrRef": ("bank_reference", ONE),
    "BkTxCd": _CODE,
    "Chrgs": _CHARGES,
    "NtryDtls": {"Btch": {"": ("batch", PRESENT), "NbOfTxs": ("batch_size", ONE)}},
    "AddtlNtryInf": ("additional", ONE),
}
_STATEMENT: _Shape = {
    "Acct": {"Id": {"IBAN": ("account", ONE), "Othr": {"Id": ("account", ONE)}}},
    "FrToDt": {"FrDtTm": ("from", ONE), "FrDt": ("from", ONE), "ToDtTm": ("to", ONE)},
}
_BALANCE: _Shape = {
    "Tp": {"CdOrPrtry": {"Cd": ("code", ONE)}},
    "Amt": ("amount", MONEY),
    "CdtDbtInd": ("direction", ONE),
    "Dt": {"Dt": ("on", ONE), "DtTm": ("on", ONE)},
}
_SHAPES = {"leaf": _LEAF, "entry": _ENTRY, "statement": _STATEMENT, "balance": _BALANCE}

_Found = dict[str, Any]
_Target = tuple[int, str, Any]
DEEPER = -1


@lru_cache(maxsize=64)
def _shape(name: str, namespace: str) -> dict[str, _Target]:
    """One of the tables, with the file's namespace written into its names."""
    return _compiled(_SHAPES[name], namespace)


def _compiled(shape: _Shape, namespace: str) -> dict[str, _Target]:
    """Tag to (kind, key, table of what lies deeper); the kind of a plain nesting is DEEPER."""
    compiled: dict[str, _Target] = {}
    for name, target in shape.items():
        if isinstance(target, dict):
            key, kind = target.get("", ("", DEEPER))
            inner = {name: deeper for name, deeper in target.items() if name}
            compiled[namespace + name] = (kind, key, _compiled(inner, namespace))
        else:
            key, kind = target
            compiled[namespace + name] = (kind, key, None)
    return compiled


def _collect(element: Any, shape: dict[str, _Target], found: _Found) -> _Found:
    """The wanted texts below an element, by the names of the table.

    Most of the time of reading a file is spent here, so nothing is looked at twice.
    """
    wanted = shape.get
    for child in element:
        target = wanted(child.tag)
        if target is None:
            continue
        kind, key, inner = target
        if kind == DEEPER:
            _collect(child, inner, found)
        elif kind == ONE:
            if found.get(key) is None:
                found[key] = child.text
        elif kind == MONEY:
            found.setdefault(key, []).append((child.text, child.get("Ccy")))
        elif kind == MANY:
            found.setdefault(key, []).append(child.text)
        else:
            _collect_own(child, kind, key, found)
            _collect(child, inner, found)
    return found


def _collect_own(element: Any, kind: int, key: str, found: _Found) -> None:
    if kind == PRESENT:
        found[key] = True
    elif element.text and not element.text.isspace():
        found[key] = element.text


def read(source: BinaryIO) -> Iterator[Item]:
    """The postings of a camt message, with one StatementFacts for each statement in it.

    A file that ends or breaks in the middle gives what stands before that place, then a Problem.
    Raises Unreadable for XML that is no account statement and for any DOCTYPE.
    """
    walker = _Walker()
    stream = _Mended(source)
    if b"<!DOCTYPE" in stream.head or b"<!ENTITY" in stream.head:
        raise Unreadable(_DOCTYPE_REFUSED)
    context = etree.iterparse(
        stream,
        events=("end",),
        tag=(*_STATEMENT_TAGS, "{*}Ntry", "{*}TxDtls"),
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        remove_blank_text=True,
        collect_ids=False,
    )
    seen = 0
    try:
        for _, element in context:
            if not seen:
                _refuse_doctype(element)
            seen += 1
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
    names = {etree.QName(element).localname for element in (root, *root)}
    return bool(names & _MESSAGES)


@dataclass(slots=True)
class _Statement:
    """The account statement that the next entry belongs to."""

    account: str | None = None
    account_iban: str | None = None
    from_date: date | None = None
    to_date: date | None = None
    opening: Balance | None = None
    closing: Balance | None = None


@dataclass(slots=True)
class _Entry:
    """One Ntry while its leaves go by."""

    where: str
    values: _Found = field(default_factory=dict)
    amount: Decimal | None = None
    currency: str | None = None
    leaves: int = 0
    split: Decimal = Decimal(0)
    held: _Found | None = None
    held_in: Any = None
    unsplit: list[_Found] = field(default_factory=list)
    unsplit_count: int = 0

    def holds_charges(self, amount: Decimal, leaf: _Found) -> bool:
        """Whether what the only leaf leaves over is charges: stated ones, or as low as charges are.

        Anything else is a leaf that tells of another amount than the account's.
        """
        assert self.amount is not None
        charges = amount - self.amount
        if charges == 0:
            return False
        stated = (*leaf.get("charges", ()), *self.values.get("charges", ()))
        if any(fields.plain_amount(printed) for printed, _ in stated):
            return True
        return 0 < charges <= abs(amount) * MAX_UNSTATED_CHARGES


class _Walker:
    """Turns the elements of one file, in their order, into items."""

    def __init__(self) -> None:
        self.entries = 0
        self._statement: _Statement | None = None
        self._entry: _Entry | None = None

    def read(self, element: Any) -> Iterator[Item]:
        namespace = _namespace(element)
        name = element.tag[len(namespace) :]
        if name == "TxDtls":
            yield from self._read_leaf(element, namespace)
        elif name == "Ntry":
            yield from self._read_entry(element, namespace)
            self.entries += 1
            self._entry = None
            _drop(element)
        else:
            yield self._facts(element, namespace)
            self._statement = None
            _drop(element)

    def read_cut(self) -> Iterator[Item]:
        """The leaf held back when the file broke, if it says its amount itself."""
        entry = self._entry
        if entry is None or entry.held is None or self._statement is None:
            return
        _open(entry, entry.held_in, _namespace(entry.held_in))
        yield from self._split_leaf(entry, entry.held, 0)

    def _begin(self, entry_element: Any, namespace: str) -> _Entry:
        if self._statement is None:
            self._statement = _Statement()
            self._note(entry_element.getparent(), namespace)
        if self._entry is None:
            self._entry = _Entry(where=f"entry {self.entries + 1}")
        return self._entry

    def _read_leaf(self, element: Any, namespace: str) -> Iterator[Item]:
        details = element.getparent()
        entry_element = details.getparent()
        if entry_element is None:
            return
        entry = self._begin(entry_element, namespace)
        found = _collect(element, _shape("leaf", namespace), {})
        element.clear()
        entry.leaves += 1
        if entry.leaves == 1:
            # Whether it is the only one shows with the next; most entries have one leaf.
            entry.held, entry.held_in = found, entry_element
            return
        if entry.held is not None:
            _open(entry, entry_element, namespace)
            yield from self._split_leaf(entry, entry.held, 0)
            entry.held = None
        previous = element.getprevious()
        if previous is not None and previous.tag == element.tag:
            details.remove(previous)
        yield from self._split_leaf(entry, found, entry.leaves - 1)

    def _split_leaf(self, entry: _Entry, found: _Found, index: int) -> Iterator[Item]:
        """A leaf of a batch, if it says its amount in the account's currency."""
        amount = _leaf_amount(found, entry)
        if amount is None:
            entry.unsplit_count += 1
            if len(entry.unsplit) < MAX_UNSPLIT_TEXTS:
                entry.unsplit.append(found)
            return
        entry.split += amount
        yield self._posting(entry, found, amount, index)

    def _read_entry(self, element: Any, namespace: str) -> Iterator[Item]:
        entry = self._begin(element, namespace)
        _open(entry, element, namespace)
        if entry.leaves == 0:
            yield from self._whole(entry, {}, is_batch_total=_is_batch(entry.values))
        elif entry.held is not None:
            yield from self._single(entry, entry.held)
        else:
            yield from self._finish_batch(entry)
        for what in _unreadable_values(entry):
            yield Problem(entry.where, what)

    def _single(self, entry: _Entry, found: _Found) -> Iterator[Item]:
        """The only leaf: what the account shows, unless charges explain a difference."""
        amount = _leaf_amount(found, entry)
        if amount and entry.amount is not None and entry.holds_charges(amount, found):
            yield self._posting(entry, found, amount, 0)
            yield self._fee(entry, entry.amount - amount)
        elif entry.amount is None and amount is not None:
            yield self._posting(entry, found, amount, 0)
        else:
            yield from self._whole(entry, found)

    def _whole(
        self, entry: _Entry, found: _Found, *, is_batch_total: bool = False
    ) -> Iterator[Item]:
        if entry.amount is not None:
            yield self._posting(entry, found, entry.amount, 0, is_batch_total=is_batch_total)

    def _finish_batch(self, entry: _Entry) -> Iterator[Item]:
        """What the leaves of a batch leave over: leaves without an amount, or charges."""
        remainder = None if entry.amount is None else entry.amount - entry.split
        if entry.unsplit_count == 0:
            if remainder:
                yield self._fee(entry, remainder)
            return
        if remainder is not None:
            found = entry.unsplit[0] if entry.unsplit_count == 1 else _merged(entry.unsplit)
            yield self._posting(
                entry, found, remainder, entry.leaves, is_batch_total=entry.unsplit_count > 1
            )
        if entry.unsplit_count > 1:
            yield Problem(
                entry.where,
                f"{entry.unsplit_count} of its {entry.leaves} payments say no amount in"
                " the account's currency; they are kept as one posting",
            )

    def _fee(self, entry: _Entry, amount: Decimal) -> ParsedPosting:
        return self._posting(entry, {"is_fee": True}, amount, entry.leaves)

    def _posting(
        self,
        entry: _Entry,
        found: _Found,
        amount: Decimal,
        index: int,
        *,
        is_batch_total: bool = False,
    ) -> ParsedPosting:
        values = entry.values
        statement = self._statement
        assert statement is not None
        name, account, agent = _counterparty(found, amount, statement.account_iban)
        said = _remittance(found, values, entry.leaves)
        code, business_code = _transaction_code(found, values)
        is_return = (
            values.get("reversal") in ("true", "1")
            or "returned" in found
            or found.get("sub_family", values.get("sub_family")) in RETURN_FAMILIES
            or business_code in RETURN_BUSINESS_CODES
            or said.is_return
        )
        references = found.get("creditor_references") or [None]
        return ParsedPosting(
            account_iban=statement.account_iban,
            booking_date=_day(values.get("booked")),
            value_date=_day(values.get("valued")),
            amount=amount,
            currency=entry.currency,
            counterparty_name=fields.text(name) or said.counterparty_name,
            counterparty_iban=fields.iban(account) or said.counterparty_iban,
            counterparty_bic=fields.bic(agent) or said.counterparty_bic,
            remittance_information=said.remittance_information,
            creditor_reference=fields.text(references[0]),
            end_to_end_id=fields.text(found.get("end_to_end_id")) or said.end_to_end_id,
            mandate_id=fields.text(found.get("mandate_id")) or said.mandate_id,
            bank_reference=_bank_reference(found, values),
            transaction_code=code,
            is_return=is_return,
            return_reason=fields.text(found.get("return_reason")) or said.return_reason,
            is_pending=(values.get("status") or "").strip() in PENDING_STATUSES,
            is_batch_total=is_batch_total,
            leaf_index=index,
            where=entry.where if entry.leaves <= 1 else f"{entry.where} payment {index + 1}",
        )

    def _note(self, container: Any, namespace: str) -> None:
        """Account, period and balances of a statement, as far as they stand before its entries."""
        statement = self._statement
        assert statement is not None
        values = _collect(container, _shape("statement", namespace), {})
        statement.account = statement.account or fields.text(values.get("account"))
        statement.account_iban = fields.iban(statement.account)
        statement.from_date = statement.from_date or _day(values.get("from"))
        statement.to_date = statement.to_date or _day(values.get("to"))
        for element in container.iterchildren(f"{namespace}Bal"):
            code, balance = _balance(_collect(element, _shape("balance", namespace), {}))
            if code in ("OPBD", "PRCD"):
                statement.opening = balance
            elif code == "CLBD":
                statement.closing = balance

    def _facts(self, element: Any, namespace: str) -> StatementFacts:
        self._statement = statement = self._statement or _Statement()
        self._note(element, namespace)
        opening, closing = statement.opening, statement.closing
        return StatementFacts(
            account_iban=statement.account_iban,
            account=statement.account,
            from_date=statement.from_date or (opening.on if opening else None),
            to_date=statement.to_date or (closing.on if closing else None),
            opening=opening,
            closing=closing,
        )


def _namespace(element: Any) -> str:
    """The braced namespace that stands before the element's name, or nothing."""
    braced, brace, _ = element.tag.rpartition("}")
    return f"{braced}{brace}"


def _drop(element: Any) -> None:
    """Forget an element that was read, and all that stands before it."""
    element.clear()
    parent = element.getparent()
    if parent is not None:
        while element.getprevious() is not None:
            del parent[0]


def _open(entry: _Entry, element: Any, namespace: str) -> None:
    """Read what the entry itself says, as far as it stands in the file by now."""
    entry.values = values = _collect(element, _shape("entry", namespace), {})
    printed, printed_currency = values.get("amount", [(None, None)])[0]
    entry.currency = fields.currency(printed_currency)
    entry.amount = _signed(fields.plain_amount(printed), values.get("direction"))


def _signed(amount: Decimal | None, direction: str | None) -> Decimal | None:
    """A missing direction counts as debit: that never books a payment nobody made."""
    if amount is None:
        return None
    return amount if (direction or "").strip() == "CRDT" else -amount


def _leaf_amount(found: _Found, entry: _Entry) -> Decimal | None:
    direction = found.get("direction") or entry.values.get("direction")
    for printed, currency in (*found.get("amount", ()), *found.get("transaction_amount", ())):
        if currency in (None, entry.currency):
            return _signed(fields.plain_amount(printed), direction)
    return None


def _is_batch(values: _Found) -> bool:
    return "batch" in values and (values.get("batch_size") or "").strip() not in ("0", "1")


def _unreadable_values(entry: _Entry) -> Iterator[str]:
    values = entry.values
    if entry.amount is None:
        yield "it has no readable amount"
    elif (values.get("direction") or "").strip() not in ("CRDT", "DBIT"):
        yield "it does not say whether money came or went; it is kept as money that went"
    for key, name in (("booked", "booking date"), ("valued", "value date")):
        printed = values.get(key)
        if printed and _day(printed) is None:
            yield f"the {name} “{fields.shown(printed)}” is no date"


def _day(printed: str | None) -> date | None:
    return fields.printed_date(printed) if printed else None


def _balance(values: _Found) -> tuple[str | None, Balance | None]:
    printed, currency = values.get("amount", [(None, None)])[0]
    amount = _signed(fields.plain_amount(printed), values.get("direction"))
    if amount is None:
        return None, None
    return values.get("code"), Balance(amount, fields.currency(currency), _day(values.get("on")))


def _counterparty(
    found: _Found, amount: Decimal, own_iban: str | None
) -> tuple[str | None, str | None, str | None]:
    """Name, account and BIC of the other side.

    Money comes from the debtor. In a return the parties keep the roles of the first payment, so
    the side that is our own account, or says nothing, gives way to the other.
    """
    sides = ("debtor", "creditor") if amount > 0 else ("creditor", "debtor")
    for side in sides:
        name = found.get(side) or found.get(f"ultimate_{side}")
        account = found.get(f"{side}_account")
        if account and own_iban and fields.iban(account) == own_iban:
            continue
        if name or account:
            return name, account, found.get(f"{side}_bic")
    return None, None, found.get(f"{sides[0]}_bic")


def _remittance(found: _Found, values: _Found, leaves: int) -> purpose.Purpose:
    """What was written; where the bank has no field for it, its free text is read instead."""
    if "is_fee" in found:
        return purpose.Purpose()
    texts = [*found.get("remittance", ()), *found.get("creditor_references", ())[1:]]
    texts += found.get("return_texts", ())
    for side in ("debtor", "creditor"):
        ultimate = found.get(f"ultimate_{side}")
        if ultimate and found.get(side) and ultimate != found[side]:
            texts.append(ultimate)
    joined = fields.text("\n".join(_unindented(one) for one in texts if one and not one.isspace()))
    if joined is not None:
        return purpose.Purpose(remittance_information=joined)
    free = found.get("additional") or (values.get("additional") if leaves <= 1 else None)
    return purpose.read(free.split("\n")) if free else purpose.Purpose()


def _unindented(printed: str) -> str:
    """A text without the line indents that pretty-printing put into it."""
    printed = printed.strip()
    return "\n".join(map(str.strip, printed.split("\n"))) if "\n" in printed else printed


def _transaction_code(found: _Found, values: _Found) -> tuple[str | None, str | None]:
    """``PMNT/RCDT/ESCT`` or the bank's ``NTRF+166``, and the German business code (166)."""
    proprietary = found.get("proprietary") or values.get("proprietary") or ""
    german = _PROPRIETARY.fullmatch(proprietary.strip())
    business_code = german[2] if german else None
    for level in (found, values):
        if level.get("domain"):
            parts = (level["domain"], level.get("family"), level.get("sub_family"))
            return "/".join(part.strip() for part in parts if part), business_code
    return (german[1] if german else fields.text(proprietary)), business_code


def _bank_reference(found: _Found, values: _Found) -> str | None:
    for candidate in (
        found.get("bank_reference"),
        values.get("bank_reference"),
        found.get("tx_id"),
        found.get("uetr"),
    ):
        if reference := fields.text(candidate):
            return reference
    return None


def _merged(unsplit: list[_Found]) -> _Found:
    """Several leaves as one: all their texts, so that a search still finds each."""
    texts: list[str | None] = []
    for found in unsplit:
        texts += [*found.get("remittance", ()), *found.get("creditor_references", ())]
        texts += [found.get("end_to_end_id"), found.get("debtor") or found.get("creditor")]
    return {"remittance": texts}


_DECLARED = re.compile(rb"""<\?xml[^>]*encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")


# The root's default namespace. Without it every name is short, and the reading a tenth faster.
_DEFAULT_NAMESPACE = re.compile(rb"""(<Document\b[^<>]*?)\sxmlns\s*=\s*(?:"[^"]*"|'[^']*')""")
# What XML 1.0 forbids, and an ampersand that begins no entity a statement may use.
_FORBIDDEN = bytes(code for code in range(32) if code not in b"\t\n\r")
_FORBIDDEN_REFERENCE = re.compile(
    rb"&#(?:0*(?:[0-8]|1[124-9]|2\d|3[01])|x0*(?:1?[0-8bcef]|1[9ad]));"
)
_BARE_AMPERSAND = re.compile(rb"&(?!(?:amp|lt|gt|quot|apos|#\d{1,7}|#x[0-9A-Fa-f]{1,6});)")
LONGEST_REFERENCE_BYTES = 10


class _Mended:
    """The stream of a file with the mistakes mended that would end the reading of all the rest.

    Banks send text that claims to be UTF-8 and is Windows-1252, names with a bare ``&``, and
    control characters. Costs a validity check for each block that is right. The root's default
    namespace is left out.
    """

    def __init__(self, source: BinaryIO) -> None:
        start = source.tell()
        self.head = source.read(HEAD_BYTES)
        source.seek(start)
        declared = _DECLARED.search(self.head)
        self._source = source
        self._is_wide = b"\x00" in self.head  # UTF-16 or 32
        self._is_utf8 = declared is None or declared[1].lower() in (b"utf-8", b"utf8")
        self._rest = b""
        self._is_first = True

    def read(self, size: int = -1) -> bytes:
        """The next block; shorter or longer than asked for, and empty only at the end."""
        block = self._source.read(size)
        if self._is_wide:
            return block
        is_last = not block
        block, self._rest = self._rest + block, b""
        if self._is_first:
            self._is_first = False
            block = _DEFAULT_NAMESPACE.sub(rb"\1", block, count=1)
        if not is_last:
            block = self._hold_back(block)
        block = block.translate(None, _FORBIDDEN)
        if b"&" in block:
            block = _BARE_AMPERSAND.sub(b"&amp;", _FORBIDDEN_REFERENCE.sub(b"", block))
        if self._is_utf8 and not _is_utf8(block):
            block = b"".join(map(_mended, block.splitlines(keepends=True)))
        return block if block or is_last else b" "

    def _hold_back(self, block: bytes) -> bytes:
        """The block without a letter or a reference that goes on in the next one."""
        begin = block.rfind(b"&", -LONGEST_REFERENCE_BYTES)
        if begin < 0 and self._is_utf8:
            try:
                block.decode("utf-8")
            except UnicodeDecodeError as error:
                if error.end == len(block):
                    begin = error.start
        if begin <= 0:
            return block
        self._rest = block[begin:]
        return block[:begin]


def _is_utf8(block: bytes) -> bool:
    try:
        block.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _mended(line: bytes) -> bytes:
    return line if _is_utf8(line) else fields.decode(line).encode("utf-8")
