"""`python -m server parse`: the output, the exit codes and the start that others rely on."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from server.banking.formats import COLUMN_FIELDS
from server.parse import main

FIXTURES = Path(__file__).parents[2] / "fixtures" / "statements"
CAMT = str(FIXTURES / "sparkasse.camt053.v08.xml")
FIELDS = (
    "file account_iban booking_date value_date amount currency counterparty_name counterparty_iban"
    " counterparty_bic remittance_information creditor_reference end_to_end_id mandate_id"
    " bank_reference transaction_code is_return return_reason is_pending is_batch_total"
).split()

HEADLESS = "Datum;Text;Wert\n18.11.2025;Bestellung 1;1.234,50\n19.11.2025;Bestellung 2;-3\n"


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, list[dict[str, object]], str]:
    code = main([*argv, "--json"])
    out, err = capsys.readouterr()
    return code, [json.loads(line) for line in out.splitlines()], err


def test_prints_every_field_of_a_posting(capsys: pytest.CaptureFixture[str]) -> None:
    code, postings, err = run(capsys, CAMT)
    assert code == 3
    assert all(list(posting) == FIELDS for posting in postings)
    assert postings[0]["file"] == CAMT
    assert postings[0]["amount"] == "49.90"
    assert postings[-1]["booking_date"] is None
    assert err == f"{CAMT}:entry 6: the value date “2025-02-30” is no date\n"


def test_exit_codes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    good, bad, empty = tmp_path / "good.csv", tmp_path / "bad.pdf", tmp_path / "empty"
    good.write_bytes((FIXTURES / "dkb.csv").read_bytes())
    bad.write_bytes(b"%PDF-1.4")
    empty.write_bytes(b"")
    assert run(capsys, str(good))[0] == 0
    assert run(capsys, str(bad))[0] == 2
    assert run(capsys, str(good), str(bad))[0] == 3
    assert run(capsys, str(empty), str(tmp_path / "missing"))[0] == 2
    assert main([]) == 2


def test_names_the_member_of_an_archive(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "day.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(CAMT, "in/18.xml")
    _, postings, err = run(capsys, str(path))
    assert {posting["file"] for posting in postings} == {f"{path}!in/18.xml"}
    assert err.startswith(f"{path}!in/18.xml:entry 6: ")


def test_unknown_columns_are_named_and_can_be_given(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path, mapping = tmp_path / "bank.csv", tmp_path / "columns.json"
    path.write_text(HEADLESS, "utf-8")
    code, printed, err = run(capsys, str(path))
    assert (code, printed) == (2, [])
    assert "Datum;Text;Wert" in err
    assert "--columns" in err
    mapping.write_text(
        json.dumps({"booking_date": "Datum", "amount": "Wert", "remittance_information": "Text"})
    )
    code, postings, err = run(capsys, str(path), "--columns", str(mapping))
    assert (code, err) == (0, "")
    assert [posting["amount"] for posting in postings] == ["1234.50", "-3.00"]
    mapping.write_text('{"amount": "Wert", "iban": "Text"}')
    assert "“iban”" in run(capsys, str(path), "--columns", str(mapping))[2]


@pytest.mark.feature("C2")
def test_columns_of_a_file_without_header_are_numbers(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path, mapping = tmp_path / "bank.csv", tmp_path / "columns.json"
    path.write_text(HEADLESS.partition("\n")[2], "utf-8")
    assert run(capsys, str(path))[0] == 2
    mapping.write_text('{"has_header": false, "booking_date": "1", "amount": "3"}')
    code, postings, err = run(capsys, str(path), "--columns", str(mapping))
    assert (code, err) == (0, "")
    assert [posting["amount"] for posting in postings] == ["1234.50", "-3.00"]
    mapping.write_text('{"has_header": false, "amount": "Wert"}')
    assert "number of a column" in run(capsys, str(path), "--columns", str(mapping))[2]


@pytest.mark.parametrize("name", ["konto.ofx", "karte.ofx", "haushalt.qif", "paypal.csv"])
def test_every_kind_of_file_is_found_by_its_content(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    path = tmp_path / "statement"
    path.write_bytes((FIXTURES / name).read_bytes())
    code, postings, _ = run(capsys, str(path))
    assert code == (3 if name == "konto.ofx" else 0)
    assert all(list(posting) == FIELDS for posting in postings)


def test_the_help_names_all_that_a_mapping_may_hold(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    words = set(capsys.readouterr().out.replace(",", " ").split())
    assert {"date_format", "decimal", "delimiter", "encoding", "inverted", "has_header"} <= words
    assert words >= COLUMN_FIELDS


def test_without_json_it_is_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    main([CAMT])
    first = capsys.readouterr().out.splitlines()[0]
    assert first.split() == (
        "2025-11-18 49.90 EUR Erika Mustermann Bestellung A-10 234 vielen Dank".split()
    )


def test_needs_nothing_of_the_server() -> None:
    """What starts in a blink must not import the web, the database or the queue."""
    program = (
        "import sys; from server.parse import main; main([sys.argv[1], '--json']);"
        "heavy = {'flask', 'sqlalchemy', 'rq', 'redis', 'requests', 'marshmallow'};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, CAMT],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert len(found.stdout.splitlines()) == 10
