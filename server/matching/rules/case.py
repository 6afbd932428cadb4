"""One posting while it is decided: its texts, what they may mean, and the orders found for it."""

from __future__ import annotations

from collections.abc import Sequence, Set
from decimal import Decimal
from functools import lru_cache
from itertools import combinations
from typing import Final, NamedTuple

from server.banking.rules.ignoring import provider_named
from server.matching.rules.amounts import Relation, relate
from server.matching.rules.evidence import FIELDS, Evidence, Span
from server.matching.rules.facts import Crowd, OpenOrder, OrderId, PaidFor, Policy, PostingFacts
from server.matching.rules.names import Likely, likeness, telling_words
from server.matching.rules.text import BARRIER, Reading, Run, clean, cuts, discount, readings
from server.matching.rules.weights import name_evidence, payer_evidence
from server.orders.rules import name_key, pair_key

MAX_NAME_WORDS: Final = 5
NOT_CUT: Final[frozenset[int]] = frozenset()
NOT_PROVIDED: Final = frozenset(("NOTPROVIDED", "NOT PROVIDED", "NOTAVAILABLE"))


class Mention(NamedTuple):
    """An order that a reading names, and what that is worth.

    ``basis``: ``number`` is written, ``slip`` nearly is, ``customer``: his number is.
    """

    order: OpenOrder
    reading: Reading
    evidence: Evidence
    basis: str
    is_checked: bool = False

    @property
    def is_exact(self) -> bool:
        """Whether the order's own number is what is written."""
        return self.basis == "number"


class Case:
    """A posting with its cleaned texts, their readings, and the orders it may pay."""

    __slots__ = (
        "_name_keys",
        "_names",
        "_relations",
        "available",
        "cuts",
        "by_name",
        "counted",
        "fields",
        "known",
        "mentions",
        "nearby",
        "posting",
        "runs",
        "spoken",
        "text",
        "texts",
        "unknown",
    )

    def __init__(self, posting: PostingFacts) -> None:
        self.posting = posting
        self.available = posting.available
        self.texts: list[str] = []
        self.fields: list[str] = []
        self.cuts: list[frozenset[int]] = []
        self.runs: list[Run] = []
        self._read()
        self.text = " ".join(self.texts)
        self.mentions: list[Mention] = []
        self.by_name: list[OpenOrder] = []
        self.known: tuple[PaidFor, ...] = ()  # by his account
        self.counted: tuple[PaidFor, ...] = ()  # by his name, where the account is not known
        self.spoken = ""  # words of the text that may be a name
        self.unknown = ""  # a number that is no order's
        self.nearby: Set[OrderId] = frozenset()  # orders of the payer's name
        self._name_keys: set[str] | None = None
        self._names: dict[OrderId, Likely] = {}
        self._relations: dict[tuple[OrderId, Decimal], Relation] = {}

    def _read(self) -> None:
        posting = self.posting
        written = (
            posting.remittance_information,
            posting.creditor_reference,
            posting.end_to_end_id,
        )
        for field, text in zip(FIELDS, written, strict=True):
            if text and text.upper() not in NOT_PROVIDED:
                cleaned = _without_amount(clean(text), self.available)
                self.runs += readings(cleaned, len(self.texts))
                self.texts.append(cleaned)
                self.fields.append(field)

    @property
    def name_keys(self) -> set[str]:
        """Under which keys orders of the payer's name are kept."""
        if self._name_keys is None:
            self._name_keys = keys_of_names(telling_words(self.posting.counterparty_name))
        return self._name_keys

    def read_closely(self) -> list[Run]:
        """Divide what is written together; returns the runs that this adds."""
        posting = self.posting
        more: list[Run] = []
        for number, field in enumerate(self.fields):
            cut = cuts(getattr(posting, field))
            self.cuts.append(cut)
            if cut:
                known = set(self.runs)
                found = readings(self.texts[number], number, cut)
                more += [run for run in found if run not in known]
        self.runs += more
        return more

    @property
    def provider(self) -> str | None:
        """The payment provider whose payout this is."""
        return _provider(self.posting.counterparty_name or "")

    def span(self, reading: Reading) -> Span:
        """Where a reading stands in the posting."""
        return Span(self.fields[reading.field], reading.start, reading.end)

    def likeness(self, order: OpenOrder) -> Likely:
        """How far the payer's name, or one that he wrote, is the customer's."""
        found = self._names.get(order.id)
        if found is None:
            found = likeness(self.posting.counterparty_name, order.payers)
            if self.spoken and found.likeness in ("unknown", "different", "family"):
                said = likeness(self.spoken, order.payers)
                if said.likeness in ("full", "company"):
                    found = said._replace(is_spoken=True)
            self._names[order.id] = found
        return found

    def off(self, reading: Reading) -> float:
        """What had to be assumed for a reading, as a power of ten."""
        cut = self.cuts[reading.field] if self.cuts else NOT_CUT
        return discount(self.texts[reading.field], reading, cut)

    def relation(self, order: OpenOrder, owed: Decimal, crowd: Crowd, policy: Policy) -> Relation:
        """How the amount relates to what the order owes."""
        found = self._relations.get((order.id, owed))
        if found is None:
            found = relate(self.posting, order, owed, crowd, order.policy or policy, self.text)
            self._relations[order.id, owed] = found
        return found

    def who(
        self, order: OpenOrder, crowd: Crowd, *, is_whole: bool = True
    ) -> tuple[Evidence, Evidence | None]:
        """What the payer's name says, and what is known of him."""
        name = name_evidence(self.posting, self.likeness(order), crowd, is_whole=is_whole)
        if not self.known and not self.counted:
            return name, None
        is_account = bool(self.known)
        payer = (
            self.posting.counterparty_iban if is_account else self.posting.counterparty_name
        ) or ""
        evidence = payer_evidence(
            payer,
            self.known or self.counted,
            order,
            crowd,
            is_account=is_account,
            booked=self.posting.booking_date,
        )
        return name, evidence


def keys_of_names(words: Sequence[str]) -> set[str]:
    """The keys of names that these words may be: each word, and each two."""
    some = words[:MAX_NAME_WORDS]
    keys = {name_key(word) for word in words}
    keys.update(pair_key(one, other) for one, other in combinations(some, 2))
    keys.discard("")
    return keys


def _without_amount(text: str, amount: Decimal) -> str:
    """The posting's own amount is no reference, even where it is glued to one."""
    if "," not in text:
        return text
    written = f"{amount:.2f}".replace(".", ",")
    at = text.find(written)
    if at < 0:
        return text
    return text[:at] + BARRIER * len(written) + text[at + len(written) :]


@lru_cache(maxsize=50_000)
def _provider(name: str) -> str | None:
    return provider_named(name)
