"""One dialog with a bank: opening it, waiting for a person, going on, reading what strays.

What it is for is in a subclass: to connect or to fetch (`conversation`), or to hand in transfers
(`transfers`).
"""

from __future__ import annotations

import logging
import traceback
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fints.dialog import FinTSDialog
from fints.exceptions import FinTSError
from fints.message import MessageDirection

from plugin_sdk.errors import ConnectorError, Misconfigured, Rejected
from server.banking.fints import answers, challenge, wire
from server.banking.fints.client import (
    MAX_TAN_LENGTH,
    NO_SYSTEM_ID,
    BankClient,
    NewSystemId,
    Pending,
    State,
    is_sendable,
)
from server.banking.fints.steps import Credentials, NeedsTan, Step

logger = logging.getLogger(__name__)
# What reading an answer that strays from the standard can end in.
STRANGE = (
    FinTSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    NotImplementedError,
    RecursionError,
)


@dataclass
class Talk(ABC):
    """One dialog and, in a subclass, what it is for. Between two steps ``intent`` is kept of it."""

    client: BankClient
    was_confirmed: bool = False
    dialog: FinTSDialog | None = None
    waiting: Pending | None = None

    @abstractmethod
    def go_on(self) -> Step:
        """Ask for what is left, until it has come or the bank asks for a confirmation."""

    @abstractmethod
    def answered(self, answer: Any, reference: int) -> Step:
        """Go on with what came after a confirmation; ``reference`` is the segment it answers."""

    @abstractmethod
    def intent(self) -> dict[str, Any]:
        """What it is for, as JSON."""

    def begin(self) -> Step:
        """Open the dialog, and go on."""
        dialog, answer, tan = open_dialog(self.client)
        return self.went_in(dialog, answer, tan)

    def went_in(self, dialog: FinTSDialog, answer: Any, tan: Any) -> Step:
        """Go on after the dialog was opened."""
        self.dialog = dialog
        return self.asked(answer, tan, reference=None) or self.go_on()

    def confirm(self, typed: str) -> Step:
        """Go on after the user did something, or to hear whether he did."""
        assert self.waiting is not None
        assert self.dialog is not None
        shown = challenge.from_json(self.waiting.challenge)
        segment = self.client.confirmation(shown.task, self.waiting.tan(typed))
        answer = self.client.exchange(self.dialog, segment)
        reference = self.waiting.reference
        if answers.NOT_YET_CONFIRMED in codes_of(answer):
            return self.needs_tan(shown, reference, is_decoupled=True, is_first=False)
        asked = self.asked(answer, segment, reference)
        if asked is not None:
            return asked
        self.was_confirmed = True
        return self.go_on() if reference is None else self.answered(answer, reference)

    def asked(self, answer: Any, tan: Any, reference: int | None) -> NeedsTan | None:
        """What the bank wants confirmed, if it does. ``tan`` is the HKTAN that it answers."""
        if tan is None:
            return None
        codes = codes_of(answer)
        if not answers.CONFIRMATION_NEEDED & codes:
            return None
        hitan = answer.find_segment_first("HITAN")
        if hitan is None:
            raise Misconfigured("The bank wants a TAN and does not say for what.")
        shown = challenge.read(hitan)
        return self.needs_tan(shown, reference, is_decoupled=answers.DECOUPLED in codes)

    def needs_tan(
        self,
        shown: challenge.Challenge,
        reference: int | None,
        *,
        is_decoupled: bool,
        is_first: bool = True,
    ) -> NeedsTan:
        """The step that waits for the user."""
        seconds, may_poll = self.client.poll_seconds(is_first)
        return NeedsTan(
            self.kept(reference, is_decoupled=is_decoupled, shown=challenge.to_json(shown)),
            shown.text,
            is_decoupled,
            picture=shown.picture,
            flicker=shown.flicker,
            medium=shown.medium,
            poll_after_seconds=seconds if is_decoupled else 0,
            may_poll=may_poll if is_decoupled else False,
        )

    def kept(
        self, reference: int | None, *, is_decoupled: bool, shown: dict[str, Any] | None = None
    ) -> bytes:
        """What is kept until the next step of this dialog."""
        assert self.dialog is not None
        numbers = self.dialog.next_message_number
        pending = Pending(
            dialog_id=self.dialog.dialog_id,
            sent=numbers[MessageDirection.FROM_CUSTOMER],
            received=numbers[MessageDirection.FROM_INSTITUTE],
            reference=reference,
            is_decoupled=is_decoupled,
            challenge=shown or {},
            intent=self.intent() | {"was_confirmed": self.was_confirmed},
        )
        return self.client.state(pending).to_bytes()


def typed_tan(pending: Pending, tan: str | None) -> str:
    """What the user typed, without blanks. Raises Rejected for what no TAN can be."""
    typed = "".join((tan or "").split())
    if not pending.is_decoupled and not 0 < len(typed) <= MAX_TAN_LENGTH:
        raise Rejected(f"A TAN has 1 to {MAX_TAN_LENGTH} characters.")
    if not is_sendable(typed):
        raise Rejected("The TAN holds a character that FinTS cannot carry.")
    return typed


def codes_of(answer: Any) -> set[str]:
    """All return codes in an answer."""
    return {reply.code for reply in wire.replies(answer)}


def open_dialog(client: BankClient) -> tuple[FinTSDialog, Any, Any]:
    """A dialog; with a new system id when the bank wants one."""
    try:
        return client.open_dialog()
    except NewSystemId:
        client.system_id = NO_SYSTEM_ID
        client.synchronise()
        return client.open_dialog()


@contextmanager
def bank_client(credentials: Credentials, state: State | None) -> Iterator[BankClient]:
    """The client of one step. What `fints` throws about a strange answer stops and asks.

    Its exceptions may hold the message that was sent, with the PIN: none of them leaves; the log
    says where it was. After an order has left, a strange answer leaves it in doubt.
    """
    client = BankClient(credentials, state)
    try:
        yield client
    except ConnectorError:
        raise
    except NewSystemId:
        raise Misconfigured(
            "The bank refuses its own system id; connect the access again."
        ) from None
    except STRANGE as error:
        name = type(error).__name__
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        logger.warning("an answer of bank %s stops us: %s in %s", client.bank_code, name, where)
        kind = answers.InDoubt if client.is_in_doubt else Misconfigured
        raise kind(f"The bank's answer cannot be understood ({name}).") from None
    finally:
        client.close()
