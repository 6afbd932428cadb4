"""Where a mail may go and where List-Help may lead: what others could misread is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.relay.connections import MAX_LIST_HELP, NotPossible, checked_list_help
from server.relay.heads import NotAccepted
from server.relay.intake import checked_recipient


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("erika@example.com", "erika@example.com"),
        ("Erika+buch@Example.COM", "Erika+buch@example.com"),
        ("o'neil@example.com", "o'neil@example.com"),
        ("erika@bücher.example.com", "erika@xn--bcher-kva.example.com"),
        ("erika@xn--bcher-kva.example.com", "erika@xn--bcher-kva.example.com"),
        ("x" * 64 + "@example.com", "x" * 64 + "@example.com"),
        ("a/b=c@example.com", "a/b=c@example.com"),
    ],
)
def test_an_address_is_one(typed, address):
    assert checked_recipient(typed) == address


OPEN_RELAY = (
    "erika%other.example.net@example.com",
    "erika%other.example.net@[192.0.2.1]",
    '"erika@other.example.net"@example.com',
    '"erika@other.example.net"',
    '"erika"@example.com',
    '"erika%other.example.net"@example.com',
    "erika@other.example.net@example.com",
    "@example.com:erika@other.example.net",
    "@a.example.com,@b.example.com:erika@other.example.net",
    "other.example.net!erika",
    "other.example.net!erika@example.com",
    "example.com!other.example.net!erika@example.com",
    "erika@[192.0.2.1]",
    "erika@[IPv6:2001:db8::1]",
    "erika@192.0.2.1",
    "erika@2001:db8::1",
    "erika@example.com:25",
    "erika@example.com.",
    "erika@.example.com",
    "erika@example..com",
    ".erika@example.com",
    "erika.@example.com",
    "er..ika@example.com",
    "erika@localhost",
    "erika@example",
    "erika@-example.com",
    "erika",
    "@example.com",
    "erika@",
    "@",
    "",
    " ",
    "erika @example.com",
    " erika@example.com",
    "erika@example.com ",
    "erika@example.com,max@example.com",
    "erika@example.com;max@example.com",
    "<erika@example.com>",
    "Erika <erika@example.com>",
    "erika(comment)@example.com",
    "erika\\@other.example.net@example.com",
    "ерика@example.com",
    "erika@exam\u200bple.com",
    "erika＠example.com",
    "erika\uff05other.example.net@example.com",
    "x" * 65 + "@example.com",
    "erika@" + "x" * 64 + ".com",
    "erika@" + "x." * 130 + "com",
    "erika\x00@example.com",
    "erika@example.com\x00",
    "erika@example.com\r\nRCPT TO:<max@example.com>",
    "erika@example.com\n",
    "erika\r@example.com",
    "postmaster",
)


@pytest.mark.feature("S93")
@pytest.mark.parametrize("typed", OPEN_RELAY)
def test_no_way_to_somewhere_else(typed):
    with pytest.raises(NotAccepted) as refused:
        checked_recipient(typed)
    assert (refused.value.code, refused.value.words[:5]) == (553, "5.1.3")


@given(st.text(max_size=80), st.text(max_size=80))
def test_what_is_taken_has_one_at_sign_and_only_plain_ascii(local, domain):
    for typed in (local, f"{local}@{domain}", f"{local}@example.com", f"erika@{domain}"):
        try:
            address = checked_recipient(typed)
        except NotAccepted:
            continue
        assert address.count("@") == 1 and address.isascii() and address.isprintable()
        assert not set(address) & set(' <>"%!:\\,;()[]\x00')
        assert checked_recipient(address) == address


@pytest.mark.feature("S90")
@pytest.mark.parametrize(
    "typed",
    [
        "https://shop.example.org",
        "https://shop.example.org/hilfe?von=mail&sprache=de#warum",
        "https://shop.example.org:8443/hilfe",
        "https://xn--bcher-kva.example.org/",
        "mailto:hilfe@shop.example.org",
        "mailto:hilfe@shop.example.org?subject=Warum%20diese%20Mail",
        "HTTPS://shop.example.org/",
    ],
)
def test_list_help_leads_to_a_page_or_an_address(typed):
    assert checked_list_help(f"  {typed} ") == typed


def test_without_one_it_is_our_page():
    assert checked_list_help(" ") is None


@pytest.mark.feature("S90")
@pytest.mark.parametrize(
    "typed",
    [
        "http://shop.example.org",
        "ftp://shop.example.org",
        "javascript:alert(1)",
        "shop.example.org",
        "https://",
        "https:///hilfe",
        "https://localhost/",
        "https://shop.example.org:0/",
        "https://shop.example.org:99999/",
        "https://anna:geheim@shop.example.org/",
        "https://shop.example.org/a b",
        "https://shop.example.org/>, <https://other.example.org/",
        "https://shop.example.org/\r\nBcc: chef@example.com",
        "https://shop.example.org/\x00",
        "https://shop.example.org/hilfe,und,mehr",
        'https://shop.example.org/"',
        "https://bücher.example.org/",
        "https://[::1]/",
        "https://shop.example.org/" + "x" * MAX_LIST_HELP,
        "mailto:",
        "mailto:hilfe",
        "mailto:a@example.com,b@example.com",
        "mailto:hilfe@localhost",
    ],
)
def test_what_does_not_fit_into_list_help_is_refused(typed):
    with pytest.raises(NotPossible, match="relay_list_help_invalid"):
        checked_list_help(typed)


@given(st.text(max_size=60))
def test_whatever_is_typed_the_field_stays_one_field(typed):
    for one in (typed, f"https://shop.example.org/{typed}", f"mailto:hilfe@example.org?{typed}"):
        try:
            value = checked_list_help(one) or ""
        except NotPossible:
            continue
        assert value.isascii() and value.isprintable() and not set(value) & set(" <>,")
