"""The domains that mails come from: added, looked at every day, signed for. Never commits.

A file of its own beside ``service`` because a domain is a thing of its own, with keys and a state
that the DNS of somebody else decides. Looking at one takes seconds, so it comes in three steps
between which the caller commits: ``question`` reads what is to be asked, ``observe`` asks the DNS
and knows no database, ``settle`` writes what follows.

A domain is proven when SPF and the key that signs are right. A proven one that is surely wrong
stays proven for a day, because people edit their records; what cannot be asked changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parseaddr

from sqlalchemy import ColumnElement, delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from server import vault
from server.config import installed
from server.db import db
from server.mail import spf
from server.mail.dkim import SigningKey, load_key, new_key
from server.mail.dns import Resolver
from server.mail.domain_rules import (
    SELECTORS,
    Check,
    DomainError,
    Home,
    PublishedKey,
    Record,
    Report,
    checked_domain,
    checks_of,
    return_path_name,
    wanted,
)
from server.mail.models import DkimKey, SendingDomain
from server.vault import Vault, VaultLocked

log = logging.getLogger(__name__)

LOOK_SECONDS = 8.0
"""So long one look may take, in a request too."""
QUESTIONS_AT_ONCE = 5
MAX_DOMAINS = 20
EVERY = timedelta(days=1)
SOON = timedelta(hours=1)
EAGER_FOR = timedelta(days=7)
"""A new domain is looked at every hour, because somebody is waiting for it."""
PATIENCE = timedelta(hours=24)
RETIRED_FOR = timedelta(days=7)
"""A key stays published after its last mail: receivers may look late (RFC 6376, 3.1)."""


class NotReady(ValueError):
    """The next key is not seen in the DNS, or there is none yet: it cannot take over."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be looked at."""

    domain: str
    keys: tuple[PublishedKey, ...]


@dataclass(frozen=True, slots=True)
class Broken:
    """A domain that was proven is not any more. ``merchant_id`` None: Kontor's own."""

    domain_id: int
    merchant_id: int | None
    name: str
    since: datetime
    problems: tuple[Check, ...]


def home() -> Home:
    """What of this installation stands in the merchants' records."""
    settings = installed()
    return Home(settings.spf_include or house_name(), settings.bounce_domain)


def house_name() -> str:
    """The domain of Kontor's own address."""
    return parseaddr(installed().mail_from)[1].rpartition("@")[2].lower()


def has_house_domain() -> bool:
    """Whether this installation has a domain at all, so that merchants can include its servers."""
    try:
        checked_domain(house_name())
    except DomainError:
        return False
    return True


# --- rows ---------------------------------------------------------------------------------------


def domains_of(merchant_id: int | None) -> list[SendingDomain]:
    """By name; None: those of the house."""
    of_merchant = SendingDomain.merchant_id.is_not_distinct_from(merchant_id)
    query = select(SendingDomain).where(of_merchant).order_by(SendingDomain.name)
    return list(db.session.scalars(query))


def house_domain(at: datetime) -> SendingDomain:
    """The domain of Kontor's own address, made if it is not there. Raises DomainError."""
    found = {row.name: row for row in domains_of(None)}
    return found.get(house_name()) or add(None, house_name(), at)


def domain_of(merchant_id: int, domain_id: int) -> SendingDomain | None:
    row = db.session.get(SendingDomain, domain_id)
    return row if row is not None and row.merchant_id == merchant_id else None


def proven_names(merchant_id: int | None) -> set[str]:
    """The domains under which mails of this merchant may leave (S13, S17)."""
    query = select(SendingDomain.name).where(
        SendingDomain.merchant_id.is_not_distinct_from(merchant_id),
        SendingDomain.proven_at.is_not(None),
    )
    return set(db.session.scalars(query))


def add(merchant_id: int | None, typed: str, at: datetime) -> SendingDomain:
    """A domain with its first two keys; another merchant may have it too, with others.

    Raises DomainError: besides what ``checked_domain`` refuses `already_there` and `too_many`.
    """
    name = checked_domain(typed)
    if len(domains_of(merchant_id)) >= MAX_DOMAINS:
        raise DomainError("too_many")
    values = {"merchant_id": merchant_id, "name": name, "created_at": at, "due_at": at + SOON}
    stored = insert(SendingDomain).values(values).on_conflict_do_nothing()
    domain_id = db.session.scalar(stored.returning(SendingDomain.id))
    if domain_id is None:
        raise DomainError("already_there")
    for selector, status in zip(SELECTORS, ("current", "next"), strict=True):
        _add_key(domain_id, selector, status, at)
    return db.session.get_one(SendingDomain, domain_id)


def _add_key(domain_id: int, selector: str, status: str, at: datetime) -> None:
    private_key, public_key = new_key()
    db.session.add(
        DkimKey(
            sending_domain_id=domain_id,
            selector=selector,
            private_key=vault.installed().seal_bytes(private_key),
            public_key=public_key,
            status=status,
            created_at=at,
        )
    )


def remove(row: SendingDomain) -> None:
    """Its mails leave from Kontor's address from now on; its keys are gone."""
    db.session.delete(row)


def keys_of(row: SendingDomain) -> list[DkimKey]:
    """One a selector: current, next or retired."""
    query = select(DkimKey).where(DkimKey.sending_domain_id == row.id)
    return list(db.session.scalars(query.order_by(DkimKey.selector)))


def current_selector(keys: Sequence[DkimKey]) -> str:
    return next(key.selector for key in keys if key.status == "current")


def report_of(row: SendingDomain) -> Report:
    """What the last look said; empty before the first."""
    return Report.from_json(row.report)


def records_of(row: SendingDomain) -> list[Record]:
    """What the merchant has to publish, his own SPF record worked in."""
    check = report_of(row).of("spf")
    found = spf.records_in(check.found) if check is not None else []
    return wanted(row.name, _published(keys_of(row)), home(), found)


def state_of(row: SendingDomain) -> str:
    """`new` (never looked at), `waiting`, `proven`, `failing` (still proven), `broken`."""
    if row.proven_at is not None:
        return "failing" if row.failing_since is not None else "proven"
    if row.failed_at is not None:
        return "broken"
    return "waiting" if row.checked_at is not None else "new"


def told(row: SendingDomain) -> list[str]:
    """Records and their state as plain lines, for a terminal."""
    report = report_of(row)
    lines = []
    for record in records_of(row):
        check = report.of(record.key)
        state = check.state if check is not None else "not looked at yet"
        why = f" ({check.reason.replace('_', ' ')})" if check is not None and check.reason else ""
        need = "" if record.is_required else ", recommended"
        lines += [f"{record.name} {record.kind}{need}: {state}{why}", f"    {record.quoted}"]
        lines += [f"    found: {found}" for found in (check.found if check else ())]
    return lines


def _published(keys: Sequence[DkimKey]) -> tuple[PublishedKey, ...]:
    return tuple(PublishedKey(key.selector, key.public_key, key.status) for key in keys)


# --- looking at one -----------------------------------------------------------------------------


def question(row: SendingDomain) -> Question:
    """What to look at; commit before ``observe``, so that nothing stays open meanwhile."""
    return Question(row.name, _published(keys_of(row)))


def observe(asked: Question, resolver: Resolver, house: Home) -> Report:
    """Ask the DNS, at most LOOK_SECONDS, all checks at the same time. Knows no database."""
    fresh = resolver.fresh(LOOK_SECONDS)
    checks = checks_of(asked.domain, asked.keys, house, fresh.lookup)
    with ThreadPoolExecutor(QUESTIONS_AT_ONCE) as pool:
        return Report(tuple(pool.map(lambda check: check(), checks)))


def settle(domain_id: int, report: Report, at: datetime) -> Broken | None:
    """Write what was seen and what follows; Broken once, when a proven domain is so no more.

    Two looks with a definite failure and at least PATIENCE between them, and no good one since
    the first, break a domain.
    """
    row = db.session.get(SendingDomain, domain_id, with_for_update=True, populate_existing=True)
    if row is None:
        return None  # removed meanwhile
    _renew_keys(row, at)
    current = current_selector(keys_of(row))
    verdict = report.verdict(current)
    row.report, row.checked_at = report.as_json(), at
    event = None
    if verdict == "good":
        row.proven_at, row.failing_since, row.failed_at = row.proven_at or at, None, None
    elif verdict == "bad" and row.proven_at is not None:
        row.failing_since = row.failing_since or at
        if at - row.failing_since >= PATIENCE:
            event = _break(row, report.problems(current), at)
    _plan_next(row, verdict, at)
    return event


def _break(row: SendingDomain, problems: Sequence[Check], at: datetime) -> Broken:
    assert row.failing_since is not None, "it has failed before"
    since = row.failing_since
    row.proven_at, row.failing_since, row.failed_at = None, None, at
    return Broken(row.id, row.merchant_id, row.name, since, tuple(problems))


def _plan_next(row: SendingDomain, verdict: str, at: datetime) -> None:
    """The row is its own work: it waits for its next look."""
    wait = EVERY
    is_awaited = row.proven_at is None and at - row.created_at < EAGER_FOR
    if verdict == "unknown" or is_awaited:
        wait = SOON
    elif row.failing_since is not None:
        wait = max(row.failing_since + PATIENCE - at, SOON)
    row.status, row.attempts, row.error, row.due_at = "queued", 0, None, at + wait


# --- keys ---------------------------------------------------------------------------------------


def rotate(row: SendingDomain, at: datetime) -> None:
    """The next key signs from now on; the old one stays published for RETIRED_FOR.

    Raises NotReady unless the last look has seen the next key in the DNS.
    """
    db.session.refresh(row, with_for_update=True)
    by_status = {key.status: key for key in keys_of(row)}
    waiting = by_status.get("next")
    check = report_of(row).of(waiting.selector) if waiting is not None else None
    if waiting is None or check is None or check.state != "ok":
        raise NotReady
    current = by_status["current"]
    current.status, current.retired_at = "retired", at
    waiting.status = "current"


def _renew_keys(row: SendingDomain, at: datetime) -> None:
    """In place of a key that is retired for long enough comes a fresh one, to be published."""
    for key in keys_of(row):
        if key.status == "retired" and key.retired_at and at - key.retired_at >= RETIRED_FOR:
            db.session.execute(delete(DkimKey).where(DkimKey.id == key.id))
            _add_key(row.id, key.selector, "next", at)
    db.session.flush()


def may_sign_rows(rows: Sequence[SendingDomain]) -> set[int]:
    """Ids of those whose current key may sign mails of others, whose return path is ours.

    Proven, or at the last look at least the key was right: SPF is about the return path. One query.
    """
    current = select(DkimKey.sending_domain_id, DkimKey.selector).where(
        DkimKey.sending_domain_id.in_([row.id for row in rows]), DkimKey.status == "current"
    )
    selectors: dict[int, str] = {row[0]: row[1] for row in db.session.execute(current)}
    found = set()
    for row in rows:
        check = report_of(row).of(selectors.get(row.id, ""))
        if row.proven_at is not None or (check is not None and check.state == "ok"):
            found.add(row.id)
    return found


def keys_of_rows(rows: Sequence[SendingDomain]) -> dict[int, SigningKey]:
    """The current keys of these domains, by id; what the vault cannot open is left out."""
    names = {row.id: row.name for row in rows}
    query = select(DkimKey).where(DkimKey.sending_domain_id.in_(names), DkimKey.status == "current")
    opener = vault.installed()
    found = {}
    for key in db.session.scalars(query):
        name = names[key.sending_domain_id]
        try:
            found[key.sending_domain_id] = load_key(
                name, key.selector, opener.open_bytes(key.private_key)
            )
        except VaultLocked as locked:
            log.error("the key of %s cannot be used: %s", name, locked)
    return found


def signing_keys(
    names: Iterable[tuple[int | None, str]],
) -> dict[tuple[int | None, str], SigningKey]:
    """The keys to sign with, by merchant (None: the house) and domain; only of proven domains.

    One query, however many names. A domain that is not in the answer must not be signed for.
    """
    asked = {one: (one[0], one[1].lower()) for one in names}
    if not asked:
        return {}
    query = (
        select(SendingDomain.merchant_id, SendingDomain.name, DkimKey.selector, DkimKey.private_key)
        .join(DkimKey, DkimKey.sending_domain_id == SendingDomain.id)
        .where(_is_proven_one_of(asked.values()), DkimKey.status == "current")
    )
    opener = vault.installed()
    found: dict[tuple[int | None, str], SigningKey] = {}
    for merchant_id, name, selector, sealed in db.session.execute(query):
        try:
            found[(merchant_id, name)] = load_key(name, selector, opener.open_bytes(sealed))
        except VaultLocked as locked:  # as if it were not proven: the mail leaves all the same
            log.error("the key of %s cannot be used: %s", name, locked)
    return {one: found[known] for one, known in asked.items() if known in found}


def return_paths(names: Iterable[tuple[int | None, str]]) -> dict[tuple[int | None, str], str]:
    """The names that bounces of these proven domains may come back to, in place of ours.

    Only where the last look has seen that they lead to us; one query, however many.
    """
    asked = {one: (one[0], one[1].lower()) for one in names}
    if not asked:
        return {}
    proven = db.session.scalars(select(SendingDomain).where(_is_proven_one_of(asked.values())))
    leading = {
        (row.merchant_id, row.name): return_path_name(row.name)
        for row in proven
        if (check := report_of(row).of("return_path")) is not None and check.state == "ok"
    }
    return {one: leading[known] for one, known in asked.items() if known in leading}


def _is_proven_one_of(names: Iterable[tuple[int | None, str]]) -> ColumnElement[bool]:
    one = tuple_(func.coalesce(SendingDomain.merchant_id, 0), SendingDomain.name)
    is_asked = one.in_({(merchant_id or 0, name) for merchant_id, name in names})
    return is_asked & SendingDomain.proven_at.is_not(None)


def reseal_all(with_vault: Vault) -> int:
    """Every private key under the newest encryption key; how many. Raises VaultLocked."""
    keys = list(db.session.scalars(select(DkimKey).with_for_update()))
    for key in keys:
        key.private_key = with_vault.reseal(key.private_key)
    return len(keys)
