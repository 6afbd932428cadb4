"""Mail rows as they are when they were handed over, for tests of what comes back."""

from __future__ import annotations

import itertools
from typing import Any

from server.db import db, now
from server.mail.models import Mail

_count = itertools.count(1)


def sent_mail(merchant_id: int, kind: str = "payment_information", **over: Any) -> Mail:
    """A mail that the next server has taken."""
    number = next(_count)
    values: dict[str, Any] = {
        "language": "de",
        "recipient": "erika@example.org",
        "once": f"sent:{number}",
        "facts": {},
        "message_id": f"<{number}@shop.example.org>",
        "sender_address": "shop@example.org",
        "status": "done",
        "attempts": 1,
        "finished_at": now(),
        "delivery": "accepted",
        "smtp_response": "250 2.0.0 Ok",
    }
    row = Mail(merchant_id=merchant_id, kind=kind, **(values | over))
    db.session.add(row)
    db.session.commit()
    return row
