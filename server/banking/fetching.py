"""Bank accounts that fetch themselves: the accesses to banks, and what their next fetch does.

The bank is talked to between two transactions, never inside one: whoever calls ``advance`` or
``fetch`` commits before, because a bank may take half a minute, and commits after.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import exists, func, select
from sqlalchemy.orm import undefer

from plugin_sdk.errors import ConnectorError, Misconfigured, Temporary
from server.banking import fints
from server.banking.accounts import find_or_add_account
from server.banking.fints import rules
from server.banking.fints.answers import AccessLocked, NotConfirmed, WrongPin
from server.banking.fints.banks import Bank
from server.banking.models import BankAccount, BankConnection, Posting, Statement
from server.banking.service import store_statement
from server.config import installed
from server.db import db
from server.merchants.models import Merchant
from server.vault import Vault
from server.vault import installed as installed_vault

MAX_CONNECTIONS = 50
MAX_TYPED_LENGTH = 100
MAX_URL_LENGTH = 500
OLD_DELIVERIES_COMPARED = 200


@dataclass(frozen=True, slots=True)
class Notice:
    """What a merchant must hear of an access.

    ``kind``: ``bank_needs_you`` (a TAN, or the PIN), or ``bank_consent_ends`` on ``on``.
    """

    kind: str
    connection: BankConnection
    on: date | None = None


# --- setting up --------------------------------------------------------------------------------


def add_connection(
    merchant_id: int,
    bank: Bank,
    *,
    url: str,
    user: str,
    pin: str,
    customer_id: str = "",
    not_before: date | None = None,
    at: datetime,
) -> BankConnection:
    """An access as it was typed; nothing is asked of the bank yet. Raises ValueError with a key."""
    if installed().fints_product_id is None:
        raise ValueError("fints_not_registered")
    typed = {"user": user.strip(), "pin": pin, "customer_id": customer_id.strip()}
    if not typed["user"] or not pin or max(map(len, typed.values())) > MAX_TYPED_LENGTH:
        raise ValueError("bank_login_missing")
    if not url.strip() or len(url) > MAX_URL_LENGTH:
        raise ValueError("bank_url_missing")
    count = select(func.count()).where(BankConnection.merchant_id == merchant_id)
    if (db.session.scalar(count) or 0) >= MAX_CONNECTIONS:
        raise ValueError("too_many_connections")
    row = BankConnection(
        merchant_id=merchant_id,
        bank_code=bank.bank_code,
        bank_name=bank.name[:200],
        url=url.strip(),
        user_name=typed["user"],
        credentials=installed_vault().seal(json.dumps(typed)),
        health="setting_up",
        status="withheld",
        due_at=at,
        not_before=not_before,
    )
    db.session.add(row)
    db.session.flush()
    return row


def connection_of(merchant_id: int, connection_id: int) -> BankConnection | None:
    """With what is sealed in it."""
    return db.session.scalar(
        select(BankConnection)
        .where(BankConnection.merchant_id == merchant_id, BankConnection.id == connection_id)
        .options(undefer(BankConnection.credentials), undefer(BankConnection.dialog))
    )


def connections(merchant_id: int) -> list[BankConnection]:
    query = select(BankConnection).where(BankConnection.merchant_id == merchant_id)
    return list(db.session.scalars(query.order_by(BankConnection.id)))


def change_pin(row: BankConnection, pin: str) -> None:
    """A new PIN; the next step must be ``begin``. Raises ValueError with a key."""
    if not pin or len(pin) > MAX_TYPED_LENGTH:
        raise ValueError("bank_login_missing")
    typed = _opened(row)
    row.credentials = installed_vault().seal(json.dumps(typed | {"pin": pin}))
    row.error = None


def begin(row: BankConnection, at: datetime, *, asks_method: bool = False) -> None:
    """Log in at the bank, for the first time or again (a person is there).

    Who has chosen a way to confirm before is asked for it again only with ``asks_method``.
    """
    if asks_method:
        row.tan_method = row.tan_medium = None
    step = _talk(row, at, lambda who: fints.start(who, state_of(row)))
    if isinstance(step, fints.ChooseMethod) and row.tan_method in {one.id for one in step.methods}:
        choose_method(row, row.tan_method, row.tan_medium, at)


def choose_method(row: BankConnection, method: str, medium: str | None, at: datetime) -> None:
    """The way to confirm that the person chose; remembered."""
    row.tan_method, row.tan_medium = method[:8], medium[:100] if medium else None
    _talk(row, at, lambda who: fints.choose_method(who, state_of(row) or b"", method, medium))


def confirm(row: BankConnection, tan: str | None, at: datetime) -> None:
    """The TAN that was typed; for an app: ask whether it was used by now."""
    step = _talk(row, at, lambda who: fints.confirm(who, state_of(row) or b"", tan))
    if isinstance(step, fints.Fetched):
        _keep(row, step, at)


def choose_accounts(row: BankConnection, ibans: Collection[str], at: datetime) -> list[BankAccount]:
    """Fetch these of the found accounts from now on.

    Of an account that is new here, what was booked before today is kept without assignment
    (K11). Raises ValueError with a message key.
    """
    offered = {found["iban"]: found for found in row.found}
    chosen = [offered[iban] for iban in ibans if iban in offered]
    if not chosen:
        raise ValueError("bank_accounts_missing")
    accounts = []
    for found in chosen:
        account = find_or_add_account(row.merchant_id, found["iban"], found["currency"] or "EUR")
        has_postings = db.session.scalar(select(exists().where(Posting.account_id == account.id)))
        if not has_postings:
            account.assign_from = _today(row, at)
        account.bic = account.bic or found["bic"]
        account.connection_id = row.id
        accounts.append(account)
    _connected(row, at)
    row.connected_at = row.connected_at or at
    return accounts


def disconnect(row: BankConnection) -> None:
    """No more fetches; PIN and dialog are forgotten, accounts and postings stay."""
    row.credentials = row.dialog = row.step = None
    row.health = "disabled"
    row.withhold("disconnected")
    for account in _accounts(row):
        account.connection_id = None


def reseal_all(vault: Vault) -> int:
    """Everything sealed, under the newest key. Returns how many accesses."""
    rows = select(BankConnection).options(
        undefer(BankConnection.credentials), undefer(BankConnection.dialog)
    )
    count = 0
    for row in db.session.scalars(rows.with_for_update()):
        row.credentials = vault.reseal(row.credentials) if row.credentials else None
        row.dialog = vault.reseal(row.dialog) if row.dialog else None
        count += 1
    return count


# --- fetching ----------------------------------------------------------------------------------


def fetch(row: BankConnection, at: datetime, *, is_attended: bool) -> Notice | None:
    """Fetch all accounts of an access. Raises Temporary when the bank is away.

    Unattended, a bank that wants a person is not asked again until one has come: each attempt
    would ring the merchant's phone, and a wrong PIN locks the access.
    """
    today = _today(row, at)
    fetched_on = row.fetched_at.astimezone(_zone(row)).date() if row.fetched_at else None
    since = rules.fetch_since(today, fetched_on, row.not_before, is_attended=is_attended)
    ibans = list(dict.fromkeys(account.iban for account in _accounts(row)))
    step = _talk(
        row,
        at,
        lambda who: fints.fetch(who, state_of(row) or b"", ibans, since, today=today),
        is_attended=is_attended,
    )
    if isinstance(step, fints.Fetched):
        _keep(row, step, at)
    return _notice(row, at, is_attended)


def _keep(row: BankConnection, step: fints.Fetched, at: datetime) -> None:
    """The files as statements; an account that the bank refused is named on the access."""
    accounts = {account.iban: account.id for account in _accounts(row)}
    _keep_files(row, accounts, step.files)
    row.fetched_at = at
    _connected(row, at)
    row.error = "\n".join(f"{one.iban}: {one.why}" for one in step.refusals)[:1000] or None


def bank_is_away(row: BankConnection, why: str, at: datetime) -> None:
    """Again on the schedule; past its end at the next regular time."""
    row.retry(why[:1000], at)
    if row.status == "failed":
        row.status, row.attempts, row.finished_at = "queued", 0, None
        row.due_at = rules.next_fetch(at)


def _notice(row: BankConnection, at: datetime, is_attended: bool) -> Notice | None:
    if is_attended:
        return None  # whoever is there sees it; the mail that warns ahead is still to come
    if row.health in ("needs_you", "refused"):
        return Notice("bank_needs_you", row)
    if row.consent_at is None or row.warned_at is not None:
        return None
    confirmed_on = row.consent_at.astimezone(_zone(row)).date()
    ends = rules.consent(confirmed_on, row.consent_days)
    if row.consent_days == 0 or not rules.needs_warning(ends, _today(row, at)):
        return None
    row.warned_at = at
    return Notice("bank_consent_ends", row, ends.ends_on)


def _connected(row: BankConnection, at: datetime) -> None:
    """In order: the next fetch by itself is due at its time, or now if there was none yet."""
    row.health, row.step, row.error, row.attempts = "connected", None, None, 0
    row.status = "queued"
    row.due_at = rules.next_fetch(row.fetched_at) if row.fetched_at else at


# --- talking -----------------------------------------------------------------------------------


def _talk(
    row: BankConnection,
    at: datetime,
    ask: Callable[[fints.Credentials], fints.Step],
    *,
    is_attended: bool = True,
) -> fints.Step | None:
    """One exchange with the bank and what follows; None if a person must come first.

    Raises Temporary.
    """
    db.session.commit()  # the bank is slow; nothing stays open meanwhile
    try:
        step = ask(credentials_of(row))
    except Temporary:
        raise
    except (WrongPin, AccessLocked) as error:
        stop_using(row, str(error))
    except NotConfirmed as error:
        _needs_person(row, _health_before(row), str(error))
    except ConnectorError as error:
        _needs_person(row, _health_before(row), str(error))
    else:
        _take(row, step, at, is_attended)
        return step
    return None


def credentials_of(row: BankConnection) -> fints.Credentials:
    """Raises Misconfigured without a PIN: one that the bank refused is never tried again."""
    typed = _opened(row)
    settings = installed()
    if not typed.get("pin"):
        raise Misconfigured("bank_pin_needed")
    return fints.Credentials(
        bank_code=row.bank_code,
        url=row.url,
        user=typed["user"],
        pin=typed["pin"],
        customer_id=typed.get("customer_id") or None,
        product_id=settings.fints_product_id or "",
        allows_loopback=settings.allow_private_addresses,
    )


def state_of(row: BankConnection) -> bytes | None:
    """What the bank's protocol remembers of this access, opened."""
    return installed_vault().open_bytes(row.dialog) if row.dialog else None


def stop_using(row: BankConnection, why: str) -> None:
    """The bank refused PIN or access: nothing tries it again before a person has come."""
    _forget_pin(row)
    _needs_person(row, "refused", why)


def _take(row: BankConnection, step: fints.Step, at: datetime, is_attended: bool) -> None:
    row.error = None
    row.dialog = installed_vault().seal_bytes(step.state)
    match step:
        case fints.ChooseMethod():
            row.step = {
                "asks": "medium" if step.media else "method",
                "methods": [asdict(method) for method in step.methods],
                "media": list(step.media),
            }
        case fints.NeedsTan() if not is_attended:
            _note_consent_ended(row, at)
            _needs_person(row, "needs_you", "bank_wants_tan")
        case fints.NeedsTan():
            row.step = challenge_of(step)
        case fints.Connected():
            row.found = [asdict(found) for found in step.accounts]
            _note_consent(row, at, step.was_confirmed)
            row.step = {"asks": "accounts"}
            if row.connected_at is not None and _accounts(row):
                _connected(row, at)
        case fints.Fetched():
            _note_consent(row, at, step.was_confirmed)
            row.step = None


def challenge_of(step: fints.NeedsTan) -> dict[str, Any]:
    """What a person is asked, for a row's ``step``."""
    picture = step.picture
    return {
        "asks": "tan",
        "text": step.challenge_text,
        "is_decoupled": step.is_decoupled,
        "picture": base64.b64encode(picture.content).decode() if picture else None,
        "picture_mime": picture.mime if picture else None,
        "flicker": step.flicker,
        "medium": step.medium,
        "poll_after_seconds": step.poll_after_seconds,
        "may_poll": step.may_poll,
    }


def _keep_files(
    row: BankConnection, accounts: Mapping[str, int], files: Sequence[fints.FetchedFile]
) -> None:
    """Read like any other statement; what came before word by word is not kept again."""
    for file in files:
        account_id = accounts.get(file.iban)
        before = (
            select(Statement.content_hash)
            .where(Statement.merchant_id == row.merchant_id, Statement.account_id == account_id)
            .order_by(Statement.id.desc())
            .limit(OLD_DELIVERIES_COMPARED)
        )
        digest = hashlib.sha256(file.content).digest()
        if not file.content or digest in set(map(bytes, db.session.scalars(before))):
            continue
        store_statement(
            row.merchant_id,
            file.name,
            file.content,
            uploaded_by=f"FinTS: {row.bank_name}",
            account_id=account_id,
            is_pending=file.is_pending,
        )


def _needs_person(row: BankConnection, health: str, why: str) -> None:
    row.health, row.step = health, None
    row.withhold(why[:1000])


def _health_before(row: BankConnection) -> str:
    return "needs_you" if row.connected_at else "setting_up"


def _note_consent(row: BankConnection, at: datetime, was_confirmed: bool) -> None:
    if was_confirmed or row.consent_at is None:
        row.consent_at, row.warned_at = at, None


def _note_consent_ended(row: BankConnection, at: datetime) -> None:
    if row.consent_at is not None:
        lasted = max((at - row.consent_at).days, 0)
        row.consent_days = min(lasted, row.consent_days if row.consent_days is not None else lasted)


def _forget_pin(row: BankConnection) -> None:
    row.credentials = installed_vault().seal(json.dumps(_opened(row) | {"pin": ""}))


def _opened(row: BankConnection) -> dict[str, str]:
    opened: dict[str, str] = json.loads(installed_vault().open(row.credentials or b""))
    return opened


def _accounts(row: BankConnection) -> list[BankAccount]:
    query = select(BankAccount).where(
        BankAccount.merchant_id == row.merchant_id, BankAccount.connection_id == row.id
    )
    return list(db.session.scalars(query.order_by(BankAccount.id)))


def _zone(row: BankConnection) -> ZoneInfo:
    return ZoneInfo(db.session.get_one(Merchant, row.merchant_id).timezone)


def _today(row: BankConnection, at: datetime) -> date:
    return at.astimezone(_zone(row)).date()
