"""The names of camt elements that are read, and the quick collecting of what they hold.

One table for all messages and versions: where a later version renamed or nested something, both
ways stand in the table under the same name.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

# How often a value may stand: the first counts, all count, all count with their currency.
# And of elements that hold others: their own text, or each of them for itself.
ONE, MANY, MONEY, OWN, EACH = range(5)
DEEPER = -1

# name in the file -> (name here, kind), or what lies deeper; "" is for the element itself.
_Shape = dict[str, Any]
Found = dict[str, Any]
Table = dict[str, tuple[int, str, Any]]


def _party(name: str) -> _Shape:
    return {
        "Nm": (name, ONE),
        "Pty": {"Nm": (name, ONE)},
        "Agt": {"FinInstnId": {"Nm": (name, ONE)}},
    }


def _account(name: str, holder: str) -> _Shape:
    return {"Id": {"IBAN": (name, ONE), "Othr": {"Id": (name, ONE)}}, "Nm": (holder, ONE)}


def _agent(name: str) -> _Shape:
    return {"FinInstnId": {"BIC": (name, ONE), "BICFI": (name, ONE)}}


_CODE: _Shape = {
    "Domn": {
        "Cd": ("domain", ONE),
        "Fmly": {"Cd": ("family", ONE), "SubFmlyCd": ("sub_family", ONE)},
    },
    "Prtry": {"Cd": ("proprietary", ONE)},
}
_CHARGES: _Shape = {
    "": ("charges", EACH),
    "TtlChrgsAndTaxAmt": ("total", MONEY),
    "Amt": ("amount", MONEY),
    "CdtDbtInd": ("direction", ONE),
    "ChrgInclInd": ("included", ONE),
    "Rcrd": {
        "": ("records", EACH),
        "Amt": ("amount", MONEY),
        "CdtDbtInd": ("direction", ONE),
        "ChrgInclInd": ("included", ONE),
    },
}
_RATE: _Shape = {"XchgRate": ("rate", ONE)}
_AMOUNT_DETAILS: _Shape = {
    "TxAmt": {"Amt": ("transaction_amount", MONEY), "CcyXchg": _RATE},
    "CntrValAmt": {"Amt": ("transaction_amount", MONEY), "CcyXchg": _RATE},
    "InstdAmt": {"Amt": ("instructed_amount", MONEY), "CcyXchg": _RATE},
}
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
        "DbtrAcct": _account("debtor_account", "debtor_account_name"),
        "Cdtr": _party("creditor"),
        "UltmtCdtr": _party("ultimate_creditor"),
        "CdtrAcct": _account("creditor_account", "creditor_account_name"),
        "InitgPty": _party("other_name"),
        "TradgPty": _party("other_name"),
        "Prtry": {"Pty": _party("other_name")},
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
        "": ("returned", EACH),
        "Rsn": {"Cd": ("reason", ONE), "Prtry": ("reason", ONE)},
        "AddtlInf": ("texts", MANY),
    },
    "AddtlTxInf": ("additional", ONE),
}
_ENTRY: _Shape = {
    "NtryRef": ("entry_reference", ONE),
    "Amt": ("amount", MONEY),
    "CdtDbtInd": ("direction", ONE),
    "RvslInd": ("reversal", ONE),
    "Sts": {"": ("status", OWN), "Cd": ("status", ONE), "Prtry": ("status", ONE)},
    "BookgDt": {"Dt": ("booked", ONE), "DtTm": ("booked", ONE)},
    "ValDt": {"Dt": ("valued", ONE), "DtTm": ("valued", ONE)},
    "AcctSvcrRef": ("bank_reference", ONE),
    "BkTxCd": _CODE,
    "AmtDtls": _AMOUNT_DETAILS,
    "Chrgs": _CHARGES,
    "NtryDtls": {
        "Btch": {
            "": ("batches", EACH),
            "MsgId": ("message_id", ONE),
            "PmtInfId": ("payment_id", ONE),
            "NbOfTxs": ("size", ONE),
        }
    },
    "AddtlNtryInf": ("additional", ONE),
}
_PAGE: _Shape = {"PgNb": ("page", ONE), "LastPgInd": ("is_last_page", ONE)}
_MESSAGE: _Shape = {"GrpHdr": {"MsgPgntn": _PAGE}}
_STATEMENT: _Shape = {
    "StmtPgntn": _PAGE,
    "RptPgntn": _PAGE,
    "NtfctnPgntn": _PAGE,
    "ElctrncSeqNb": ("number", ONE),
    "LglSeqNb": ("legal_number", ONE),
    "Acct": {
        "Id": {"IBAN": ("account", ONE), "Othr": {"Id": ("account", ONE)}},
        "Ccy": ("currency", ONE),
    },
    "FrToDt": {
        "FrDtTm": ("from", ONE),
        "FrDt": ("from", ONE),
        "ToDtTm": ("to", ONE),
        "ToDt": ("to", ONE),
    },
    "Bal": {
        "": ("balances", EACH),
        "Tp": {"CdOrPrtry": {"Cd": ("code", ONE), "Prtry": ("code", ONE)}},
        "Amt": ("amount", MONEY),
        "CdtDbtInd": ("direction", ONE),
        "Dt": {"Dt": ("on", ONE), "DtTm": ("on", ONE)},
    },
}


class Names:
    """The tables with the namespaces of a file written into their names.

    A file may bind its namespace to some of its elements only, so a name without one is known too.
    """

    def __init__(self, namespaces: frozenset[str]) -> None:
        self.leaf = _compiled(_LEAF, namespaces)
        self.entry = _compiled(_ENTRY, namespaces)
        self.statement = _compiled(_STATEMENT, namespaces)
        self.message = _compiled(_MESSAGE, namespaces)


@lru_cache(maxsize=32)
def names(namespaces: frozenset[str]) -> Names:
    """The tables for braced namespaces (``{urn:…}``); the empty one is always among them."""
    return Names(namespaces | {""})


def _compiled(shape: _Shape, namespaces: frozenset[str]) -> Table:
    """Tag to (kind, key, table of what lies deeper); the kind of a plain nesting is DEEPER."""
    compiled: Table = {}
    for name, target in shape.items():
        for namespace in namespaces:
            if not name:
                continue
            if isinstance(target, dict):
                key, kind = target.get("", ("", DEEPER))
                compiled[namespace + name] = (kind, key, _compiled(target, namespaces))
            else:
                key, kind = target
                compiled[namespace + name] = (kind, key, None)
    return compiled


def collect(element: Any, table: Table, found: Found) -> Found:
    """The wanted texts below an element, by the names of the table.

    Most of the time of reading a file is spent here, so nothing is looked at twice. A slice of
    the children is taken because it is twice as fast as iterating over them.
    """
    wanted = table.get
    for child in element[:]:
        target = wanted(child.tag)
        if target is None:
            continue
        kind, key, inner = target
        if kind == DEEPER:
            collect(child, inner, found)
        elif kind == ONE:
            text = child.text
            if text is not None and key not in found:
                found[key] = text
        elif kind == MONEY:
            found.setdefault(key, []).append((child.text, child.get("Ccy")))
        elif kind == MANY:
            found.setdefault(key, []).append(child.text)
        elif kind == EACH:
            found.setdefault(key, []).append(collect(child, inner, {}))
        else:
            if child.text and not child.text.isspace():
                found[key] = child.text
            collect(child, inner, found)
    return found
