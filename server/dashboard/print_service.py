"""Who prints the letters: the service, what it asks, test letters, and the days' folder (K39, K60).

Everybody sees it; administrators change it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zipfile import ZIP_STORED, ZipFile

from flask import Blueprint, Response, abort, g, redirect, request, send_file, url_for
from sqlalchemy import func, select
from werkzeug.wrappers import Response as BaseResponse

from plugin_sdk.errors import ConnectorError
from server.config import installed
from server.dashboard import letter_queries, queries, words
from server.dashboard.access import require_administrator
from server.dashboard.attention import Attention
from server.dashboard.letters import shown_pdf
from server.dashboard.pages import asked_day, asked_shop, page
from server.dashboard.words import t
from server.db import db, now
from server.egress import AddressRefused
from server.letters import services
from server.letters.adapters.folder import Folder
from server.letters.handover import NO_SERVICE, note_trouble
from server.letters.kinds import KINDS
from server.letters.models import Letter, PrintService
from server.letters.rules import SHEETS_OF_PRICES, PriceError
from server.letters.services import ADAPTERS, CURRENCIES, ServiceError
from server.letters.wording import EDITIONS
from server.orders.letter_samples import TEST_KINDS, queue_sample, sample_letter, sample_look
from server.shops.models import Shop
from server.vault import VaultLocked

pages = Blueprint("print_service", __name__)

PRICES: Final = ("first_sheet", "further_sheet", "registered")
CHOICES: Final[Mapping[str, tuple[str, ...]]] = {"mode": ("live", "test"), "color": ("no", "yes")}
"""Settings of adapters that are chosen, not typed; the first is the usual one."""
DAYS_SHOWN: Final = 31
LOOKED_BACK: Final = timedelta(days=90)
LOST_SHOWN_FOR: Final = timedelta(days=30)
"""Whoever has not looked after a letter that came back by then will not."""
MEMORY_BYTES: Final = 16 * 1024**2
"""A larger archive is put together on disk."""
MAX_TYPED: Final = 500

assert set(PRICES) == SHEETS_OF_PRICES, "every price has a field"


@dataclass(frozen=True, slots=True)
class Field:
    """A setting of an adapter as a form shows it; a secret is never filled in."""

    name: str
    value: str
    is_required: bool
    is_secret: bool
    choices: tuple[str, ...]


# --- the page ----------------------------------------------------------------------------------


@pages.get("/letters/service")
def show() -> Response:
    return _service_page()


def _service_page(code: int = 200, **more: Any) -> Response:
    row = services.service_of(g.merchant_id)
    wanted = request.values.get("adapter", "")
    adapter = wanted if wanted in ADAPTERS else (row.adapter if row else next(iter(ADAPTERS)))
    shop = asked_shop()
    facts: dict[str, Any] = {
        "row": row,
        "adapter": adapter,
        "adapters": tuple(ADAPTERS),
        "fields": _fields(adapter, row),
        "prices": _prices(row),
        "currencies": CURRENCIES,
        "currency": _typed("currency") or (row.currency if row else CURRENCIES[0]),
        "days": _days(),
        "kinds": tuple(KINDS),
        "test_kinds": TEST_KINDS,
        "editions": EDITIONS,
        "shops": queries.shops(g.merchant_id),
        "shop": shop,
        "kind": _asked("kind", tuple(KINDS)),
        "edition": _asked("edition", EDITIONS),
        "may_change": g.user.is_administrator,
        "problems": {},
        "checked": None,
        "check_error": None,
    }
    return page("print_service.html", code, **(facts | more))


def _typed(name: str) -> str:
    return request.form.get(name, "").replace("\x00", "").strip()[:MAX_TYPED]


def _asked(name: str, known: tuple[str, ...]) -> str:
    typed = request.values.get(name, "")
    return typed if typed in known else known[0]


def _fields(adapter: str, row: PrintService | None) -> list[Field]:
    """With what was typed, else with what is stored; nothing of it where the vault is locked."""
    stored: Mapping[str, str] = {}
    if row is not None and row.adapter == adapter:
        try:
            stored = services.shown_settings(row)
        except VaultLocked:
            stored = {}
    known = ADAPTERS[adapter]
    return [
        Field(
            name,
            "" if name in known.secret else request.form.get(name, stored.get(name, "")),
            name in known.required,
            name in known.secret,
            CHOICES.get(name, ()),
        )
        for name in (*known.required, *known.optional)
    ]


def _prices(row: PrintService | None) -> dict[str, str]:
    """As they are typed, in the reader's way of writing decimals."""
    stored = row.prices if row is not None else {}
    comma = words.language() == "de"
    shown = {name: stored.get(name, "") for name in PRICES}
    if comma:
        shown = {name: price.replace(".", ",") for name, price in shown.items()}
    return {name: request.form.get(f"price_{name}", shown[name]) for name in PRICES}


# --- changing it ----------------------------------------------------------------------------------


@pages.post("/letters/service")
def save() -> BaseResponse:
    require_administrator()
    adapter = _typed("adapter")
    known = ADAPTERS.get(adapter)
    names = (*known.required, *known.optional) if known else ()
    try:
        services.save_service(
            g.merchant_id,
            adapter,
            {name: _typed(name) for name in names},
            {name: _typed(f"price_{name}") for name in PRICES},
            _typed("currency"),
            actor=g.user.email,
            at=now(),
        )
    except ServiceError as refused:
        key, field = str(refused.args[0]), str(refused.args[1])
        return _refused(key, "currency" if key == "currency_unknown" else field)
    except PriceError as refused:
        return _refused("price_invalid", f"price_{refused.args[0]}")
    except AddressRefused:
        return _refused("address_refused", "url")
    except ConnectorError:
        return _refused("setting_invalid", next(iter(names), "adapter"))
    db.session.commit()
    return redirect(url_for(".show", done="print_service_saved"), 303)


def _refused(key: str, field: str) -> Response:
    db.session.rollback()
    return _service_page(422, problems={field: t(f"print_service.problem_{key}")})


@pages.post("/letters/service/remove")
def remove() -> BaseResponse:
    """Letters wait from then on."""
    require_administrator()
    services.forget_service(g.merchant_id)
    db.session.commit()
    return redirect(url_for(".show", done="print_service_removed"), 303)


@pages.post("/letters/service/check")
def check() -> BaseResponse:
    """Ask the service now; nothing is held open meanwhile."""
    require_administrator()
    row = services.service_of(g.merchant_id)
    if row is None:
        return redirect(url_for(".show"), 303)
    try:
        said = services.check_service(row, db.session.commit)
    except (ConnectorError, VaultLocked) as error:
        return _service_page(409, check_error=" ".join(str(error).split())[:MAX_TYPED])
    note_trouble(g.merchant_id, None, now())
    db.session.commit()
    db.session.expire_all()  # whoever removed it meanwhile has removed it
    return _service_page(checked=said)


# --- preview and test letters ---------------------------------------------------------------------


@pages.get("/letters/service/sample.pdf")
def sample() -> Response:
    """An invented letter of a kind in an edition, in the look of a shop (K39)."""
    shop = asked_shop() or _only_shop()
    kind, edition = _asked("kind", tuple(KINDS)), _asked("edition", EDITIONS)
    look = sample_look(shop, g.merchant.name)
    pdf = sample_letter(kind, edition, look, shop.name if shop else None, words.today())
    return shown_pdf(pdf, f"sample-{kind.replace('_', '-')}.pdf")


@pages.post("/letters/service/test")
def send_test() -> BaseResponse:
    """A test letter: made by the same worker as any other, printed by nobody, free (K39)."""
    require_administrator()
    shop = asked_shop() or _only_shop()
    letter_id = queue_sample(
        _asked("kind", TEST_KINDS),
        _asked("edition", EDITIONS),
        sample_look(shop, g.merchant.name),
        shop,
        merchant_id=g.merchant_id,
        actor=g.user.email,
        today=words.today(),
        at=now(),
    )
    db.session.commit()
    return redirect(url_for("dashboard.letters.show", letter_id=letter_id, done="test_letter"), 303)


def _only_shop() -> Shop | None:
    return next(iter(queries.shops(g.merchant_id)), None)


# --- the folder -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Day:
    """The letters of a day in the print folder."""

    day: date
    count: int


def _days() -> list[Day]:
    """The newest first."""
    place = _place()
    if not place.is_dir():
        return []
    found = [(day, path) for path in place.iterdir() if (day := _day_of(path)) is not None]
    newest = sorted(found, reverse=True)[:DAYS_SHOWN]
    return [Day(day, sum(1 for _ in path.glob("[0-9]*-letter-*.pdf"))) for day, path in newest]


def _place() -> Path:
    return Folder(installed().var, g.merchant_id).place


def _day_of(path: Path) -> date | None:
    try:
        return date.fromisoformat(path.name)
    except ValueError:
        return None


@pages.get("/letters/service/folder.zip")
def folder() -> Response:
    """All that was laid in the folder on the ``day`` of the URL, for who prints himself."""
    require_administrator()
    day = asked_day("day")
    path = _place() / (day.isoformat() if day is not None else "none")
    if day is None or not path.is_dir():
        abort(404)
    archive = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115  sent, then closed
    with ZipFile(archive, "w", ZIP_STORED) as packed:
        for file in sorted(path.iterdir()):
            if file.is_file() and not file.name.startswith("."):
                packed.write(file, file.name)
    archive.seek(0)
    return send_file(
        archive,
        mimetype="application/zip",
        as_attachment=True,
        download_name=f"{t('letters.filename')}-{day.isoformat()}.zip",
    )


# --- on Today -----------------------------------------------------------------------------------


def lines(merchant_id: int, at: datetime) -> list[Attention]:
    """Letters that do not leave, came back, or of which nobody knows."""
    row = services.service_of(merchant_id)
    found = []
    if row is not None and row.error_since is not None:
        found.append(
            Attention(
                icon="warn",
                colour="bad",
                title=t("print_service.today_error"),
                text=t(
                    "print_service.today_error_text",
                    since=words.moment(row.error_since),
                    error=row.error or "",
                ),
                href=url_for("dashboard.print_service.show"),
                action=t("action.look"),
            )
        )
    recent = Letter.created_at > at - LOOKED_BACK
    waiting = _count(merchant_id, recent, Letter.status == "queued", Letter.error == NO_SERVICE)
    if row is None and waiting:
        found.append(
            Attention(
                icon="letter",
                colour="warn",
                title=t("print_service.today_nobody", n=waiting),
                text=t("print_service.today_nobody_text"),
                href=url_for("dashboard.print_service.show"),
                action=t("print_service.choose"),
            )
        )
    unknown = _count(merchant_id, recent, Letter.status == "unknown")
    if unknown:
        found.append(
            Attention(
                icon="ask",
                colour="warn",
                title=t("print_service.today_unknown", n=unknown),
                text=t("print_service.today_unknown_text"),
                href=url_for("dashboard.letters.show_all", state="unknown", period="all"),
                action=t("action.decide"),
            )
        )
    lost = _count(
        merchant_id, letter_queries.in_state("lost"), Letter.created_at > at - LOST_SHOWN_FOR
    )
    if lost:
        found.append(
            Attention(
                icon="warn",
                colour="warn",
                title=t("print_service.today_lost", n=lost),
                text=t("print_service.today_lost_text"),
                href=url_for("dashboard.letters.show_all", state="lost"),
                action=t("action.look"),
            )
        )
    return found


def _count(merchant_id: int, *wanted: Any) -> int:
    query = select(func.count()).select_from(Letter).where(Letter.merchant_id == merchant_id)
    return int(db.session.scalar(query.where(*wanted)) or 0)
