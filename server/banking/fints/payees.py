"""What the payees' banks say to their names, as a bank reports it (HIVPP).

Standards: FinTS 3.0 Verification of Payee 1.01 (HKVPP, HIVPP, HKVPA); the report on a file is
ISO 20022 pain.002.001.10, here read by element names, because banks differ in the version.
Banks answer in three ways: one result in the segment, a report in it, or first nothing and a
place to ask again (return code 3040). A report may come in pieces, and list deviations only.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lxml import etree

from plugin_sdk.errors import Rejected
from server.banking.fints import answers, challenge, wire
from server.banking.fints.steps import PayeeCheck

MAX_REPORT_BYTES = 16 * 1024 * 1024
MAX_CHECKS = 10_000
MAX_ROUNDS = 200
MAX_NAME = 140
MAX_WAIT_SECONDS = 60
MATCH = "match"
UNCLEAR = "unclear"
RESULTS = {
    "RCVC": MATCH,
    "RVMC": "close_match",
    "RVNM": "no_match",
    "RVNA": "not_possible",
}
_VOP_ID, _POLLING_ID, _REPORT, _RESULT, _NOTICE, _WAIT = 1, 3, 5, 6, 7, 8
_IBAN, _NAME, _OTHER, _CODE, _WHY = 0, 2, 3, 4, 5
_END = b"Document>"


@dataclass(slots=True)
class Examination:
    """How far the comparison of the names has come."""

    vop_id: bytes | None = None
    polling_id: bytes | None = None
    touchdown: str | None = None
    report: bytes = b""
    single: PayeeCheck | None = None
    notice: str = ""
    wait_seconds: int = 0
    rounds: int = 0
    is_confirmed: bool = field(default=False)  # the vop_id was sent back

    def to_json(self) -> dict[str, Any]:
        """For the stored state; ``from_json`` reads it."""
        single = self.single
        return {
            "vop_id": _text(self.vop_id),
            "polling_id": _text(self.polling_id),
            "touchdown": self.touchdown,
            "report": _text(self.report),
            "single": single
            and [single.result, single.end_to_end_id, single.iban, single.name, single.why],
            "notice": self.notice,
            "wait_seconds": self.wait_seconds,
            "rounds": self.rounds,
            "is_confirmed": self.is_confirmed,
        }

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Examination:
        """What ``to_json`` made."""
        return cls(
            vop_id=_bytes(kept["vop_id"]),
            polling_id=_bytes(kept["polling_id"]),
            touchdown=kept["touchdown"],
            report=_bytes(kept["report"]) or b"",
            single=kept["single"] and PayeeCheck(*kept["single"]),
            notice=kept["notice"],
            wait_seconds=kept["wait_seconds"],
            rounds=kept["rounds"],
            is_confirmed=kept["is_confirmed"],
        )

    @property
    def is_running(self) -> bool:
        """The bank is still at it."""
        return self.touchdown is not None and self.vop_id is None

    def take(self, answer: Any) -> None:
        """Put what an answer says into it. Raises Rejected when there is no end of it."""
        self.rounds += 1
        found = wire.replies(answer)
        points = [one.parameters for one in found if one.code == answers.MORE_FOLLOWS]
        self.touchdown = points[0][0] if points and points[0] else None
        for segment in answer.find_segments("HIVPP"):
            raw = wire.raw(segment)
            self.vop_id = _binary(raw, _VOP_ID) or self.vop_id
            self.polling_id = _binary(raw, _POLLING_ID) or self.polling_id
            self.report += _binary(raw, _REPORT) or b""
            self.single = _single(wire.element(raw, _RESULT)) or self.single
            self.notice = challenge.plain(wire.text(raw, _NOTICE)) or self.notice
            seconds = wire.text(raw, _WAIT)
            self.wait_seconds = min(int(seconds), MAX_WAIT_SECONDS) if seconds.isdecimal() else 0
        if len(self.report) > MAX_REPORT_BYTES or self.rounds > MAX_ROUNDS:
            raise Rejected("The bank does not come to an end with the payees' names.")

    def deviations(self) -> tuple[PayeeCheck, ...]:
        """What is no match. Without any word of the bank: one that is unclear."""
        found = [self.single] if self.single else list(_reported(self.report))
        if not found:
            return (PayeeCheck(UNCLEAR),)
        return tuple(one for one in found if one.result != MATCH)[:MAX_CHECKS]


def _single(found: Any) -> PayeeCheck | None:
    if found is None:
        return None
    code = wire.text([found], 0, _CODE)
    if not code:
        return None
    name = wire.text([found], 0, _NAME) or wire.text([found], 0, _OTHER)
    return PayeeCheck(
        RESULTS.get(code, UNCLEAR),
        iban=wire.text([found], 0, _IBAN) or None,
        name=name[:MAX_NAME] or None,
        why=wire.text([found], 0, _WHY)[:MAX_NAME] or None,
    )


def _reported(report: bytes) -> Iterator[PayeeCheck]:
    """The payments in all reports, the last word on each; of the whole, only the last word, and
    only where it says more than the payments do."""
    payments: dict[tuple[str | None, str | None], PayeeCheck] = {}
    whole = None
    for document in _documents(report):
        root = _parsed(document)
        if root is None:
            whole = ""
            continue
        found = [_payment(one) for one in root.iter("{*}TxInfAndSts")]
        payments.update({(one.end_to_end_id, one.iban): one for one in found})
        codes = [code for name in ("PmtInfSts", "GrpSts") if (code := _first(root, name))]
        whole = next((code for code in codes if code != "RCVC"), codes[0] if codes else "")
    yield from payments.values()
    if whole is not None and all(one.result == MATCH for one in payments.values()):
        yield PayeeCheck(RESULTS.get(whole, UNCLEAR))


def _payment(found: etree._Element) -> PayeeCheck:
    result = RESULTS.get(_first(found, "TxSts"), UNCLEAR)
    words = "".join(one.text or "" for one in found.iter("{*}AddtlInf")).strip(' "“”')[:MAX_NAME]
    is_close = result == "close_match"
    return PayeeCheck(
        result,
        end_to_end_id=_first(found, "OrgnlEndToEndId") or None,
        iban=_first(found, "IBAN") or None,
        name=(words or None) if is_close else None,
        why=None if is_close else (words or _first(found, "Cd") or None),
    )


def _documents(report: bytes) -> Iterator[bytes]:
    """Each whole document; an unfinished one at the end as it is, so that it is not overlooked."""
    at = 0
    while (end := report.find(_END, report.find(b"</", at))) >= 0:
        yield report[at : end + len(_END)].strip()
        at = end + len(_END)
    if report[at:].strip():
        yield report[at:].strip()


def _parsed(document: bytes) -> etree._Element | None:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        return etree.fromstring(document, parser)
    except etree.XMLSyntaxError:
        return None


def _first(found: etree._Element, name: str) -> str:
    element = next(found.iter(f"{{*}}{name}"), None)
    return (element.text or "").strip() if element is not None else ""


def _binary(raw: wire.Raw, at: int) -> bytes | None:
    """Binary elements; some banks send them as text."""
    value = wire.element(raw, at)
    return value if isinstance(value, bytes) else wire.text(raw, at).encode(wire.CHARSET) or None


def _text(value: bytes | None) -> str | None:
    return b64encode(value).decode() if value is not None else None


def _bytes(kept: str | None) -> bytes | None:
    return b64decode(kept) if kept is not None else None
