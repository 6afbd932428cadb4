"""Settings as a file: written, read again, compared; what is wrong is named line by line (N21)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.merchants.settings import SCHEMA, checked
from server.merchants.settings_file import (
    MAX_FILE_BYTES,
    MAX_PROBLEMS,
    Difference,
    WrongFile,
    diff,
    read_file,
    write_file,
)

pytestmark = pytest.mark.feature("N21")

AT = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
SHOPS = {7: "Papier & Feder", 9: 'Annas "Laden"\n[general]'}
SET = {
    None: {
        "tolerance_cents": 5,
        "stop_mails": True,
        "invoice.reminders": 3,
        "invoice.fee_2": {"EUR": "2.50", "CHF": "5"},
        "invoice.discount_percent": "2.5",
        "assignment": "review",
    },
    7: {"prepayment.cancel_after_days": 21, "mode": "test"},
    9: {},
}


def written(values=SET, shops=SHOPS) -> str:
    return write_file(values, shops, merchant="Annas Antiquariat", at=AT)


def problems(text: str | bytes, shops=SHOPS) -> list[tuple[str, int | None]]:
    content = text.encode() if isinstance(text, str) else text
    with pytest.raises(WrongFile) as wrong:
        read_file(content, shops)
    return [(one.key, one.line) for one in wrong.value.problems]


def file(body: str) -> str:
    return f"version = 1\n{body}"


def test_a_file_reads_like_the_settings_page_with_the_defaults_beside_what_is_set():
    lines = written().splitlines()
    assert lines[0] == "# Kontor settings of Annas Antiquariat, 2026-11-22 09:00 UTC"
    assert "tolerance_cents = 5  # default: 1" in lines
    assert "# max_order_age_days = 90" in lines
    assert 'fee_2 = "5 CHF; 2.50 EUR"  # default: ""' in lines
    assert 'name = "Papier & Feder"' in lines
    assert lines.count("[general]") == 1


def test_what_is_written_is_read_again():
    assert read_file(written().encode(), SHOPS) == SET
    assert diff(SET, read_file(written().encode(), SHOPS)) == []


def typed(name: str) -> st.SearchStrategy[str]:
    setting = SCHEMA[name]
    if setting.kind == "switch":
        return st.sampled_from(["on", "off"])
    if setting.kind == "choice":
        return st.sampled_from(setting.choices)
    if setting.kind == "whole":
        return st.integers(setting.lowest, setting.highest).map(str)
    if setting.kind == "percent":
        return st.decimals(0, setting.highest, places=2).map(str)
    amount = st.decimals(0, 500, places=2)
    return st.lists(amount, max_size=1).map(lambda all_: "".join(f"{one} EUR" for one in all_))


@given(st.data())
def test_whatever_is_set_survives_the_way_through_a_file(data):
    names = data.draw(st.sets(st.sampled_from(sorted(SCHEMA))))
    general = {name: checked(name, data.draw(typed(name))) for name in names}
    own = {name: value for name, value in general.items() if SCHEMA[name].per_shop}
    shop = data.draw(st.text(min_size=1, max_size=30).filter(lambda name: name.strip()))
    values = {None: general, 3: own}
    assert read_file(written(values, {3: shop}).encode(), {3: shop}) == values


def test_names_of_shops_cannot_write_settings():
    assert read_file(written().encode(), SHOPS)[9] == {}


def test_what_the_file_does_not_name_is_left_alone_and_what_it_leaves_out_is_inherited():
    wanted = read_file(file('[[shop]]\nid = 7\nmode = "live"\n').encode(), SHOPS)
    assert wanted == {7: {"mode": "live"}}
    assert diff(SET, wanted) == [
        Difference(7, "mode", "test", "live"),
        Difference(7, "prepayment.cancel_after_days", 21, None),
    ]


def test_a_shop_is_named_by_its_id_or_by_a_name_that_only_one_has():
    assert read_file(file('[[shop]]\nname = "Papier & Feder"\n').encode(), SHOPS) == {7: {}}
    twins = {1: "Laden", 2: "Laden"}
    assert problems(file('[[shop]]\nname = "Laden"\n'), twins) == [("file_shop_unknown", 2)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", [("file_version", None)]),
        ("version = 2", [("file_version", 1)]),
        ("version = true", [("file_version", 1)]),
        ("version = 1\nversion = 1", [("file_unreadable", 2)]),
        ("version = 1\n[general\n", [("file_unreadable", 2)]),
        (b"version = 1 # \xff", [("file_no_text", None)]),
        (b"x" * (MAX_FILE_BYTES + 1), [("file_too_large", None)]),
        (file("secret = 1"), [("file_key_unknown", 2)]),
        (file("general = 1"), [("file_no_section", 2)]),
        (file("[shop]\nid = 7"), [("file_no_shops", 2)]),
        (file("[general]\nnonsense = 1"), [("file_name_unknown", 3)]),
        (file("[general.invoice]\nrun_hour = 1"), [("file_name_unknown", 3)]),
        (file("[general]\ninvoice = 3"), [("file_name_unknown", 3)]),
        (file("[general.other]\nreminders = 1"), [("file_name_unknown", 2)]),
        (file("[general]\ninvoice.reminders = 6"), [("file_value_wrong", 3)]),
        (file('[general]\nrun_hour = "9"'), [("file_value_wrong", 3)]),
        (file("[general]\nrun_hour = true"), [("file_value_wrong", 3)]),
        (file("[general]\nstop_mails = 1"), [("file_value_wrong", 3)]),
        (file("[general]\nmode = 2026-11-22"), [("file_value_wrong", 3)]),
        (file("[general.invoice]\ndiscount_percent = nan"), [("file_value_wrong", 3)]),
        (file("[general.invoice]\nfee_1 = { EUR = 2 }"), [("file_value_wrong", 3)]),
        (file("[[shop]]\nid = 7\nstop_mails = true"), [("file_not_of_a_shop", 4)]),
        (file("[[shop]]\nid = 8"), [("file_shop_unknown", 2)]),
        (file("[[shop]]\nid = true"), [("file_shop_unknown", 2)]),
        (file("[[shop]]\nmode = 'test'"), [("file_shop_unknown", 2)]),
        (file("[[shop]]\nid = 7\nname = 'Anderer'"), [("file_shop_other", 2)]),
        (file("[[shop]]\nid = 7\n[[shop]]\nid = 7"), [("file_shop_twice", 4)]),
        (file("[[shop]]\nid = 7\n[shop.invoice]\nreminders = 9"), [("file_value_wrong", 5)]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(text, found):
    assert problems(text) == found


def test_every_mistake_is_named_at_once_but_not_without_end():
    body = "[general]\nrun_hour = 99\nnonsense = 1\n[general.invoice]\nreminders = -1\n"
    assert problems(file(body)) == [
        ("file_value_wrong", 3), ("file_name_unknown", 4), ("file_value_wrong", 6),
    ]  # fmt: skip
    many = "\n".join(f"x{number} = 1" for number in range(200))
    assert len(problems(file(f"[general]\n{many}"))) == MAX_PROBLEMS


@given(st.binary(max_size=300))
def test_no_bytes_at_all_make_it_stumble(content):
    try:
        read_file(b"version = 1\n[general]\n" + content, SHOPS)
    except WrongFile as wrong:
        assert wrong.problems


def test_deep_and_huge_values_are_refused():
    assert problems(file("[general]\nx = " + "[" * 5000 + "]" * 5000))[0][0] == "file_unreadable"
    assert problems(file("[general]\nrun_hour = " + "9" * 5000)) in (
        [("file_unreadable", None)], [("file_value_wrong", 3)],
    )  # fmt: skip
