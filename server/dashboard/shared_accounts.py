"""Accounts that several merchants share, as the operator sees them (S20, K50).

Everything here belongs to the operator: anybody else is told that there is no such page, and an
account, a merchant or a posting of somebody else is none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from flask import Blueprint, Response, abort, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.banking import sharing
from server.banking.models import BankAccount, Posting
from server.banking.service import account_of
from server.banking.sharing import Member
from server.dashboard import queries, shared_queries, words
from server.dashboard.pages import page, plain
from server.db import db, now
from server.matching.service import likely_members
from server.merchants.models import Merchant
from server.orders.asking import ask_waiting
from server.orders.service import request_match

pages = Blueprint("shared_accounts", __name__)

MEMBERS_SHOWN = 200
LINES_SHOWN = 500
MEMBERS_IN_A_LIST = 60
"""A list to choose from is drawn for every posting; with more members they are typed."""
DAYS_AHEAD = timedelta(days=60)
DAYS_BACK = timedelta(days=400)
BOOKED = {
    "fee": ("fee", -1),
    "refund": ("refund", -1),
    "payout": ("payout", -1),
    "credit": ("correction", 1),
    "debit": ("correction", -1),
}
"""What a person can book: the kind of movement, and its sign from the merchant's view."""
FIELD_OF_PROBLEM = {
    "merchant_not_member": "merchant",
    "movement_kind_unknown": "kind",
    "movement_amount_invalid": "amount",
    "movement_reference_reserved": "reference",
    "movement_date_invalid": "on",
}
_NUMBER_AT_END = re.compile(r"(?:^|.*\()(\d{1,18})\)?", re.ASCII)


# --- the list ---------------------------------------------------------------------------------


@pages.get("/shared-accounts")
def show_all() -> Response:
    if not g.merchant.is_operator:
        abort(404)
    return page("shared_accounts.html", accounts=shared_queries.own_accounts(g.merchant))


@pages.get("/shared-accounts/<int:account_id>/share")
def ask_share(account_id: int) -> Response:
    """The question as a page of its own, because it cannot be undone."""
    return _share_page(_own_or_404(account_id))


def _share_page(account: BankAccount, problem: str | None = None) -> Response:
    code = 422 if problem else 200
    return page("shared_share.html", code, account=account, name=_name(account), problem=problem)


@pages.post("/shared-accounts/<int:account_id>/share")
def share(account_id: int) -> BaseResponse:
    account = _own_or_404(account_id)
    try:
        sharing.share_account(g.merchant, account.id)
    except ValueError as refused:
        db.session.rollback()
        return _share_page(account, str(refused.args[0]))
    db.session.commit()
    return redirect(url_for(".show", account_id=account.id, done="account_shared"), 303)


# --- one account ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Nobodys:
    """A posting that waits for a merchant. ``likely`` is whose it most likely is, ``chosen`` what
    stands in the field."""

    posting: Posting
    likely: Member | None
    chosen: str


@pages.get("/shared-accounts/<int:account_id>")
def show(account_id: int) -> Response:
    return _account_page(_shared_or_404(account_id))


def _account_page(account: BankAccount, problem: str | None = None) -> Response:
    members = sharing.members(g.merchant, account.id)
    wanted = plain(request.args.get("member", ""))
    shown = [one for one in members if wanted.lower() in one.merchant.name.lower()]
    find = plain(request.args.get("find", ""))
    last = shared_queries.last_movements([one.account.id for one in shown[:MEMBERS_SHOWN]])
    return page(
        "shared_account.html",
        422 if problem else 200,
        account=account,
        name=_name(account),
        problem=problem,
        members=members,
        shown=[(one, last.get(one.account.id)) for one in shown[:MEMBERS_SHOWN]],
        shown_of=len(shown),
        wanted=wanted,
        balance=sum((one.balance for one in members), Decimal(0)),
        nobodys=_nobodys(account, members),
        nobodys_count=shared_queries.nobodys_count(account),
        is_listed=len(members) <= MEMBERS_IN_A_LIST,
        choice_of=_choice_of,
        find=find,
        found=shared_queries.merchants_to_add(account, find) if find else [],
        passed_on=shared_queries.passed_on(account),
        payouts=sharing.payouts(g.merchant, account.id, limit=shared_queries.PAYOUTS_SHOWN),
    )


def _nobodys(account: BankAccount, members: Sequence[Member]) -> list[Nobodys]:
    postings = shared_queries.nobodys(account)
    likely = likely_members(g.merchant_id, postings, words.today())
    member_of = {one.merchant.id: one for one in members}
    rows = []
    for posting in postings:
        member = member_of.get(likely.get(posting.id, 0))
        typed = request.form.get(_field_of(posting.id))
        chosen = typed if typed is not None else _choice_of(member) if member else ""
        rows.append(Nobodys(posting, member, chosen))
    return rows


def _choice_of(member: Member) -> str:
    """``Annas Antiquariat (17)``: two merchants may have one name."""
    return f"{member.merchant.name} ({member.merchant.id})"


def _field_of(posting_id: int) -> str:
    return f"to-{posting_id}"


# --- whose postings they are ------------------------------------------------------------------


@pages.post("/shared-accounts/<int:account_id>/give")
def give(account_id: int) -> BaseResponse:
    """Pass on the posting whose button was pressed, or all that a merchant is chosen for."""
    account = _shared_or_404(account_id)
    try:
        copies = sharing.give(g.merchant, account.id, _chosen())
    except ValueError as refused:
        db.session.rollback()
        return _account_page(account, str(refused.args[0]))
    if not copies:
        return _account_page(account, "nothing_given")
    for merchant_id in {copy.merchant_id for copy in copies}:
        request_match(merchant_id, now())
    db.session.commit()
    return redirect(url_for(".show", account_id=account.id, done="given", n=len(copies)), 303)


def _chosen() -> dict[int, int]:
    """Posting id to merchant id. Raises ValueError."""
    one = request.form.get("one", "")
    found: dict[int, int] = {}
    for name, typed in request.form.items():
        prefix, _, posting_id = name.partition("-")
        if prefix != "to" or not _is_id(posting_id) or not typed.strip():
            continue
        if one and posting_id != one:
            continue
        found[int(posting_id)] = _merchant_id(typed)
    return found


def _merchant_id(typed: str) -> int:
    """Of ``17`` or ``Annas Antiquariat (17)``. Raises ValueError."""
    found = _NUMBER_AT_END.fullmatch(typed.strip())
    if found is None:
        raise ValueError("merchant_not_member")
    return int(found[1])


@pages.post("/shared-accounts/<int:account_id>/take-back")
def take_back(account_id: int) -> BaseResponse:
    """It was somebody else's after all."""
    account = _shared_or_404(account_id)
    posting_id = request.form.get("posting", "")
    try:
        if not _is_id(posting_id):
            raise ValueError("posting_not_passed_on")
        sharing.take_back_one(g.merchant, account.id, int(posting_id))
    except ValueError as refused:
        db.session.rollback()
        key = str(refused.args[0])
        return _account_page(account, "member_assigned_it" if key == "posting_taken" else key)
    request_match(g.merchant_id, now())
    db.session.commit()
    return redirect(url_for(".show", account_id=account.id, done="taken_back"), 303)


# --- members ----------------------------------------------------------------------------------


@pages.post("/shared-accounts/<int:account_id>/members")
def add_member(account_id: int) -> BaseResponse:
    account = _shared_or_404(account_id)
    typed = request.form.get("merchant", "")
    try:
        merchant_id = int(typed) if _is_id(typed) else 0
        sharing.add_member(g.merchant, account.id, merchant_id)
    except ValueError as refused:
        db.session.rollback()
        return _account_page(account, str(refused.args[0]))
    ask_waiting(merchant_id, now())
    db.session.commit()
    return redirect(url_for(".show", account_id=account.id, done="member_added"), 303)


@pages.get("/shared-accounts/<int:account_id>/members/<int:merchant_id>/remove")
def ask_remove(account_id: int, merchant_id: int) -> Response:
    account = _shared_or_404(account_id)
    return page(
        "shared_remove.html",
        account=account,
        name=_name(account),
        member=_member_or_404(account, merchant_id),
    )


@pages.post("/shared-accounts/<int:account_id>/members/<int:merchant_id>/remove")
def remove(account_id: int, merchant_id: int) -> BaseResponse:
    account = _shared_or_404(account_id)
    _member_or_404(account, merchant_id)
    sharing.remove_member(g.merchant, account.id, merchant_id)
    db.session.commit()
    return redirect(url_for(".show", account_id=account.id, done="member_removed"), 303)


# --- movements --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entered:
    """A movement as it was typed. ``merchant`` is a number or a name with one."""

    merchant: str
    kind: str
    amount: str
    reference: str
    on: str


@pages.get("/shared-accounts/<int:account_id>/movement")
def ask_movement(account_id: int) -> Response:
    """The form; ``?merchant=`` says for whom."""
    account = _shared_or_404(account_id)
    today = words.today().isoformat()
    return _movement_page(account, Entered(request.args.get("merchant", ""), "fee", "", "", today))


def _movement_page(account: BankAccount, entered: Entered, problem: str | None = None) -> Response:
    members = sharing.members(g.merchant, account.id)
    chosen = next((one for one in members if str(one.merchant.id) == entered.merchant), None)
    return page(
        "shared_movement.html",
        422 if problem else 200,
        account=account,
        name=_name(account),
        members=members,
        is_listed=len(members) <= MEMBERS_IN_A_LIST,
        choice_of=_choice_of,
        typed=_choice_of(chosen) if chosen else entered.merchant,
        entered=entered,
        kinds=list(BOOKED),
        problem=problem,
        wrong_field=FIELD_OF_PROBLEM.get(problem or ""),
        longest=sharing.MAX_REFERENCE_LENGTH,
    )


@pages.post("/shared-accounts/<int:account_id>/movement")
def add_movement(account_id: int) -> BaseResponse:
    account = _shared_or_404(account_id)
    names = ("merchant", "kind", "amount", "reference", "on")
    entered = Entered(*(plain(request.form.get(name, "")) for name in names))
    try:
        kind, sign = BOOKED.get(entered.kind, ("", 1))
        sharing.add_movement(
            g.merchant,
            account.id,
            _merchant_id(entered.merchant),
            kind=kind,
            amount=sign * _positive(entered.amount),
            reference=entered.reference,
            on=_day(entered.on, "movement_date_invalid", back=DAYS_BACK),
            actor=g.user.email,
        )
    except ValueError as refused:
        db.session.rollback()
        return _movement_page(account, entered, str(refused.args[0]))
    db.session.commit()
    return redirect(url_for(".show", account_id=account.id, done="movement_added"), 303)


def _positive(typed: str) -> Decimal:
    amount = words.read_amount(typed)
    if amount is None or amount <= 0:
        raise ValueError("movement_amount_invalid")
    return amount


def _day(typed: str, problem: str, *, back: timedelta) -> date:
    """A day not too far away. Raises ValueError with that message key."""
    today = words.today()
    try:
        day = date.fromisoformat(typed)
    except ValueError:
        raise ValueError(problem) from None
    if not today - back <= day <= today + DAYS_AHEAD:
        raise ValueError(problem)
    return day


# --- paying out -------------------------------------------------------------------------------


@pages.get("/shared-accounts/<int:account_id>/payout")
def ask_payout(account_id: int) -> Response:
    """What the file will hold, and who is left out and why."""
    return _payout_page(_shared_or_404(account_id), words.today().isoformat())


def _payout_page(account: BankAccount, on: str, problem: str | None = None) -> Response:
    plan = sharing.payout_plan(g.merchant, account.id)
    paid = [line for line in plan if line.reason is None]
    left_out = [line for line in plan if line.reason is not None]
    shown = [line.member.account for line in paid[:LINES_SHOWN]]
    return page(
        "shared_payout.html",
        422 if problem else 200,
        account=account,
        name=_name(account),
        on=on,
        problem=problem,
        payable=account.currency == sharing.PAYABLE_CURRENCY,
        paid=paid[:LINES_SHOWN],
        paid_count=len(paid),
        left_out=left_out[:LINES_SHOWN],
        left_out_count=len(left_out),
        total=sum((line.amount for line in paid), Decimal(0)),
        seen=sharing.plan_fingerprint(plan),
        last=sharing.last_payouts_to(shown),
    )


@pages.post("/shared-accounts/<int:account_id>/payout")
def pay_out(account_id: int) -> BaseResponse:
    """Books the payouts and answers with the file for the bank."""
    account = _shared_or_404(account_id)
    typed = plain(request.form.get("on", ""))
    try:
        content = sharing.pay_out(
            g.merchant,
            account.id,
            at=now(),
            on=_day(typed, "payout_date_invalid", back=timedelta()),
            actor=g.user.email,
            seen=request.form.get("seen", ""),
        )
    except ValueError as refused:
        db.session.rollback()
        key = str(refused.args[0])
        known = words.has_text(f"problem.{key}")
        return _payout_page(account, typed, key if known else "payout_not_writable")
    db.session.commit()
    (made,) = sharing.payouts(g.merchant, account.id, limit=1)
    return _file(content, made.message_id)


@pages.get("/shared-accounts/<int:account_id>/payouts/<message_id>.xml")
def payout_file(account_id: int, message_id: str) -> Response:
    """The same file once more."""
    account = _shared_or_404(account_id)
    content = sharing.rebuild(g.merchant, account.id, message_id)
    if content is None:
        abort(404)
    return _file(content, message_id)


def _file(content: bytes, message_id: str) -> Response:
    response = Response(content, content_type="application/xml; charset=utf-8")
    response.headers.set("Content-Disposition", "attachment", filename=f"{message_id}.xml")
    return response


# --- what all of them need --------------------------------------------------------------------


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _name(account: BankAccount) -> str:
    return account.label or queries.bank_name(account.iban)


def _own_or_404(account_id: int) -> BankAccount:
    """An account of the operator; 404 for everybody else."""
    merchant = g.merchant
    assert isinstance(merchant, Merchant)
    account = account_of(merchant.id, account_id) if merchant.is_operator else None
    if account is None or account.shared_account_id is not None:
        abort(404)
    return account


def _shared_or_404(account_id: int) -> BankAccount:
    account = _own_or_404(account_id)
    if not account.is_shared:
        abort(404)
    return account


def _member_or_404(account: BankAccount, merchant_id: int) -> Member:
    members = sharing.members(g.merchant, account.id)
    found = next((one for one in members if one.merchant.id == merchant_id), None)
    if found is None:
        abort(404)
    return found
