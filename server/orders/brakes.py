"""What keeps a customer's mail back at the last moment: a stopped merchant, a kind that is
switched off since it was written, a shop in test mode.

A file of its own because the worker asks it for every mail, right before it is sent. Never commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, update

from server.db import db
from server.letters.models import Letter
from server.mail.models import Mail
from server.mail.rules import KINDS
from server.merchants.service import administrators, settings_of
from server.merchants.settings import MerchantSettings
from server.work import announce

STOPPED = "all mails to customers are stopped"
SWITCHED_OFF = "mails of this kind are switched off"
NOBODY_TO_TEST = "the shop is in test mode, and nobody is there to get its mails"
CUSTOMER_KINDS = tuple(name for name, kind in KINDS.items() if kind.reader == "customer")


def is_waiting() -> ColumnElement[bool]:
    """Of ``Mail``: may still go out as it is, now or when mails are no longer stopped."""
    stopped = and_(Mail.status == "withheld", Mail.error == STOPPED)
    return or_(Mail.status == "queued", stopped)


def is_stopped(mail: Mail) -> bool:
    """Held by the stop of all mails, and by nothing else."""
    return (mail.status, mail.error) == ("withheld", STOPPED)


def hold_back(mails: Sequence[Mail]) -> list[Mail]:
    """Withhold what must not go out now, redirect what is a test; returns what was withheld.

    In test mode the merchant's first administrator gets it instead of the customer (K66).
    """
    held: list[Mail] = []
    known: dict[tuple[int, int | None], MerchantSettings] = {}
    testers: dict[int, str | None] = {}
    for mail in mails:
        if mail.kind not in CUSTOMER_KINDS or mail.is_test:
            continue  # what somebody sends to try it reaches no customer
        whose = (mail.merchant_id, mail.shop_id)
        if whose not in known:
            known[whose] = settings_of(*whose)
        if known[whose].stop_mails:
            mail.withhold(STOPPED)
        elif not known[whose].sends(mail.kind):
            mail.withhold(SWITCHED_OFF)
        elif known[whose].mode == "test":
            _redirect(mail, testers)
        else:
            mail.redirected_to = None
        if mail.status == "withheld":
            held.append(mail)
    return held


def _redirect(mail: Mail, testers: dict[int, str | None]) -> None:
    """``testers`` are the addresses of the merchants that were asked for already."""
    if mail.merchant_id not in testers:
        people = administrators(mail.merchant_id)
        testers[mail.merchant_id] = people[0].email if people else None
    tester = testers[mail.merchant_id]
    if tester is None:
        mail.withhold(NOBODY_TO_TEST)
    else:
        mail.redirected_to = tester


def release_stopped(merchant_id: int, at: datetime) -> int:
    """Mails and letters may go out again: those that were stopped do, unless they are moot by
    now. Returns how many mails."""
    _release(Letter, merchant_id, at)
    return _release(Mail, merchant_id, at)


def _release(kind: type[Mail | Letter], merchant_id: int, at: datetime) -> int:
    waiting = select(kind.id).where(
        kind.merchant_id == merchant_id, kind.status == "withheld", kind.error == STOPPED
    )
    values: dict[str, Any] = {"status": "queued", "error": None, "due_at": at}
    if kind is Letter:
        values["due_at"] = func.greatest(kind.due_at, at)  # no sooner than the day's cut-off
    released = db.session.execute(update(kind).where(kind.id.in_(waiting)).values(values))
    announce(kind)
    return int(released.rowcount)  # type: ignore[attr-defined]
