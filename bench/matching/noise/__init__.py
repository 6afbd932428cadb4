"""What payers write and what banks do to it: one small function a kind.

A kind takes a shop, pays free orders of it and gives drafts of postings together with what is
true about them. Where a careful person could not tell either, the draft says ``is_ambiguous``.

draft       a posting before it is printed, and what all kinds share
plain       the easy seven tenths of an account
references  other numbers than the order's own
slips       a number that is nearly right
unnamed     no number at all
amounts     the order is named, the sum is another
several     one payment of several orders
payers      how the payer's name is written
not_ours    what must not be booked by itself
"""

from bench.matching.noise import (
    amounts,
    not_ours,
    payers,
    plain,
    references,
    several,
    slips,
    unnamed,
)
from bench.matching.noise.draft import KINDS, Draft, Kind

__all__ = [
    "KINDS",
    "Draft",
    "Kind",
    "amounts",
    "not_ours",
    "payers",
    "plain",
    "references",
    "several",
    "slips",
    "unnamed",
]
