"""Which notices a person gets, by own choice; for administrators also who gets what (K38, K42)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from flask import Blueprint, Response, abort, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard.pages import page
from server.db import db, now
from server.mail.kinds import KINDS
from server.merchants import notices
from server.merchants.models import User

pages = Blueprint("notices", __name__)

GROUPS: Final[Mapping[str, Sequence[str]]] = {
    "orders": (
        "order_received",
        "order_paid",
        "order_partially_paid",
        "order_overpaid",
        "payment_for_manual_order",
        "orders_cancelled",
        "orders_to_collection",
        "customer_says_paid",
        "more_time_asked",
    ),
    "money": (
        "postings_need_you",
        "differences_booked",
        "payment_for_cancelled",
        "payment_for_removed",
        "payment_returned",
        "postings_recognised",
    ),
    "faults": (
        "mails_failed",
        "domain_broken",
        "bank_needs_you",
        "bank_consent_ends",
        "shop_error",
        "shop_disabled",
        "callback_failing",
        "relay_quota_low",
        "transfer_failed",
        "removals_wait",
        "reminders_held",
        "run_waits",
    ),
}
"""Every kind of notice, by what it is about."""
CHOICES: Final[Mapping[str, bool | None]] = {"yes": True, "no": False, "": None}


@dataclass(frozen=True, slots=True)
class Line:
    """One kind: what this person said (``yes``, ``no`` or nothing), and who gets it now."""

    kind: str
    is_essential: bool
    chosen: str
    people: Sequence[User]
    gets_it: bool

    @property
    def is_lost(self) -> bool:
        """Somebody must read it, and nobody does."""
        return self.is_essential and not self.people


@pages.get("/account/notices")
def show() -> Response:
    people = notices.people_of(g.merchant_id)
    choices = notices.choices_of(g.merchant_id)
    groups = {
        group: [_line(kind, people, choices) for kind in kinds] for group, kinds in GROUPS.items()
    }
    return page(
        "notices.html",
        groups=groups,
        lost=[line for lines in groups.values() for line in lines if line.is_lost],
        is_alone=len(people) == 1,
    )


def _line(kind: str, people: Sequence[User], choices: Mapping[tuple[int, str], bool]) -> Line:
    is_essential = KINDS[kind].is_essential
    said = choices.get((g.user.id, kind))
    chosen = next(word for word, choice in CHOICES.items() if choice is said)
    getting = notices.getting(kind, people, choices, is_essential=is_essential)
    return Line(kind, is_essential, chosen, getting, any(one.id == g.user.id for one in getting))


@pages.post("/account/notices")
def save() -> BaseResponse:
    """The reader's own choices, all kinds of the form at once; 422 for a word that is none."""
    at = now()
    for kinds in GROUPS.values():
        for kind in kinds:
            said = request.form.get(kind)
            if said is None:
                continue
            if said not in CHOICES:
                abort(422)
            notices.choose(g.user.id, kind, is_wanted=CHOICES[said], at=at)
    db.session.commit()
    return redirect(url_for(".show", done="notices_saved"), 303)
