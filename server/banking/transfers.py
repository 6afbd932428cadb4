"""Files of credit transfers handed in by FinTS, for rooms above that have money to send.

A file of its own beside ``fetching``: the same accesses, asked for the opposite. The bank is
talked to between two transactions, so every step here commits first, and whoever calls has
written down before that an order may leave. Nothing here is repeated by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy import select
from sqlalchemy.orm import undefer

from plugin_sdk.errors import ConnectorError
from server.banking import fetching, fints
from server.banking.models import BankAccount, BankConnection
from server.config import installed
from server.db import db
from server.vault import VaultLocked
from server.vault import installed as installed_vault

FETCH_STAYS_AWAY: Final = timedelta(minutes=5)
"""A worker that logs in meanwhile would ring the same phone."""
NO_ACCESS: Final = "bank_access_missing"
_USABLE: Final = ("connected", "needs_you")

Kind = Literal["asks", "sent", "stopped", "refused", "doubt"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step came to.

    ``asks``: a person is asked ``step``, and ``dialog`` (sealed) goes with the answer. ``sent``:
    the bank took it. ``stopped``: it did not come to that, nothing was carried out. ``refused``:
    the bank looked at it and refuses. ``doubt``: nobody knows, so never again by itself. ``why``
    are the words of the bank or ours.
    """

    kind: Kind
    why: str = ""
    step: dict[str, Any] | None = None
    dialog: bytes | None = None


def may_transfer(account: BankAccount) -> bool:
    """True where the account's bank takes transfers by FinTS, and the access works."""
    return most_payments(account) > 0


def most_payments(account: BankAccount) -> int:
    """How many payments a file may hold; 0 where none can be sent. Asks nothing of the bank."""
    row = _access(account)
    if row is None:
        return 0
    try:
        state = fetching.state_of(row)
        credentials = fetching.credentials_of(row)
        return fints.most_payments(credentials, state or b"", account.iban)
    except (ConnectorError, VaultLocked):
        return 0


def begin(account: BankAccount, content: bytes, at: datetime) -> Outcome:
    """Hand in a pain.001 file of the account (a person is there)."""
    row = _access(account)
    if row is None:
        return Outcome("stopped", NO_ACCESS)
    state, iban = fetching.state_of(row) or b"", account.iban
    return _talk(row, at, lambda who: fints.transfer(who, state, iban, content))


def confirm(
    account: BankAccount, dialog: bytes, tan: str | None, at: datetime, *, is_app: bool = False
) -> Outcome:
    """The TAN that was typed; None asks whether the app was used, or the bank is ready, by now.

    ``is_app``: the step before asked for the app. It may have been used whatever becomes of our
    question, so only a clear answer of the bank ends the doubt.
    """
    return _go_on(
        account, dialog, at, lambda who, state: fints.confirm(who, state, tan), is_app=is_app
    )


def accept(account: BankAccount, dialog: bytes, at: datetime) -> Outcome:
    """A person wants it sent although the payees' names differ."""
    return _go_on(account, dialog, at, fints.accept)


def give_up(account: BankAccount, dialog: bytes, at: datetime, *, is_app: bool = False) -> Outcome:
    """Do not send it after all: ``stopped``, or ``doubt`` where an app may have confirmed it."""
    return _go_on(account, dialog, at, fints.refuse, is_app=is_app)


def _go_on(
    account: BankAccount,
    dialog: bytes,
    at: datetime,
    ask: Callable[[fints.Credentials, bytes], fints.Step | None],
    *,
    is_app: bool = False,
) -> Outcome:
    row = _access(account)
    if row is None:
        return Outcome("doubt" if is_app else "stopped", NO_ACCESS)
    state = installed_vault().open_bytes(dialog)
    return _talk(row, at, lambda who: ask(who, state), is_app=is_app)


def _access(account: BankAccount) -> BankConnection | None:
    """The access that fetches this account, if its log-in can be used."""
    if account.connection_id is None or installed().fints_product_id is None:
        return None
    query = select(BankConnection).where(
        BankConnection.merchant_id == account.merchant_id,
        BankConnection.id == account.connection_id,
        BankConnection.health.in_(_USABLE),
        BankConnection.dialog.is_not(None),
    )
    opened = query.options(undefer(BankConnection.credentials), undefer(BankConnection.dialog))
    return db.session.scalar(opened)


def _talk(
    row: BankConnection,
    at: datetime,
    ask: Callable[[fints.Credentials], fints.Step | None],
    *,
    is_app: bool = False,
) -> Outcome:
    """One exchange with the bank, outside of any transaction, and what it means."""
    if row.status == "queued":
        row.due_at = max(row.due_at, at + FETCH_STAYS_AWAY)
    try:
        credentials = fetching.credentials_of(row)
        db.session.commit()  # the bank is slow; nothing stays open meanwhile
        step = ask(credentials)
    except fints.InDoubt as error:
        return Outcome("doubt", str(error))
    except (fints.WrongPin, fints.AccessLocked) as error:
        fetching.stop_using(row, str(error))
        return Outcome("stopped", str(error))
    except fints.OrderRefused as error:
        return Outcome("refused", str(error))
    except fints.NotConfirmed as error:
        return Outcome("stopped", str(error))
    except ConnectorError as error:
        return Outcome("doubt" if is_app else "stopped", str(error))
    return _outcome(step)


def _outcome(step: fints.Step | None) -> Outcome:
    match step:
        case fints.Transferred():
            return Outcome("sent", step.said)
        case fints.NeedsTan():
            return _asks(fetching.challenge_of(step), step.state)
        case fints.NeedsTime():
            asked = {"asks": "wait", "poll_after_seconds": step.poll_after_seconds}
            return _asks(asked | {"is_decoupled": True, "may_poll": True}, step.state)
        case fints.ConfirmPayees():
            checks = [
                {
                    "reference": one.end_to_end_id,
                    "iban": one.iban,
                    "result": one.result,
                    "name": one.name,
                    "why": one.why,
                }
                for one in step.checks
            ]
            return _asks({"asks": "payees", "checks": checks, "notice": step.notice}, step.state)
        case _:
            return Outcome("stopped")


def _asks(step: dict[str, Any], state: bytes) -> Outcome:
    return Outcome("asks", step=step, dialog=installed_vault().seal_bytes(state))
