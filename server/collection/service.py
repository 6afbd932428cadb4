"""What is done about cases of collection: said to the partner, heard from him, recorded by hand.

What a partner is told goes in three steps, because he may take long to answer: ``errand_of``
reads what is to be said now, ``run_errand`` says it and touches no database, ``settle_errand``
writes what came of it and when the case has its turn again. Never commits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from sqlalchemy import func, select, update

from plugin_sdk.errors import ConnectorError, Misconfigured, Rejected, Temporary
from server import vault
from server.collection import partners
from server.collection.dossier import write_dossier
from server.collection.models import CollectionPartner
from server.collection.papers import papers_of
from server.collection.partners import Handover, Partner, Payment, Standing, Told
from server.collection.rules import (
    BY_HAND,
    REFRESH_EVERY,
    UNDER_WAY,
    ZERO,
    Act,
    CaseFacts,
    may_cancel,
    next_act,
    reference_of,
)
from server.config import installed
from server.db import db
from server.merchants.models import Merchant
from server.merchants.service import lock_merchant
from server.orders.cases import note_event
from server.orders.ledger import NotPossible
from server.orders.lifecycle import take_from_collection
from server.orders.models import Assignment, CollectionCase, CollectionEvent, Order
from server.orders.service import mark_as_paid
from server.work import announce

MAX_EVENTS: Final = 500
MAX_WORDS: Final = 1000
NOT_SET_UP_RETRY: Final = timedelta(hours=1)
NO_PARTNER: Final = "there is no partner to hand it to"
SETTLED_FIRST: Final = "settled before it was handed over"
ENDED: Final = ("rejected", "paid", "closed", "cancelled")


# --- the merchant's partner --------------------------------------------------------------------


def partner_of(merchant_id: int) -> CollectionPartner | None:
    return db.session.get(CollectionPartner, merchant_id, populate_existing=True)


def settings_of_partner(row: CollectionPartner) -> Mapping[str, str]:
    """What the adapter needs, opened. Raises VaultLocked."""
    found: Mapping[str, str] = json.loads(vault.installed().open(row.settings))
    return found


def set_partner(
    merchant_id: int,
    adapter: str,
    settings: Mapping[str, str],
    *,
    name: str,
    contact_name: str,
    contact_phone: str,
    actor: str,
    at: datetime,
) -> CollectionPartner:
    """Store him, sealed. Raises AddressRefused, AddressError, or NotPossible where whom he may ask
    is missing (K61)."""
    if adapter not in partners.ADAPTERS:
        raise NotPossible("collection_no_adapter")
    if not (name and contact_name and contact_phone):
        raise NotPossible("collection_needs_contact")
    partners.check_settings(adapter, settings, installed())
    lock_merchant(merchant_id)
    row = partner_of(merchant_id) or CollectionPartner(merchant_id=merchant_id)
    if row.adapter == adapter and row.name != name:
        _rename(row, name)
    db.session.add(row)
    row.adapter, row.name = adapter, name
    row.contact_name, row.contact_phone = contact_name, contact_phone
    row.settings = vault.installed().seal(json.dumps(dict(settings)))
    row.changed_at, row.changed_by = at, actor
    row.error = row.error_since = None
    _try_again(row, at)
    db.session.flush()
    return row


def _try_again(row: CollectionPartner, at: datetime) -> None:
    """What he could not be told before he was mended."""
    untold = (
        update(CollectionCase)
        .where(
            CollectionCase.merchant_id == row.merchant_id,
            CollectionCase.adapter == row.adapter,
            CollectionCase.partner_name == row.name,
            CollectionCase.is_opened,
            CollectionCase.status == "failed",
        )
        .values(status="queued", due_at=at, attempts=0)
    )
    if db.session.execute(untold).rowcount:  # type: ignore[attr-defined]
        announce(CollectionCase)


def _rename(row: CollectionPartner, name: str) -> None:
    """The same partner under another name keeps the cases that he works on."""
    db.session.execute(
        update(CollectionCase)
        .where(
            CollectionCase.merchant_id == row.merchant_id,
            CollectionCase.adapter == row.adapter,
            CollectionCase.partner_name == row.name,
            CollectionCase.state.in_(UNDER_WAY),
        )
        .values(partner_name=name)
    )


def remove_partner(merchant_id: int) -> None:
    """What he has, he keeps; new cases are the merchant's own to hand on."""
    lock_merchant(merchant_id)
    row = partner_of(merchant_id)
    if row is not None:
        db.session.delete(row)


def speaking_with(row: CollectionPartner) -> Partner:
    """Whom to ask, without a look at the database from here on. Raises Misconfigured."""
    try:
        settings = settings_of_partner(row)
    except vault.VaultLocked as locked:
        raise Misconfigured(str(locked)) from locked
    return partners.partner_for(row.adapter, settings, installed())


def note_check(row: CollectionPartner, problem: str | None, at: datetime) -> None:
    """What came of it, so that everybody sees it."""
    row.error_since = (row.error_since or at) if problem else None
    row.error = problem


def reseal_all(with_vault: vault.Vault) -> int:
    """Every partner's settings under the newest encryption key; how many. Raises VaultLocked."""
    rows = list(db.session.scalars(select(CollectionPartner).with_for_update()))
    for row in rows:
        row.settings = with_vault.reseal(row.settings)
    return len(rows)


# --- cases -------------------------------------------------------------------------------------


def case_of(merchant_id: int, case_id: int) -> CollectionCase | None:
    return db.session.scalar(
        select(CollectionCase).where(
            CollectionCase.merchant_id == merchant_id, CollectionCase.id == case_id
        )
    )


def events_of(case: CollectionCase) -> Sequence[CollectionEvent]:
    """The newest first."""
    query = select(CollectionEvent).where(CollectionEvent.case_id == case.id)
    newest = query.order_by(CollectionEvent.at.desc(), CollectionEvent.id.desc())
    return list(db.session.scalars(newest.limit(MAX_EVENTS)))


def paid_since(case: CollectionCase) -> Decimal:
    """What came directly since the hand-over."""
    return sum((one.amount for one in _payments(case)), ZERO)


def dossier_of(case: CollectionCase) -> tuple[str, bytes]:
    """The name of the file and the ZIP, as all stands now."""
    partner = partner_of(case.merchant_id)
    content = write_dossier(papers_of(case, partner))
    return f"{_handover(case, partner).stem}.zip", content


def can_be_asked(case: CollectionCase) -> bool:
    """Whether its partner says by himself how it stands."""
    partner = partner_of(case.merchant_id)
    return case.is_opened and partner is not None and _is_his(case, partner) and _can_refresh(case)


def _can_refresh(case: CollectionCase) -> bool:
    return case.adapter == "http"


def _is_his(case: CollectionCase, partner: CollectionPartner) -> bool:
    """A case is spoken of with whom it was handed to; nobody else knows of it."""
    return (case.adapter, case.partner_name) == (partner.adapter, partner.name)


def _payments(case: CollectionCase) -> tuple[Payment, ...]:
    """Money, and what a person marked as paid; neither differences nor what the partner paid."""
    rows = db.session.scalars(
        select(Assignment)
        .where(Assignment.order_id == case.order_id, Assignment.created_at > case.handed_over_at)
        .order_by(Assignment.id)
    ).all()
    his = {row.id for row in rows if row.posting_id is None and row.decided_by == _actor(case)}
    return tuple(
        Payment(row.id, row.amount, row.created_at)
        for row in rows
        if row.because is None and row.id not in his and row.reverses_id not in his
    )


def _actor(case: CollectionCase) -> str:
    return case.partner_name or reference_of(case.id)


def _facts(case: CollectionCase, partner: CollectionPartner | None) -> CaseFacts:
    order = db.session.get_one(Order, case.order_id, populate_existing=True)
    newest = select(func.max(CollectionCase.id)).where(CollectionCase.order_id == order.id)
    is_newest = db.session.scalar(newest) == case.id
    can_speak = partner is not None and (not case.is_opened or _is_his(case, partner))
    return CaseFacts(
        state=case.state,
        has_partner=can_speak,
        can_refresh=can_speak and case.is_opened and _can_refresh(case),
        is_opened=case.is_opened,
        is_withdrawn=case.is_withdrawn,
        is_collected=order.collection_at is not None and is_newest,
        owes=order.payment_status == "collection",
        paid=paid_since(case),
        told_paid=case.told_paid,
        refreshed_at=case.refreshed_at,
    )


# --- saying it ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Errand:
    """One thing to be said. ``partner`` None: there is nobody to say it to any more.

    ``adapter`` and ``partner_name`` are whom it is said to, whoever is named meanwhile.
    """

    case_id: int
    act: Act
    handover: Handover
    partner: Partner | None
    trouble: ConnectorError | None = None
    adapter: str | None = None
    partner_name: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: the partner's answer, or why there is none."""

    standing: Standing = Standing()
    trouble: ConnectorError | None = None


def errand_of(case_id: int, at: datetime) -> Errand | None:
    """What is to be said of a case now; None if nothing is, and then it is at rest."""
    case = _case_now(case_id)
    if case is None:
        return None
    partner = partner_of(case.merchant_id)
    act = next_act(_facts(case, partner), at)
    if act in ("open", "wait") and case.state == "cancelled":
        _owed_again(case, at)
    if act is None or act in ("wait", "drop"):
        _rest(case, act, at)
        return None
    return _errand(case, act, partner)


def _owed_again(case: CollectionCase, at: datetime) -> None:
    """It was settled before anybody got the papers, and that was undone."""
    case.state, case.ended_at = "handed_over", None
    note_event(case, "state", actor="", at=at, state=case.state)


def refresh_errand(case: CollectionCase) -> Errand:
    """A person wants to know how it stands (K62). Raises NotPossible where nobody can be asked."""
    if not can_be_asked(case):
        raise NotPossible("collection_no_refresh", partner=case.partner_name)
    return _errand(case, "refresh", partner_of(case.merchant_id))


def _errand(case: CollectionCase, act: Act, partner: CollectionPartner | None) -> Errand:
    speaking, trouble = None, None
    if partner is not None and (act == "open" or _is_his(case, partner)):
        try:
            speaking = speaking_with(partner)
        except ConnectorError as problem:
            trouble = problem
    handover = _handover(case, partner)
    if act == "open" and speaking is not None:
        papers = papers_of(case, partner)
        handover = replace(handover, facts=papers.facts, dossier=write_dossier(papers))
    adapter, name = (partner.adapter, partner.name) if partner is not None else (None, "")
    return Errand(case.id, act, handover, speaking, trouble, adapter, name)


def _handover(case: CollectionCase, partner: CollectionPartner | None) -> Handover:
    merchant = db.session.get_one(Merchant, case.merchant_id)
    order, payments = db.session.get_one(Order, case.order_id), _payments(case)
    company = (order.wire.get("billing_address") or {}).get("company")
    return Handover(
        merchant_id=merchant.id,
        merchant_name=merchant.name,
        language=merchant.language,
        reference=reference_of(case.id),
        key=f"kontor-{reference_of(case.id)}-{case.handed_over_at:%Y%m%d%H%M%S}",
        order_number=order.number,
        debtor=company or order.customer_name or order.number,
        currency=case.currency,
        total=case.principal + case.fees + case.interest,
        contact_name=partner.contact_name if partner else "",
        contact_phone=partner.contact_phone if partner else "",
        partner_reference=case.partner_reference,
        timezone=merchant.timezone,
        paid=sum((one.amount for one in payments), ZERO),
        payments=payments,
    )


def run_errand(errand: Errand, at: datetime) -> Outcome:
    """Say it. Never raises what the partner can cause."""
    if errand.trouble is not None:
        return Outcome(trouble=errand.trouble)
    if errand.partner is None:
        return Outcome(trouble=Rejected("There is nobody any more who could be told."))
    try:
        return Outcome(_said(errand.partner, errand, at))
    except ConnectorError as trouble:
        return Outcome(trouble=trouble)


def _said(partner: Partner, errand: Errand, at: datetime) -> Standing:
    if errand.act == "open":
        return partner.open(errand.handover, at)
    if errand.act == "refresh":
        return partner.refresh(errand.handover)
    if errand.act == "report":
        partner.report(errand.handover, at)
    else:
        assert errand.act == "withdraw"
        partner.withdraw(errand.handover, at)
    return Standing()


def settle_errand(errand: Errand, outcome: Outcome, at: datetime) -> None:
    """Write what came of it. The case has its turn again as soon as there is more to say."""
    case = _case_now(errand.case_id)
    if case is None:
        return  # the order was removed meanwhile
    if outcome.trouble is not None:
        _settle_trouble(case, errand, outcome.trouble, at)
        return
    _note_partner(case, errand, None, at)
    if errand.act == "open":
        _opened(case, errand, outcome.standing, at)
    elif errand.act == "report":
        case.told_paid = errand.handover.paid
        note_event(case, "payment_reported", actor="", at=at, amount=errand.handover.paid)
    elif errand.act == "withdraw":
        case.is_withdrawn = True
        note_event(case, "withdrawn", actor="", at=at)
    if errand.act in ("open", "refresh"):
        _take_in(case, outcome.standing, at)
    _follow_ledger(case, at)
    _rest(case, None, at)


def settle_refresh(errand: Errand, outcome: Outcome, at: datetime) -> None:
    """As ``settle_errand`` for what a person asked. Raises NotPossible with the partner's words."""
    case = _case_now(errand.case_id)
    if case is None:
        raise NotPossible("order_unknown")
    if outcome.trouble is not None:
        raise NotPossible("collection_refresh_failed", why=str(outcome.trouble))
    _note_partner(case, errand, None, at)
    _take_in(case, outcome.standing, at)
    if case.status != "running":
        _rest(case, None, at)


def _case_now(case_id: int) -> CollectionCase | None:
    """As it is, below the merchant's lock."""
    known = db.session.get(CollectionCase, case_id)
    if known is None:
        return None
    lock_merchant(known.merchant_id)
    return db.session.get(CollectionCase, case_id, with_for_update=True, populate_existing=True)


def _opened(case: CollectionCase, errand: Errand, standing: Standing, at: datetime) -> None:
    partner = _still_named(case, errand)
    case.is_opened = True
    case.adapter = errand.adapter
    case.partner_name = partner.name if partner is not None else errand.partner_name
    case.partner_reference = standing.reference
    case.told_paid = errand.handover.paid  # the dossier says it, and nothing of what came since
    note_event(case, "opened", actor=case.partner_name, at=at)


def _settle_trouble(
    case: CollectionCase, errand: Errand, trouble: ConnectorError, at: datetime
) -> None:
    words = str(trouble)[:MAX_WORDS]
    if isinstance(trouble, Temporary):
        wish = trouble.retry_after_seconds
        case.retry(words, at, timedelta(seconds=wish) if wish else None)
    elif isinstance(trouble, Rejected) and errand.act != "open":
        _untold(case, errand, words, at)
        return
    elif isinstance(trouble, Rejected):
        case.give_up(words, at)
    else:
        case.retry(words, at, NOT_SET_UP_RETRY)
        _note_partner(case, errand, words, at)
    if case.status == "failed":
        kind = "not_told" if case.is_opened else "not_handed_over"
        note_event(case, kind, actor="", at=at, words=words)


def _untold(case: CollectionCase, errand: Errand, words: str, at: datetime) -> None:
    """He will never take it, as his case is closed: a person tells him, if it matters."""
    if errand.act == "report":
        case.told_paid = errand.handover.paid
    elif errand.act == "withdraw":
        case.is_withdrawn = True
    case.refreshed_at = at if errand.act == "refresh" else None
    kind = f"{errand.act}_refused"
    last = next(iter(events_of(case)), None)
    if last is None or (last.kind, last.words) != (kind, words):  # not the same every day
        note_event(case, kind, actor="", at=at, words=words)
    _follow_ledger(case, at)
    _rest(case, None, at)


def _still_named(case: CollectionCase, errand: Errand) -> CollectionPartner | None:
    """Whom it was said to, perhaps under a new name; None if he is not the partner any more."""
    partner = partner_of(case.merchant_id)
    return partner if partner is not None and partner.adapter == errand.adapter else None


def _note_partner(case: CollectionCase, errand: Errand, problem: str | None, at: datetime) -> None:
    partner = _still_named(case, errand)
    if partner is not None and (problem is not None or partner.error is not None):
        note_check(partner, problem, at)


def _rest(case: CollectionCase, act: Act | None, at: datetime) -> None:
    """When it has its turn again, now that nothing is being said."""
    db.session.flush()
    case.claimed_at = None
    if act == "wait":
        case.withhold(NO_PARTNER)
        return
    if act == "drop":
        case.state, case.ended_at = "cancelled", at
        note_event(case, "settled_first", actor="", at=at, state="cancelled")
        case.withhold(SETTLED_FIRST)
        return
    if not case.is_opened and case.state not in UNDER_WAY:
        case.withhold(SETTLED_FIRST)
        return
    facts = _facts(case, partner_of(case.merchant_id))
    case.attempts = 0
    if next_act(facts, at) is not None:
        case.status, case.due_at, case.error = "queued", at, None
        announce(CollectionCase)
    elif facts.can_refresh and case.state in UNDER_WAY:
        due_at = (case.refreshed_at or at) + REFRESH_EVERY
        case.status, case.due_at, case.error = "queued", due_at, None
    else:
        case.succeed(at)


# --- hearing it --------------------------------------------------------------------------------


def _take_in(case: CollectionCase, standing: Standing, at: datetime) -> None:
    """What the partner says of the case; each of his events once."""
    case.refreshed_at = at
    case.partner_reference = standing.reference or case.partner_reference
    case.partner_url = standing.url or case.partner_url
    known = set(
        db.session.scalars(
            select(CollectionEvent.partner_event).where(CollectionEvent.case_id == case.id)
        )
    )
    for told in partners.events_of(standing):
        if told.id not in known and len(known) < MAX_EVENTS:
            known.add(told.id)
            _note_told(case, told, at)
    if standing.state is not None:
        _become(case, standing.state, actor=_actor(case), at=at)


def _note_told(case: CollectionCase, told: Told, at: datetime) -> None:
    note_event(
        case,
        "told",
        actor=case.partner_name,
        at=min(told.at or at, at),
        state=told.state,
        words=told.words,
        amount=told.amount,
        partner_event=told.id,
    )


def _become(case: CollectionCase, state: str, *, actor: str, at: datetime) -> None:
    """The case has another state; collected in full is paid (K6). Cancelled is for good."""
    if case.state in (state, "cancelled"):
        return
    case.state = state
    case.ended_at = at if state in ENDED else None
    note_event(case, "state", actor=actor, at=at, state=state)
    if state != "paid":
        return
    order = db.session.get_one(Order, case.order_id, populate_existing=True)
    if order.payment_status == "collection":
        payer = _actor(case) if case.is_opened else actor  # he need not be told of it
        mark_as_paid(case.merchant_id, case.order_id, actor=payer, at=at)


def _follow_ledger(case: CollectionCase, at: datetime) -> None:
    """What was paid directly, and told, ends the case; if it is undone, it goes on."""
    order = db.session.get_one(Order, case.order_id, populate_existing=True)
    if not case.is_opened or case.told_paid != paid_since(case):
        return
    if case.state in UNDER_WAY and order.payment_status == "paid":
        _become(case, "paid", actor="", at=at)
    elif case.state == "paid" and order.payment_status == "collection":
        _become(case, "accepted", actor="", at=at)


# --- by a person -------------------------------------------------------------------------------


def record_by_hand(
    merchant_id: int, case_id: int, state: str, words: str, *, actor: str, at: datetime
) -> CollectionCase:
    """What a partner without an interface told: one of ``rules.BY_HAND``, or "" for words alone.

    Raises NotPossible: no such state, neither state nor words, or the case is cancelled.
    """
    case = _own_case(merchant_id, case_id)
    words = words.replace("\x00", "").strip()[:MAX_WORDS]
    if state and state not in BY_HAND:
        raise NotPossible("collection_no_state")
    if not state and not words:
        raise NotPossible("collection_nothing_recorded")
    if state and case.state == "cancelled":
        raise NotPossible("collection_is_cancelled")
    if words:
        note_event(case, "noted", actor=actor, at=at, words=words)
    if state:
        _become(case, state, actor=actor, at=at)
    return case


def cancel_case(merchant_id: int, case_id: int, *, actor: str, at: datetime) -> Order:
    """Take the order back. Raises NotPossible if the case is cancelled or paid (K62)."""
    case = _own_case(merchant_id, case_id)
    if not may_cancel(case.state):
        raise NotPossible("collection_cannot_cancel")
    return take_from_collection(merchant_id, case.order_id, actor=actor, at=at)


def hand_over_now(merchant_id: int, case_id: int, *, actor: str, at: datetime) -> CollectionCase:
    """To the partner at once: also what failed, or waited for one to be named.

    Raises NotPossible: it was handed over, is over, or there is no partner.
    """
    case = _own_case(merchant_id, case_id)
    if case.is_opened or case.state not in UNDER_WAY or case.status == "running":
        raise NotPossible("collection_is_opened")
    if partner_of(merchant_id) is None:
        raise NotPossible("collection_no_partner")
    case.status, case.due_at, case.attempts, case.error = "queued", at, 0, None
    note_event(case, "wanted_now", actor=actor, at=at)
    announce(CollectionCase)
    return case


def _own_case(merchant_id: int, case_id: int) -> CollectionCase:
    if case_of(merchant_id, case_id) is None:
        raise NotPossible("order_unknown")
    case = _case_now(case_id)
    assert case is not None, "it was there, and we hold the lock"
    return case
