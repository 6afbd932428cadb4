"""Ignore rules: postings that nobody needs to look at (K44, K45).

What a rule would have hit is shown before it is saved. A rule whose value was emptied is deleted.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from flask import Blueprint, Response, abort, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.banking import service
from server.banking.models import IgnoreRule, Posting
from server.banking.rules.ignoring import PATTERN_PREFIX, PROVIDERS
from server.banking.service import PAST_LOOKED_AT
from server.dashboard import bank_queries, words
from server.dashboard.pages import page, part
from server.db import db

pages = Blueprint("ignore_rules", __name__)

KINDS = ("iban", "name", "text", "amount_above", "unassigned")
"""What a person chooses from; payouts of providers are a switch of their own."""
WITHOUT_VALUE = {"unassigned"}
MAX_TYPED_LENGTH = 600


@dataclass(frozen=True, slots=True)
class Draft:
    """A rule as it is being written: nothing of it is checked yet."""

    kind: str = "iban"
    value: str = ""
    tells_merchant: bool = False


@dataclass(frozen=True, slots=True)
class Preview:
    """What a rule would have ignored: how many, and the newest. ``problem``: it is no rule."""

    count: int = 0
    newest: list[Posting] | None = None
    problem: str | None = None


# --- all of them ------------------------------------------------------------------------------


@pages.get("/ignore-rules")
def show_all() -> Response:
    rules = service.rules_of(g.merchant_id)
    counts = bank_queries.ignored_counts(g.merchant_id)
    shown = [rule for rule in rules if rule.kind != "keep_providers"]
    return page(
        "ignore_rules.html",
        rules=[(rule, counts.get((rule.kind, rule.value), 0)) for rule in shown],
        pattern=pattern_of,
        amount_of=lambda rule: words.plain_amount(Decimal(rule.value)),
        providers=[(name, counts.get(("provider", name), 0)) for name in provider_names()],
        are_providers_ignored=len(shown) == len(rules),
    )


def pattern_of(rule: IgnoreRule) -> str | None:
    """The expression of a rule that is a pattern, without its prefix."""
    is_pattern = rule.kind == "text" and rule.value.startswith(PATTERN_PREFIX)
    return rule.value.removeprefix(PATTERN_PREFIX) if is_pattern else None


@cache
def provider_names() -> tuple[str, ...]:
    """The payment providers whose payouts are known."""
    return tuple(sorted(tomllib.loads(PROVIDERS.read_text("utf-8")), key=str.casefold))


@pages.post("/ignore-rules/providers")
def switch_providers() -> BaseResponse:
    """Payouts of payment providers are recognised, or not."""
    held = [one for one in service.rules_of(g.merchant_id) if one.kind == "keep_providers"]
    is_on = request.form.get("recognised") == "on"
    if is_on:
        for rule in held:
            service.delete_rule(g.merchant_id, rule.id)
    elif not held:
        service.add_rule(
            g.merchant_id, "keep_providers", "", tells_merchant=False, actor=g.user.email
        )
    db.session.commit()
    return redirect(url_for(".show_all", done="providers_on" if is_on else "providers_off"), 303)


# --- one of them, with what it hits -----------------------------------------------------------


@pages.get("/ignore-rules/new")
def draft() -> Response:
    """The form; with a value, what the rule would have hit, and the button that saves it."""
    return _form_page(_typed(request.args), is_checked=bool(_asked()))


@pages.get("/ignore-rules/preview")
def preview() -> str:
    """The hits alone, while somebody is typing, for htmx."""
    typed = _typed(request.args)
    return part("_rule_hits.html", typed=typed, hits=_preview(typed), looked_at=PAST_LOOKED_AT)


@pages.post("/ignore-rules")
def add() -> BaseResponse:
    typed = _typed(request.form)
    try:
        _add(typed)
    except ValueError as refused:
        db.session.rollback()
        return _form_page(typed, problem=str(refused.args[0]))
    db.session.commit()
    return redirect(url_for(".show_all", done="rule_added"), 303)


@pages.get("/ignore-rules/<int:rule_id>")
def show(rule_id: int) -> Response:
    rule = _rule_or_404(rule_id)
    held = Draft(rule.kind, rule.value, rule.tells_merchant)
    return _form_page(_typed(request.args) if _asked() else held, rule=rule, is_checked=True)


@pages.post("/ignore-rules/<int:rule_id>")
def change(rule_id: int) -> BaseResponse:
    """Another value; an emptied one deletes the rule."""
    rule = _rule_or_404(rule_id)
    typed = _typed(request.form, kind=rule.kind)
    if not typed.value.strip() and rule.kind not in WITHOUT_VALUE:
        return delete(rule_id)
    try:
        service.delete_rule(g.merchant_id, rule_id)
        db.session.flush()
        _add(typed)
    except ValueError as refused:
        db.session.rollback()
        return _form_page(typed, rule=_rule_or_404(rule_id), problem=str(refused.args[0]))
    db.session.commit()
    return redirect(url_for(".show_all", done="rule_changed"), 303)


@pages.post("/ignore-rules/<int:rule_id>/delete")
def delete(rule_id: int) -> BaseResponse:
    _rule_or_404(rule_id)
    service.delete_rule(g.merchant_id, rule_id)
    db.session.commit()
    return redirect(url_for(".show_all", done="rule_deleted"), 303)


def _form_page(
    typed: Draft,
    *,
    rule: IgnoreRule | None = None,
    is_checked: bool = False,
    problem: str | None = None,
) -> Response:
    hits = _preview(typed) if is_checked and not problem else None
    problem = problem or (hits.problem if hits else None)
    return page(
        "ignore_rule.html",
        422 if problem and request.method == "POST" else 200,
        typed=typed,
        rule=rule,
        kinds=KINDS,
        hits=hits,
        looked_at=PAST_LOOKED_AT,
        problem=problem,
    )


def _asked() -> str:
    """What the form of a rule was sent with, to look before it is saved."""
    kind = request.args.get("kind", "")
    return kind if kind in WITHOUT_VALUE else request.args.get("value", "")


def _typed(form: dict[str, str], kind: str | None = None) -> Draft:
    kind = kind or form.get("kind", "")
    kind = kind if kind in KINDS else KINDS[0]
    value = form.get("value", "").replace("\x00", "")[:MAX_TYPED_LENGTH]
    return Draft(kind, value, kind == "text" and form.get("tells_merchant") == "on")


def _preview(typed: Draft) -> Preview:
    if typed.kind in WITHOUT_VALUE or not typed.value.strip():
        return Preview()
    try:
        count, newest = service.past_hits(g.merchant_id, typed.kind, _plain_value(typed))
    except ValueError as refused:
        return Preview(problem=str(refused.args[0]))
    return Preview(count, newest)


def _add(typed: Draft) -> None:
    service.add_rule(
        g.merchant_id,
        typed.kind,
        _plain_value(typed),
        tells_merchant=typed.tells_merchant,
        actor=g.user.email,
    )


def _plain_value(typed: Draft) -> str:
    """Amounts as people write them, ``1.284,60``, become decimals."""
    if typed.kind != "amount_above":
        return typed.value
    amount = words.read_amount(typed.value)
    return f"{amount:f}" if amount is not None else typed.value


def _rule_or_404(rule_id: int) -> IgnoreRule:
    for rule in service.rules_of(g.merchant_id):
        if rule.id == rule_id:
            return rule
    abort(404)
