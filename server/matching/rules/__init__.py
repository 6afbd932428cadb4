"""The rules of matching: values in, decisions out, no database, no clock.

``text`` reads candidates, ``names`` compares payers, ``evidence`` weighs, ``candidates`` finds,
``decision`` decides; ``facts`` holds what goes in and comes out.
"""

from server.matching.rules.decision import decide
from server.matching.rules.facts import (
    CandidateStore,
    Decision,
    Discount,
    KeyHit,
    MemoryStore,
    OpenOrder,
    Payer,
    PostingFacts,
    Proposal,
    Share,
)

__all__ = [
    "CandidateStore",
    "Decision",
    "Discount",
    "KeyHit",
    "MemoryStore",
    "OpenOrder",
    "Payer",
    "PostingFacts",
    "Proposal",
    "Share",
    "decide",
]
