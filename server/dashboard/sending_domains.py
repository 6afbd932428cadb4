"""Domains that the shop's mails may come from: the records to copy, checked live (S13 to S17, N14).

For administrators: whoever proves a domain decides in whose name mails leave.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import Blueprint, Response, abort, g, redirect, request, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response as BaseResponse

from server.config import installed
from server.dashboard import queries, words
from server.dashboard.attention import Attention
from server.dashboard.pages import page, plain
from server.dashboard.words import t
from server.db import db, now
from server.mail import domains
from server.mail.dns import resolver_of
from server.mail.domain_rules import (
    MAX_TYPED_LENGTH,
    Check,
    DomainError,
    Record,
    is_freemail,
)
from server.mail.models import DkimKey, SendingDomain
from server.mail.rules import AddressError, checked_address
from server.orders.merchant_notices import tell_of_domain
from server.relay import connections

pages = Blueprint("sending_domains", __name__)

AGAIN_AFTER = timedelta(seconds=10)
"""A look may hold a web thread for seconds: nobody needs one more often."""
LOOKS = {
    "proven": ("ok", "check"),
    "failing": ("warn", "warn"),
    "broken": ("bad", "warn"),
    "waiting": ("warn", "unpaid"),
    "new": ("off", "unpaid"),
}
"""Colour and icon of the state of a domain."""
CHECK_LOOKS = {
    "ok": ("ok", "check"),
    "wrong": ("bad", "warn"),
    "missing": ("warn", "unpaid"),
    "unknown": ("off", "ask"),
    "new": ("off", "unpaid"),
}
"""The same of one record."""


@dataclass(frozen=True, slots=True)
class Step:
    """One record to publish, and how it fares. ``sentences`` say what is wrong or to be known."""

    record: Record
    label: str
    state: str
    colour: str
    icon: str
    sentences: tuple[Markup, ...]
    found: tuple[str, ...]


@pages.before_request
def administrators_only() -> None:
    if not g.user.is_administrator:
        abort(403)


# --- all of them --------------------------------------------------------------------------------


@pages.get("/settings/domains")
def show_all() -> Response:
    return _list_page()


def _list_page(typed: str = "", problem: str | None = None) -> Response:
    rows = domains.domains_of(g.merchant_id)
    return page(
        "sending_domains.html",
        422 if problem else 200,
        rows=[(row, domains.state_of(row)) for row in rows],
        looks=LOOKS,
        typed=typed,
        problem=problem,
        has_house_domain=domains.has_house_domain(),
    )


@pages.post("/settings/domains")
def add() -> BaseResponse:
    typed = plain(request.form.get("name", ""))[:MAX_TYPED_LENGTH]
    try:
        row = domains.add(g.merchant_id, typed, now())
    except DomainError as refused:
        db.session.rollback()
        return _list_page(typed, str(refused.args[0]))
    db.session.commit()
    look_at(row)
    return redirect(url_for(".show", domain_id=row.id, done="domain_added"), 303)


# --- one of them --------------------------------------------------------------------------------


@pages.get("/settings/domains/<int:domain_id>")
def show(domain_id: int) -> Response:
    return _domain_page(_row_or_404(domain_id))


def _domain_page(row: SendingDomain, problem: str | None = None) -> Response:
    state = domains.state_of(row)
    keys = domains.keys_of(row)
    return page(
        "sending_domain.html",
        422 if problem else 200,
        row=row,
        state=state,
        look=LOOKS[state],
        steps=[step_of(row, record) for record in domains.records_of(row)],
        keys=keys,
        next_key=_of_status(keys, "next"),
        retired_until=_retired_until(keys),
        problem=problem,
        breaks_at=row.failing_since + domains.PATIENCE if row.failing_since else None,
        has_house_domain=domains.has_house_domain(),
    )


def _of_status(keys: list[DkimKey], status: str) -> DkimKey | None:
    return next((key for key in keys if key.status == status), None)


def _retired_until(keys: list[DkimKey]) -> datetime | None:
    """Until when the last key has to stay in the DNS."""
    old = _of_status(keys, "retired")
    return old.retired_at + domains.RETIRED_FOR if old and old.retired_at else None


def step_of(row: SendingDomain, record: Record) -> Step:
    """How the record fared at the last look."""
    check = domains.report_of(row).of(record.key)
    state = check.state if check is not None else "new"
    colour, icon = CHECK_LOOKS[state]
    if state == "missing" and not record.is_required:
        colour = "off"
    return Step(
        record=record,
        label=record.label(row.name),
        state=state,
        colour=colour,
        icon=icon,
        sentences=_sentences(record, check) if check is not None else (),
        found=check.found if check is not None and check.state != "ok" else (),
    )


def _sentences(record: Record, check: Check) -> tuple[Markup, ...]:
    said = []
    if check.reason:
        said.append(t(f"sending_domain.reason_{check.reason}", **check.facts))
    said += [t(f"sending_domain.warning_{warning}") for warning in check.warnings]
    if record.purpose == "spf" and "lookups" in check.facts:
        said.append(t("sending_domain.lookups", **check.facts))
    if record.purpose == "dmarc" and check.state == "ok":
        said.append(t(f"sending_domain.policy_{check.facts['policy']}"))
        said.append(t("sending_domain.alignment"))
    return tuple(said)


@pages.post("/settings/domains/<int:domain_id>/check")
def check(domain_id: int) -> BaseResponse:
    """Look now; a look that has just been is shown again."""
    row = _row_or_404(domain_id)
    if row.checked_at is None or now() - row.checked_at > AGAIN_AFTER:
        look_at(row)
    return redirect(url_for(".show", domain_id=domain_id, done="domain_checked"), 303)


def look_at(row: SendingDomain) -> None:
    """Ask the DNS and write what follows; commits before and after."""
    domain_id, asked = row.id, domains.question(row)
    db.session.commit()
    report = domains.observe(asked, resolver_of(installed()), domains.home())
    broken = domains.settle(domain_id, report, now())
    if broken is not None:
        tell_of_domain(broken)
    db.session.commit()


@pages.post("/settings/domains/<int:domain_id>/keys")
def change_keys(domain_id: int) -> BaseResponse:
    """The next key signs from now on, if the DNS has it."""
    row = _row_or_404(domain_id)
    look_at(row)
    try:
        domains.rotate(_row_or_404(domain_id), now())
    except domains.NotReady:
        db.session.rollback()
        return _domain_page(_row_or_404(domain_id), "next_key")
    db.session.commit()
    return redirect(url_for(".show", domain_id=domain_id, done="keys_changed"), 303)


@pages.get("/settings/domains/<int:domain_id>/remove")
def ask_remove(domain_id: int) -> Response:
    row = _row_or_404(domain_id)
    used_by = connections.names_using(g.merchant_id, row.id)
    return page("sending_domain_remove.html", row=row, used_by=used_by)


@pages.post("/settings/domains/<int:domain_id>/remove")
def remove(domain_id: int) -> BaseResponse:
    domains.remove(_row_or_404(domain_id))
    db.session.commit()
    return redirect(url_for(".show_all", done="domain_removed"), 303)


def _row_or_404(domain_id: int) -> SendingDomain:
    row = domains.domain_of(g.merchant_id, domain_id)
    if row is None:
        abort(404)
    return row


# --- on Today -----------------------------------------------------------------------------------


def lines(merchant_id: int) -> list[Attention]:
    """Shops whose mails leave from Kontor's address, and proven domains that are about to (S17)."""
    rows = {row.name: row for row in domains.domains_of(merchant_id)}
    return [*_unproven(merchant_id, rows), *_failing(rows)]


def _unproven(merchant_id: int, rows: dict[str, SendingDomain]) -> list[Attention]:
    found = []
    for shop in queries.living_shops(merchant_id):
        name = _domain_of(shop.sender_address)
        row = rows.get(name or "")
        if name is None or (row is not None and row.proven_at is not None):
            continue
        why = "freemail" if is_freemail(name) else "broken" if _is_broken(row) else "unproven"
        found.append(
            Attention(
                icon="mail",
                colour="warn",
                title=t("sending_domain.today", shop=shop.name),
                text=t(f"sending_domain.today_{why}", domain=name),
                href=_href(row),
                action=t("action.look"),
            )
        )
    return found


def _domain_of(address: str | None) -> str | None:
    try:
        return checked_address(address or "").rpartition("@")[2].lower()
    except AddressError:  # shown where it was typed
        return None


def _is_broken(row: SendingDomain | None) -> bool:
    return row is not None and domains.state_of(row) == "broken"


def _failing(rows: dict[str, SendingDomain]) -> list[Attention]:
    return [
        Attention(
            icon="mail",
            colour="warn",
            title=t("sending_domain.today_failing", domain=row.name),
            text=t(
                "sending_domain.today_failing_text",
                at=words.moment(row.failing_since + domains.PATIENCE),
            ),
            href=_href(row),
            action=t("action.look"),
        )
        for row in rows.values()
        if row.failing_since is not None
    ]


def _href(row: SendingDomain | None) -> str:
    if not g.user.is_administrator:
        return url_for("dashboard.settings.show_mails")
    if row is None:
        return url_for("dashboard.sending_domains.show_all")
    return url_for("dashboard.sending_domains.show", domain_id=row.id)
