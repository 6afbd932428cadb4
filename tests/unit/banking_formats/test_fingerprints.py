"""The same posting is known again, and two honest equal ones are not taken for one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from server.banking.formats import ParsedPosting
from server.banking.rules.identity import fingerprint, fingerprints, squash

PLAIN = ParsedPosting(
    account_iban="DE02120300000000202051",
    booking_date=date(2025, 11, 18),
    value_date=date(2025, 11, 18),
    amount=Decimal("10.00"),
    currency="EUR",
)

# Few values each, so that equal postings are common.
postings = st.builds(
    lambda **changed: dataclasses.replace(PLAIN, **changed),
    account_iban=st.sampled_from([None, "DE02120300000000202051", "DE75512108001245126199"]),
    booking_date=st.sampled_from([None, date(2025, 11, 18), date(2025, 11, 19)]),
    amount=st.sampled_from([Decimal("10"), Decimal("-10"), Decimal("10.01")]),
    counterparty_name=st.sampled_from([None, "Erika Mustermann", "Otto Muster"]),
    remittance_information=st.sampled_from([None, "Miete", "Bestellung 4711"]),
    bank_reference=st.sampled_from([None, "55555", "2025111800000001", "2025111800000002"]),
    leaf_index=st.integers(0, 1),
    is_pending=st.booleans(),
)
files = st.lists(postings, max_size=12)


def stored(*deliveries: Sequence[ParsedPosting]) -> set[tuple[str | None, str]]:
    """What a table with a unique fingerprint in each account holds after the deliveries."""
    return {
        (posting.account_iban, known)
        for delivery in deliveries
        for posting, known in fingerprints(delivery)
    }


@given(files)
def test_every_posting_of_one_file_stays(delivery: list[ParsedPosting]) -> None:
    assert len(stored(delivery)) == len(delivery)


@given(files)
def test_the_same_file_again_adds_nothing(delivery: list[ParsedPosting]) -> None:
    assert stored(delivery, delivery) == stored(delivery)


@given(files, st.randoms(use_true_random=False))
def test_the_order_in_the_file_does_not_matter(
    delivery: list[ParsedPosting], random: object
) -> None:
    shuffled = list(delivery)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert stored(shuffled) == stored(delivery)


@given(files, files, files)
def test_files_that_overlap_add_only_the_difference(
    before: list[ParsedPosting], both: list[ParsedPosting], after: list[ParsedPosting]
) -> None:
    """Never fewer than the fuller delivery of each kind of posting holds, never more."""
    first, second = before + both, both + after
    counts: dict[object, int] = {}
    for delivery in (first, second):
        own: dict[object, int] = {}
        for posting in delivery:
            kind = (posting.account_iban, fingerprint(posting, 1))
            own[kind] = own.get(kind, 0) + 1
        for kind, count in own.items():
            counts[kind] = max(counts.get(kind, 0), count)
    assert len(stored(first, second)) == sum(counts.values())


def test_one_and_later_two_equal_ones_make_two() -> None:
    assert len(stored([PLAIN], [PLAIN, PLAIN])) == 2


def test_a_reference_survives_another_spelling_of_the_text() -> None:
    first = dataclasses.replace(PLAIN, bank_reference="2025111800000001")
    later = dataclasses.replace(first, remittance_information="GUTSCHRIFT Bestellung 1")
    assert len(stored([first], [later])) == 1
    assert len(stored([first], [dataclasses.replace(later, leaf_index=1)])) == 2
    assert len(stored([first], [dataclasses.replace(later, amount=Decimal("11"))])) == 2


def test_a_constant_in_the_place_of_a_reference_does_not_hide_a_payment() -> None:
    for constant in ("55555", "0000000000000000", "NONREF"):
        one = dataclasses.replace(PLAIN, bank_reference=constant, counterparty_name="Erika")
        other = dataclasses.replace(one, counterparty_name="Otto")
        assert len(stored([one], [other])) == 2


def test_the_booked_posting_is_not_known_from_the_pending_one() -> None:
    pending = dataclasses.replace(PLAIN, is_pending=True, bank_reference="2025111800000001")
    assert len(stored([pending], [dataclasses.replace(pending, is_pending=False)])) == 2


def test_spellings_of_different_formats_are_one() -> None:
    camt = dataclasses.replace(
        PLAIN, amount=Decimal("10.0"), remittance_information="Bestellung 4711 für\nMüller"
    )
    mt940 = dataclasses.replace(
        PLAIN,
        amount=Decimal("10.000"),
        remittance_information="SVWZ+BESTELLUNG 47\n11 FUER MUELLER",
    )
    assert fingerprint(camt, 1) == fingerprint(mt940, 1)
    assert fingerprint(camt, 1) != fingerprint(camt, 2)


@given(st.text())
def test_squashing_twice_changes_nothing(text: str) -> None:
    once = squash(text)
    assert once.isascii()
    assert once == "" or once.isalnum()
    assert squash(once) == once
