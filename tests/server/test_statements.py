"""Bank files through the API: kept as they came, read in slices, nothing twice, nothing lost."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from server.banking.intake import SLICE_ENTRIES, StatementImport
from server.banking.models import BankAccount, Posting, Statement
from server.banking.service import retry_statement, store_statement
from server.db import db, now
from server.jobs import drain_match_request, drain_statement
from server.orders.models import MatchRequest, Order
from tests.factories import (
    IBAN,
    bearer,
    make_account,
    make_key,
    make_merchant,
    make_order,
    make_shop,
)

URL = "/api/v1/statements"
HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt>'
    "<GrpHdr><MsgId>M</MsgId><CreDtTm>2026-03-05T20:00:00Z</CreDtTm></GrpHdr>"
    f"<Stmt><Id>S</Id><Acct><Id><IBAN>{IBAN}</IBAN></Id><Ccy>EUR</Ccy></Acct>"
)
TAIL = "</Stmt></BkToCstmrStmt></Document>"
MT940 = """:20:STARTUMS
:25:12030000/0000202051
:28C:00001/001
:60F:C260301EUR100,00
:61:2603020302CR19,90NTRFNONREF//2603020000000001
:86:166?00GUTSCHRIFT?20SVWZ+AA-1?32ERIKA MUSTERMANN
:61:26030203XXCR5,00NTRFNONREF//2603020000000002
:86:166?00GUTSCHRIFT?20SVWZ+AA-2?32ERIKA MUSTERMANN
:61:2603030303CR7,50NTRFNONREF//2603030000000003
:86:166?00GUTSCHRIFT?20SVWZ+AA-3?32ERIKA MUSTERMANN
:62F:C260303EUR132,40
-
"""


def entry(amount, text, reference=None):
    """A booked credit; without ``reference`` the bank gave it none of its own."""
    own = f"<AcctSvcrRef>{reference}</AcctSvcrRef>" if reference else ""
    return (
        f'<Ntry><Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>'
        f"<BookgDt><Dt>2026-03-05</Dt></BookgDt><ValDt><Dt>2026-03-05</Dt></ValDt>{own}"
        f"<NtryDtls><TxDtls><RltdPties><Dbtr><Pty><Nm>Erika Mustermann</Nm></Pty></Dbtr>"
        f"</RltdPties><RmtInf><Ustrd>{text}</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>"
    )


def camt(*entries):
    return (HEAD + "".join(entries) + TAIL).encode()


def numbered(first, last):
    return [entry(f"{n}.00", f"text {n}", f"2026030500{n:06}XYZ") for n in range(first, last + 1)]


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def key(merchant):
    return bearer(make_key(merchant, "bank")[1])


@pytest.fixture
def hand_in(client, key):
    """Upload a bare body, let the worker read it, and return the answer about it."""

    def hand_in(content, filename="umsatz.xml"):
        made = client.post(f"{URL}?filename={filename}", data=content, headers=key)
        assert (made.status_code, made.json["state"]) == (202, "queued")
        drain_statement()
        return client.get(f"{URL}/{made.json['id']}", headers=key).json

    return hand_in


def counts(answer):
    return answer["state"], answer["postings_new"], answer["postings_known"]


# --- handing in --------------------------------------------------------------------------------


def test_a_bare_body_is_kept_and_read(hand_in, merchant):
    content = camt(*numbered(1, 3))
    answer = hand_in(content, "maerz.xml")
    assert counts(answer) == ("done", 3, 0)
    assert (answer["filename"], answer["account_iban"]) == ("maerz.xml", IBAN)
    assert (answer["entries_read"], answer["problem_count"]) == (3, 0)
    statement = db.session.query(Statement).one()
    assert (statement.content, statement.size_bytes) == (content, len(content))
    assert {p.amount for p in db.session.query(Posting)} == {1, 2, 3}
    assert db.session.query(MatchRequest).count() == 1


def test_a_form_is_kept_and_read_with_its_columns(client, key):
    content = "Tag;Wert;Wozu\n05.03.2026;19,90;AA-1\n"
    form = {
        "file": (io.BytesIO(content.encode()), "eigene.csv"),
        "columns": json.dumps(
            {"amount": "Wert", "booking_date": "Tag", "remittance_information": "Wozu"}
        ),
    }
    made = client.post(URL, data=form, headers=key)
    assert made.status_code == 202
    drain_statement()
    answer = client.get(f"{URL}/{made.json['id']}", headers=key).json
    assert (counts(answer), answer["filename"]) == (("done", 1, 0), "eigene.csv")
    posting = db.session.query(Posting).one()
    assert (posting.amount, posting.remittance_information) == (Decimal("19.90"), "AA-1")


@pytest.mark.parametrize(
    "columns",
    ["{", "[]", '"x"', "[" * 9_999, "x" * 10_001, '{"amount": 7}', '{"wrong": "Wert"}', "{}"],
)
def test_columns_that_cannot_be_used_are_refused_at_the_door(client, key, columns):
    form = {"file": (io.BytesIO(b"Tag;Wert\n05.03.2026;1,00\n"), "a.csv"), "columns": columns}
    answer = client.post(URL, data=form, headers=key)
    assert (answer.status_code, "olumn" in answer.json["detail"]) == (422, True)
    assert db.session.query(Statement).count() == 0


@pytest.mark.parametrize(
    "sent",
    [
        {"data": {"columns": "{}"}, "content_type": "multipart/form-data"},
        {"data": {"file": (io.BytesIO(b""), "a.xml")}},
        {"data": b""},
    ],
    ids=["no file", "empty file", "empty body"],
)
def test_nothing_handed_in_is_said(client, key, sent):
    answer = client.post(URL, headers=key, **sent)
    assert (answer.status_code, answer.content_type) == (422, "application/problem+json")
    assert "file" in answer.json["detail"]
    assert db.session.query(Statement).count() == 0


# --- nothing twice -----------------------------------------------------------------------------


def test_the_same_file_again_adds_nothing(hand_in):
    content = camt(*numbered(1, 5), entry("9.99", "no reference"))
    assert counts(hand_in(content)) == ("done", 6, 0)
    assert counts(hand_in(content)) == ("done", 0, 6)


def test_an_overlapping_file_adds_the_difference(hand_in):
    hand_in(camt(*numbered(1, 6)))
    assert counts(hand_in(camt(*numbered(4, 9)))) == ("done", 3, 3)
    assert db.session.query(Posting).count() == 9


def test_two_honest_equal_transfers_stay_two(hand_in):
    twin = entry("19.90", "Beitrag")
    assert counts(hand_in(camt(twin))) == ("done", 1, 0)
    assert counts(hand_in(camt(twin, twin))) == ("done", 1, 1)
    assert counts(hand_in(camt(twin, twin))) == ("done", 0, 2)


def test_each_merchant_has_postings_of_its_own(hand_in, client):
    hand_in(camt(*numbered(1, 2)))
    other = make_merchant("Bobs Laden", account=False)
    store_statement(other.id, "a.xml", camt(*numbered(1, 2)), uploaded_by="bob")
    db.session.commit()
    drain_statement()
    assert db.session.query(Posting).filter_by(merchant_id=other.id).count() == 2
    assert db.session.query(BankAccount).filter_by(iban=IBAN).count() == 2


def test_a_long_file_goes_on_where_it_was_left(hand_in, merchant):
    """A worker that dies between two slices: the next one reads the rest, once."""
    content = camt(*numbered(1, SLICE_ENTRIES + 20), "<Ntry>broken</Ntry>")
    statement = store_statement(merchant.id, "a.xml", content, uploaded_by="")
    db.session.commit()
    assert StatementImport(statement).step()
    db.session.commit()
    assert (statement.entries_read, statement.status) == (SLICE_ENTRIES, "queued")
    drain_statement()
    assert (statement.status, statement.entries_read) == ("done", SLICE_ENTRIES + 20)
    assert (statement.postings_new, statement.postings_known) == (SLICE_ENTRIES + 20, 0)
    assert statement.problem_count == 1


# --- either may come first ---------------------------------------------------------------------


@pytest.mark.feature("S18", "S19")
@pytest.mark.parametrize("first", ["order", "posting"])
def test_order_and_posting_meet_whichever_came_first(hand_in, merchant, first):
    shop = make_shop(merchant)
    number, total = "AA-70421", "87.40"

    def order():
        make_order(shop, number=number, total=total, ordered_at="2026-03-01T10:00:00+00:00")
        drain_match_request()

    def posting():
        hand_in(camt(entry(total, f"Bestellung {number}", "20260305000001XYZ")))
        drain_match_request()

    for step in (order, posting) if first == "order" else (posting, order):
        step()
    assert db.session.query(Order).one().payment_status == "paid"
    assert not db.session.query(Posting).one().is_open


# --- what cannot be read -----------------------------------------------------------------------

BOMB = (
    '<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a "aaaaaaaaaa">'
    + "".join(
        f'<!ENTITY {n} "{f"&{m};" * 10}">' for m, n in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "]>"
    + HEAD.partition("?>")[2]
    + entry("1.00", "&i;")
    + TAIL
).encode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
        (b" \r\n", "empty"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\x00\xff\x00\xff" * 100, ""),
        (b"just words\n", ""),
        (BOMB, ""),
    ],
    ids=["pdf", "blank", "html", "binary", "prose", "bomb"],
)
def test_a_file_of_none_of_our_kinds_fails_with_words_and_is_kept(hand_in, content, words):
    answer = hand_in(content)
    assert (answer["state"], answer["postings_new"]) == ("failed", 0)
    assert answer["error"] and words in answer["error"]
    assert answer["problems"][0]["where"] == "file"
    assert db.session.query(Statement).one().content == content
    assert db.session.query(Posting).count() == 0


def test_a_camt_cut_in_half_gives_what_was_read_and_says_so(hand_in):
    whole = camt(*numbered(1, 10))
    answer = hand_in(whole[: len(whole) // 2])
    assert answer["state"] == "done"
    assert 3 <= answer["postings_new"] <= 5
    assert answer["problem_count"] >= 1
    assert counts(hand_in(whole))[1:] == (10 - answer["postings_new"], answer["postings_new"])


def test_an_mt940_with_a_broken_line_gives_the_rest(hand_in):
    answer = hand_in(MT940.encode(), "umsatz.sta")
    assert (answer["state"], answer["problem_count"] >= 1) == ("done", True)
    assert {p["where"] for p in answer["problems"]}
    amounts = {posting.amount for posting in db.session.query(Posting)}
    assert {Decimal("19.90"), Decimal("7.50")} <= amounts


def test_a_csv_of_unknown_layout_names_its_header_and_is_read_with_columns(hand_in, merchant):
    answer = hand_in(b"Tag;Betragswert;Wozu\n05.03.2026;19,90;AA-1\n", "eigene.csv")
    assert answer["state"] == "failed"
    assert "Betragswert" in answer["error"]
    number = int(answer["id"])
    columns = {"amount": "Betragswert", "booking_date": "Tag"}
    other = make_merchant("Bobs Laden")
    assert retry_statement(other.id, number, columns, now()) is None
    again = retry_statement(merchant.id, number, columns, now())
    db.session.commit()
    drain_statement()
    assert (again.status, again.error, again.postings_new) == ("done", None, 1)
    assert again.problem_count == 0
    assert retry_statement(merchant.id, number, columns, now()) is None  # it is read


def test_a_column_mapping_that_is_no_longer_understood_fails_with_words(merchant):
    """Stored by an older version, say: never a row that the workers try for ever."""
    statement = store_statement(
        merchant.id, "a.csv", b"Tag;Wert\n", uploaded_by="", columns={"colour": "Tag"}
    )
    sound = store_statement(merchant.id, "b.xml", camt(*numbered(1, 2)), uploaded_by="")
    db.session.commit()
    drain_statement()
    assert (statement.status, sound.status) == ("failed", "done")
    assert "colour" in statement.error


# --- postings without a file -------------------------------------------------------------------


def test_single_postings_are_taken_once(client, key):
    posting = {
        "account_iban": IBAN,
        "booking_date": "2026-03-05",
        "amount": "19.90",
        "currency": "EUR",
        "remittance_information": "AA-1",
        "bank_reference": "20260305000001XYZ",
    }
    bodies = [{"postings": [posting]}, {"postings": [posting, posting | {"amount": "5.00"}]}]
    answers = [client.post("/api/v1/postings", json=b, headers=key).json for b in bodies]
    assert answers == [{"new": 1, "known": 0}, {"new": 1, "known": 1}]
    listed = client.get("/api/v1/postings?limit=1", headers=key).json
    assert [p["amount"] for p in listed["postings"]] == ["19.90"]
    rest = client.get(f"/api/v1/postings?cursor={listed['cursor']}", headers=key).json
    assert ([p["amount"] for p in rest["postings"]], rest["cursor"]) == (["5.00"], None)


def test_a_statement_is_found_by_its_own_merchant_only(client, hand_in):
    answer = hand_in(camt(*numbered(1, 1)))
    stranger = bearer(make_key(make_merchant("Bobs Laden"), "bank")[1])
    for number in (answer["id"], 2**63, 0):
        assert client.get(f"{URL}/{number}", headers=stranger).status_code == 404
    created = datetime.fromisoformat(answer["created_at"])
    assert abs((datetime.now(UTC) - created).total_seconds()) < 600


@pytest.mark.feature("S20")
def test_a_bare_body_may_say_which_account_it_is_about(client, key, merchant):
    other = make_account(merchant, "DE68210501700012345678")
    content = b"date;amount;text\n2026-03-05;5.00;x\n"
    for asked, status in ((other.iban, 202), ("DE00", 422)):
        made = client.post(f"{URL}?account_iban={asked}", data=content, headers=key)
        assert made.status_code == status, made.json
    assert db.session.query(Statement).one().account_id == other.id


@pytest.mark.feature("C8")
def test_announced_postings_are_not_listed(client, key, hand_in):
    announced = camt(*numbered(1, 1)).replace(b"<Cd>BOOK</Cd>", b"<Cd>PDNG</Cd>", 1)
    assert hand_in(announced)["postings_pending"] == 1
    assert client.get("/api/v1/postings", headers=key).json["postings"] == []
    hand_in(camt(*numbered(1, 1)))
    (posting,) = client.get("/api/v1/postings", headers=key).json["postings"]
    assert (posting["source"], posting["is_possible_duplicate"]) == ("camt.053", False)
