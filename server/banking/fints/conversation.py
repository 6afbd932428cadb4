"""The conversation with a bank, one call a step; between two calls only bytes are kept.

::

    start ─▶ ChooseMethod ─▶ choose_method ─▶ NeedsTan ─▶ confirm ─▶ Connected
    fetch ─▶ Fetched, or NeedsTan ─▶ confirm ─▶ Fetched

Any step may answer what a later one would: a bank with one method asks for no choice, and one
that trusts the PIN for now asks for no TAN. After an error the conversation begins again with
`start` or `fetch`, from the last state that was kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from fints.dialog import FinTSDialog
from fints.formals import TANMediaClass4, TANMediaType2
from fints.segments.accounts import HKSPA1
from fints.segments.auth import HKTAB4, HKTAB5

from plugin_sdk.errors import Misconfigured, Rejected
from server.banking.fints import answers, orders
from server.banking.fints.client import (
    MAX_MEDIUM_LENGTH,
    NO_SYSTEM_ID,
    ONE_STEP,
    BankClient,
    NewSystemId,
    Pending,
    State,
    is_sendable,
)
from server.banking.fints.orders import Harvest
from server.banking.fints.steps import (
    ChooseMethod,
    Connected,
    Credentials,
    Fetched,
    NeedsTan,
    Refusal,
    Step,
)
from server.banking.fints.talk import Talk, bank_client, codes_of, open_dialog, typed_tan
from server.banking.fints.transfers import Transfer

_ACTIVE_MEDIA = {"1", "3"}


def start(credentials: Credentials, state: bytes | None = None) -> Step:
    """Begin to connect an access. ``state``: what is kept of it, when it is connected again.

    Returns ChooseMethod, NeedsTan or Connected. Raises Temporary, Rejected or Misconfigured
    (WrongPin and AccessLocked: do not try again without a person).
    """
    with bank_client(credentials, _kept(credentials, state)) as client:
        client.forget_parameters()
        _synchronise(client)
        methods = client.methods()
        if not methods:
            client.choose(ONE_STEP, None)
            return _Fetch(client).begin()
        if len(methods) == 1:
            return _with_method(client, methods[0].id, None)
        return ChooseMethod(client.state().to_bytes(), methods)


def choose_method(
    credentials: Credentials, state: bytes, method_id: str, medium: str | None = None
) -> Step:
    """Go on with this way to confirm. ``medium``: the phone or reader, by the bank's name for it.

    Returns ChooseMethod (now with media), NeedsTan or Connected. Raises as ``start``.
    """
    with bank_client(credentials, State.from_bytes(state, credentials)) as client:
        if method_id not in {method.id for method in client.methods()}:
            raise Rejected("The bank does not offer this TAN method.")
        if medium is not None and (len(medium) > MAX_MEDIUM_LENGTH or not is_sendable(medium)):
            raise Rejected(f"A TAN medium has at most {MAX_MEDIUM_LENGTH} characters.")
        return _with_method(client, method_id, medium)


def confirm(credentials: Credentials, state: bytes, tan: str | None = None) -> Step:
    """Answer a NeedsTan: with the TAN, or (decoupled) ask whether the app was used by now.

    Returns NeedsTan again while the app was not used; else Connected or Fetched, or a NeedsTan
    for what follows. Raises NotConfirmed when TAN or app said no, and as ``start``.
    """
    kept = State.from_bytes(state, credentials)
    if kept.pending is None:
        raise Rejected("Nothing waits for a confirmation; begin again.")
    typed = typed_tan(kept.pending, tan)
    with bank_client(credentials, kept) as client:
        return _resumed(client, kept.pending).confirm(typed)


def fetch(
    credentials: Credentials,
    state: bytes,
    iban: str | Sequence[str],
    since: date,
    until: date | None = None,
    *,
    today: date,
) -> Step:
    """The postings of accounts from ``since`` on, as files for `server.banking.formats`.

    Several accounts cost one log-in and, with most banks, one TAN. Returns Fetched, or NeedsTan
    when the bank wants a person: then no further unattended fetch, each of them would ring the
    merchant's phone. Raises Rejected for an unknown account and a bank that gives nothing of any
    of them, and as ``start``.
    """
    kept = State.from_bytes(state, credentials)
    if kept.method is None:
        raise Misconfigured("The bank access was not connected to its end.")
    with bank_client(credentials, kept) as client:
        ibans = [iban] if isinstance(iban, str) else iban
        harvests = [orders.begin(client, one, since, until, today) for one in ibans]
        assert harvests, "at least one account is asked for"
        return _Fetch(client, harvests=harvests).begin()


def _resumed(client: BankClient, pending: Pending) -> Talk:
    """The conversation that waits, whatever it is for."""
    kind = Transfer if Transfer.is_meant(pending) else _Fetch
    return kind.resume(client, pending)


@dataclass
class _Fetch(Talk):
    """What a dialog is for: the postings of accounts, or (no harvests) their list."""

    harvests: list[Harvest] = field(default_factory=list)

    @classmethod
    def resume(cls, client: BankClient, pending: Pending) -> _Fetch:
        return cls(
            client,
            was_confirmed=pending.intent["was_confirmed"],
            dialog=client.resume_dialog_of(pending),
            waiting=pending,
            harvests=[Harvest.from_json(kept) for kept in pending.intent["harvests"]],
        )

    def intent(self) -> dict[str, Any]:
        return {"harvests": [harvest.to_json() for harvest in self.harvests]}

    def answered(self, answer: Any, reference: int) -> Step:
        if not self.harvests:
            return self._connected(answer)
        harvest = next(one for one in self.harvests if not one.is_done)
        return self._harvest(harvest, answer, reference) or self.go_on()

    def go_on(self) -> Step:
        if not self.harvests:
            return self._ask_for_accounts()
        for harvest in self.harvests:
            asked = None if harvest.is_done else self._harvest(harvest)
            if asked is not None:
                return asked
        return self._fetched()

    def _ask_for_accounts(self) -> Step:
        if not orders.offers_accounts(self.client):
            return self._connected(None)
        try:
            answer, asked = self._send(HKSPA1())
        except Rejected:
            if not orders.accounts(self.client, None):
                raise
            return self._connected(None)  # the bank named the accounts with the user
        return asked or self._connected(answer)

    def _harvest(self, harvest: Harvest, answer: Any = None, reference: int = 0) -> NeedsTan | None:
        """Everything of one account; ``answer`` is what came after a confirmation."""
        try:
            while answer is None or orders.take(harvest, answer, reference):
                request = orders.postings_request(self.client, harvest)
                answer, asked = self._send(request)
                if asked is not None:
                    return asked
                reference = request.header.number
        except Rejected as error:
            harvest.refusal = str(error)
        harvest.is_done = True
        return None

    def _send(self, request: Any) -> tuple[Any, NeedsTan | None]:
        assert self.dialog is not None
        if not self.dialog.open:
            raise Rejected("The bank ended the dialog before this was asked for.")
        tan = self.client.tan_for(request)
        answer = self.client.exchange(self.dialog, request, *([tan] if tan else []))
        return answer, self.asked(answer, tan, request.header.number)

    def _fetched(self) -> Fetched:
        refusals = [Refusal(one.iban, one.refusal) for one in self.harvests if one.refusal]
        self.client.end(self.dialog)
        if len(refusals) == len(self.harvests):
            raise Rejected(refusals[0].why)
        return Fetched(
            self.client.state().to_bytes(),
            tuple(file for one in self.harvests for file in one.files()),
            min(one.since for one in self.harvests),
            self.was_confirmed,
            tuple(refusals),
        )

    def _connected(self, answer: Any) -> Connected:
        self.client.found_accounts = orders.accounts(self.client, answer)
        self.client.end(self.dialog)
        kept = self.client.state().to_bytes()
        return Connected(kept, self.client.found_accounts, self.was_confirmed)


def _with_method(client: BankClient, method_id: str, medium: str | None) -> Step:
    client.choose(method_id, medium)
    if medium is not None or not client.needs_medium():
        return _Fetch(client).begin()
    talk = _Fetch(client)
    dialog, answer, tan = open_dialog(client)
    if answers.CONFIRMATION_NEEDED & codes_of(answer):
        # This bank does not wait for the name of a medium; it has rung one already.
        return talk.went_in(dialog, answer, tan)
    names = _media(client, dialog)
    client.end(dialog)
    if len(names) > 1:
        chosen = tuple(method for method in client.methods() if method.id == method_id)
        return ChooseMethod(client.state().to_bytes(), chosen, names)
    client.choose(method_id, names[0] if names else "")
    return _Fetch(client).begin()


def _media(client: BankClient, dialog: FinTSDialog) -> tuple[str, ...]:
    """The names of the user's phones and readers; the active ones, if the bank tells them apart."""
    offered = client.bpd.find_segment_highest_version("HITABS", (4, 5))
    if offered is None:
        return ()
    kind = HKTAB5 if offered.header.version == 5 else HKTAB4
    request = kind(tan_media_type=TANMediaType2.ALL, tan_media_class=TANMediaClass4.ALL.value)
    try:
        answer = client.exchange(dialog, request)
    except Rejected:
        return ()
    found: list[tuple[bool, str]] = []
    for segment in answer.find_segments("HITAB"):
        for medium in getattr(segment, "tan_media_list", ()):
            if medium.tan_medium_name:
                status = str(getattr(medium.status, "value", medium.status))
                found.append((status in _ACTIVE_MEDIA, str(medium.tan_medium_name)))
    has_active = any(is_active for is_active, _ in found)
    return tuple(dict.fromkeys(name for active, name in found if active or not has_active))


def _synchronise(client: BankClient) -> None:
    """The methods of the user. Who has a system id may be told their numbers only."""
    had_id = client.system_id != NO_SYSTEM_ID
    try:
        client.synchronise()
    except NewSystemId:
        client.system_id = NO_SYSTEM_ID
    if client.system_id == NO_SYSTEM_ID or (had_id and client.knows_too_little()):
        client.system_id = NO_SYSTEM_ID
        client.synchronise()


def _kept(credentials: Credentials, state: bytes | None) -> State | None:
    """A state of another access is of no use when connecting, and no harm."""
    try:
        return State.from_bytes(state, credentials) if state is not None else None
    except Misconfigured:
        return None
