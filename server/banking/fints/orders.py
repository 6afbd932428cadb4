"""What is asked of a bank besides the log-in: the accounts, and the postings of one of them.

Segments: HKSPA 1 and HIUPD 6 (accounts), HKCAZ 1 (postings as camt.052), HKKAZ 5 to 7 (as MT940),
FinTS 3.0 Messages "Multibankfähige Geschäftsvorfälle". Answers are read as raw elements, so a
bank that strays from the standard elsewhere in a segment loses us nothing.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from fints.formals import (
    KTI1,
    Account2,
    Account3,
    BankIdentifier,
    SupportedMessageTypes,
)
from fints.segments.statement import HKCAZ1, HKKAZ5, HKKAZ6, HKKAZ7
from schwifty import IBAN
from schwifty.exceptions import SchwiftyException

from plugin_sdk.errors import Rejected, Temporary
from server.banking.fints import answers, wire
from server.banking.fints.client import BankClient
from server.banking.fints.steps import FetchedFile, FoundAccount

MAX_FETCHED_BYTES = 64 * 1024 * 1024
MAX_CONTINUATIONS = 500
MAX_STORAGE_DIGITS = 4
GERMANY = "280"
PREFERRED_CAMT = ("08", "02")
_CAMT_052 = re.compile(r"camt\.052\.001\.(\d\d)$")
_FIRST_FORMAT = 3
_MT940_VERSIONS: dict[int, Any] = {5: HKKAZ5, 6: HKKAZ6, 7: HKKAZ7}


@dataclass(slots=True)
class Harvest:
    """What has come so far of one fetch; banks deliver in pieces (return code 3040)."""

    iban: str
    since: date
    until: date | None
    booked: list[bytes] = field(default_factory=list)
    pending: list[bytes] = field(default_factory=list)
    is_camt: bool = True
    touchdown: str | None = None
    pieces: int = 0
    is_done: bool = False
    refusal: str | None = None

    def to_json(self) -> dict[str, Any]:
        """For the stored state; ``from_json`` reads it."""
        return {
            "iban": self.iban,
            "since": self.since.isoformat(),
            "until": self.until and self.until.isoformat(),
            "booked": [b64encode(one).decode() for one in self.booked],
            "pending": [b64encode(one).decode() for one in self.pending],
            "is_camt": self.is_camt,
            "touchdown": self.touchdown,
            "pieces": self.pieces,
            "is_done": self.is_done,
            "refusal": self.refusal,
        }

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Harvest:
        """What ``to_json`` made."""
        return cls(
            iban=kept["iban"],
            since=date.fromisoformat(kept["since"]),
            until=kept["until"] and date.fromisoformat(kept["until"]),
            booked=[b64decode(one) for one in kept["booked"]],
            pending=[b64decode(one) for one in kept["pending"]],
            is_camt=kept["is_camt"],
            touchdown=kept["touchdown"],
            pieces=kept["pieces"],
            is_done=kept["is_done"],
            refusal=kept["refusal"],
        )

    def files(self) -> tuple[FetchedFile, ...]:
        """One file for each camt message; MT940 in one, as its pieces end anywhere."""
        span = f"{self.since} {self.until or 'to today'}"
        if self.is_camt:
            return tuple(
                FetchedFile(
                    f"fints {span} {what} {number}.xml", content, what == "pending", self.iban
                )
                for what, contents in (("booked", self.booked), ("pending", self.pending))
                for number, content in enumerate(contents, 1)
                if content.strip()
            )
        return tuple(
            FetchedFile(f"fints {span} {what}.{ending}", content, what == "pending", self.iban)
            for what, ending, content in (
                ("booked", "sta", _lines(b"".join(self.booked))),
                ("pending", "mt942", _lines(b"".join(self.pending))),
            )
            if content.strip()
        )


def accounts(client: BankClient, answer: Any | None) -> tuple[FoundAccount, ...]:
    """The accounts in an answer to HKSPA and in the user's parameters, in that order, by IBAN."""
    found: dict[str, FoundAccount] = {}
    for segment in answer.find_segments("HISPA") if answer is not None else ():
        for one in wire.raw(segment)[1:]:
            _add(found, _sepa_account(one))
    for segment in client.upd.find_segments("HIUPD"):
        _add(found, _user_account(wire.raw(segment)))
    return tuple(found.values())


def allowed(client: BankClient, iban: str) -> set[str] | None:
    """What the user may ask of an account (HIUPD); None when the bank does not list it."""
    for segment in client.upd.find_segments("HIUPD"):
        raw = wire.raw(segment)
        if wire.text(raw, 2) == iban:
            return {wire.text(one if isinstance(one, list) else [one], 0) for one in raw[10:]}
    return None


def offers_accounts(client: BankClient) -> bool:
    """True when the bank answers HKSPA 1; others list the accounts in the parameters only."""
    return client.bpd.find_segment_first("HISPAS", 1) is not None


def postings_request(client: BankClient, harvest: Harvest) -> Any:
    """The segment that asks for the (next) postings. Raises Rejected: the bank offers none."""
    account = next(one for one in client.found_accounts if one.iban == harvest.iban)
    common = {
        "all_accounts": False,
        "date_start": harvest.since,
        "date_end": harvest.until,
        "touchdown_point": harvest.touchdown,
    }
    if harvest.is_camt:
        return HKCAZ1(
            account=KTI1(iban=account.iban, bic=account.bic),
            supported_camt_messages=SupportedMessageTypes(_camt_formats(client)),
            **common,
        )
    offered = client.bpd.find_segment_highest_version("HIKAZS", list(_MT940_VERSIONS))
    if offered is None:
        raise Rejected("The bank offers the postings of this account neither as camt nor MT940.")
    version = offered.header.version
    return _MT940_VERSIONS[version](account=_national(account, version), **common)


def begin(client: BankClient, iban: str, since: date, until: date | None, today: date) -> Harvest:
    """An empty harvest. Raises Rejected for an account that is not known."""
    wanted = "".join(iban.split()).upper()
    if wanted not in {one.iban for one in client.found_accounts}:
        raise Rejected("This bank access does not know the account.")
    is_camt = _may_ask_camt(client, wanted)
    kept = _storage_days(client, "HICAZS" if is_camt else "HIKAZS")
    earliest = today - timedelta(days=kept) if kept else since
    return Harvest(wanted, max(since, earliest), until, is_camt=is_camt)


def take(harvest: Harvest, answer: Any, reference: int) -> bool:
    """Put an answer into the harvest; True when more follows. Raises Temporary."""
    replies = wire.replies(answer, reference)
    kind = "HICAZ" if harvest.is_camt else "HIKAZ"
    segments = list(answer.find_segments(kind))
    if not segments and not replies:
        raise Temporary("The bank did not answer the request for postings.")
    for segment in segments:
        raw = wire.raw(segment)
        booked, pending = (3, 4) if harvest.is_camt else (1, 2)
        harvest.booked += _binaries(wire.element(raw, booked))
        harvest.pending += _binaries(wire.element(raw, pending))
    harvest.pieces += 1
    size = sum(map(len, (*harvest.booked, *harvest.pending)))
    if size > MAX_FETCHED_BYTES or harvest.pieces > MAX_CONTINUATIONS:
        raise Rejected("The bank sent more postings than fit; fetch a shorter time.")
    before = harvest.touchdown
    points = [one.parameters for one in replies if one.code == answers.MORE_FOLLOWS]
    harvest.touchdown = points[0][0] if points and points[0] else None
    if harvest.touchdown is not None and harvest.touchdown == before:
        raise Temporary("The bank sent the same postings again and again.")
    return harvest.touchdown is not None


def _may_ask_camt(client: BankClient, iban: str) -> bool:
    if client.bpd.find_segment_first("HICAZS", 1) is None:
        return False
    kinds = allowed(client, iban)
    return kinds is None or "HKCAZ" in kinds or "HKKAZ" not in kinds


def _camt_formats(client: BankClient) -> list[str]:
    listed = wire.parameters(client.bpd.find_segment_first("HICAZS", 1))
    formats = [str(one) for one in listed[_FIRST_FORMAT:] if one]
    versions = {found[1]: name for name in formats if (found := _CAMT_052.search(name))}
    for version in (*PREFERRED_CAMT, *sorted(versions, reverse=True)):
        if version in versions:
            return [versions[version]]
    return formats or ["urn:iso:std:iso:20022:tech:xsd:camt.052.001.08"]


def _storage_days(client: BankClient, kind: str) -> int:
    """How long the bank keeps postings (Speicherzeitraum); 0 when it does not say."""
    found = client.bpd.find_segment_highest_version(kind)
    days = wire.text(wire.parameters(found), 0) if found is not None else ""
    return int(days) if days.isdecimal() and len(days) <= MAX_STORAGE_DIGITS else 0


def _national(account: FoundAccount, version: int) -> Any:
    if version == 7:
        return KTI1(iban=account.iban, bic=account.bic)
    if version == 5:
        return Account2(
            account_number=account.number,
            subaccount_number=account.subaccount,
            country_identifier=GERMANY,
            bank_code=account.bank_code,
        )
    return Account3(
        account_number=account.number,
        subaccount_number=account.subaccount,
        bank_identifier=BankIdentifier(country_identifier=GERMANY, bank_code=account.bank_code),
    )


def _sepa_account(raw: Any) -> FoundAccount | None:
    """KTZ1: SEPA yes or no, IBAN, BIC, number, subaccount, country, bank code."""
    if not isinstance(raw, list) or wire.text(raw, 0) != "J":
        return None
    return _account(wire.text(raw, 1), wire.text(raw, 2), raw[3:])


def _user_account(raw: Sequence[Any]) -> FoundAccount | None:
    """HIUPD 6: [number, subaccount, country, bank code], IBAN, user, type, currency, owners."""
    segment = list(raw)
    national = wire.element(segment, 1)
    owner = " ".join(name for at in (6, 7) if (name := wire.text(segment, at)))
    return _account(
        wire.text(segment, 2),
        "",
        national if isinstance(national, list) else [],
        owner=owner or None,
        currency=wire.text(segment, 5) or None,
    )


def _account(
    iban: str,
    bic: str,
    national: list[Any],
    owner: str | None = None,
    currency: str | None = None,
) -> FoundAccount | None:
    try:
        checked = IBAN("".join(iban.split()))
        known_bic = bic or checked.bic
    except (SchwiftyException, ValueError):
        return None
    return FoundAccount(
        iban=str(checked),
        bic=str(known_bic) if known_bic else None,
        number=wire.text(national, 0) or checked.account_code,
        subaccount=wire.text(national, 1) or None,
        bank_code=wire.text(national, 3) or checked.bank_code,
        owner=owner,
        currency=currency,
    )


def _add(found: dict[str, FoundAccount], account: FoundAccount | None) -> None:
    if account is None:
        return
    first = found.get(account.iban)
    if first is not None:
        account = FoundAccount(
            iban=first.iban,
            bic=first.bic or account.bic,
            number=first.number,
            subaccount=first.subaccount or account.subaccount,
            bank_code=first.bank_code,
            owner=first.owner or account.owner,
            currency=first.currency or account.currency,
        )
    found[account.iban] = account


def _binaries(found: Any) -> list[bytes]:
    """Binary elements; some banks send them as text."""
    values = found if isinstance(found, list) else [found]
    return [
        one if isinstance(one, bytes) else str(one).encode(wire.CHARSET)
        for one in values
        if one is not None
    ]


def _lines(content: bytes) -> bytes:
    """MT940 with line ends: some banks write @@ for them."""
    return content if b"\n" in content else content.replace(b"@@", b"\r\n")
