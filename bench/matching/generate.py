"""A whole set from a seed: a shop's orders, what came in on its account, and the truth.

    set_of("prefixed", seed=1, open_orders=2000, postings=1500)

The same arguments give the same set. ``through`` writes the postings into a real bank file and
takes what our parser reads back, so whatever a format does to texts happens here too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any, Final

from bench.matching.noise import KINDS, Draft, Kind
from bench.matching.orders import ACCOUNT_IBANS, STYLES, TODAY, Shop, build

PAID_SHARE: Final = 0.75
"""So many postings an open order, unless told otherwise: orders must not run out."""
BOOSTS: Final[dict[str, dict[str, float]]] = {
    "b2b": {
        "several_named": 4,
        "several_abbreviated": 4,
        "several_some_named": 2,
        "several_unnamed": 3,
        "several_discounted": 6,
        "several_credit_note": 3,
        "discount_in_time": 6,
        "discount_late": 4,
        "invoice_number": 6,
        "known_payer": 2,
    },
    "families": {"household": 8, "known_payer": 3, "name_partner": 3, "name_only_family": 3},
    "same_range": {"invoice_number": 5},
    "two_currencies": {"other_currency": 2},
}
"""How much more often a kind is in a style than elsewhere."""
MAX_SETS: Final = 20
"""Sets a style and seed: small shops give fewer postings than the others."""
BANK_ID_SHARE: Final = 0.06
NO_IBAN_SHARE: Final = 0.03

Line = dict[str, Any]


@dataclass(frozen=True)
class Set:
    """One shop: ``truth`` has id, kind, orders, booked (amount an order) and ambiguous."""

    style: str
    seed: int
    today: str
    orders: list[Line]
    postings: list[Line]
    truth: list[Line]
    history: list[Line]

    def write(self, directory: Path) -> None:
        """Four files of JSON lines."""
        directory.mkdir(parents=True, exist_ok=True)
        for name in ("orders", "postings", "truth", "history"):
            lines = (json.dumps(line, ensure_ascii=False) + "\n" for line in getattr(self, name))
            (directory / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


def set_of(
    style: str, seed: int, open_orders: int, postings: int, through: str | None = None
) -> Set:
    """The set of this style and seed with so many open orders and about so many postings.

    Styles of a fixed size have their own number of orders; there are fewer postings if the orders
    run out. ``through``: None, ``camt`` or ``mt940``.
    """
    rng = Random(f"{style} {seed} {open_orders} {postings}")
    kind_of_shop = STYLES[style]
    open_orders = kind_of_shop.open_orders or open_orders
    shop = build(kind_of_shop, rng, open_orders)
    drafts = in_order(rng, _drafts(shop, min(postings, round(open_orders * PAID_SHARE))))
    lines = [printed(at, draft, rng) for at, (_, draft) in enumerate(drafts)]
    if through:
        lines = _through(through, lines)
    truth = [true(at, kind, draft) for at, (kind, draft) in enumerate(drafts)]
    return Set(style, seed, str(TODAY), shop.orders, lines, truth, list(shop.history))


def _drafts(shop: Shop, postings: int) -> list[list[tuple[str, Draft]]]:
    """What each call of a kind gave, with the kind's name; at least ``postings`` in sum."""
    boosts = BOOSTS.get(shop.style.name, {})
    kinds = [KINDS[name] for name in sorted(KINDS)]
    weights = [kind.weight * boosts.get(kind.name, 1) for kind in kinds]
    wanted = shop.rng.choices(kinds, weights=weights, k=postings)
    plain = [kind for kind in kinds if kind.rank == max(one.rank for one in wanted)]
    made: list[list[tuple[str, Draft]]] = []
    count = 0
    for kind in sorted(wanted, key=lambda kind: kind.rank):
        drafts = kind.make(shop)
        if not drafts:
            made.append(_instead(shop, plain))
        else:
            made.append([(kind.name, draft) for draft in drafts])
        count += len(made[-1])
        if count >= postings:
            break
    return made


def _instead(shop: Shop, plain: list[Kind]) -> list[tuple[str, Draft]]:
    """An easy posting where a kind found nothing that fits."""
    kind = shop.rng.choices(plain, weights=[one.weight for one in plain])[0]
    return [(kind.name, draft) for draft in kind.make(shop)]


def in_order(rng: Random, made: Iterable[list[tuple[str, Draft]]]) -> list[tuple[str, Draft]]:
    """By booking date, mixed within a day; drafts made together keep their order."""
    keyed = []
    for together in made:
        place = rng.random()
        keyed += [(draft.on, place, at, kind, draft) for at, (kind, draft) in enumerate(together)]
    keyed.sort(key=lambda one: one[:3])
    return [(kind, draft) for *_, kind, draft in keyed]


def printed(at: int, draft: Draft, rng: Random) -> Line:
    """The posting as ``python -m server parse`` prints one."""
    end_to_end_id = draft.end_to_end_id
    if end_to_end_id is None and rng.random() < BANK_ID_SHARE:
        end_to_end_id = f"ZV01{draft.on:%Y%m%d}{rng.randrange(10**10):010}"
    has_iban = draft.is_known_by_iban or rng.random() >= NO_IBAN_SHARE
    return {
        "id": at,
        "file": "generated",
        "account_iban": ACCOUNT_IBANS.get(draft.currency, ACCOUNT_IBANS["EUR"]),
        "booking_date": str(draft.on),
        "value_date": str(draft.on),
        "amount": f"{draft.amount:.2f}",
        "currency": draft.currency,
        "counterparty_name": draft.name,
        "counterparty_iban": draft.iban if has_iban else None,
        "counterparty_bic": None,
        "remittance_information": draft.text,
        "creditor_reference": draft.creditor_reference,
        "end_to_end_id": end_to_end_id,
        "mandate_id": None,
        "bank_reference": None,
        "transaction_code": draft.transaction_code,
        "is_return": draft.is_return,
        "return_reason": draft.return_reason,
        "is_pending": draft.is_pending,
        "is_batch_total": draft.is_batch_total,
    }


def true(at: int, kind: str, draft: Draft) -> Line:
    return {
        "id": at,
        "kind": kind,
        "orders": sorted(draft.booked),
        "booked": {number: f"{amount:.2f}" for number, amount in sorted(draft.booked.items())},
        "ambiguous": draft.is_ambiguous,
    }


# --- Through a bank file ----------------------------------------------------------------------


FROM_BANK: Final = ("counterparty_name", "counterparty_iban", "remittance_information",
                    "end_to_end_id", "booking_date", "value_date")  # fmt: skip


def _through(kind: str, lines: Sequence[Line]) -> list[Line]:
    """The same postings as our parser reads them from a real file.

    The writers know euros only and no flags; those stay as they were drawn.
    """
    from server.banking import formats
    from tests.bank_files import Paid, camt, mt940

    paid = [
        Paid(
            amount=line["amount"],
            text=" ".join((line["remittance_information"] or "").split()),
            name=line["counterparty_name"] or "",
            iban=line["counterparty_iban"] or "",
            on=_day(line),
            end_to_end_id=line["end_to_end_id"] or "",
        )
        for line in lines
    ]
    content = camt("camt.053", *paid) if kind == "camt" else mt940(*paid)
    read = [
        formats.to_wire(item, "generated")
        for _, item in formats.parse_members(BytesIO(content), "generated", None)
        if isinstance(item, formats.ParsedPosting)
    ]
    assert len(read) == len(lines), f"{len(lines)} written, {len(read)} read"
    back = []
    for line, found in zip(lines, read, strict=True):
        assert Decimal(str(found["amount"])) == Decimal(line["amount"]), line
        back.append({**line, **{name: found[name] for name in FROM_BANK}})
    return back


def _day(line: Line) -> date:
    return date.fromisoformat(line["booking_date"])


def batches(style: str, seed: int, open_orders: int, postings: int) -> list[tuple[int, int]]:
    """How many sets of which size make so many postings: (seed of the set, its postings)."""
    size = round((STYLES[style].open_orders or open_orders) * PAID_SHARE)
    count = min(max(1, round(postings / size)), MAX_SETS)
    each = min(size, max(1, round(postings / count)))
    return [(seed * 1000 + at, each) for at in range(count)]


def smaller(one: Set, ids: Iterable[int]) -> Set:
    """The same set with only these postings."""
    kept = set(ids)
    return replace(
        one,
        postings=[line for line in one.postings if line["id"] in kept],
        truth=[line for line in one.truth if line["id"] in kept],
    )
