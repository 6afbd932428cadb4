"""Which of a merchant's people gets which notice (K38, K42).

A file of its own because the kinds of notices belong to rooms above this one: here they are
names. Whoever chose a kind gets it; a kind that somebody must read goes to the administrators if
nobody chose it, except to those who said no. Never commits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import and_, delete, select
from sqlalchemy.dialects.postgresql import insert

from server.db import db
from server.merchants.models import NoticeChoice, User


def recipients(merchant_id: int, kind: str, *, is_essential: bool) -> list[User]:
    """Who gets a notice of this kind now, by id. One query."""
    own_choice = and_(NoticeChoice.user_id == User.id, NoticeChoice.kind == kind)
    rows = db.session.execute(
        select(User, NoticeChoice.is_wanted)
        .outerjoin(NoticeChoice, own_choice)
        .where(User.merchant_id == merchant_id, User.deactivated_at.is_(None))
        .order_by(User.id)
    ).all()
    said = {(user.id, kind): is_wanted for user, is_wanted in rows if is_wanted is not None}
    return getting(kind, [user for user, _ in rows], said, is_essential=is_essential)


def getting(
    kind: str,
    people: Sequence[User],
    said: Mapping[tuple[int, str], bool],
    *,
    is_essential: bool,
) -> list[User]:
    """The same of people and choices that are known; ``said`` as of ``choices_of``."""
    chosen = [user for user in people if said.get((user.id, kind))]
    if chosen or not is_essential:
        return chosen
    return [user for user in people if user.is_administrator and (user.id, kind) not in said]


def wanting(merchant_id: int, kinds: Collection[str]) -> dict[str, list[User]]:
    """Who chose which of these kinds, by kind; those that nobody chose are not there. One query."""
    rows = db.session.execute(
        select(NoticeChoice.kind, User)
        .join(User, User.id == NoticeChoice.user_id)
        .where(
            User.merchant_id == merchant_id,
            User.deactivated_at.is_(None),
            NoticeChoice.kind.in_(kinds),
            NoticeChoice.is_wanted,
        )
        .order_by(User.id)
    )
    found: defaultdict[str, list[User]] = defaultdict(list)
    for kind, user in rows:
        found[kind].append(user)
    return dict(found)


def people_of(merchant_id: int) -> list[User]:
    """Everybody who may log in, by id."""
    query = select(User).where(User.merchant_id == merchant_id, User.deactivated_at.is_(None))
    return list(db.session.scalars(query.order_by(User.id)))


def choices_of(merchant_id: int) -> Mapping[tuple[int, str], bool]:
    """What the merchant's people have said, by user and kind."""
    rows = db.session.execute(
        select(NoticeChoice.user_id, NoticeChoice.kind, NoticeChoice.is_wanted)
        .join(User, User.id == NoticeChoice.user_id)
        .where(User.merchant_id == merchant_id)
    )
    return {(user_id, kind): is_wanted for user_id, kind, is_wanted in rows}


def choose(user_id: int, kind: str, *, is_wanted: bool | None, at: datetime) -> None:
    """A person wants a kind or wants it no more; None is again what would be without a choice."""
    if is_wanted is None:
        db.session.execute(
            delete(NoticeChoice).where(NoticeChoice.user_id == user_id, NoticeChoice.kind == kind)
        )
        return
    values = {"is_wanted": is_wanted, "changed_at": at}
    stored = insert(NoticeChoice).values(user_id=user_id, kind=kind, **values)
    db.session.execute(
        stored.on_conflict_do_update(index_elements=["user_id", "kind"], set_=values)
    )
