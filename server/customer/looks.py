"""The shop's colours, font and header picture on its customers' pages.

A blueprint of its own, because a look is no page: it is the same for every customer of a shop,
says nothing of an order, and is kept by browsers until the merchant chooses another. The page's
own style sheet holds all that is not the shop's. Nothing is loaded from elsewhere, so a picture of
another host is left out, and one that would be half of the page is too.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

from flask import Blueprint, Response, abort, url_for

from server.config import installed
from server.db import db
from server.mail.pictures import PATH, picture_of
from server.mail.theme import FONTS, INK, WHITE, Theme, contrast, palette
from server.orders.identity import theme_of
from server.shops.models import Shop
from server.visitors import secure

door = Blueprint("customer_looks", __name__)

MAX_PICTURE_BYTES: Final = 30_000
"""A page for phones on bad lines: with this, all of it stays below 60 kB."""
DIGEST_HEX: Final = 16
HEADERS: Final = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Robots-Tag": "noindex, nofollow",
}


@dataclass(frozen=True, slots=True)
class Look:
    """What a page shows of its shop: the address of its style sheet, and its picture if any."""

    style_url: str
    picture_url: str = ""
    picture_width: int = 0
    picture_height: int = 0


def look_of(shop: Shop) -> Look:
    url = url_for("customer_looks.style", shop_id=shop.id, token=_digest(shop.id, shop.look))
    begins = f"{installed().url}{PATH}"
    address = theme_of(shop.look).header_image
    picture = picture_of(address.removeprefix(begins)) if address.startswith(begins) else None
    if picture is None or len(picture.content) > MAX_PICTURE_BYTES:
        return Look(url)
    return Look(url, f"{PATH}{picture.token}", picture.width, picture.height)


@door.get("/pay-look/<int:shop_id>/<token>.css")
def style(shop_id: int, token: str) -> Response:
    """404 for a look that the shop has not: nobody counts shops by this."""
    shop = db.session.get(Shop, shop_id)
    if shop is None or not hmac.compare_digest(token, _digest(shop.id, shop.look)):
        abort(404)
    css = style_sheet(theme_of(shop.look))
    return secure(Response(css, mimetype="text/css", headers=HEADERS))


def _digest(shop_id: int, look: dict[str, Any]) -> str:
    said = json.dumps([shop_id, look], sort_keys=True).encode()
    return hmac.new(installed().secret_key.encode(), said, sha256).hexdigest()[:DIGEST_HEX]


@lru_cache(maxsize=256)
def style_sheet(theme: Theme) -> str:
    """The page's variables in the shop's colours, all readable (WCAG 2.2, 1.4.3), in both
    editions."""
    found = palette(theme)
    light = {"accent": found["link"], "on-accent": _on(found["link"])}
    dark = {"accent": found["dark_link"], "on-accent": found["on_dark_link"]}
    both = {
        "head": found["header_background"],
        "on-head": found["header_text"],
        "font": FONTS[theme.font],
    }
    return (
        f":root{{{_variables(light | both)}}}\n"
        f"@media(prefers-color-scheme:dark){{:root{{{_variables(dark)}}}}}\n"
    )


def _on(background: str) -> str:
    return max((WHITE, INK), key=lambda ink: contrast(ink, background))


def _variables(values: dict[str, str]) -> str:
    return "".join(f"--{name}:{value};" for name, value in values.items())
