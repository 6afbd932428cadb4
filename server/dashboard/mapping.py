"""What the payment methods and statuses of a shop mean: to read and to change (S22 to S27, S55)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, abort, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard.pages import page
from server.dashboard.shop_state import STAGES, is_set_up
from server.db import db, now
from server.orders.effects import mapping_changed
from server.shops import changing, connections, service
from server.shops.models import Shop
from server.shops.rules import CODES, STATUS_FIELDS

pages = Blueprint("mapping", __name__)

MAX_TYPED_LENGTH = 4_000
LISTS = ("methods", "open_statuses")
TO_LOOK_AT = frozenset({"dashboard.shops.show"})
"""What is shown of a shop that was deregistered."""


@pages.before_request
def only_of_living() -> BaseResponse | None:
    """Nothing of a deregistered shop can be changed: its page is shown instead (K12).

    Of a shop that is to be changed the row is locked, so that nobody deregisters it meanwhile.
    """
    shop_id = (request.view_args or {}).get("shop_id")
    if shop_id is None or request.endpoint in TO_LOOK_AT:
        return None
    shop = shop_or_404(shop_id)
    if request.method == "POST":
        service.lock(shop)
    if shop.status != "deregistered":
        return None
    db.session.rollback()
    return redirect(url_for("dashboard.shops.show", shop_id=shop_id), 303)


@dataclass(frozen=True, slots=True)
class Choice:
    """A code of the shop, with the shop's own name for it where it has told one."""

    code: str
    name: str
    is_chosen: bool
    elsewhere: str = ""


@dataclass(frozen=True, slots=True)
class Editor:
    """The form of one payment code.

    ``statuses`` is {field: what is chosen}; ``more`` what was typed by hand, by field. ``default``
    is what the connector says, None if nothing. ``is_own``: somebody has set it here.
    """

    code: str
    methods: Sequence[Choice]
    open_statuses: Sequence[Choice]
    statuses: Mapping[str, str]
    more: Mapping[str, str]
    default: Mapping[str, Any] | None
    is_own: bool

    @property
    def is_off(self) -> bool:
        """No method of the shop belongs to it (K67). To watch none is usual."""
        if self.code == "other":
            return False
        return not any(one.is_chosen for one in self.methods) and "methods" not in self.more


@pages.get("/shops/<int:shop_id>/mapping")
def show(shop_id: int) -> Response:
    shop = shop_or_404(shop_id)
    return _page(shop, service.mapping_of(shop), {})


def _page(
    shop: Shop,
    mapping: Mapping[str, Any],
    more: Mapping[str, Mapping[str, str]],
    problem: ValueError | None = None,
) -> Response:
    names = names_of(shop)
    code = 409 if shop.mapping_pinned and problem else 422 if problem else 200
    return page(
        "mapping.html",
        code,
        shop=shop,
        stages=STAGES if _is_being_set_up(shop) else (),
        editors=[_editor(shop, one, mapping, more.get(one, {}), names) for one in CODES],
        names=names,
        fields=STATUS_FIELDS,
        known_statuses=_known(shop, "open_statuses", mapping),
        problem=problem,
    )


def _editor(
    shop: Shop,
    code: str,
    mapping: Mapping[str, Any],
    more: Mapping[str, str],
    names: Mapping[str, Mapping[str, str]],
) -> Editor:
    entry = changing.plain_entry(code, mapping.get(code, {}))
    owners = {
        method: other
        for other, one in mapping.items()
        if other != code
        for method in one.get("methods") or ()
    }
    return Editor(
        code,
        [
            Choice(
                method,
                names["methods"].get(method, method),
                method in entry["methods"],
                owners.get(method, ""),
            )
            for method in _known(shop, "methods", mapping)
        ],
        [
            Choice(one, names["statuses"].get(one, one), one in entry["open_statuses"])
            for one in _known(shop, "open_statuses", mapping)
        ],
        {field: entry[field] or "" for field in STATUS_FIELDS[code]},
        more,
        changing.plain_entry(code, shop.default_mapping[code])
        if code in shop.default_mapping
        else None,
        code in shop.mapping and not shop.mapping_pinned,
    )


def names_of(shop: Shop) -> dict[str, dict[str, str]]:
    """{``methods`` or ``statuses``: {code: the shop's own name}}, as the shop has told them."""
    told = {"methods": "payment_methods", "statuses": "statuses"}
    return {
        kind: {one["code"]: one["name"] for one in shop.discovery.get(key) or ()}
        for kind, key in told.items()
    }


def _known(shop: Shop, field: str, mapping: Mapping[str, Any]) -> list[str]:
    """What can be ticked: what the shop has told, what its connector names, what is set."""
    kind = "methods" if field == "methods" else "statuses"
    known = dict.fromkeys(names_of(shop)[kind])
    for entries in (shop.default_mapping, mapping):
        for code, entry in entries.items():
            known |= dict.fromkeys(entry.get(field) or ())
            if kind == "statuses":
                known |= dict.fromkeys(filter(None, map(entry.get, STATUS_FIELDS.get(code, ()))))
    return list(known)


@pages.post("/shops/<int:shop_id>/mapping")
def save(shop_id: int) -> BaseResponse:
    """All payment codes at once: a method that changes sides is in none in between."""
    shop = shop_or_404(shop_id)
    typed = {code: _typed(code) for code in CODES}
    try:
        changing.set_mapping(shop, typed, actor=g.user.email, at=now())
    except ValueError as refused:
        db.session.rollback()
        more = {code: _more(code) for code in CODES}
        ticked = {code: _typed(code, with_more=False) for code in CODES}
        return _page(shop_or_404(shop_id), ticked, more, refused)
    mapping_changed(g.merchant_id, shop.id)
    is_next = _is_being_set_up(shop)
    db.session.commit()
    if is_next:
        return redirect(
            url_for("dashboard.shop_connect.ask_orders", shop_id=shop_id, done="mapping_saved"), 303
        )
    return _back(shop_id, "mapping_saved")


@pages.post("/shops/<int:shop_id>/mapping/off")
def switch_off(shop_id: int) -> BaseResponse:
    """A payment code is not used here: no method belongs to it. Its statuses stay (K67)."""
    shop = shop_or_404(shop_id)
    code = request.form.get("code", "")
    if code not in CODES:
        return _back(shop_id, "mapping_saved")
    entry = changing.plain_entry(code, service.mapping_of(shop).get(code, {}))
    try:
        changing.set_mapping(shop, {code: entry | {"methods": []}}, actor=g.user.email, at=now())
    except ValueError as refused:
        db.session.rollback()
        shop = shop_or_404(shop_id)
        return _page(shop, service.mapping_of(shop), {}, refused)
    mapping_changed(g.merchant_id, shop.id)
    db.session.commit()
    return _back(shop_id, "mapping_saved")


def _is_being_set_up(shop: Shop) -> bool:
    """It has a connection that was not switched on yet: its mapping is a step on the way."""
    row = connections.connection_of(g.merchant_id, shop.id)
    return row is not None and not is_set_up(shop, row)


@pages.post("/shops/<int:shop_id>/mapping/default")
def use_default(shop_id: int) -> BaseResponse:
    shop = shop_or_404(shop_id)
    code = request.form.get("code", "")
    if code not in CODES:
        return _back(shop_id, "mapping_reset")
    try:
        changing.use_default(shop, code, actor=g.user.email, at=now())
    except ValueError as refused:
        db.session.rollback()
        shop = shop_or_404(shop_id)
        return _page(shop, service.mapping_of(shop), {}, refused)
    mapping_changed(g.merchant_id, shop.id)
    db.session.commit()
    return _back(shop_id, "mapping_reset")


def _typed(code: str, *, with_more: bool = True) -> dict[str, Any]:
    """What the form says of a payment code; what is typed by hand comes after what is ticked."""
    more = _more(code) if with_more else {}
    found: dict[str, Any] = {
        name: [*request.form.getlist(f"{code}-{name}"), *_split(more.get(name, ""))]
        for name in LISTS
    }
    for name in STATUS_FIELDS[code]:
        found[name] = more.get(name) or request.form.get(f"{code}-{name}", "")
    return found


def _more(code: str) -> dict[str, str]:
    names = (*LISTS, *STATUS_FIELDS[code])
    typed = {name: request.form.get(f"{code}-{name}-more", "") for name in names}
    return {name: text[:MAX_TYPED_LENGTH].strip() for name, text in typed.items() if text.strip()}


def _split(text: str) -> list[str]:
    return text.replace("\n", ",").split(",")


def _back(shop_id: int, done: str) -> BaseResponse:
    return redirect(url_for(".show", shop_id=shop_id, done=done), 303)


def shop_or_404(shop_id: int) -> Shop:
    """A shop of the reader's merchant."""
    return service.shop_of(g.merchant_id, shop_id) or abort(404)
