"""The signed return path: it leads back to its mail, and to no other."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.mail.verp import MAX_ID, mail_id_of, return_path

SECRET = "a secret of thirty-two characters or more"
DOMAIN = "bounce.example.org"
ids = st.integers(1, MAX_ID)


@pytest.mark.feature("S7")
@given(ids)
@example(1)
@example(255)
@example(256)
@example(MAX_ID)
def test_every_mail_has_one_address_and_it_leads_back(mail_id):
    address = return_path(mail_id, SECRET, DOMAIN)
    local, _, domain = address.partition("@")
    assert domain == DOMAIN
    assert len(local) <= 64 and re.fullmatch(r"b\+[a-z2-7]+\.[a-z2-7]{16}", local)
    assert mail_id_of(address, SECRET, DOMAIN) == mail_id


def test_servers_may_change_the_case_and_add_blanks():
    address = return_path(4711, SECRET, DOMAIN)
    assert mail_id_of(f" {address.upper()} ", SECRET, DOMAIN) == 4711
    assert return_path(4711, SECRET, DOMAIN.upper()) == address


@given(ids, ids.filter(lambda number: number > 1))
def test_the_signature_of_one_mail_is_none_for_another(mail_id, other):
    signature = return_path(mail_id, SECRET, DOMAIN).partition(".")[2]
    number = return_path(other, SECRET, DOMAIN).partition(".")[0]
    found = mail_id_of(f"{number}.{signature}", SECRET, DOMAIN)
    assert found == (other if other == mail_id else None)


@pytest.mark.parametrize("at", range(len("b+ci.aaaaaaaaaaaaaaaa")))
def test_no_character_of_it_can_be_changed(at):
    address = return_path(18, SECRET, DOMAIN)
    changed = "b" if address[at] == "a" else "a"
    assert mail_id_of(address[:at] + changed + address[at + 1 :], SECRET, DOMAIN) is None


@pytest.mark.parametrize(
    "address",
    [
        "",
        "@",
        DOMAIN,
        f"b+@{DOMAIN}",
        f"b+ci@{DOMAIN}",
        f"b+ci.@{DOMAIN}",
        f"b+a.{'a' * 16}@{DOMAIN}",  # one letter of base32 is no byte
        f"b+aa.{'a' * 16}@{DOMAIN}",  # no mail is number 0
        f"b+{'7' * 13}.{'a' * 16}@{DOMAIN}",  # more than 63 bits
        f"erika@{DOMAIN}",
        f"postmaster@{DOMAIN}",
        f"b+ci.{'a' * 16}@{DOMAIN}" + "x" * 400,
        f"b+cı.{'a' * 16}@{DOMAIN}",
        f"b+ci.{'a' * 16}@{DOMAIN}\r\nRCPT TO:<erika@example.org>",
    ],
)
def test_what_is_none_of_ours_is_nobodys(address):
    assert mail_id_of(address, SECRET, DOMAIN) is None


@given(st.text(max_size=80))
def test_any_text_at_all_is_answered(text):
    assert mail_id_of(text, SECRET, DOMAIN) is None


def test_another_key_or_domain_is_another_house():
    address = return_path(18, SECRET, DOMAIN)
    assert mail_id_of(address, SECRET + "!", DOMAIN) is None
    assert mail_id_of(address, SECRET, "bounce.example.com") is None
    elsewhere = address.replace(DOMAIN, "bounce.example.com")
    assert mail_id_of(elsewhere, SECRET, DOMAIN) is None
