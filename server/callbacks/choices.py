"""What an address hears of, as its owner chose; the payment status of orders until he does.

A file of its own because both who tells of orders and who tells of mails asks it. A choice stands
in the merchant's log of changes, where it says who decided what is told to whom. Never commits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from server.callbacks import rules
from server.callbacks.models import CallbackUrl
from server.merchants.service import set_of_thing, values_of_things

PREFIX = "callback."
"""Of the names in the log; the address's id follows."""


class CallbackError(ValueError):
    """An address or a choice that is not possible; ``args[0]`` is the message key."""


def hearing(merchant_id: int, url_ids: Collection[int]) -> Mapping[int, frozenset[str]]:
    """What each of these addresses hears of, as ``rules.CHOICES`` names it."""
    names = {f"{PREFIX}{url_id}": url_id for url_id in url_ids}
    values = values_of_things(merchant_id, names)
    first = {"kinds": rules.FIRST_CHOICE}
    return {
        url_id: frozenset((values.get(name) or first)["kinds"]) for name, url_id in names.items()
    }


def choose(row: CallbackUrl, kinds: Collection[str], *, actor: str, at: datetime) -> None:
    """It hears of these from now on. Raises CallbackError `no_kind`; unknown ones are left out."""
    wanted = [kind for kind in rules.CHOICES if kind in kinds]
    if not wanted:
        raise CallbackError("no_kind")
    if hearing(row.merchant_id, [row.id])[row.id] == frozenset(wanted):
        return
    value = {"url": row.url, "kinds": wanted}
    set_of_thing(row.merchant_id, f"{PREFIX}{row.id}", value, actor=actor, at=at)
