"""How the mail servers that we hand over to are doing: pauses and the limit a minute.

A file of its own because it is asked once a host, where ``service`` speaks of one mail. Several
workers may write at once, so each change is one statement or holds the row. Never commits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from server.db import db
from server.mail.models import MailHost

PAUSES = (
    timedelta(seconds=15),
    timedelta(seconds=15),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=15),
    timedelta(hours=1),
)
"""After the first, second, ... failure in a row; the last one goes on."""
DEAD_AFTER_FAILURES = 75  # with these pauses, three days
WINDOW = timedelta(minutes=1)
MAX_BECAUSE_LENGTH = 500
MAX_HOST_LENGTH = 253


@dataclass(frozen=True, slots=True)
class Standing:
    """``failures`` in a row; not to be tried before ``paused_until``, ``because`` of that."""

    failures: int = 0
    paused_until: datetime | None = None
    because: str = ""

    @property
    def is_dead(self) -> bool:
        """Out of reach for so long that no mail need wait for it."""
        return self.failures >= DEAD_AFTER_FAILURES


def standing(host: str) -> Standing:
    """A host that was never tried stands well."""
    columns = (MailHost.failures, MailHost.paused_until, MailHost.because)
    row = db.session.execute(select(*columns).where(MailHost.host == _key(host))).first()
    return Standing(row[0], row[1], row[2] or "") if row else Standing()


def failed(host: str, why: str, at: datetime, wish: timedelta = timedelta(0)) -> Standing:
    """One more failure in a row. Returns how it stands now.

    ``wish`` is what the host asked for; the pause is never shorter.
    """
    counted = (
        insert(MailHost)
        .values(host=_key(host), failures=1, window_at=at)
        .on_conflict_do_update(
            index_elements=[MailHost.host], set_={"failures": MailHost.failures + 1}
        )
        .returning(MailHost.failures)
    )
    failures = int(db.session.execute(counted).scalar_one())
    until = at + max(PAUSES[min(failures, len(PAUSES)) - 1], wish)
    db.session.execute(
        update(MailHost)
        .where(MailHost.host == _key(host))
        .values(paused_until=until, because=why[:MAX_BECAUSE_LENGTH])
        .execution_options(synchronize_session=False)
    )
    return Standing(failures, until, why)


def worked(host: str) -> None:
    """It took a mail, so whatever was wrong is over."""
    db.session.execute(
        update(MailHost)
        .where(MailHost.host == _key(host), MailHost.failures > 0)
        .values(failures=0, paused_until=None, because=None)
        .execution_options(synchronize_session=False)
    )


def grant(host: str, wanted: int, limit: int, at: datetime) -> tuple[int, datetime]:
    """How many of ``wanted`` mails the host may get now, and when it may get more.

    ``limit`` is for each minute, counted over all workers.
    """
    key = _key(host)
    db.session.execute(insert(MailHost).values(host=key, window_at=at).on_conflict_do_nothing())
    columns = (MailHost.window_at, MailHost.window_sent)
    row = select(*columns).where(MailHost.host == key).with_for_update()
    began, sent = db.session.execute(row).one()
    if at >= began + WINDOW:
        began, sent = at, 0
    granted = max(0, min(wanted, limit - sent))
    db.session.execute(
        update(MailHost)
        .where(MailHost.host == key)
        .values(window_at=began, window_sent=sent + granted)
        .execution_options(synchronize_session=False)
    )
    return granted, began + WINDOW


def paused(at: datetime) -> Mapping[str, Standing]:
    """Every host that is left alone at this moment, for those who watch over the house."""
    columns = (MailHost.host, MailHost.failures, MailHost.paused_until, MailHost.because)
    rows = db.session.execute(
        select(*columns).where(MailHost.paused_until > at).order_by(MailHost.host)
    )
    return MappingProxyType({row[0]: Standing(row[1], row[2], row[3] or "") for row in rows})


def _key(host: str) -> str:
    return host.lower()[:MAX_HOST_LENGTH]
