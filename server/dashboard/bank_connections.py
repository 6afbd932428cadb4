"""Accesses to banks (FinTS): connecting one step by step, its health, fetching at once.

The bank is asked inside the request, between two transactions (``banking.fetching``); meanwhile
a worker must not ask the same bank, so the row's next fetch is moved out of its way first.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from datetime import date, datetime, timedelta

from flask import Blueprint, Response, abort, g, redirect, request, url_for
from limits import RateLimitItem, RateLimitItemPerMinute
from werkzeug.wrappers import Response as BaseResponse

from plugin_sdk.errors import Misconfigured, Temporary
from server.banking import fetching
from server.banking.fetching import MAX_TYPED_LENGTH, MAX_URL_LENGTH
from server.banking.fints import rules
from server.banking.fints.banks import Bank, find_bank
from server.banking.fints.connection import checked_url
from server.banking.models import BankConnection
from server.config import installed
from server.dashboard import account_queries, sentences, words
from server.dashboard.pages import page, part
from server.dashboard.sentences import Sentence
from server.dashboard.status import Badge
from server.dashboard.words import t
from server.db import db, now
from server.visitors import attempt_limits

pages = Blueprint("bank_connections", __name__)

TALKS = RateLimitItemPerMinute(40, 15, namespace="bank-talks")
POLLS = RateLimitItemPerMinute(300, 15, namespace="bank-polls")
WORKER_STAYS_AWAY = timedelta(minutes=5)
MAX_CODE_LENGTH = 42
MAX_TAN_LENGTH = 99
LEAST_POLL_SECONDS = 3
YEARS = range(2000, 2200)

_LOOKS = {
    "setting_up": ("partial", "part"),
    "connected": ("check", "ok"),
    "needs_you": ("warn", "warn"),
    "refused": ("warn", "bad"),
    "disabled": ("cancelled", "off"),
}
_ABOUT_ACCOUNT = re.compile(r"(?P<iban>[A-Z]{2}\d{2}[A-Z0-9]{8,30}): (?P<why>.+)")
_STAGES = ("bank", "login", "confirm", "accounts")


# --- how an access is doing --------------------------------------------------------------------


def badge(row: BankConnection) -> Badge:
    """The health as an icon and a word."""
    icon, colour = _LOOKS[row.health]
    return Badge(icon, colour, t(f"health.{row.health}"), tinted=colour in {"warn", "bad"})


def shown(merchant_id: int) -> list[BankConnection]:
    """All but those that were ended."""
    return [row for row in fetching.connections(merchant_id) if row.health != "disabled"]


def unfinished(merchant_id: int) -> list[BankConnection]:
    """Those that somebody must do something about: set them up to the end, or confirm."""
    return [row for row in shown(merchant_id) if row.health != "connected" or row.step]


def needing_somebody(merchant_id: int) -> list[BankConnection]:
    return [row for row in shown(merchant_id) if row.health in {"needs_you", "refused"}]


def why(row: BankConnection) -> list[Sentence]:
    """What the bank or we said last, in the reader's language as far as it is known; a line an
    account where it is about accounts."""
    return [_said(line) for line in (row.error or "").splitlines() if line]


def _said(line: str) -> Sentence:
    if words.has_text(f"bank_said.{line}"):
        return Sentence(str(t(f"bank_said.{line}")))
    account = _ABOUT_ACCOUNT.fullmatch(line)
    if account is None:
        return sentences.say(line)
    said = sentences.say(account["why"])
    return Sentence(f"{words.iban(account['iban'])}: {said.text}", said.language)


# --- a new one --------------------------------------------------------------------------------


@pages.get("/bank-connections/new")
def ask_add() -> Response:
    """First the bank, then the log-in, on one page: ``?code=`` has found the bank."""
    return _new_page()


def _new_page(
    code: int = 200, *, problem: str | None = None, said: Sentence | None = None
) -> Response:
    asked = request.values.get("code", "").replace("\x00", "").strip()[:MAX_CODE_LENGTH]
    bank = find_bank(asked) if asked else None
    if asked and bank is None:
        problem, code = "bank_unknown", 422
    url = _typed("own_url", MAX_URL_LENGTH) or _typed("url", MAX_URL_LENGTH)
    return page(
        "bank_connection_new.html",
        code,
        is_registered=installed().fints_product_id is not None,
        stages=_STAGES,
        stage="login" if bank else "bank",
        asked=asked,
        bank=bank,
        problem=problem,
        said=said,
        typed={
            "url": url,
            "user": _typed("user", MAX_TYPED_LENGTH),
            "customer_id": _typed("customer_id", MAX_TYPED_LENGTH),
            "not_before": _typed("not_before", 10),
        },
        longest=MAX_TYPED_LENGTH,
        longest_url=MAX_URL_LENGTH,
    )


@pages.post("/bank-connections/new")
def add() -> BaseResponse:
    bank = find_bank(_typed("code", MAX_CODE_LENGTH))
    if bank is None:
        return _new_page(422, problem="bank_unknown")
    if _too_often(TALKS):
        return _new_page(429, problem="bank_too_often")
    at = now()
    try:
        row = _added(bank, at)
    except ValueError as refused:
        db.session.rollback()
        return _new_page(422, problem=str(refused.args[0]))
    except Misconfigured as refused:
        return _new_page(422, problem="bank_url_invalid", said=sentences.say(str(refused)))
    return _talk(row, lambda: fetching.begin(row, at), counts=False)


def _added(bank: Bank, at: datetime) -> BankConnection:
    """Raises ValueError with a message key; Misconfigured if the address cannot be one."""
    url = _typed("own_url", MAX_URL_LENGTH + 1) or _typed("url", MAX_URL_LENGTH + 1)
    if url:
        checked_url(url, allows_loopback=installed().allow_private_addresses)
    return fetching.add_connection(
        g.merchant_id,
        bank,
        url=url,
        user=_typed("user", MAX_TYPED_LENGTH + 1),
        pin=request.form.get("pin", ""),
        customer_id=_typed("customer_id", MAX_TYPED_LENGTH + 1),
        not_before=_date(_typed("not_before", 10)),
        at=at,
    )


def _date(text: str) -> date | None:
    if not text:
        return None
    try:
        found = date.fromisoformat(text)
    except ValueError:
        raise ValueError("not_before_invalid") from None
    if found.year not in YEARS:
        raise ValueError("not_before_invalid")
    return found


# --- one access -------------------------------------------------------------------------------


@pages.get("/bank-connections/<int:connection_id>")
def show(connection_id: int) -> Response:
    return _page(_row_or_404(connection_id))


def _page(
    row: BankConnection,
    code: int = 200,
    *,
    problem: str | None = None,
    said: Sentence | None = None,
) -> Response:
    """Whatever comes next: a step of setting it up, or how it is doing."""
    asks = (row.step or {}).get("asks")
    accounts = account_queries.accounts_of_connection(g.merchant_id, row.id)
    known = {account.iban for account in accounts}
    return page(
        "bank_connection.html",
        code,
        row=row,
        look=badge(row),
        asks=asks,
        step=row.step or {},
        stages=_STAGES,
        stage={"accounts": "accounts", None: "login"}.get(asks, "confirm"),
        accounts=accounts,
        other_accounts=[one for one in row.found if one["iban"] not in known],
        why=why(row),
        problem=problem,
        said=said,
        consent_ends=_consent_ends(row),
        poll_seconds=_poll_seconds(row),
        longest_tan=MAX_TAN_LENGTH,
    )


def _consent_ends(row: BankConnection) -> date | None:
    """When the bank will want a person again; None if it asks every time, or is not known."""
    if row.consent_at is None or row.consent_days == 0:
        return None
    return rules.consent(words.local(row.consent_at).date(), row.consent_days).ends_on


def _poll_seconds(row: BankConnection) -> int | None:
    step = row.step or {}
    if not step.get("is_decoupled") or not step.get("may_poll"):
        return None
    return max(int(step.get("poll_after_seconds") or 0), LEAST_POLL_SECONDS)


@pages.get("/bank-connections/<int:connection_id>/picture")
def picture(connection_id: int) -> Response:
    """The picture of the challenge, to be scanned from the screen."""
    step = _row_or_404(connection_id).step or {}
    if not step.get("picture"):
        abort(404)
    return Response(base64.b64decode(step["picture"]), mimetype=step["picture_mime"])


# --- steps ------------------------------------------------------------------------------------


@pages.post("/bank-connections/<int:connection_id>/begin")
def begin(connection_id: int) -> BaseResponse:
    """Log in again, because the bank wants it or the first time went wrong."""
    row = _row_or_404(connection_id)
    asks_method = "other-method" in request.args
    return _talk(row, lambda: fetching.begin(row, now(), asks_method=asks_method))


@pages.post("/bank-connections/<int:connection_id>/method")
def choose_method(connection_id: int) -> BaseResponse:
    row = _row_or_404(connection_id)
    step = row.step or {}
    if step.get("asks") not in ("method", "medium"):
        return _to(row)
    offered = [method["id"] for method in step["methods"]]
    method, medium = request.form.get("method", ""), request.form.get("medium") or None
    if method not in offered or (step["media"] and medium not in step["media"]):
        return _page(row, 422, problem="bank_method_missing")
    return _talk(row, lambda: fetching.choose_method(row, method, medium, now()))


@pages.post("/bank-connections/<int:connection_id>/confirm")
def confirm(connection_id: int) -> BaseResponse:
    """The TAN, or "I have confirmed it in the app"."""
    row = _row_or_404(connection_id)
    step = row.step or {}
    if step.get("asks") != "tan":
        return _to(row)
    tan = _typed("tan", MAX_TAN_LENGTH) or None
    if tan is None and not step["is_decoupled"]:
        return _page(row, 422, problem="bank_tan_missing")
    return _talk(row, lambda: fetching.confirm(row, tan, now()))


@pages.post("/bank-connections/<int:connection_id>/poll")
def poll(connection_id: int) -> BaseResponse:
    """The page asks for us whether the app was used; it goes on by itself when it was."""
    row = _row_or_404(connection_id)
    may_ask = not _too_often(POLLS)
    if may_ask and (row.step or {}).get("asks") == "tan" and _poll_seconds(row):
        _talk(row, lambda: fetching.confirm(row, None, now()), counts=False)
    if (row.step or {}).get("asks") == "tan":
        seconds = _poll_seconds(row) if may_ask else None
        return Response(part("_bank_waiting.html", row=row, poll_seconds=seconds))
    return Response(status=204, headers={"HX-Redirect": _to(row).location})


@pages.post("/bank-connections/<int:connection_id>/accounts")
def choose_accounts(connection_id: int) -> BaseResponse:
    """These from now on; the first fetch is made at once, while somebody can still confirm it."""
    row = _row_or_404(connection_id)
    if (row.step or {}).get("asks") != "accounts" and row.health != "connected":
        return _to(row)
    try:
        fetching.choose_accounts(row, request.form.getlist("iban"), now())
    except ValueError as refused:
        db.session.rollback()
        return _page(row, 422, problem=str(refused.args[0]))
    return _talk(row, lambda: None)


@pages.post("/bank-connections/<int:connection_id>/fetch")
def fetch(connection_id: int) -> BaseResponse:
    row = _row_or_404(connection_id)
    if row.connected_at is None or row.health == "disabled":
        return _to(row)
    return _talk(row, lambda: _fetch(row))


@pages.post("/bank-connections/<int:connection_id>/pin")
def change_pin(connection_id: int) -> BaseResponse:
    """A new PIN is tried at once, by somebody who sees what the bank says to it."""
    row = _row_or_404(connection_id)
    if row.health == "disabled":
        return _to(row)
    try:
        fetching.change_pin(row, request.form.get("pin", ""))
    except ValueError as refused:
        db.session.rollback()
        return _page(row, 422, problem=str(refused.args[0]))
    return _talk(row, lambda: fetching.begin(row, now()))


@pages.get("/bank-connections/<int:connection_id>/disconnect")
def ask_disconnect(connection_id: int) -> Response:
    row = _row_or_404(connection_id)
    return page("bank_disconnect.html", row=row, is_new=row.connected_at is None)


@pages.post("/bank-connections/<int:connection_id>/disconnect")
def disconnect(connection_id: int) -> BaseResponse:
    row = _row_or_404(connection_id)
    if row.health != "disabled":
        fetching.disconnect(row)
        db.session.commit()
    return redirect(url_for("dashboard.bank.show_all", done="disconnected"), 303)


# --- talking to the bank ----------------------------------------------------------------------


def _talk(row: BankConnection, ask: Callable[[], None], *, counts: bool = True) -> BaseResponse:
    """Ask the bank, keep what came of it, and show what is next.

    Once the access works and nobody is asked for anything, the postings are fetched too.
    """
    if row.health == "disabled":
        return _to(row)
    if counts and _too_often(TALKS):
        return _page(row, 429, problem="bank_too_often")
    due_at = _keep_worker_away(row)
    if due_at is None:
        return _page(row, 409, problem="bank_is_busy")
    fetched_at = row.fetched_at
    try:
        ask()
        is_ready = row.health == "connected" and row.step is None
        if is_ready and row.fetched_at == fetched_at:
            _fetch(row)
    except Temporary as error:
        row.due_at = min(row.due_at, due_at)
        said = sentences.say(str(error))
        db.session.commit()
        return _page(row, 503, problem="bank_is_away", said=said)
    db.session.commit()
    return _to(row, done="fetched" if row.fetched_at != fetched_at else None)


def _fetch(row: BankConnection) -> None:
    row.due_at = max(row.due_at, now() + WORKER_STAYS_AWAY)
    fetching.fetch(row, now(), is_attended=True)


def _keep_worker_away(row: BankConnection) -> datetime | None:
    """When the next fetch was due; None if a worker is at it right now."""
    db.session.flush()
    db.session.refresh(row, ["status", "due_at"], with_for_update=True)
    if row.status == "running":
        db.session.rollback()
        return None
    due_at = row.due_at
    row.due_at = max(due_at, now() + WORKER_STAYS_AWAY)
    return due_at


def _too_often(limit: RateLimitItem) -> bool:
    """Counts, and says whether it was too much: banks lock accesses that ask all the time."""
    key = str(g.merchant_id)
    if attempt_limits().is_reached(limit, key):
        return True
    attempt_limits().count(limit, key)
    return False


def _to(row: BankConnection, done: str | None = None) -> BaseResponse:
    return redirect(url_for(".show", connection_id=row.id, done=done), 303)


def _typed(name: str, longest: int) -> str:
    return request.form.get(name, "").replace("\x00", "").strip()[:longest]


def _row_or_404(connection_id: int) -> BankConnection:
    row = fetching.connection_of(g.merchant_id, connection_id)
    if row is None:
        abort(404)
    return row
