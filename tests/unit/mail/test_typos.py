"""Mistyped addresses and what was meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.mail.typos import KNOWN, MAX_LENGTH, NEIGHBOURS, suggest


@pytest.mark.feature("N13", "S8")
@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("htmail.com", "hotmail.com"),
        ("hotmial.com", "hotmail.com"),
        ("hottmail.com", "hotmail.com"),
        ("gnail.com", "gmail.com"),
        ("gmail.con", "gmail.com"),
        ("gmal.con", "gmail.com"),
        ("gmail.co", "gmail.com"),
        ("gmail.de", "gmail.com"),
        ("GMIAL.COM", "gmail.com"),
        ("t-onlin.de", "t-online.de"),
        ("tonline.de", "t-online.de"),
        ("wbe.de", "web.de"),
        ("webb.de", "web.de"),
        ("gxm.de", "gmx.de"),
        ("gmx.dee", "gmx.de"),
        ("web.ed", "web.de"),
        ("buchladen-mueller.cmo", "buchladen-mueller.com"),
    ],
)
def test_what_was_meant(typed: str, meant: str) -> None:
    assert suggest(f"erika.mustermann@{typed}") == f"erika.mustermann@{meant}"


@pytest.mark.feature("N13")
@pytest.mark.parametrize(
    "address",
    [
        "erika@example.org",
        "erika@buchladen-mueller.de",
        "erika@live.dk",
        "erika@web.com",
        "erika@gmz.de",
        "erika@cail.com",
        "erika@post.de",
        "erika@shop.co",
        "erika@localhost",
        "@htmail.com",
        "htmail.com",
        "",
        "a@" + "x" * MAX_LENGTH + ".con",
    ],
)
def test_nothing_speaks_against_it(address: str) -> None:
    assert suggest(address) is None


@pytest.mark.feature("N13")
def test_a_well_known_domain_is_never_taken_for_another() -> None:
    assert not [domain for domain in KNOWN | NEIGHBOURS if suggest(f"erika@{domain}")]


@given(st.text(max_size=60), st.sampled_from(sorted(KNOWN)), st.integers(0, 20))
def test_the_local_part_stays_as_it_is(local: str, domain: str, at: int) -> None:
    """Also with one letter of the domain missing."""
    typed = domain[:at] + domain[at + 1 :]
    found = suggest(f"{local}@{typed}")
    if found is not None:
        assert found.rpartition("@")[0] == f"{local}@{typed}".strip().rpartition("@")[0]
        assert suggest(found) is None
