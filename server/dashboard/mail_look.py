"""How a shop's mails look and whom they come from (S2, S3, S14), with a preview beside the form."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from flask import Blueprint, Response, abort, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard import queries
from server.dashboard.access import require_administrator
from server.dashboard.mail_preview import Sample, asked_scheme, preview_frame
from server.dashboard.pages import asked_living_shop, page
from server.db import db, now
from server.mail.domains import proven_names
from server.mail.languages import LANGUAGES
from server.mail.pictures import (
    MAX_HEIGHT,
    MAX_PICTURE_BYTES,
    MAX_WIDTH,
    MIN_WIDTH,
    address_of,
    shown_height,
    store_picture,
)
from server.mail.rules import AddressError, checked_address
from server.mail.theme import FONTS, HEADER_WIDTH_PIXELS, Theme
from server.merchants.service import settings_of
from server.orders.identity import (
    COLOURS,
    LOOK,
    MAX_LEGAL_LINE_LENGTH,
    WrongIdentity,
    change_identity,
    checked_identity,
    cleaned_lines,
    edition_for,
    legal_line_of,
    system_address,
    theme_of,
)
from server.shops.models import Shop

pages = Blueprint("settings_look", __name__)

FIELDS = ("sender_name", "sender_address", "reply_to", "language", *LOOK, "legal_line")
MAX_TYPED_LENGTH = 2 * MAX_LEGAL_LINE_LENGTH
"""More than any field takes, so that what is too long is said and not cut."""
PREVIEWED_KIND = "payment_information"


def _shop() -> Shop | None:
    """The shop of the page: the one that is asked for, else the first; None if there is none."""
    return asked_living_shop() or next(iter(queries.living_shops(g.merchant_id)), None)


@pages.get("/settings/look")
def show() -> Response:
    shop = _shop()
    return _page(shop, _stored(shop), {})


def _page(shop: Shop | None, typed: Mapping[str, str], problems: Mapping[str, str]) -> Response:
    return page(
        "mail_look.html",
        422 if problems else 200,
        shop=shop,
        shops=queries.living_shops(g.merchant_id),
        typed=typed,
        problems=problems,
        colours=COLOURS,
        fonts=FONTS,
        languages=LANGUAGES,
        standard=Theme(),
        picture_path=urlsplit(theme_of(shop.look).header_image).path if shop else "",
        unproven=_unproven_domain(shop),
        system_address=system_address(),
        may_change=g.user.is_administrator,
        limits={
            "kilobytes": MAX_PICTURE_BYTES // 1000,
            "width": MAX_WIDTH,
            "height": MAX_HEIGHT,
            "least": MIN_WIDTH,
            "shown": HEADER_WIDTH_PIXELS,
            "legal_line": MAX_LEGAL_LINE_LENGTH,
        },
    )


def _stored(shop: Shop | None) -> dict[str, str]:
    if shop is None:
        return {}
    theme = theme_of(shop.look)
    look = {name: str(getattr(theme, name)) for name in LOOK}
    return look | {
        "sender_name": shop.sender_name,
        "sender_address": shop.sender_address or "",
        "reply_to": shop.reply_to or "",
        "language": shop.language if shop.language in LANGUAGES else LANGUAGES[0],
        "legal_line": legal_line_of(shop.look),
    }


def _unproven_domain(shop: Shop | None) -> str | None:
    """The domain of the shop's sender address, as long as nobody has proven it (S17)."""
    if shop is None or not shop.sender_address:
        return None
    try:
        domain = checked_address(shop.sender_address).rpartition("@")[2].lower()
    except AddressError:
        return None
    return domain if domain not in proven_names(shop.merchant_id) else None


@pages.post("/settings/look")
def save() -> BaseResponse:
    """All or nothing; what was typed is shown again with what is wrong about it."""
    require_administrator()
    shop = _shop() or abort(404)
    typed = {name: request.form.get(name, "")[:MAX_TYPED_LENGTH] for name in FIELDS}
    problems: dict[str, str] = {}
    picture = None
    try:
        picture = _picture(shop)
    except ValueError as refused:
        problems["picture"] = str(refused.args[0])
    try:
        wanted = checked_identity(typed, picture)
    except WrongIdentity as wrong:
        problems |= wrong.problems
    if problems:
        db.session.rollback()
        return _page(shop, typed, problems)
    change_identity(shop, wanted, actor=g.user.email, at=now())
    db.session.commit()
    return redirect(url_for(".show", shop=shop.id, done="look_saved"), 303)


def _picture(shop: Shop) -> tuple[str, int] | None:
    """Address and height of the picture that the form wants. ValueError with a message key."""
    upload = request.files.get("picture")
    if upload is not None and upload.filename:
        content = upload.stream.read(MAX_PICTURE_BYTES + 1)
        row = store_picture(g.merchant_id, content, now())
        return address_of(row), shown_height(row.width, row.height)
    theme = theme_of(shop.look)
    if not theme.header_image or request.values.get("remove_picture") == "yes":
        return None
    return theme.header_image, theme.header_height_pixels


@pages.route("/settings/look/preview", methods=["GET", "POST"])
def preview() -> Response:
    """The mail that asks for money, as it would look with what the form holds."""
    shop = _shop()
    typed = request.values.get("legal_line")
    legal_line = cleaned_lines(typed[:MAX_TYPED_LENGTH]) if typed is not None else None
    sample = Sample(PREVIEWED_KIND, _edition(shop), shop, legal_line=legal_line)
    return preview_frame(sample.message(theme=_typed_theme(shop)), asked_scheme())


def _edition(shop: Shop | None) -> str:
    language = request.values.get("language", "")
    if language not in LANGUAGES:
        language = shop.language if shop is not None else LANGUAGES[0]
    if shop is None:
        return language
    settings = settings_of(g.merchant_id, shop.id)
    return edition_for(language, None, shop, settings)


def _typed_theme(shop: Shop | None) -> Theme:
    """What is typed and can be; what cannot be stays as it is stored."""
    theme = theme_of(shop.look) if shop is not None else Theme()
    values = {name: getattr(theme, name) for name in (*LOOK, "header_height_pixels")}
    if request.values.get("remove_picture") != "yes":
        values["header_image"] = theme.header_image
    for name in LOOK:
        typed = request.values.get(name, "").strip()
        try:
            values[name] = getattr(Theme(**{name: typed}), name)  # type: ignore[arg-type]
        except ValueError:
            continue
    return Theme(**values)
