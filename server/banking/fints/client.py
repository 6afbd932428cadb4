"""The client of `fints`, with our connection, our errors and a state that holds no secret.

From `fints` come the segments, the envelope and the signature of PIN/TAN. Its dialogs are not
used beyond sending: it pickles the PIN into a paused dialog, and cannot go on fetching after one.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from fints.client import ING_BANK_IDENTIFIER, FinTS3PinTanClient
from fints.dialog import FinTSDialog
from fints.formals import Language2, SynchronizationMode, SystemIDStatus
from fints.message import MessageDirection
from fints.segments.auth import HKIDN2, HKVVB3
from fints.segments.dialog import HKEND1, HKSYN3
from fints.types import SegmentSequence

from plugin_sdk.errors import ConnectorError, Misconfigured
from server.banking.fints import answers, wire
from server.banking.fints.connection import Connection
from server.banking.fints.steps import Credentials, FoundAccount, Method

STATE_VERSION = 1
PRODUCT_VERSION = "1.0"
ONE_STEP = "999"
NO_SYSTEM_ID = "0"
MAX_USER_LENGTH = 30
MAX_PRODUCT_LENGTH = 25
MAX_PIN_LENGTH = 99
MAX_MEDIUM_LENGTH = 32
MAX_TAN_LENGTH = 99
BANK_CODE_LENGTH = 8
MAX_PARAMETER_VERSION = 999
ASKED_FOR_A_METHOD = {answers.METHODS_ALLOWED, answers.STRONG_AUTHENTICATION}
PIN_PARAMETERS = 5  # lengths and labels before the list of requests in HIPINS


@dataclass(frozen=True, slots=True)
class Pending:
    """A dialog that waits for a confirmation, and what it was opened for."""

    dialog_id: str
    sent: int
    received: int
    reference: int | None  # the segment that waits; None: the opening of the dialog itself
    is_decoupled: bool
    challenge: dict[str, Any]
    intent: dict[str, Any]

    def tan(self, typed: str) -> str | None:
        """What goes with the answer; None asks whether the app was used."""
        return None if self.is_decoupled else typed


@dataclass(frozen=True, slots=True)
class State:
    """What is kept between two steps. No PIN and no TAN; still only for the vault."""

    access: str = ""
    system_id: str = NO_SYSTEM_ID
    bank_parameters: str = ""
    bank_version: int = 0
    user_parameters: str = ""
    user_version: int = 0
    allowed: tuple[str, ...] = ()
    method: str | None = None
    medium: str | None = None
    accounts: tuple[FoundAccount, ...] = ()
    pending: Pending | None = field(default=None)

    def to_bytes(self) -> bytes:
        """Compressed JSON."""
        return zlib.compress(json.dumps({"version": STATE_VERSION, **asdict(self)}).encode())

    @classmethod
    def from_bytes(cls, kept: bytes, credentials: Credentials) -> State:
        """Raises Misconfigured when this is no state, or one of another access."""
        try:
            found = json.loads(zlib.decompress(kept))
            version = found.pop("version")
            found["allowed"] = tuple(found["allowed"])
            found["accounts"] = tuple(FoundAccount(**one) for one in found["accounts"])
            found["pending"] = found["pending"] and Pending(**found["pending"])
            state = cls(**found)
        except (ValueError, TypeError, KeyError, zlib.error):
            raise Misconfigured("What is known of this bank access is damaged.") from None
        if version != STATE_VERSION or state.access != access_of(credentials):
            raise Misconfigured("The bank access has changed; connect it again.")
        return state


def access_of(credentials: Credentials) -> str:
    """What a state belongs to: the PIN may change, the rest may not."""
    typed = (credentials.bank_code, credentials.url, credentials.user, credentials.customer_id)
    return json.dumps(["".join((each or "").split()) for each in typed])


class BankClient(FinTS3PinTanClient):  # type: ignore[misc]
    """One access to one bank for the length of one step. Close it."""

    connection: Connection

    def __init__(self, credentials: Credentials, state: State | None = None) -> None:
        checked = _checked(credentials)
        super().__init__(
            bank_identifier=checked.bank_code,
            user_id=checked.user,
            pin=checked.pin,
            server=checked.url,
            customer_id=checked.customer_id,
            product_id=checked.product_id,
            product_version=PRODUCT_VERSION,
        )
        self.connection = Connection(checked.url, allows_loopback=checked.allows_loopback)
        self.bank_code = checked.bank_code
        self._credentials = checked
        self.found_accounts: tuple[FoundAccount, ...] = ()
        self._asks_for_methods = False
        self._typed: str | None = None
        self.is_in_doubt = False  # an order has left, and it is not known what became of it
        if state is not None:
            self._restore(state)

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    # --- what is kept ---

    def state(self, pending: Pending | None = None) -> State:
        """What to keep after this step."""
        return State(
            access=access_of(self._credentials),
            system_id=self.system_id,
            bank_parameters=_packed(([self.bpa] if self.bpa else []) + self.bpd.segments),
            bank_version=self.bpd_version,
            user_parameters=_packed(([self.upa] if self.upa else []) + self.upd.segments),
            user_version=self.upd_version,
            allowed=tuple(self.allowed_security_functions),
            method=self.selected_security_function,
            medium=self.selected_tan_medium,
            accounts=self.found_accounts,
            pending=pending,
        )

    def _restore(self, state: State) -> None:
        self.system_id = state.system_id
        self._take_parameters(_unpacked(state.bank_parameters))
        self._take_parameters(_unpacked(state.user_parameters))
        self.bpd_version, self.upd_version = state.bank_version, state.user_version
        self.allowed_security_functions = list(state.allowed)
        self.selected_security_function = state.method
        self.selected_tan_medium = state.medium
        self.found_accounts = state.accounts

    def forget_parameters(self) -> None:
        """Ask the bank for everything again in the next dialog."""
        self.bpd_version = self.upd_version = 0

    # --- what fints calls ---

    def _log_response(self, segment: Any, response: Any) -> None:
        """Nothing: the bank's words may hold names and numbers."""

    def process_response_message(
        self, dialog: Any, message: Any, internal_send: bool = True
    ) -> None:
        """Keep what the bank says about itself and the user."""
        self._take_parameters(message)
        if self.bank_identifier == ING_BANK_IDENTIFIER:
            return  # names methods and then takes none of them: reads with the PIN alone
        for reply in wire.replies(message):
            if reply.code == answers.METHODS_ALLOWED:
                self.allowed_security_functions = list(reply.parameters)

    def _take_parameters(self, message: Any) -> None:
        bank = message.find_segment_first("HIBPA")
        if bank is not None:
            self.bpa, self.bpd_version = bank, _version(bank, 1)
            self.bpd = SegmentSequence(message.find_segments(callback=_is_parameter))
        user = message.find_segment_first("HIUPA")
        if user is not None:
            self.upa, self.upd_version = user, _version(user, 2)
            self.upd = SegmentSequence(message.find_segments("HIUPD"))

    # --- methods ---

    def methods(self) -> tuple[Method, ...]:
        """The ways to confirm that the user has and this software speaks; none: the PIN alone.

        Raises Misconfigured when the user has some and none of them is spoken here.
        """
        found = tuple(
            Method(code, str(one.name or code), _is_decoupled(one))
            for code, one in self.get_tan_mechanisms().items()
            if code != ONE_STEP and one.tan_process == "2"
        )
        others = [code for code in self.allowed_security_functions if code != ONE_STEP]
        if others and not found:
            raise Misconfigured(
                "The bank offers only TAN methods that cannot be used here: "
                f"{', '.join(others)}; set up another one with the bank."
            )
        return found

    def knows_too_little(self) -> bool:
        """True when the user has a method that the bank's parameters kept here do not describe."""
        known = {ONE_STEP, *self.get_tan_mechanisms()}
        return any(code not in known for code in self.allowed_security_functions)

    def choose(self, method: str, medium: str | None) -> None:
        """Confirm by this from now on."""
        self.selected_security_function = method
        self.selected_tan_medium = medium

    @property
    def has_method(self) -> bool:
        """False where the bank lets the user in with the PIN alone."""
        return self.selected_security_function not in (None, ONE_STEP)

    def needs_medium(self) -> bool:
        """True when the bank wants to be told which phone or reader."""
        return self.has_method and bool(self.is_tan_media_required())

    def poll_seconds(self, is_first: bool) -> tuple[int, bool]:
        """How long to wait before asking again, and whether without a click (HITANS 7)."""
        found = self.get_tan_mechanisms().get(self.selected_security_function)
        name = "wait_before_first_poll" if is_first else "wait_before_next_poll"
        may_poll = getattr(found, "automated_polling_allowed", None) is not False
        return getattr(found, name, None) or 0, may_poll

    # --- dialogs ---

    def open_dialog(self, *more: Any) -> tuple[FinTSDialog, Any, Any]:
        """A new dialog, the bank's answer to its opening, and the HKTAN in it (or None).

        Raises the error that the bank's return codes mean.
        """
        dialog = self._ready_dialog()
        identification = HKIDN2(
            self.bank_identifier, self.customer_id, self.system_id, SystemIDStatus.ID_NECESSARY
        )
        preparation = HKVVB3(
            self.bpd_version,
            self.upd_version,
            Language2.DE,
            self.product_name,
            self.product_version,
        )
        if self.has_method and self.selected_security_function not in self.get_tan_mechanisms():
            raise Misconfigured("The bank no longer offers the chosen TAN method; choose again.")
        tan = self._get_tan_segment(identification, "4") if self.has_method else None
        parts = [identification, preparation, *([tan] if tan else []), *more]
        return dialog, self.exchange(dialog, *parts, is_login=True), tan

    def resume_dialog_of(self, pending: Pending) -> FinTSDialog:
        """The dialog that waits."""
        dialog = self._ready_dialog()
        dialog.dialog_id = pending.dialog_id
        dialog.next_message_number[MessageDirection.FROM_CUSTOMER] = pending.sent
        dialog.next_message_number[MessageDirection.FROM_INSTITUTE] = pending.received
        return dialog

    def synchronise(self) -> None:
        """A system id of our own, and the methods of this user, with the PIN alone."""
        kept, self.selected_security_function = self.selected_security_function, ONE_STEP
        self._asks_for_methods = True
        needs_id = self.system_id == NO_SYSTEM_ID
        extra = [HKSYN3(SynchronizationMode.NEW_SYSTEM_ID)] if needs_id else []
        try:
            dialog, answer, _ = self.open_dialog(*extra)
            self.end(dialog)
        finally:
            self.selected_security_function, self._asks_for_methods = kept, False
        found = answer.find_segment_first("HISYN")
        if found is not None:
            self.system_id = wire.text(wire.raw(found), 1)
        if self.system_id == NO_SYSTEM_ID:
            raise Misconfigured("The bank gave no system id; it may not let this user use FinTS.")

    def exchange(self, dialog: FinTSDialog, *parts: Any, is_login: bool = False) -> Any:
        """Send segments, return the answer. Raises the error that its return codes mean."""
        answer = dialog.send(*parts, internal_send=True)
        found = wire.replies(answer)
        codes = {reply.code for reply in found}
        if answers.NEW_SYSTEM_ID in codes:
            dialog.open = False
            raise NewSystemId
        if self._asks_for_methods and codes >= ASKED_FOR_A_METHOD:
            # Who asks for the methods is told, with the methods, that one is needed: no failure.
            dialog.open = False
            found = [one for one in found if one.code not in answers.AND_ENDS]
        error = answers.failure(found, is_login=is_login, secrets=self._secrets())
        if error is not None:
            dialog.open = dialog.open and answers.ENDED not in codes
            raise error
        return answer

    def tan_for(self, request: Any) -> Any | None:
        """The HKTAN that goes with a request, where the bank wants one (HIPINS)."""
        found = self.bpd.find_segment_first("HIPINS")
        if not self.has_method or found is None:
            return None
        listed = wire.parameters(found)[PIN_PARAMETERS:]
        wanted = dict(zip(listed[::2], listed[1::2], strict=False))
        return self._get_tan_segment(request, "4") if wanted.get(request.TYPE) == "J" else None

    def confirmation(self, task: str, tan: str | None) -> Any:
        """The HKTAN that brings a TAN, or asks whether the app was used (``tan`` is None)."""
        process = "S" if tan is None else "2"
        segment = self._get_tan_segment(None, process, SimpleNamespace(task_reference=task))
        self._pending_tan = self._typed = tan
        return segment

    def hand_in(self, dialog: FinTSDialog, *parts: Any) -> Any:
        """Send what may move money; the answer, whatever it says.

        Raises InDoubt when none came: the bank may have taken it all the same.
        """
        self.is_in_doubt = True
        try:
            return dialog.send(*parts, internal_send=True)
        except ConnectorError as error:
            dialog.open = False
            raise answers.InDoubt(str(error)) from None

    def refusal(self, answer: Any) -> ConnectorError | None:
        """The error that the return codes of an answer mean, if any."""
        return answers.failure(wire.replies(answer), is_login=False, secrets=self._secrets())

    def end(self, dialog: FinTSDialog) -> None:
        """Say good-bye; what the bank thinks of it changes nothing."""
        if dialog.open:
            with suppress(ConnectorError):
                dialog.send(HKEND1(dialog.dialog_id), internal_send=True)
            dialog.open = False

    def _ready_dialog(self) -> FinTSDialog:
        """One that sends what it is given; the library would open it in a way of its own."""
        dialog = self._new_dialog(lazy_init=True)
        dialog.open, dialog.need_init, dialog.lazy_init = True, False, False
        return dialog

    def _secrets(self) -> tuple[str, ...]:
        mine = self._credentials
        return tuple(one for one in (mine.pin, self._typed, mine.user, mine.customer_id) if one)


class NewSystemId(Exception):
    """The bank wants a new system id to be fetched (9391)."""


def _checked(credentials: Credentials) -> Credentials:
    """Raises Misconfigured for what no bank could accept; the PIN's text is never in it."""
    code = "".join(credentials.bank_code.split())
    if not (code.isascii() and code.isdigit() and len(code) == BANK_CODE_LENGTH):
        raise Misconfigured("The bank code (Bankleitzahl) has 8 digits.")
    if not credentials.product_id or len(credentials.product_id) > MAX_PRODUCT_LENGTH:
        raise Misconfigured(
            f"{answers.PRODUCT_SETTING} must be the registration number for FinTS, "
            f"at most {MAX_PRODUCT_LENGTH} characters."
        )
    user, customer = credentials.user.strip(), (credentials.customer_id or "").strip() or None
    for what, value, most in (
        ("user", user, MAX_USER_LENGTH),
        ("customer id", customer or user, MAX_USER_LENGTH),
        ("PIN", credentials.pin, MAX_PIN_LENGTH),
    ):
        if not value or len(value) > most:
            raise Misconfigured(f"The {what} has 1 to {most} characters.")
        if not is_sendable(value):
            raise Misconfigured(f"The {what} holds a character that FinTS cannot carry.")
    return replace(credentials, bank_code=code, user=user, customer_id=customer)


def is_sendable(value: str) -> bool:
    """True when the text is printable and in the character set of FinTS (ISO 8859-1)."""
    return value.isprintable() and all(ord(character) < 256 for character in value)


def _is_parameter(segment: Any) -> bool:
    kind = segment.header.type
    return len(kind) == 6 and kind[1] == "I" and kind[5] == "S"


def _is_decoupled(parameters: Any) -> bool:
    named = str(getattr(parameters, "zka_id", "") or "").lower().startswith("decoupled")
    return named or getattr(parameters, "decoupled_max_poll_number", None) is not None


def _version(segment: Any, at: int) -> int:
    found = wire.text(wire.raw(segment), at)
    version = int(found) if found.isascii() and found.isdigit() else 0
    return version if version <= MAX_PARAMETER_VERSION else 0


def _packed(segments: list[Any]) -> str:
    return b64encode(SegmentSequence(segments).render_bytes()).decode() if segments else ""


def _unpacked(packed: str) -> SegmentSequence:
    return wire.segments(b64decode(packed)) if packed else SegmentSequence([])
