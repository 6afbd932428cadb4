"""A QR reference in a posting names the order whose reference it holds, and nothing else."""

from __future__ import annotations

import pytest

from server.banking.payments.swiss_qr import grouped_reference
from server.matching.rules import MemoryStore, decide
from server.matching.rules.text import clean, qr_references, readings
from server.orders.rules import qr_reference
from tests.unit.matching.test_matching_rules import (
    OWN,
    SHOP,
    booked,
    decided,
    make_order,
    make_posting,
)

QR = qr_reference(OWN)
GROUPED = grouped_reference(QR)


@pytest.mark.feature("K19")
@pytest.mark.parametrize(
    "over",
    [
        {"creditor_reference": QR},
        {"creditor_reference": GROUPED},
        {"remittance_information": QR},
        {"remittance_information": f"QRR {GROUPED} danke"},
        {"remittance_information": f"Referenz:{QR[:20]}\n{QR[20:]}"},
        {"remittance_information": " ".join(QR[at : at + 4] for at in range(0, 27, 4))},
        {"end_to_end_id": QR},
    ],
)
def test_a_qr_reference_is_booked_wherever_it_stands(over: dict[str, str]) -> None:
    decision = decided(make_posting(**({"text": None, "counterparty_name": "Max Fremd"} | over)))
    assert (decision.choice, booked(decision)) == ("auto", {"ANNA-20017": "49.90"})
    (number,) = [each for each in decision.evidence if each.kind == "number_checked"]
    assert number.facts["written"] == OWN
    assert number.span is not None
    field = next(iter(over))
    written = over[field][number.span.start : number.span.end]
    assert "".join(written.split()) == QR


@pytest.mark.feature("K19")
def test_its_groups_are_no_numbers_of_other_orders() -> None:
    groups = GROUPED.split()[-3:]
    others = [make_order(group, "49.90", id=n) for n, group in enumerate(groups, 9_000)]
    posting = make_posting(f"Rechnung {GROUPED}", "49.90", counterparty_name="Max Fremd")
    decision = decided(posting, [*SHOP, *others])
    assert (decision.choice, booked(decision)) == ("auto", {"ANNA-20017": "49.90"})


def test_a_number_beside_it_still_counts() -> None:
    posting = make_posting(f"{GROUPED}, ANNA-20018", "88.25", counterparty_name="Max Fremd")
    assert booked(decided(posting)) == {"ANNA-20017": "49.90", "ANNA-20018": "38.35"}


@pytest.mark.parametrize("text", [QR[:-1] + str((int(QR[-1]) + 1) % 10), QR[1:], f"{QR}0"])
def test_a_wrong_one_names_nobody(text: str) -> None:
    posting = make_posting(None, creditor_reference=text, counterparty_name="Max Fremd")
    (decision,) = decide([posting], MemoryStore(SHOP))
    assert all(each.kind != "number_checked" for each in decision.evidence)
    assert decision.choice != "auto"
    assert qr_references(readings(clean(text), 0)) == []
