"""What the bank reports about the names of the payees, as banks write it."""

from __future__ import annotations

import pytest

from plugin_sdk.errors import Rejected
from server.banking.fints import payees, wire
from server.banking.fints.payees import Examination
from server.banking.fints.steps import PayeeCheck

REPORT = """<?xml version="1.0" encoding="UTF-8"?>
<ns:Document xmlns:ns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"><ns:CstmrPmtStsRpt>
<ns:OrgnlGrpInfAndSts><ns:GrpSts>{whole}</ns:GrpSts></ns:OrgnlGrpInfAndSts>
<ns:OrgnlPmtInfAndSts>{rows}</ns:OrgnlPmtInfAndSts></ns:CstmrPmtStsRpt></ns:Document>
"""
ROW = (
    "<ns:TxInfAndSts><ns:OrgnlEndToEndId>{id}</ns:OrgnlEndToEndId>"
    "<ns:TxSts>{code}</ns:TxSts></ns:TxInfAndSts>"
)


def report(whole: str, **rows: str) -> bytes:
    written = "".join(ROW.format(id=name, code=code) for name, code in rows.items())
    return REPORT.format(whole=whole, rows=written).encode()


def binary(content: bytes) -> bytes:
    return b"@%d@" % len(content) + content


def examined(*answers: bytes) -> Examination:
    found = Examination()
    for answer in answers:
        found.take(wire.segments(answer))
    return found


def with_report(content: bytes, vop_id: bytes = b"1") -> bytes:
    return b"HIVPP:5:1:3+" + binary(vop_id) + b"+++x+" + binary(content) + b"'"


def test_an_answer_that_comes_later_is_asked_for_with_both_places():
    found = examined(
        b"HIRMS:4:2:5+3040::Es liegen weitere Informationen vor.:staticscrollref'"
        b"HIVPP:6:1:5+++@4@0154+++++2'"
    )
    assert found.is_running
    assert (found.polling_id, found.touchdown, found.wait_seconds) == (
        b"0154",
        "staticscrollref",
        2,
    )
    assert Examination.from_json(found.to_json()) == found
    found.take(wire.segments(b"HIRMS:3:2:3+0020::Ausgefuehrt'" + with_report(report("RCVC"))))
    assert not found.is_running
    assert found.deviations() == ()


@pytest.mark.parametrize(
    ("content", "results"),
    [
        (report("RCVC"), []),
        (report("RCVC", a="RCVC", b="RCVC"), []),
        (report("RVCM", a="RCVC", b="RVMC"), [("b", "close_match")]),
        (report("RVNM"), [(None, "no_match")]),
        (report("RVCM"), [(None, "unclear")]),
        (report("PDNG"), [(None, "unclear")]),
        (report("PDNG", a="PDNG", b="RVNM") + report("RVCM", a="RCVC"), [("b", "no_match")]),
        (report("PDNG") + report("RCVC", a="RCVC"), []),
        (report("RVNM", a="RVNM")[:-20], [(None, "unclear")]),
        (b"no report", [(None, "unclear")]),
        (b"", [(None, "unclear")]),
    ],
)
def test_what_is_no_match_is_named_and_what_is_not_understood_is_unclear(content, results):
    found = examined(with_report(content)).deviations()
    assert [(one.end_to_end_id, one.result) for one in found] == results


def test_a_report_may_come_in_pieces():
    whole = report("RVCM", a="RVNM")
    found = examined(with_report(whole[:100], b""), with_report(whole[100:]))
    assert found.deviations() == (PayeeCheck("no_match", "a"),)


def test_a_single_result_in_the_segment():
    (check,) = examined(
        b"HIVPP:5:1:3+@1@1+++++AT611904300234573201::Erika M.::RVMC+Mit <b>Vorsicht</b>'"
    ).deviations()
    assert check == PayeeCheck("close_match", iban="AT611904300234573201", name="Erika M.")


def test_there_is_an_end_of_asking(monkeypatch):
    monkeypatch.setattr(payees, "MAX_ROUNDS", 3)
    with pytest.raises(Rejected, match="come to an end"):
        examined(*[b"HIRMS:4:2:5+3040::Weiter:x'"] * 4)


def test_a_report_has_a_largest_size(monkeypatch):
    monkeypatch.setattr(payees, "MAX_REPORT_BYTES", 10)
    with pytest.raises(Rejected, match="come to an end"):
        examined(with_report(report("RCVC")))


def test_a_report_may_not_bring_in_what_it_names(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("RCVC")
    hostile = (
        f'<!DOCTYPE x [<!ENTITY e SYSTEM "file://{secret}">]><Document><GrpSts>&e;</GrpSts>'
        "</Document>"
    ).encode()
    (check,) = examined(with_report(hostile)).deviations()
    assert check.result == "unclear"
