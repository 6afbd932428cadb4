"""camt: what hidden corners of the message types mean, and files that are cut, wrong or hostile."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import zipfile
from decimal import Decimal
from pathlib import Path

import pytest

from server.banking.formats import (
    Item,
    ParsedPosting,
    Problem,
    StatementFacts,
    Unreadable,
    parse,
    parse_members,
)

FIXTURES = Path(__file__).parents[2] / "fixtures" / "statements"

HEAD = '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.05{n}.001.{v}"><{message}><{part}>'
TAIL = "</{part}></{message}></Document>"
KINDS = {
    "2": ("BkToCstmrAcctRpt", "Rpt"),
    "3": ("BkToCstmrStmt", "Stmt"),
    "4": ("BkToCstmrDbtCdtNtfctn", "Ntfctn"),
}


def entry(
    amount: str = "10.00", inside: str = "", *, status: str = "<Sts><Cd>BOOK</Cd></Sts>"
) -> str:
    return (
        f'<Ntry><Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd>{status}'
        f"<BookgDt><Dt>2025-11-18</Dt></BookgDt>{inside}</Ntry>"
    )


def details(amount: str | None, text: str = "", more: str = "", currency: str = "EUR") -> str:
    printed = f'<Amt Ccy="{currency}">{amount}</Amt>' if amount else ""
    return (
        f"<TxDtls>{printed}<CdtDbtInd>CRDT</CdtDbtInd>{more}"
        f"<RmtInf><Ustrd>{text}</Ustrd></RmtInf></TxDtls>"
    )


def message(*entries: str, n: str = "3", v: str = "08") -> bytes:
    name, part = KINDS[n]
    head = HEAD.format(n=n, v=v, message=name, part=part)
    return (head + "".join(entries) + TAIL.format(message=name, part=part)).encode()


def items(content: bytes) -> list[Item]:
    return list(parse(io.BytesIO(content), "file"))


def postings(content: bytes) -> list[ParsedPosting]:
    return [item for item in items(content) if isinstance(item, ParsedPosting)]


def problems(content: bytes) -> list[Problem]:
    return [item for item in items(content) if isinstance(item, Problem)]


@pytest.mark.parametrize("n", KINDS)
@pytest.mark.parametrize("v", ["02", "04", "08", "13", "99"])
def test_every_message_type_and_version_is_read(n: str, v: str) -> None:
    content = message(entry(), n=n, v=v)
    assert [one.amount for one in postings(content)] == [Decimal("10.00")]
    without_namespace = content.replace(
        content[content.index(b" xmlns") : content.index(b">")], b""
    )
    assert postings(without_namespace) == postings(content)


@pytest.mark.parametrize(
    ("status", "pending"),
    [
        ("<Sts>BOOK</Sts>", False),
        ("<Sts><Cd>BOOK</Cd></Sts>", False),
        ("", False),
        ("<Sts>PDNG</Sts>", True),
        ("<Sts><Cd>PDNG</Cd></Sts>", True),
        ("<Sts>\n  <Cd>INFO</Cd>\n</Sts>", True),
    ],
)
def test_what_is_not_booked_is_pending(status: str, pending: bool) -> None:
    assert [one.is_pending for one in postings(message(entry(status=status)))] == [pending]


def test_a_batch_gives_its_payments_with_their_place() -> None:
    one, two = details("4.00", "one"), details("6.00", "two")
    inside = f"<NtryDtls>{one}</NtryDtls><NtryDtls>{two}</NtryDtls>"
    found = postings(message(entry(inside=inside)))
    assert [(one.amount, one.remittance_information, one.leaf_index) for one in found] == [
        (Decimal("4.00"), "one", 0),
        (Decimal("6.00"), "two", 1),
    ]


@pytest.mark.parametrize(
    ("leaves", "expected"),
    [
        (["4.00", "5.00"], ["4.00", "5.00", "1.00"]),
        (["6.00", "6.00"], ["6.00", "6.00", "-2.00"]),
        (["4.00", None], ["4.00", "6.00"]),
        ([None, "4.00"], ["4.00", "6.00"]),
        ([None, None], ["10.00"]),
        (["4.00", None, None], ["4.00", "6.00"]),
    ],
)
def test_the_leaves_always_add_up_to_the_entry(
    leaves: list[str | None], expected: list[str]
) -> None:
    inside = f"<NtryDtls>{''.join(details(one) for one in leaves)}</NtryDtls>"
    found = postings(message(entry(inside=inside)))
    assert [str(one.amount) for one in found] == expected
    assert sum(one.amount for one in found) == Decimal("10.00")
    assert len({one.leaf_index for one in found}) == len(found)


def test_payments_in_a_foreign_currency_are_never_mixed_into_the_account() -> None:
    francs = [details(amount, text, currency="CHF") for amount, text in (("9", "a"), ("1", "b"))]
    inside = f"<NtryDtls>{''.join(francs)}</NtryDtls>"
    found = items(message(entry(inside=inside)))
    [posting] = [one for one in found if isinstance(one, ParsedPosting)]
    assert (posting.amount, posting.currency, posting.is_batch_total) == (
        Decimal("10.00"),
        "EUR",
        True,
    )
    assert posting.remittance_information == "a\nb"
    assert [one.where for one in found if isinstance(one, Problem)] == ["entry 1"]


def test_the_only_leaf_is_worth_what_the_account_shows() -> None:
    inside = f"<NtryDtls>{details('11.20', 'in dollars', currency='USD')}</NtryDtls>"
    [posting] = postings(message(entry(inside=inside)))
    assert (posting.amount, posting.currency) == (Decimal("10.00"), "EUR")


def test_stated_charges_become_a_leaf_of_their_own() -> None:
    charges = '<Chrgs><Amt Ccy="EUR">2.00</Amt></Chrgs>'
    inside = f"<NtryDtls>{details('12.00', 'order', charges)}</NtryDtls>"
    found = postings(message(entry(inside=inside)))
    assert [(str(one.amount), one.remittance_information) for one in found] == [
        ("12.00", "order"),
        ("-2.00", None),
    ]


@pytest.mark.parametrize(
    ("leaf", "expected"),
    [("10.50", ["10.50", "-0.50"]), ("9.50", ["10.00"]), ("105.00", ["10.00"]), ("0", ["10.00"])],
)
def test_a_small_difference_is_charges_and_another_is_not(leaf: str, expected: list[str]) -> None:
    found = postings(message(entry(inside=f"<NtryDtls>{details(leaf)}</NtryDtls>")))
    assert [str(one.amount) for one in found] == expected


@pytest.mark.parametrize("currency", ["EURO", "", "e\x07u", "eur"])
def test_what_is_no_currency_is_left_out(currency: str) -> None:
    [posting] = postings(message(entry()).replace(b"EUR", currency.encode()))
    assert (posting.amount, posting.currency) == (Decimal("10.00"), None)


@pytest.mark.parametrize(
    ("inside", "is_batch"),
    [
        ("<NtryDtls><Btch><NbOfTxs>3</NbOfTxs></Btch></NtryDtls>", True),
        ("<NtryDtls><Btch><PmtInfId>X</PmtInfId></Btch></NtryDtls>", True),
        ("<NtryDtls><Btch><NbOfTxs>1</NbOfTxs></Btch></NtryDtls>", False),
        ("", False),
    ],
)
def test_a_batch_without_details_is_one_posting(inside: str, is_batch: bool) -> None:
    assert [one.is_batch_total for one in postings(message(entry(inside=inside)))] == [is_batch]


def test_an_entry_without_direction_is_kept_as_money_that_went() -> None:
    content = message(entry().replace("<CdtDbtInd>CRDT</CdtDbtInd>", ""))
    assert [one.amount for one in postings(content)] == [Decimal("-10.00")]
    assert len(problems(content)) == 1


@pytest.mark.parametrize("amount", ["", "ten", "NaN", "1e3", "9" * 40])
def test_an_unreadable_amount_is_a_problem_and_costs_its_entry_only(amount: str) -> None:
    content = message(entry(), entry(amount), entry())
    assert len(postings(content)) == 2
    assert [one.where for one in problems(content)] == ["entry 2"]


def test_cut_anywhere_the_entries_before_the_cut_are_all_there() -> None:
    entries = [
        entry(f"{n}.00", f"<NtryDtls>{details(f'{n}.00', 'x')}</NtryDtls>") for n in range(1, 8)
    ]
    content = message(*entries)
    ends = [content.index(one.encode()) + len(one) for one in entries]
    for cut in range(ends[0], len(content) - 1, 13):
        found = items(content[:cut])
        whole = sum(end <= cut for end in ends)
        amounts = [int(one.amount) for one in found if isinstance(one, ParsedPosting)]
        # The entry that the cut goes through may come as well, when its payment was complete.
        assert amounts in (list(range(1, whole + 1)), list(range(1, whole + 2)))
        assert isinstance(found[-1], Problem)
        assert not any(isinstance(one, StatementFacts) for one in found) or whole == 7


def test_windows_letters_in_a_file_that_claims_utf8_are_read() -> None:
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        + message(
            entry(inside=f"<NtryDtls>{details('10.00', 'Müller – Größe')}</NtryDtls>")
        ).decode()
    )
    [posting] = postings(text.encode("cp1252"))
    assert posting.remittance_information == "Müller – Größe"
    assert postings(text.encode("utf-8")) == [posting]


def test_a_bare_ampersand_or_a_control_character_costs_nothing() -> None:
    texts = ["Muster & Söhne", "a &uuml; b", "A&amp;B &lt;", "x&#1;y", "\x02z", "&#228;", "R&D &"]
    leaves = [f"<NtryDtls>{details('1.00', text)}</NtryDtls>" for text in texts]
    found = postings(message(*[entry("1.00", leaf) for leaf in leaves * 400]))
    read = ["Muster & Söhne", "a &uuml; b", "A&B <", "xy", "z", "ä", "R&D &"]
    assert [one.remittance_information for one in found] == read * 400


BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">'
    b'<!ENTITY c "&b;&b;&b;&b;&b;&b;">]>'
)
FILE_ENTITY = b'<!DOCTYPE d [<!ENTITY a SYSTEM "file:///etc/hostname">]>'
LATE = b"<!--" + b"x" * 10_000 + b"-->" + FILE_ENTITY


@pytest.mark.parametrize("prolog", [BOMB, FILE_ENTITY, LATE], ids=["bomb", "file", "late"])
def test_a_doctype_is_refused_in_words(prolog: bytes) -> None:
    content = prolog + message(entry(inside=f"<NtryDtls>{details('10.00', 'x')}</NtryDtls>"))
    with pytest.raises(Unreadable, match="DOCTYPE"):
        items(content.replace(b"<Ustrd>x", b"<Ustrd>&a;"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"  \n ", "empty"),
        (b"%PDF-1.7 ...", "PDF"),
        (b"<html><body>Login</body></html>", "web page"),
        (b"<OFX><STMTTRN/></OFX>", "no camt"),
        (b"<Document><BkToCstm", "broken"),
        (b"PK\x03\x04 no archive", "damaged"),
        (b"\x1f\x8b no archive", "damaged"),
    ],
)
def test_what_is_no_statement_is_refused_in_words(content: bytes, words: str) -> None:
    with pytest.raises(Unreadable, match=words):
        items(content)


def test_a_statement_without_entries_is_no_error() -> None:
    assert items(message()) == [StatementFacts(source="camt.053", is_complete=True)]


def zipped(**members: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target.getvalue()


def test_archives_give_their_members_and_name_them() -> None:
    content = zipped(a=message(entry("1.00")), b=gzip.compress(message(entry("2.00"))), c=b"%PDF")
    found = list(parse_members(io.BytesIO(content), "day.zip"))
    read = [(file, str(one.amount)) for file, one in found if isinstance(one, ParsedPosting)]
    assert read == [("day.zip!a", "1.00"), ("day.zip!b", "2.00")]
    assert [file for file, one in found if isinstance(one, Problem)] == ["day.zip!c"]
    assert [one.where for one in postings(content)] == ["a: entry 1", "b: entry 1"]


def test_an_archive_in_which_nothing_can_be_read_is_refused() -> None:
    with pytest.raises(Unreadable, match="PDF"):
        items(zipped(a=b"%PDF"))
    with pytest.raises(Unreadable, match="no files"):
        items(zipped())


def test_archives_made_to_explode_are_stopped() -> None:
    blanks = b":20:STARTUMS\n-\n" + (b"x" * 10_000 + b"\n") * 4_000
    with pytest.raises(Unreadable, match="times its size"):
        items(gzip.compress(blanks))
    inner = message(entry())
    for _ in range(3):
        inner = zipped(x=inner)
    with pytest.raises(Unreadable, match="archives inside archives"):
        items(inner)


def test_a_damaged_archive_gives_what_it_holds() -> None:
    content = gzip.compress(message(*[entry(str(n)) for n in range(1, 5000)]))
    found = items(content[: len(content) // 2])
    assert isinstance(found[0], ParsedPosting)
    assert isinstance(found[-1], Problem)


LEAF = details("10.00", "Bestellung " + "x" * 100)


@pytest.mark.parametrize(
    ("around", "one"),
    [
        ("@", entry(inside=f"<NtryDtls>{LEAF}</NtryDtls>")),
        (entry("1.00", "<NtryDtls>@</NtryDtls>"), LEAF),
        (entry("1.00", "@"), f"<NtryDtls>{LEAF}</NtryDtls>"),
    ],
    ids=["entries", "a batch", "details of one leaf each"],
)
def test_memory_does_not_grow_with_the_file(around: str, one: str, tmp_path: Path) -> None:
    head, tail = message(around).split(b"@")

    def peak(count: int) -> int:
        path = tmp_path / f"{count}.xml"
        path.write_bytes(head + one.encode() * count + tail)
        tracemalloc.start()
        with path.open("rb") as source:
            read = sum(isinstance(item, ParsedPosting) for item in parse(source, "file"))
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert read >= count
        return used

    peak(10)
    assert peak(4000) < peak(400) + 200_000
