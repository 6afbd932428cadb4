"""Handing in credit transfers: the order, the payees' names, the TAN, and what became of it.

::

    transfer ─▶ [NeedsTan] ─▶ [NeedsTime] ─▶ [ConfirmPayees ─▶ accept] ─▶ [NeedsTan] ─▶ Transferred

`confirm` of the conversation answers NeedsTan and NeedsTime. Money is at stake, so an answer is
read the other way round than when fetching: the order is taken only where the bank says so of
this order, refused only where it says so, and anything else is InDoubt: nobody sends it again
before a person has looked at the account.

Segments: HKCCS 1 and HKCCM 1 (FinTS 3.0 Messages "Multibankfähige Geschäftsvorfälle"), HKVPP 1
and HKVPA 1 (Verification of Payee 1.01). HKVPP goes first, as most banks want it; HKVPA goes with
the TAN where the bank has asked for one already, else with the order, sent once more.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from fints.formals import KTI1
from fints.segments.auth import HKVPA1, HKVPP1, PSRD1
from fints.segments.transfer import HKCCM1, HKCCS1
from lxml import etree

from plugin_sdk.errors import Misconfigured, Rejected, Temporary
from server.banking.fints import answers, challenge, orders, wire
from server.banking.fints.answers import InDoubt, OrderRefused, Reply
from server.banking.fints.client import BankClient, Pending, State
from server.banking.fints.payees import Examination
from server.banking.fints.steps import (
    ConfirmPayees,
    Credentials,
    NeedsTime,
    Step,
    Transferred,
)
from server.banking.fints.talk import Talk, bank_client, codes_of

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"
MAX_ORDER_BYTES = 16 * 1024 * 1024
MAX_SAID = 300
MANY = 10_000
AT_ONCE = "1999-01-01"  # what FinTS wants as the day of an order that is to be carried out now
_VERSION = "pain.001.001.09"
_MAX_COUNT, _TOTAL_NEEDED = 0, 1
_MAX_CHECKED, _REPORT_FORMATS, _FIRST_CHECKED = 0, 5, 6
_SEPA_FORMATS_FROM = 3


@dataclass(frozen=True, slots=True)
class Offer:
    """What a bank takes of one account: at most ``most`` payments in an order (0: none)."""

    most: int
    most_checked: int = MANY
    needs_total: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """A pain.001.001.09 file as it is handed in: ``count`` payments of ``total`` euros."""

    iban: str
    content: bytes
    count: int
    total: Decimal

    @classmethod
    def read(cls, iban: str, content: bytes) -> Order:
        """From a file of ours, its day replaced by "now". Raises Rejected for any other file."""
        if len(content) > MAX_ORDER_BYTES:
            raise Rejected("The file is too large to be handed in.")
        try:
            root = etree.fromstring(content, etree.XMLParser(resolve_entities=False))
        except etree.XMLSyntaxError:
            raise Rejected("The file cannot be read.") from None
        found = {
            name: root.findtext(f"{{*}}CstmrCdtTrfInitn/{path}")
            for name, path in (
                ("count", "{*}GrpHdr/{*}NbOfTxs"),
                ("total", "{*}GrpHdr/{*}CtrlSum"),
                ("iban", "{*}PmtInf/{*}DbtrAcct/{*}Id/{*}IBAN"),
            )
        }
        if etree.QName(root).namespace != NAMESPACE or found["iban"] != iban:
            raise Rejected("The file is not an order of this account.")
        for day in root.iterfind("{*}CstmrCdtTrfInitn/{*}PmtInf/{*}ReqdExctnDt/{*}Dt"):
            day.text = AT_ONCE
        written = etree.tostring(root, encoding="UTF-8", xml_declaration=True)
        return cls(iban, written, int(found["count"] or 0), Decimal(found["total"] or 0))

    def to_json(self) -> dict[str, Any]:
        """For the stored state; ``from_json`` reads it."""
        content = b64encode(self.content).decode()
        return {
            "iban": self.iban,
            "content": content,
            "count": self.count,
            "total": f"{self.total}",
        }

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Order:
        """What ``to_json`` made."""
        content = b64decode(kept["content"])
        return cls(kept["iban"], content, kept["count"], Decimal(kept["total"]))


def transfer(credentials: Credentials, state: bytes, iban: str, content: bytes) -> Step:
    """Hand in a pain.001 file of the account ``iban``, to be carried out at once.

    Returns NeedsTan, NeedsTime, ConfirmPayees or Transferred. Raises OrderRefused when the bank
    refuses it, Rejected (NotConfirmed) when it does not come to that, Temporary and
    Misconfigured (WrongPin, AccessLocked) as ``fetch``: after all of these nothing was carried
    out. InDoubt when nobody knows.
    """
    kept = State.from_bytes(state, credentials)
    if kept.method is None:
        raise Misconfigured("The bank access was not connected to its end.")
    order = Order.read(iban, content)
    with bank_client(credentials, kept) as client:
        _check(offer_of(client, iban), order)
        return Transfer(client, order=order).begin()


def accept(credentials: Credentials, state: bytes) -> Step:
    """Go on after ConfirmPayees: a person wants the money sent all the same. As ``transfer``."""
    kept = State.from_bytes(state, credentials)
    if kept.pending is None or not Transfer.is_meant(kept.pending):
        raise Rejected("Nothing waits for a decision; begin again.")
    with bank_client(credentials, kept) as client:
        return Transfer.resume(client, kept.pending).accept()


def refuse(credentials: Credentials, state: bytes) -> None:
    """Give up an order that waits for a decision or a TAN; it is not carried out.

    Raises InDoubt where an app may have confirmed it by now.
    """
    kept = State.from_bytes(state, credentials)
    if kept.pending is None or not Transfer.is_meant(kept.pending):
        return
    with bank_client(credentials, kept) as client:
        Transfer.resume(client, kept.pending).refuse()


def most_payments(credentials: Credentials, state: bytes, iban: str) -> int:
    """How many payments an order of this account may hold; 0 when the bank takes none.

    Asks nothing of the bank. Raises Misconfigured for a state that cannot be used.
    """
    with bank_client(credentials, State.from_bytes(state, credentials)) as client:
        found = offer_of(client, iban)
        return min(found.most, found.most_checked)


def offer_of(client: BankClient, iban: str) -> Offer:
    """What the bank's and the user's parameters say (HICCSS, HICCMS, HIVPPS, HIUPD)."""
    allowed = orders.allowed(client, iban)
    if iban not in {one.iban for one in client.found_accounts} or not _descriptor(client):
        return Offer(0)
    may = {
        kind: client.bpd.find_segment_first(parameters, 1) is not None
        and (allowed is None or kind in allowed)
        for kind, parameters in (("HKCCS", "HICCSS"), ("HKCCM", "HICCMS"))
    }
    if not may["HKCCM"]:
        return Offer(int(may["HKCCS"]))
    listed = wire.parameters(client.bpd.find_segment_first("HICCMS", 1))
    checked = _checked_kinds(client)
    return Offer(
        most=_number(listed, _MAX_COUNT) or MANY,
        most_checked=_most_checked(client) if "HKCCM" in checked else MANY,
        needs_total=wire.text(listed, _TOTAL_NEEDED) == "J",
    )


@dataclass
class Transfer(Talk):
    """A dialog that hands in one order. ``stage``: what is waited for, after the log-in."""

    order: Order = field(kw_only=True)
    names: Examination = field(default_factory=Examination)
    stage: str = "login"  # then names, decision or tan

    @staticmethod
    def is_meant(pending: Pending) -> bool:
        """True when this is what waits."""
        return "order" in pending.intent

    @classmethod
    def resume(cls, client: BankClient, pending: Pending) -> Transfer:
        return cls(
            client,
            was_confirmed=pending.intent["was_confirmed"],
            dialog=client.resume_dialog_of(pending),
            waiting=pending,
            order=Order.from_json(pending.intent["order"]),
            names=Examination.from_json(pending.intent["names"]),
            stage=pending.intent["stage"],
        )

    def intent(self) -> dict[str, Any]:
        return {
            "order": self.order.to_json(),
            "names": self.names.to_json(),
            "stage": self.stage,
        }

    def go_on(self) -> Step:
        """Hand in the order; with HKVPA, once more, what was checked and may go."""
        assert self.dialog is not None
        if not self.dialog.open:
            raise Rejected("The bank ended the dialog before this was asked for.")
        request = _request(self.client, self.order)
        first: list[Any] = []
        if self.names.vop_id is not None:
            first = [HKVPA1(vop_id=self.names.vop_id)]
            self.names.is_confirmed = True
        elif request.TYPE in _checked_kinds(self.client):
            first = [self._question()]
        tan = self.client.tan_for(request)
        answer = self.client.hand_in(self.dialog, *first, request, *([tan] if tan else []))
        self._stop_if_refused(answer, request.header.number)
        if (
            first
            and not self.names.is_confirmed
            and answers.NO_CHECK_NEEDED not in codes_of(answer)
        ):
            self.names.take(answer)
        return self.answered(answer, request.header.number, tan)

    def answered(self, answer: Any, reference: int, tan: Any = None) -> Step:
        """Go on with what the bank says to the order, or to the question about the names."""
        codes = codes_of(answer)
        must_confirm = answers.CHECK_MUST_BE_CONFIRMED in codes
        wants_tan = bool(answers.CONFIRMATION_NEEDED & codes) and not must_confirm
        if must_confirm or wants_tan:
            self.client.is_in_doubt = False  # it waits for us
        if self.names.is_running:
            return self._wait(reference)
        if not (must_confirm or wants_tan) and _is_taken(answer, {reference}):
            return self._taken(answer)
        if self.names.vop_id is None or self.names.is_confirmed:
            if must_confirm:
                raise Rejected("The bank wants the payees confirmed, and takes no confirmation.")
            if not wants_tan:
                raise InDoubt(f"The bank does not say what it did. {_said(answer)}")
        self.stage = "tan"
        asked = self.asked(answer, tan, reference) if wants_tan else None
        if wants_tan and asked is None:
            raise Misconfigured("The bank wants a TAN, and has not said before that it would.")
        deviations = self._deviations()
        if deviations:
            return self._decision(deviations, answer, reference, is_asked=asked is not None)
        return asked or self.go_on()

    def accept(self) -> Step:
        """A person wants it sent although the names differ."""
        assert self.waiting is not None
        if self.stage != "decision":
            raise Rejected("Nothing waits for a decision; begin again.")
        self.stage = "tan"
        if not self.waiting.challenge:
            return self.go_on()
        shown = challenge.from_json(self.waiting.challenge)
        return self.needs_tan(shown, self.waiting.reference, is_decoupled=self.waiting.is_decoupled)

    def refuse(self) -> None:
        """Leave the dialog; what was not confirmed is not carried out."""
        assert self.waiting is not None
        may_be_confirmed = self.waiting.is_decoupled and bool(self.waiting.challenge)
        if self.waiting.reference is not None and may_be_confirmed:
            raise InDoubt("The order was given up; the app may have confirmed it before.")
        self.client.end(self.dialog)

    def confirm(self, typed: str) -> Step:
        """Go on after the user did something, or the bank had time."""
        assert self.waiting is not None
        if self.waiting.reference is None:
            return super().confirm(typed)
        if self.stage == "names":
            return self._ask_again(self.waiting.reference)
        if self.stage == "decision":
            raise Rejected("First decide about the payees.")
        return self._release(typed, self.waiting.reference)

    def _release(self, typed: str, reference: int) -> Step:
        """The TAN of the order; with it, that the result of the check was seen."""
        assert self.waiting is not None
        assert self.dialog is not None
        shown = challenge.from_json(self.waiting.challenge)
        first = []
        if self.names.vop_id is not None and not self.names.is_confirmed:
            first = [HKVPA1(vop_id=self.names.vop_id)]
            self.names.is_confirmed = True
        segment = self.client.confirmation(shown.task, self.waiting.tan(typed))
        answer = self.client.hand_in(self.dialog, *first, segment)
        about = {segment.header.number, reference} - {one.header.number for one in first}
        self._stop_if_refused(answer, *about)
        if answers.NOT_YET_CONFIRMED in codes_of(answer):
            return self.needs_tan(shown, reference, is_decoupled=True, is_first=False)
        asked = self.asked(answer, segment, reference)
        if asked is not None:
            return asked
        if not _is_taken(answer, about):
            raise InDoubt(f"The bank does not say what it did. {_said(answer)}")
        return self._taken(answer)

    def _ask_again(self, reference: int) -> Step:
        """Whether the names are compared by now. The order itself is not sent again."""
        question = self._question()
        answer = self.client.exchange(self.dialog, question)
        self.names.take(answer)
        if self.names.is_running:
            return self._wait(reference)
        if self.names.vop_id is None:
            raise Rejected(f"The bank says nothing about the payees. {_said(answer)}")
        deviations = self._deviations()
        if deviations:
            return self._decision(deviations, answer, reference, is_asked=False)
        return self.go_on()

    def _question(self) -> Any:
        found = self.client.bpd.find_segment_first("HIVPPS", 1)
        formats = wire.text(wire.parameters(found), _REPORT_FORMATS).split(";")
        return HKVPP1(
            supported_reports=PSRD1(psrd=formats),
            polling_id=self.names.polling_id,
            aufsetzpunkt=self.names.touchdown,
        )

    def _deviations(self) -> tuple[Any, ...]:
        if self.names.vop_id is None or self.names.is_confirmed:
            return ()
        return self.names.deviations()

    def _decision(
        self, deviations: tuple[Any, ...], answer: Any, reference: int, *, is_asked: bool
    ) -> Step:
        """Ask a person; a TAN that the bank has asked for already waits until then."""
        self.stage = "decision"
        shown: dict[str, Any] = {}
        if is_asked:
            shown = challenge.to_json(challenge.read(answer.find_segment_first("HITAN")))
        is_decoupled = answers.DECOUPLED in codes_of(answer)
        kept = self.kept(reference, is_decoupled=is_decoupled, shown=shown)
        return ConfirmPayees(kept, deviations, self.names.notice)

    def _wait(self, reference: int) -> NeedsTime:
        self.client.is_in_doubt = False  # not released before the names are compared
        self.stage = "names"
        return NeedsTime(self.kept(reference, is_decoupled=True), self.names.wait_seconds)

    def _taken(self, answer: Any) -> Transferred:
        self.client.is_in_doubt = False
        self.client.end(self.dialog)
        return Transferred(self.client.state().to_bytes(), _said(answer))

    def _stop_if_refused(self, answer: Any, *about: int) -> None:
        """Raises what a refusal means; InDoubt where it is not clear that it is one."""
        assert self.dialog is not None
        error = self.client.refusal(answer)
        if error is None:
            return
        self.dialog.open = self.dialog.open and answers.ENDED not in codes_of(answer)
        self.client.end(self.dialog)
        if isinstance(error, Temporary) or _is_taken(answer, set(about)):
            raise InDoubt(str(error))
        self.client.is_in_doubt = False
        raise OrderRefused(str(error)) if type(error) is Rejected else error


def _check(offer: Offer, order: Order) -> None:
    if offer.most == 0:
        raise Rejected("The bank takes no transfers of this account by FinTS.")
    if not 0 < order.count <= min(offer.most, offer.most_checked):
        most = min(offer.most, offer.most_checked)
        raise Rejected(f"The bank takes at most {most} payments at once; make smaller files.")


def _request(client: BankClient, order: Order) -> Any:
    account = next(one for one in client.found_accounts if one.iban == order.iban)
    common = {
        "account": KTI1(iban=account.iban, bic=account.bic),
        "sepa_descriptor": _descriptor(client),
        "sepa_pain_message": order.content,
    }
    if order.count == 1:
        return HKCCS1(**common)
    request = HKCCM1(request_single_booking=False, **common)
    if offer_of(client, order.iban).needs_total:
        request.sum_amount.amount = order.total
        request.sum_amount.currency = "EUR"
    return request


def _descriptor(client: BankClient) -> str | None:
    """The bank's own name of our format (HISPAS); None when it takes only others."""
    found = client.bpd.find_segment_highest_version("HISPAS")
    listed = wire.parameters(found)[_SEPA_FORMATS_FROM:] if found is not None else []
    names = [str(one) for one in listed if one and "pain.001" in str(one)]
    if not names:
        return NAMESPACE
    return next((one for one in names if _VERSION in one), None)


def _checked_kinds(client: BankClient) -> list[str]:
    """The orders for which the bank compares the payees' names."""
    found = client.bpd.find_segment_first("HIVPPS", 1)
    if found is None:
        return []
    return [str(one) for one in wire.parameters(found)[_FIRST_CHECKED:]]


def _most_checked(client: BankClient) -> int:
    found = client.bpd.find_segment_first("HIVPPS", 1)
    return _number(wire.parameters(found), _MAX_CHECKED) or MANY


def _number(listed: wire.Raw, at: int) -> int:
    text = wire.text(listed, at)
    return int(text) if text.isdecimal() and len(text) <= len(str(MANY)) else 0


def _is_taken(answer: Any, about: set[int]) -> bool:
    """True where the bank says of one of these segments that it took the order."""
    return any(
        reply.code in answers.ACCEPTED for number in about for reply in wire.replies(answer, number)
    )


def _said(answer: Any) -> str:
    """What the bank says, without repetition; codes and words."""
    found: list[Reply] = wire.replies(answer)
    words = dict.fromkeys(f"{one.code} {one.text}".strip() for one in found)
    return " ".join("; ".join(words).split())[:MAX_SAID]
