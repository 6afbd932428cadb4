"""What was learned of payers (C19): shown, and forgotten on request."""

from __future__ import annotations

from flask import Blueprint, Response, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard.pages import page
from server.db import db, now
from server.matching import payers

pages = Blueprint("settings_payers", __name__)

SHOWN = 500
MAX_PAYER_LENGTH = 500


@pages.get("/settings/payers")
def show_all() -> Response:
    text = request.args.get("q", "").replace("\x00", "").strip()[:MAX_PAYER_LENGTH]
    known = payers.known_payers(g.merchant_id)
    found = [one for one in known if _contains(one, text)] if text else known
    return page(
        "payers.html", payers=found[:SHOWN], left_out=len(found[SHOWN:]), count=len(known), q=text
    )


def _contains(one: payers.KnownPayer, text: str) -> bool:
    """In payer or customer, blanks left out: an IBAN is typed in groups."""
    wanted = text.replace(" ", "").casefold()
    said = [one.payer]
    for paid in one.customers:
        said += [paid.customer_name, paid.customer_email or ""]
    return any(wanted in text.replace(" ", "").casefold() for text in said)


@pages.post("/settings/payers/forget")
def forget() -> BaseResponse:
    """What was confirmed about this payer until now counts no more."""
    payer = request.form.get("payer", "").replace("\x00", "")[:MAX_PAYER_LENGTH]
    if payer in {one.payer for one in payers.known_payers(g.merchant_id)}:
        payers.forget(g.merchant_id, payer, actor=g.user.email, at=now())
        db.session.commit()
    return redirect(url_for(".show_all", done="payer_forgotten"), 303)
