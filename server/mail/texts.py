"""A merchant's own words in mails (K39): kept as versions, found for a mail.

A file of its own because a version is written in the dashboard and read by the worker. What is
kept are words, never HTML: the template is put together from them when it is needed, so a newer
Kontor's layout and its other words are there at once. A shop's own words stand before those for
all shops, and these before Kontor's; they are never mixed, so nobody has to guess which sentence
comes from where. Never commits.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, delete, select, tuple_
from sqlalchemy.dialects.postgresql import distinct_on

from server.db import db
from server.mail.models import Mail, MailText
from server.mail.own_words import blocks_of, build_one
from server.mail.rules import Template, template_of

log = logging.getLogger(__name__)

VERSIONS_KEPT: Final = 50
CACHED_TEMPLATES: Final = 256

Whose = tuple[int, str, str]
"""Merchant, kind and edition."""

_cached: OrderedDict[int, tuple[Mapping[str, str], Template | None]] = OrderedDict()
"""By the id of the version; its words as well, because a restored database counts anew."""


# --- writing ------------------------------------------------------------------------------------


def changed_words(kind: str, edition: str, typed: Mapping[str, str]) -> dict[str, str]:
    """Of what was typed only what differs from Kontor's words and says something at all.

    Blocks that the kind does not have are left out.
    """
    default = blocks_of(kind, edition)
    plain = {name: _tidy(text) for name, text in typed.items() if name in default}
    return {name: text for name, text in plain.items() if text and text != _tidy(default[name])}


def save(
    merchant_id: int,
    shop_id: int | None,
    kind: str,
    edition: str,
    words: Mapping[str, str],
    *,
    actor: str,
    at: datetime,
) -> MailText | None:
    """A new version, from now on in force; None if it says what is in force already.

    ``words`` are as ``changed_words`` returns them; without any, Kontor's own are in force for all
    shops, and for one shop too. Raises BlockError for words that no mail can be made of.
    """
    build_one(kind, edition, words)
    if not words and shop_id is None:
        return reset(merchant_id, None, kind, edition, actor=actor, at=at)
    before = in_force(merchant_id, shop_id, kind, edition)
    if (before.words if before is not None else {}) == dict(words):
        return None
    return _add(merchant_id, shop_id, kind, edition, dict(words), actor, at)


def reset(
    merchant_id: int, shop_id: int | None, kind: str, edition: str, *, actor: str, at: datetime
) -> MailText | None:
    """Back to what is inherited; None if nothing else was in force."""
    newest = _newest(merchant_id, shop_id, kind, edition)
    if newest is None or newest.words is None:
        return None
    return _add(merchant_id, shop_id, kind, edition, None, actor, at)


def _add(
    merchant_id: int,
    shop_id: int | None,
    kind: str,
    edition: str,
    words: dict[str, str] | None,
    actor: str,
    at: datetime,
) -> MailText:
    row = MailText(
        merchant_id=merchant_id,
        shop_id=shop_id,
        kind=kind,
        language=edition,
        words=words,
        created_at=at,
        created_by=actor,
    )
    db.session.add(row)
    db.session.flush()
    _drop_oldest(row)
    return row


def _drop_oldest(row: MailText) -> None:
    kept = (
        select(MailText.id)
        .where(*_of(row.merchant_id, row.shop_id, row.kind, row.language))
        .order_by(MailText.id.desc())
        .limit(VERSIONS_KEPT)
    )
    old = (*_of(row.merchant_id, row.shop_id, row.kind, row.language), MailText.id.not_in(kept))
    db.session.execute(delete(MailText).where(*old))


def _tidy(text: str) -> str:
    """As it is stored: one kind of line end, no blanks at the ends of lines."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "").split("\n")
    return "\n".join(line.rstrip() for line in lines).strip()


# --- reading ------------------------------------------------------------------------------------


def in_force(merchant_id: int, shop_id: int | None, kind: str, edition: str) -> MailText | None:
    """The version that counts for a shop, or for all of them; None where Kontor's words do."""
    if shop_id is not None:
        own = _newest(merchant_id, shop_id, kind, edition)
        if own is not None and own.words is not None:
            return own
    general = _newest(merchant_id, None, kind, edition)
    return general if general is not None and general.words is not None else None


def versions(merchant_id: int, shop_id: int | None, kind: str, edition: str) -> Sequence[MailText]:
    """What was written at this very place, the newest first."""
    query = select(MailText).where(*_of(merchant_id, shop_id, kind, edition))
    return list(db.session.scalars(query.order_by(MailText.id.desc()).limit(VERSIONS_KEPT)))


def version_of(merchant_id: int, version_id: int) -> MailText | None:
    """One of this merchant's versions."""
    row = db.session.get(MailText, version_id)
    return row if row is not None and row.merchant_id == merchant_id else None


def changed_kinds(merchant_id: int, shop_id: int | None) -> set[tuple[str, str]]:
    """(Kind, edition) of all that has own words at this very place."""
    newest = (
        select(MailText.kind, MailText.language, MailText.words.is_not(None).label("is_own"))
        .where(MailText.merchant_id == merchant_id, MailText.shop_id.is_not_distinct_from(shop_id))
        .ext(distinct_on(MailText.kind, MailText.language))
        .order_by(MailText.kind, MailText.language, MailText.id.desc())
    )
    return {(row.kind, row.language) for row in db.session.execute(newest) if row.is_own}


def own_template(merchant_id: int, shop_id: int | None, kind: str, edition: str) -> Template | None:
    """What a mail of this kind would be made with now; None for Kontor's own."""
    row = in_force(merchant_id, shop_id, kind, edition)
    return _template(row.id, kind, edition, row.words or {}) if row is not None else None


def own_templates(mails: Iterable[Mail]) -> dict[int, Template]:
    """The templates with own words by the id of the mail; mails without any are left out.

    One query for all of them: a probe of the index a merchant, kind and edition.
    """
    batch = list(mails)
    newest = _newest_of({(mail.merchant_id, mail.kind, mail.language) for mail in batch})
    found = {}
    for mail in batch:
        whose = (mail.merchant_id, mail.kind, mail.language)
        version = newest.get((whose, mail.shop_id)) or newest.get((whose, None))
        template = _template(version[0], *whose[1:], version[1]) if version else None
        if template is not None:
            found[mail.id] = template
    return found


def _newest_of(wanted: set[Whose]) -> dict[tuple[Whose, int | None], tuple[int, dict[str, str]]]:
    """(Id, words) in force by whose they are and shop; nothing where they were taken back."""
    if not wanted:
        return {}
    columns = (MailText.merchant_id, MailText.kind, MailText.language, MailText.shop_id)
    query = (
        select(*columns, MailText.id, MailText.words)
        .where(tuple_(*columns[:3]).in_(sorted(wanted)))
        .ext(distinct_on(*columns))
        .order_by(*columns, MailText.id.desc())
    )
    rows = db.session.execute(query)
    return {
        ((row.merchant_id, row.kind, row.language), row.shop_id): (row.id, row.words)
        for row in rows
        if row.words is not None
    }


def _newest(merchant_id: int, shop_id: int | None, kind: str, edition: str) -> MailText | None:
    query = select(MailText).where(*_of(merchant_id, shop_id, kind, edition))
    return db.session.scalar(query.order_by(MailText.id.desc()).limit(1))


def _of(
    merchant_id: int, shop_id: int | None, kind: str, edition: str
) -> tuple[ColumnElement[bool], ...]:
    return (
        MailText.merchant_id == merchant_id,
        MailText.shop_id.is_not_distinct_from(shop_id),
        MailText.kind == kind,
        MailText.language == edition,
    )


def _template(
    version_id: int, kind: str, edition: str, words: Mapping[str, str]
) -> Template | None:
    """Put together once a process and version.

    None if a newer Kontor has changed the kind so much that the words fit no more: its own words
    then say what is true, which is better than no mail.
    """
    known = _cached.get(version_id)
    if known is not None and known[0] == words:
        return known[1]
    template = _built(version_id, kind, edition, words)
    _cached[version_id] = (words, template)
    if len(_cached) > CACHED_TEMPLATES:
        _cached.popitem(last=False)
    return template


def _built(version_id: int, kind: str, edition: str, words: Mapping[str, str]) -> Template | None:
    try:
        return template_of(*build_one(kind, edition, words))
    except ValueError as problem:
        log.warning("own words %s of %s in %s fit no more: %s", version_id, kind, edition, problem)
        return None
