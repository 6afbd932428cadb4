"""The same mail once more, to one of its recipients or to all. Never commits.

A mail of its own in the log, of the same bytes: it goes off the quota like any other, and the path
of the first stays as it was. Its Received names the system that wrote it, not who clicked.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import or_, select

from server.db import db
from server.relay.connections import NotPossible
from server.relay.heads import NotAccepted
from server.relay.intake import Origin, accept, caller_now
from server.relay.log import content_of
from server.relay.models import RelayDelivery, RelayMessage

TWO_CLICKS: Final = timedelta(minutes=1)
"""A copy that is no older is what the second click meant, even if it has left."""


def hindrance(row: RelayMessage) -> str | None:
    """Why it cannot be sent again: a message key, or None if it can."""
    caller = caller_now(row.connection_id)
    if caller is None:
        return "relay_connection_removed"
    if caller.is_paused:
        return "relay_is_paused"
    if row.domain not in caller.domains:
        return "relay_domain_not_ready"
    return None


def resend(row: RelayMessage, recipients: Sequence[str], at: datetime) -> int:
    """The id of the new mail. ``recipients`` as they are in the log; who has a copy under way gets
    no other. Raises NotPossible.
    """
    why = hindrance(row)
    if why is not None:
        raise NotPossible(why)
    content = content_of(row)
    if content is None:
        raise NotPossible("relay_content_gone")
    if not recipients:
        raise NotPossible("relay_recipient_unknown")
    served = _served(row, at)
    to = [one for one in recipients if one not in served]
    if not to:
        raise NotPossible("relay_on_its_way")
    caller = caller_now(row.connection_id)
    assert caller is not None, "nothing hinders it"
    try:
        return accept(
            caller,
            content,
            sender=row.sender,
            recipients=to,
            origin=Origin("resent", row.client_address, row.client_name),
            at=at,
            resent_from_id=row.id,
        )
    except NotAccepted:
        raise NotPossible("relay_not_accepted") from None


def _served(row: RelayMessage, at: datetime) -> set[str]:
    """Who is just getting a copy of this mail. Nobody else sends it again meanwhile."""
    this = select(RelayMessage.id).where(RelayMessage.id == row.id)
    db.session.execute(this.with_for_update(key_share=True))
    copies = (
        select(RelayDelivery.recipient)
        .join(RelayMessage, RelayMessage.id == RelayDelivery.relay_message_id)
        .where(
            RelayMessage.merchant_id == row.merchant_id,
            RelayMessage.received_at >= row.received_at,
            RelayMessage.resent_from_id == row.id,
            or_(
                RelayDelivery.status.in_(("queued", "running")),
                RelayMessage.received_at > at - TWO_CLICKS,
            ),
        )
    )
    return set(db.session.scalars(copies))
