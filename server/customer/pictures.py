"""The header pictures of mails, for whoever reads the mail: no cookie, no log-in, kept for good.

A blueprint of its own, because a picture has other headers than a page: every mail program and
every webmailer may show it, and it never changes under its address.
"""

from __future__ import annotations

from flask import Blueprint, Response, abort

from server.mail.pictures import PATH, picture_of
from server.visitors import secure

door = Blueprint("customer_pictures", __name__)

HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Robots-Tag": "noindex, nofollow",
}


@door.get(f"{PATH}<token>")
def show(token: str) -> Response:
    picture = picture_of(token)
    if picture is None:
        abort(404)
    return secure(Response(picture.content, mimetype=picture.content_type, headers=HEADERS))
