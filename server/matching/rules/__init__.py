"""The rules of matching: values in, decisions out, no database, no clock.

``text`` reads candidates, ``slips`` what may have been meant, ``names`` compares payers,
``amounts`` what was paid with what is owed; ``weights`` says what each is worth, ``candidates``
finds, ``groups`` adds up several orders, ``decision`` decides. ``facts`` holds what goes in and
comes out, ``evidence`` why.
"""

from server.matching.rules.decision import RULE_VERSION, decide
from server.matching.rules.evidence import Evidence
from server.matching.rules.facts import (
    CandidateStore,
    Crowd,
    Decision,
    Discount,
    KeyHit,
    Level,
    MemoryStore,
    OpenOrder,
    PaidFor,
    Payer,
    Policy,
    PostingFacts,
    Proposal,
    Share,
)

__all__ = [
    "RULE_VERSION",
    "CandidateStore",
    "Crowd",
    "Decision",
    "Discount",
    "Evidence",
    "KeyHit",
    "Level",
    "MemoryStore",
    "OpenOrder",
    "PaidFor",
    "Payer",
    "Policy",
    "PostingFacts",
    "Proposal",
    "Share",
    "decide",
]
