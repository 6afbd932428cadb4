"""How the connection of a shop that Kontor visits itself is doing: an icon and a word (K12)."""

from __future__ import annotations

from typing import Final

from server.dashboard.status import Badge
from server.dashboard.words import t
from server.shops.models import Shop, ShopConnection

STAGES: Final = ("system", "access", "check", "mapping", "orders")
"""What there is to do until such a shop is switched on."""
_LOOKS = {
    "setting_up": ("partial", "part"),
    "paused": ("cancelled", "off"),
    "needs_login": ("warn", "bad"),
    "failing": ("warn", "warn"),
    "starting": ("overdue", "off"),
    "well": ("check", "ok"),
}


def state_of(shop: Shop, row: ShopConnection) -> str:
    """One of the words of ``connect.state_``."""
    if shop.status == "disabled":
        return "paused"
    if row.status == "withheld":
        return "setting_up"
    if row.needs_login:
        return "needs_login"
    if row.failures or row.status == "failed":
        return "failing"
    return "well" if row.visited_at else "starting"


def is_set_up(shop: Shop, row: ShopConnection) -> bool:
    """It was switched on, even if it is paused now."""
    return state_of(shop, row) != "setting_up"


def state_badge(shop: Shop, row: ShopConnection) -> Badge:
    word = state_of(shop, row)
    icon, colour = _LOOKS[word]
    return Badge(icon, colour, t(f"connect.state_{word}"), tinted=colour in {"warn", "bad"})
