"""Everything that moved an account: the list, its export, and where a balance is paid out to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from flask import (
    Blueprint,
    Response,
    abort,
    g,
    redirect,
    request,
    send_file,
    url_for,
)
from werkzeug.wrappers import Response as BaseResponse

from server.banking import sharing
from server.banking.models import BankAccount
from server.banking.service import account_of
from server.dashboard import bank_queries, export, shared_queries, words
from server.dashboard.pages import asked_day, page, plain
from server.dashboard.shared_queries import Cursor, MovementFilter, MovementRow
from server.dashboard.status import Badge
from server.db import db

pages = Blueprint("movements", __name__)

FILTER_ARGUMENTS = ("type", "from", "to", "text")
COLUMNS = ("booked_on", "kind", "amount", "currency", "balance", "name", "iban", "text")
FIELD_OF_PROBLEM = {
    "iban_invalid": "payout_iban",
    "payout_name_missing": "payout_name",
    "payout_name_not_latin": "payout_name",
}
ICONS = {
    "received": ("paid", "ok"),
    "sent": ("upload", "off"),
    "return": ("refunded", "warn"),
    "payout": ("bank", "part"),
    "fee": ("removed", "off"),
    "refund": ("refunded", "back"),
    "correction": ("partial", "off"),
}


# --- what the URL asks for --------------------------------------------------------------------


def _asked(account: BankAccount) -> MovementFilter:
    """What makes no sense is left out, never an error."""
    kind = request.args.get("type", "")
    text = plain(request.args.get("text", ""))
    known = kind in shared_queries.kinds_of(account)
    return MovementFilter(kind if known else "", asked_day("from"), asked_day("to"), text)


def _cursor() -> Cursor | None:
    """``<date>_<0 or 1>_<id>``: where the page before ended."""
    day, _, rest = request.args.get("after", "").partition("_")
    source, _, row_id = rest.partition("_")
    if source not in ("0", "1") or not (row_id.isdecimal() and len(row_id) < 19):
        return None
    try:
        return date.fromisoformat(day), int(source), int(row_id)
    except ValueError:
        return None


def _kept() -> dict[str, Any]:
    return {name: request.args[name] for name in FILTER_ARGUMENTS if request.args.get(name)}


# --- the list ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entered:
    """The payout account as it was typed."""

    iban: str
    name: str


@pages.get("/bank-accounts/<int:account_id>/movements")
def show(account_id: int) -> BaseResponse:
    account = _account_or_404(account_id)
    other = request.args.get("account", "")
    if other.isdecimal() and other != str(account.id):
        accounts = {str(one.id): one for one in bank_queries.accounts(g.merchant_id)}
        if other in accounts:
            return redirect(url_for(".show", account_id=other, **_kept()), 303)
    return _list_page(account)


def _list_page(
    account: BankAccount,
    *,
    entered: Entered | None = None,
    problem: str | None = None,
    export_problem: str | None = None,
) -> Response:
    wanted = _asked(account)
    rows, has_more = shared_queries.movement_page(account, wanted, _cursor())
    is_shared = account.shared_account_id is not None
    return page(
        "movements.html",
        422 if problem or export_problem else 200,
        account=account,
        accounts=bank_queries.accounts(g.merchant_id),
        is_member=is_shared,
        balance=sharing.balance_of(account) if is_shared else None,
        last_payout=sharing.last_payouts_to([account]).get(account.id),
        entered=entered or Entered(words.iban(account.payout_iban or ""), _payee(account)),
        problem=problem,
        wrong_field=FIELD_OF_PROBLEM.get(problem or ""),
        export_problem=export_problem,
        wanted=wanted,
        kinds=shared_queries.kinds_of(account),
        rows=[(row, _badge(row.kind), _said(row)) for row in rows],
        sums=shared_queries.movement_sums(account, wanted),
        kept=_kept(),
        start=url_for(".show", account_id=account.id, **_kept()) if _cursor() else None,
        more=_more(account, rows[-1]) if has_more else None,
    )


def _payee(account: BankAccount) -> str:
    return account.payout_name or str(g.merchant.name)


def _more(account: BankAccount, last: MovementRow) -> str:
    day, source, row_id = last.cursor
    after = f"{day.isoformat()}_{source}_{row_id}"
    return url_for(".show", account_id=account.id, **_kept(), after=after)


def _badge(kind: str) -> Badge:
    icon, colour = ICONS[kind]
    return Badge(icon, colour, words.t(f"movement_kind.{kind}"))


def _said(row: MovementRow) -> str:
    """A payout by file names the account that it went to rather than the file."""
    _, iban, name = sharing.payout_parts(row.text if row.kind == "payout" else "")
    if iban:
        return str(words.t("movements.paid_to", name=name, iban=words.iban(iban)))
    return row.text


# --- where the balance goes -------------------------------------------------------------------


@pages.post("/bank-accounts/<int:account_id>/payout-account")
def set_payout(account_id: int) -> BaseResponse:
    """Name the account that the merchant's balance is paid out to."""
    account = _account_or_404(account_id)
    typed = Entered(_typed("payout_iban"), _typed("payout_name"))
    try:
        if sharing.set_payout(g.merchant_id, account.id, typed.iban, typed.name) is None:
            raise ValueError("account_not_shared")
    except ValueError as refused:
        db.session.rollback()
        return _list_page(account, entered=typed, problem=str(refused.args[0]))
    db.session.commit()
    return redirect(url_for(".show", account_id=account.id, done="payout_account_set"), 303)


def _typed(name: str) -> str:
    return plain(request.form.get(name, ""))


# --- export -----------------------------------------------------------------------------------


@pages.get("/bank-accounts/<int:account_id>/movements/export.csv")
def as_csv(account_id: int) -> BaseResponse:
    """The filtered movements for a spreadsheet, written while they are read."""
    account = _account_or_404(account_id)
    if _is_too_much(account):
        return _list_page(account, export_problem="export_too_large")
    return export.csv_download(_exported(account), _filename("csv"))


@pages.get("/bank-accounts/<int:account_id>/movements/export.xlsx")
def as_xlsx(account_id: int) -> BaseResponse:
    account = _account_or_404(account_id)
    if _is_too_much(account):
        return _list_page(account, export_problem="export_too_large")
    return send_file(
        export.xlsx_file(_exported(account)),
        mimetype=export.XLSX_TYPE,
        as_attachment=True,
        download_name=_filename("xlsx"),
    )


def _is_too_much(account: BankAccount) -> bool:
    sums = shared_queries.movement_sums(account, _asked(account))
    return sum(one.count for one in sums) > export.MOST_ROWS


def _filename(ending: str) -> str:
    return f"{words.t('movements.filename')}-{words.today().isoformat()}.{ending}"


def _exported(account: BankAccount) -> Iterator[list[export.Cell]]:
    """The head, then a row for each movement; read one by one, never all at once."""
    is_shared = account.shared_account_id is not None
    columns = [name for name in COLUMNS if is_shared or name != "balance"]
    yield [str(words.t(f"movements.col_{name}")) for name in columns]
    for row in shared_queries.all_movements(account, _asked(account)):
        yield [_cell(row, name) for name in columns]


def _cell(row: MovementRow, name: str) -> export.Cell:
    if name == "kind":
        return str(words.t(f"movement_kind.{row.kind}"))
    if name == "text":
        return _said(row)
    found: export.Cell = getattr(row, name)
    return found


def _account_or_404(account_id: int) -> BankAccount:
    account = account_of(g.merchant_id, account_id)
    if account is None:
        abort(404)
    return account
