"""Every kind of mail: whether it goes out, what it says, and in whose words (S9, K20, K39).

What a merchant writes is tried before it is kept: a mail that cannot be made of it is refused at
the block that is wrong, with everything that was typed.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from flask import Blueprint, Response, abort, g, redirect, request, url_for
from limits import RateLimitItemPerMinute
from sqlalchemy import select
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard import queries, words
from server.dashboard.access import require_administrator
from server.dashboard.mail_preview import (
    PREVIEWED,
    Sample,
    as_columns,
    asked_sample,
    asked_scheme,
    preview_frame,
)
from server.dashboard.order_mails import leaves_from
from server.dashboard.pages import asked_shop, page, typed_id
from server.db import db, now
from server.mail import texts
from server.mail.kinds import KINDS
from server.mail.languages import editions_for
from server.mail.models import TEST_ONCE, Mail, MailText
from server.mail.own_words import (
    BLOCKS,
    MAX_BLOCK_LENGTH,
    BlockError,
    blocks_of,
    build_one,
    placeholders_of,
)
from server.mail.rules import AddressError, Template, checked_address, template_of
from server.mail.samples import CASES, example_of
from server.mail.service import queue_mail
from server.merchants.service import settings_of
from server.shops.models import Shop
from server.visitors import attempt_limits

pages = Blueprint("settings_mail_kinds", __name__)

VIEWS = ("desktop", "phone")
TESTS_PER_USER = RateLimitItemPerMinute(20, 60, namespace="test-mail")
TESTS_SHOWN = 5
TESTS_SINCE = timedelta(days=1)
MAX_ADDRESS_LENGTH = 320
MAX_EXAMPLE_LENGTH = 60
IN_THE_FOOT = frozenset({"legal_line", "help_url", "unsubscribe_url"})
"""Facts that stand in the foot of every mail that has them, so they are not offered."""


@dataclass(frozen=True, slots=True)
class Line:
    """A kind in the list.

    ``is_on`` None: no setting switches it off, each person decides. ``says`` is the subject of a
    notice to the merchant, for an example.
    """

    kind: str
    is_on: bool | None
    own_editions: Sequence[str]
    says: str


@dataclass(frozen=True, slots=True)
class Block:
    """A text of the mail that can be replaced; ``default`` is Kontor's."""

    name: str
    typed: str
    default: str
    problem: str | None

    @property
    def is_long(self) -> bool:
        return any(len(text) > 120 or "\n" in text for text in (self.typed, self.default))

    @property
    def is_own(self) -> bool:
        return self.typed != self.default


# --- all kinds ----------------------------------------------------------------------------------


@pages.get("/settings/mail-kinds")
def show_all() -> Response:
    shop = asked_shop()
    in_use = settings_of(g.merchant_id, shop.id if shop else None)
    own = texts.changed_kinds(g.merchant_id, shop.id if shop else None)
    groups: dict[str, list[Line]] = {"mandatory": [], "optional": [], "merchant": []}
    for kind in PREVIEWED:
        to_customer = KINDS[kind].reader == "customer"
        group = "merchant"
        if to_customer:
            group = "optional" if KINDS[kind].is_optional else "mandatory"
        editions = [one for one in editions_for(KINDS[kind].reader) if (kind, one) in own]
        is_on = in_use.sends(kind) if to_customer else None
        says = "" if to_customer else Sample(kind, words.language(), shop).message().subject
        groups[group].append(Line(kind, is_on, editions, says))
    return page("mail_kinds.html", shop=shop, shops=queries.shops(g.merchant_id), groups=groups)


# --- one kind -----------------------------------------------------------------------------------


@pages.get("/settings/mail-kinds/words")
def show() -> Response:
    return _page(asked_sample(asked_shop()))


def _page(
    sample: Sample, typed: Mapping[str, str] | None = None, problems: Mapping[str, str] = {}
) -> Response:
    shop_id = sample.shop.id if sample.shop else None
    whose = (g.merchant_id, shop_id, sample.kind, sample.edition)
    version = _asked_version(sample)
    row = version or texts.in_force(*whose)
    template = _template_of(version) if version else texts.own_template(*whose)
    place = "here" if row is not None and row.shop_id == shop_id else "general"
    return page(
        "mail_kind.html",
        422 if problems else 200,
        sample=sample,
        shop=sample.shop,
        shops=queries.shops(g.merchant_id),
        kinds=PREVIEWED,
        kind=KINDS[sample.kind],
        editions=editions_for(KINDS[sample.kind].reader),
        cases=CASES.get(sample.kind, ()),
        message=sample.message(template),
        leaves_from=leaves_from(sample.identity.sender_address),
        blocks=_blocks(
            sample, typed if typed is not None else (row.words if row else {}), problems
        ),
        problems=problems,
        placeholders=_placeholders(sample),
        longest=MAX_BLOCK_LENGTH,
        origin=place if row is not None and row.words is not None else "kontor",
        version=version,
        versions=texts.versions(*whose),
        view="phone" if request.values.get("view") == "phone" else "desktop",
        scheme=asked_scheme(),
        views=VIEWS,
        tests=_tests(sample.kind, now()),
        may_change=g.user.is_administrator,
        may_write=sample.to_customer and version is None,
    )


def _blocks(
    sample: Sample, words: Mapping[str, str] | None, problems: Mapping[str, str]
) -> list[Block]:
    if not sample.to_customer:
        return []
    return [
        Block(name, (words or {}).get(name, default), default, problems.get(name))
        for name, default in blocks_of(sample.kind, sample.edition).items()
    ]


def _placeholders(sample: Sample) -> list[tuple[str, str]]:
    """(Name, what it would say): the facts of the kind that a text may name, sure ones first."""
    if not sample.to_customer:
        return []
    required = KINDS[sample.kind].required
    names = sorted(
        placeholders_of(sample.kind) - IN_THE_FOOT, key=lambda name: (name not in required, name)
    )
    of = (sample.kind, sample.edition, words.today())
    shown = [(name, example_of(name, *of)[:MAX_EXAMPLE_LENGTH]) for name in names]
    return [(name, example) for name, example in shown if example]


def _asked_version(sample: Sample) -> MailText | None:
    """An old version that is to be looked at; 404 if it is none of this very mail."""
    wanted = request.values.get("version")
    if not wanted:
        return None
    row = texts.version_of(g.merchant_id, typed_id(wanted))
    shop_id = sample.shop.id if sample.shop else None
    here = (shop_id, sample.kind, sample.edition)
    if row is None or (row.shop_id, row.kind, row.language) != here:
        abort(404)
    return row


def _template_of(row: MailText) -> Template | None:
    """With the words of that version; Kontor's where it was taken back or fits no more."""
    try:
        return template_of(*build_one(row.kind, row.language, row.words or {}))
    except BlockError:
        return None


@pages.route("/settings/mail-kinds/content", methods=["GET", "POST"])
def content() -> Response:
    """The mail for the sandboxed frame: as in force, of a version, or with what is just typed."""
    sample = asked_sample(asked_shop())
    shop_id = sample.shop.id if sample.shop else None
    version = _asked_version(sample)
    if version is not None:
        template = _template_of(version)
    elif request.method == "POST":
        template = _typed_template(sample)
    else:
        template = texts.own_template(g.merchant_id, shop_id, sample.kind, sample.edition)
    return preview_frame(sample.message(template), asked_scheme())


def _typed_template(sample: Sample) -> Template | None:
    """Of what is in the form; what cannot be, is shown in Kontor's words until it is mended."""
    typed = texts.changed_words(sample.kind, sample.edition, _typed(sample))
    try:
        return template_of(*build_one(sample.kind, sample.edition, typed))
    except BlockError:
        return None


# --- own words ----------------------------------------------------------------------------------


@pages.post("/settings/mail-kinds/words")
def save() -> BaseResponse:
    sample = _changeable()
    typed = _typed(sample)
    try:
        row = texts.save(
            g.merchant_id,
            sample.shop.id if sample.shop else None,
            sample.kind,
            sample.edition,
            texts.changed_words(sample.kind, sample.edition, typed),
            actor=g.user.email,
            at=now(),
        )
    except BlockError as refused:
        db.session.rollback()
        return _page(sample, typed, _problem(refused))
    db.session.commit()
    return _back(sample, "words_saved" if row is not None else "words_same")


def _problem(refused: BlockError) -> dict[str, str]:
    """What is wrong by block, in the reader's language; of several, the first."""
    reason = str(refused).removeprefix(f"{refused.block or 'all blocks'}: ")
    block = refused.block if refused.block in BLOCKS else ""
    for key, pattern in _REASONS.items():
        found = pattern.fullmatch(reason)
        if found:
            return {block: str(words.t(f"problem.{key}", **found.groupdict()))}
    return {block: reason}


_REASONS: Final = {
    "words_too_much": re.compile(r"(?P<most>\d+) bytes are the most"),
    "words_too_long": re.compile(r"(?P<most>\d+) characters are the most.*"),
    "words_many_paragraphs": re.compile(r"(?P<most>\d+) paragraphs are the most.*"),
    "words_one_line": re.compile("it must be one line"),
    "words_unknown_fact": re.compile(r"(?P<name>\{\w+\}) is no fact of this kind"),
    "words_braces": re.compile("braces only stand .*"),
    "words_long_link": re.compile(r"a link has at most (?P<most>\d+) characters"),
    "words_link": re.compile("a link is written .*"),
}
"""What ``build_one`` says, by the text that says it here."""


@pages.post("/settings/mail-kinds/reset")
def reset() -> BaseResponse:
    """Back to what is inherited; the old words stay among the versions."""
    sample = _changeable()
    shop_id = sample.shop.id if sample.shop else None
    whose = (g.merchant_id, shop_id, sample.kind, sample.edition)
    texts.reset(*whose, actor=g.user.email, at=now())
    db.session.commit()
    return _back(sample, "words_reset")


@pages.post("/settings/mail-kinds/bring-back")
def bring_back() -> BaseResponse:
    """An old version is in force again, as a new one."""
    sample = _changeable()
    row = _asked_version(sample) or abort(404)
    whose = (g.merchant_id, row.shop_id, row.kind, row.language)
    try:
        if row.words is None:
            texts.reset(*whose, actor=g.user.email, at=now())
        else:
            texts.save(*whose, row.words, actor=g.user.email, at=now())
    except BlockError as refused:
        db.session.rollback()
        return _page(sample, row.words, _problem(refused))
    db.session.commit()
    return _back(sample, "words_saved")


def _changeable() -> Sample:
    require_administrator()
    sample = asked_sample(asked_shop())
    if not sample.to_customer or request.form.get("kind") != sample.kind:
        abort(404)
    return sample


def _typed(sample: Sample) -> dict[str, str]:
    """The texts of the form by block; a block that it does not hold is as Kontor writes it."""
    default = blocks_of(sample.kind, sample.edition)
    typed = {name: request.form.get(f"block:{name}", text) for name, text in default.items()}
    return {name: text.replace("\r\n", "\n") for name, text in typed.items()}


def _back(sample: Sample, done: str) -> BaseResponse:
    shop_id = sample.shop.id if sample.shop else None
    place: dict[str, Any] = {"kind": sample.kind, "edition": sample.edition, "shop": shop_id}
    return redirect(url_for(".show", **place, case=sample.case or None, done=done), 303)


# --- test mails ---------------------------------------------------------------------------------


@pages.post("/settings/mail-kinds/test")
def send_test() -> BaseResponse:
    """The real mail with the invented order, to any address (S9)."""
    require_administrator()
    sample = asked_sample(asked_shop())
    address = request.form.get("address", "").strip()[:MAX_ADDRESS_LENGTH]
    try:
        checked_address(address)
    except AddressError:
        return _page(sample, problems={"address": str(words.t("problem.address_invalid"))})
    limits, key = attempt_limits(), str(g.user.id)
    if limits.is_reached(TESTS_PER_USER, key):
        return _page(sample, problems={"address": str(words.t("problem.too_many_test_mails"))})
    limits.count(TESTS_PER_USER, key)
    sender = sample.shop or _only_shop()
    queue_mail(
        sample.kind,
        merchant_id=g.merchant_id,
        shop_id=sender.id if sender else None,
        order_id=None,
        recipient=address,
        once=f"{TEST_ONCE}{g.merchant_id}:{secrets.token_urlsafe(12)}",
        at=now(),
        **as_columns(replace(sample, shop=sender)),
    )
    db.session.commit()
    return _back(sample, "test_mail_sent")


def _only_shop() -> Shop | None:
    """Where no shop is chosen, the first one sends."""
    return next(iter(queries.shops(g.merchant_id)), None)


def _tests(kind: str, at: datetime) -> Sequence[Mail]:
    """The newest test mails of the kind, with how they fared."""
    query = select(Mail).where(
        Mail.merchant_id == g.merchant_id,
        Mail.created_at > at - TESTS_SINCE,
        Mail.kind == kind,
        Mail.once.startswith(f"{TEST_ONCE}{g.merchant_id}:", autoescape=True),
    )
    return list(db.session.scalars(query.order_by(Mail.created_at.desc()).limit(TESTS_SHOWN)))
