"""What became of other systems' mails, told to those addresses that want to hear of it (S96).

A file of its own because mails come in thousands where orders come one by one: they are written in
one statement, and an address that takes none gets only so many. Never commits.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, insert, select

from server.callbacks import rules
from server.callbacks.choices import hearing
from server.callbacks.models import Callback, CallbackUrl, is_unfinished
from server.db import db
from server.work import announce

log = logging.getLogger(__name__)

MAX_WAITING: Final = 10_000
"""Messages about mails for one address. Whatever happens beyond it is in the relay's log only."""


@dataclass(frozen=True, slots=True)
class News:
    """``kind`` is one of ``rules.MAIL_KINDS``; ``facts`` what is told, in JSON's own types."""

    kind: str
    at: datetime
    facts: Mapping[str, Any]


def listening(merchant_id: int) -> dict[int, frozenset[str]]:
    """The addresses that hear of mails, and of what; none is removed before the commit."""
    on = select(CallbackUrl.id).where(
        CallbackUrl.merchant_id == merchant_id, CallbackUrl.off_at.is_(None)
    )
    ids = list(db.session.scalars(on.with_for_update(read=True, key_share=True)))
    of_mails = frozenset(rules.MAIL_KINDS)
    chosen = {url_id: kinds & of_mails for url_id, kinds in hearing(merchant_id, ids).items()}
    return {url_id: kinds for url_id, kinds in chosen.items() if kinds}


def tell(
    merchant_id: int, addresses: Mapping[int, Collection[str]], news: Sequence[News], at: datetime
) -> int:
    """One message an event and address, as far as ``listening`` says; how many were written."""
    room = _room(addresses)
    left_out: Counter[int] = Counter()
    rows: list[dict[str, Any]] = []
    for one in news:
        body = rules.body_of(one.kind, one.at, one.facts)
        for url_id, kinds in addresses.items():
            if one.kind not in kinds:
                continue
            if room[url_id] <= 0:
                left_out[url_id] += 1
                continue
            room[url_id] -= 1
            rows.append(_row(merchant_id, url_id, one, body, at))
    for url_id, count in left_out.items():
        log.warning("callback address %s takes nothing: %s mails are not told", url_id, count)
    if rows:
        db.session.execute(insert(Callback), rows)
        announce(Callback)
    return len(rows)


def _row(merchant_id: int, url_id: int, one: News, body: str, at: datetime) -> dict[str, Any]:
    return {
        "merchant_id": merchant_id,
        "url_id": url_id,
        "kind": one.kind,
        "body": body,
        "created_at": one.at,
        "queued_at": at,
        "due_at": at,
    }


def waiting(url_id: int) -> int:
    """How many messages an address has not taken yet."""
    return MAX_WAITING - _room([url_id])[url_id]


def _room(url_ids: Collection[int]) -> dict[int, int]:
    counts = db.session.execute(
        select(Callback.url_id, func.count())
        .where(Callback.url_id.in_(url_ids), is_unfinished(Callback))
        .group_by(Callback.url_id)
    )
    taken = {row[0]: row[1] for row in counts}
    return {url_id: MAX_WAITING - taken.get(url_id, 0) for url_id in url_ids}
