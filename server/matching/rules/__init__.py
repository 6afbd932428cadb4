"""The rules of matching: values in, decisions out, no database, no clock.

``text`` reads candidates, ``slips`` what may have been meant, ``names`` compares payers,
``amounts`` what was paid with what is owed; ``weights`` says what each is worth. ``case`` is one
posting while it is decided, ``candidates`` finds its orders, ``groups`` adds up several,
``hypotheses`` weighs the answers, ``decision`` decides. ``facts`` holds what goes in and comes out,
``evidence`` why, ``memory`` what is known of payers.
"""

from server.matching.rules.decision import LEVELS, RULE_VERSION, decide
from server.matching.rules.evidence import Evidence
from server.matching.rules.facts import (
    CandidateStore,
    Crowd,
    Decision,
    Discount,
    KeyHit,
    MemoryStore,
    OpenOrder,
    PaidFor,
    Payer,
    Policy,
    PostingFacts,
    Proposal,
    Share,
)
from server.merchants.settings import Level

__all__ = [
    "LEVELS",
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
