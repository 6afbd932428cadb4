"""What the FinTS bank of the tests does with orders to pay, and with the names of the payees.

``paid`` is what really left the account, whatever the bank said about it afterwards. Three ways
of reporting names, as banks have them: ``inline`` in HIVPP, ``report`` (pain.002 in it), and
``polled`` (nothing at first, a report after some questions, in two pieces).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from lxml import etree

from server.banking.fints import wire

PAIN_09 = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"
REPORT = "sepade.pain.002.001.10.xsd"
ORDERS = ("HKCCS", "HKCCM")
AT_ONCE = "1999-01-01"
VOP_ID = b"VOP+'1"  # binary, so it holds what would end a text
POLLING_ID = b"POLL-1"


@dataclass(frozen=True)
class Paid:
    """One payment that left the account."""

    end_to_end_id: str
    name: str
    iban: str
    amount: Decimal


@dataclass
class Submitted:
    """An order that the bank holds, and its number in the message."""

    kind: str
    content: bytes
    payments: list[Paid]


@dataclass
class FakePayments:
    """Every field may be changed while the bank runs."""

    kinds: tuple[str, ...] = ORDERS
    most: int = 100
    needs_total: bool = True
    formats: tuple[str, ...] = (PAIN_09,)
    wants_tan: bool = True
    names: str | None = None  # inline, report, polled
    most_checked: int = 50
    polls: int = 1
    results: dict[str, tuple[str, str]] = field(default_factory=dict)  # by IBAN: code, name or why
    insists: bool = False  # wants even a match confirmed with HKVPA
    asks_along: bool = True  # asks for the TAN in the answer that names the deviations
    needs_no_check: bool = False
    loses: str | None = None  # "order" or "tan": carries it out, and the answer gets lost
    mumbles: bool = False  # carries it out and says nothing of it
    refusal: str | None = None
    notice: str = "Die Bank haftet nicht, wenn der <b>Name</b> abweicht."

    def __post_init__(self) -> None:
        self.paid: list[Paid] = []
        self.submitted: list[Submitted] = []
        self.is_lost = False

    # --- what the bank says of itself ---

    def write_parameters(self, out: Any) -> None:
        total = "J" if self.needs_total else "N"
        if "HKCCS" in self.kinds:
            out.segment("HICCSS", 1, "1+1+0", 4)
        if "HKCCM" in self.kinds:
            out.segment("HICCMS", 1, f"1+1+0+{self.most}:{total}:N", 4)
        if self.names:
            kinds = ":".join(ORDERS)
            out.segment("HIVPPS", 1, f"1+1+0+{self.most_checked}:J:V:N:N:{REPORT}:{kinds}", 4)

    # --- requests ---

    def order_in(self, message: Any, complaints: list[str]) -> Submitted | None:
        """The order in a message; what a strict bank would object to is complained about."""
        request = next((one for one in map(message.find_segment_first, ORDERS) if one), None)
        if request is None:
            return None
        kind = request.header.type
        if kind == "HKCCM":
            _, account, asked, _, descriptor, content = wire.raw(request)
            sent_sum = Decimal(asked[0].replace(",", ".")) if asked else None
            iban = account[0]
        else:
            descriptor, content = request.sepa_descriptor, request.sepa_pain_message
            iban = request.account.iban
        root = etree.fromstring(content)
        payments = [
            Paid(
                one.findtext(".//{*}EndToEndId"),
                one.findtext("{*}Cdtr/{*}Nm"),
                one.findtext("{*}CdtrAcct/{*}Id/{*}IBAN"),
                Decimal(one.findtext("{*}Amt/{*}InstdAmt")),
            )
            for one in root.iter("{*}CdtTrfTxInf")
        ]
        total = sum(one.amount for one in payments)
        if descriptor not in self.formats:
            complaints.append(f"a file of the kind {descriptor}")
        if root.findtext(".//{*}ReqdExctnDt/{*}Dt") != AT_ONCE:
            complaints.append("an order for a day")
        if (kind == "HKCCS") != (len(payments) == 1) or kind not in self.kinds:
            complaints.append(f"{kind} with {len(payments)} payments")
        if kind == "HKCCM" and sent_sum != (total if self.needs_total else None):
            complaints.append(f"the sum is {sent_sum} and not {total}")
        if root.findtext(".//{*}DbtrAcct/{*}Id/{*}IBAN") != iban:
            complaints.append("the file debits another account")
        order = Submitted(kind, content, payments)
        self.submitted.append(order)
        return order

    def carry_out(self, order: Submitted, at: str) -> None:
        """``at`` is what brought it about, "order" or "tan"."""
        self.paid += order.payments
        self.is_lost = self.loses == at

    # --- the names ---

    def deviates(self, order: Submitted) -> bool:
        return any(one.iban in self.results for one in order.payments)

    def write_names(self, order: Submitted, number: int, out: Any) -> None:
        """The result, to the HKVPP with this number."""
        code = "3090::Ergebnis des Namensabgleichs pruefen"
        out.to(number, code if self.deviates(order) else "0025::Keine Namensabweichung")
        if self.names == "inline":
            (payment,) = order.payments
            result, more = self.results.get(payment.iban, ("RCVC", ""))
            name, why = ("", more) if result == "RVNA" else (more, "")
            words = f"{payment.iban}::{name}::{result}:{why}"
            out.segment("HIVPP", 1, self._vop(b"", words.encode("iso-8859-1")), number)
        else:
            report = self._report(order)
            sent = report[len(report) // 2 :] if self.names == "polled" else report
            out.segment("HIVPP", 1, self._vop(sent, b""), number)

    def write_running(self, order: Submitted, number: int, out: Any) -> None:
        """The names are still being compared; the first piece of the report comes at once."""
        out.to(number, "3040::Es liegen weitere Informationen vor:staticscrollref")
        report = self._report(order)
        piece = report[: len(report) // 2] if self.polls == 1 else b""
        described = REPORT.encode() + b"+" + _binary(piece) if piece else b"+"
        out.segment("HIVPP", 1, b"++" + _binary(POLLING_ID) + b"+" + described + b"+++2", number)

    def _vop(self, report: bytes, single: bytes) -> bytes:
        described = REPORT.encode() + b"+" + _binary(report) if report else b"+"
        notice = self.notice.encode("iso-8859-1") if self.results else b""
        return _binary(VOP_ID) + b"+++" + described + b"+" + single + b"+" + notice

    def _report(self, order: Submitted) -> bytes:
        rows = "".join(
            f"<TxInfAndSts><OrgnlEndToEndId>{one.end_to_end_id}</OrgnlEndToEndId>"
            f"<TxSts>{self.results[one.iban][0]}</TxSts><StsRsnInf><AddtlInf>"
            f"{self.results[one.iban][1]}</AddtlInf></StsRsnInf><OrgnlTxRef><CdtrAcct><Id><IBAN>"
            f"{one.iban}</IBAN></Id></CdtrAcct></OrgnlTxRef></TxInfAndSts>"
            for one in order.payments
            if one.iban in self.results
        )
        whole = "RVCM" if rows else "RCVC"
        return (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"><CstmrPmtStsRpt>'
            f"<OrgnlGrpInfAndSts><GrpSts>{whole}</GrpSts></OrgnlGrpInfAndSts>"
            f"<OrgnlPmtInfAndSts>{rows}</OrgnlPmtInfAndSts></CstmrPmtStsRpt></Document>"
        ).encode()


def _binary(content: bytes) -> bytes:
    return f"@{len(content)}@".encode() + content
