"""Every state that the records of a sending domain can be in, and what is said about it."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from server.mail import spf
from server.mail.dkim import new_key
from server.mail.domain_rules import (
    REASONS,
    WARNINGS,
    Check,
    DomainError,
    Home,
    PublishedKey,
    Record,
    Report,
    checked_domain,
    freemail_domains,
    judge,
    wanted,
)
from server.mail.spf import Answer, SpfError, parse, with_include

DOMAIN = "laden.example"
HOME = Home("spf.kontor.example", "bounces.kontor.example")
KEYS = [
    PublishedKey("kontor1", new_key()[1], "current"),
    PublishedKey("kontor2", new_key()[1], "next"),
]
DKIM_NAME = f"kontor1._domainkey.{DOMAIN}"


def dkim_value(key: PublishedKey = KEYS[0]) -> str:
    return f"v=DKIM1; k=rsa; p={key.public_key}"


def weak_key() -> str:
    public = rsa.generate_private_key(65_537, 1024).public_key()
    return base64.b64encode(
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).decode()


class Zones:
    """A DNS of a few names. ``None`` as the records of a name: it cannot be asked."""

    def __init__(self, records: dict[tuple[str, str], list[str] | None]) -> None:
        self.records = records
        self.asked: list[tuple[str, str]] = []

    def __call__(self, name: str, kind: str) -> Answer:
        self.asked.append((name, kind))
        found = self.records.get((name, kind), [])
        if found is None:
            return Answer("unknown", why="the DNS server did not answer in time")
        if found:
            return Answer("found", tuple(found))
        is_there = any(known == name or known.endswith("." + name) for known, _ in self.records)
        return Answer("no_data" if is_there else "no_such_name")


GOOD: dict[tuple[str, str], list[str] | None] = {
    (DOMAIN, "TXT"): ["google-site-verification=1", "v=spf1 mx include:spf.kontor.example -all"],
    (DOMAIN, "MX"): ["10 mx.laden.example"],
    (DKIM_NAME, "TXT"): [dkim_value()],
    (f"kontor2._domainkey.{DOMAIN}", "TXT"): [dkim_value(KEYS[1])],
    (f"bounce.{DOMAIN}", "CNAME"): ["bounces.kontor.example"],
    (f"_dmarc.{DOMAIN}", "TXT"): ["v=DMARC1; p=reject; adkim=s; rua=mailto:anna@laden.example"],
    ("spf.kontor.example", "TXT"): ["v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"],
}


def look(
    changed: dict[tuple[str, str], list[str] | None], *, home: Home = HOME, domain: str = DOMAIN
) -> Report:
    return judge(domain, KEYS, home, Zones(GOOD | changed))


def check_of(key: str, changed: dict[tuple[str, str], list[str] | None]) -> Check:
    check = look(changed).of(key)
    assert check is not None
    assert check.reason in REASONS | {""}
    assert set(check.warnings) <= WARNINGS
    return check


# --- all right -----------------------------------------------------------------------------------


@pytest.mark.feature("S13", "N14")
def test_a_domain_whose_records_are_all_right() -> None:
    report = look({})
    assert [(check.key, check.state) for check in report.checks] == [
        ("kontor1", "ok"),
        ("kontor2", "ok"),
        ("spf", "ok"),
        ("return_path", "ok"),
        ("dmarc", "ok"),
    ]
    assert report.verdict("kontor1") == "good"
    assert report.problems("kontor1") == []
    assert Report.from_json(report.as_json()) == report


def test_a_domain_that_was_never_looked_at_is_unknown() -> None:
    assert Report.from_json({}).verdict("kontor1") == "unknown"


@pytest.mark.feature("S15")
def test_the_records_are_shown_ready_to_copy() -> None:
    records = wanted(DOMAIN, KEYS, HOME)
    assert [(one.kind, one.name, one.is_required) for one in records] == [
        ("TXT", "kontor1._domainkey.laden.example", True),
        ("TXT", "kontor2._domainkey.laden.example", False),
        ("TXT", "laden.example", True),
        ("CNAME", "bounce.laden.example", False),
        ("TXT", "_dmarc.laden.example", False),
    ]
    dkim = records[0]
    parts = dkim.quoted.split('" "')
    assert len(parts) == 2
    assert all(len(part.strip('"')) <= 255 for part in parts)
    assert "".join(part.strip('"') for part in parts) == dkim.value
    assert [one.label(DOMAIN) for one in records[1:4]] == ["kontor2._domainkey", "@", "bounce"]
    assert records[3].quoted == "bounces.kontor.example."
    zones = Zones({(one.name, one.kind): [one.value] for one in records} | {
        ("spf.kontor.example", "TXT"): ["v=spf1 -all"]
    })  # fmt: skip
    assert all(check.state == "ok" for check in judge(DOMAIN, KEYS, HOME, zones).checks)


def test_a_retired_key_is_neither_asked_for_nor_checked() -> None:
    keys = [
        PublishedKey("kontor1", KEYS[0].public_key, "retired"),
        PublishedKey("kontor2", KEYS[1].public_key, "current"),
    ]
    report = judge(DOMAIN, keys, HOME, Zones(GOOD))
    assert report.of("kontor1") is None
    assert report.verdict("kontor2") == "good"
    assert wanted(DOMAIN, keys, HOME)[0].key == "kontor2"


def test_without_a_bounce_domain_nobody_asks_for_a_return_path() -> None:
    home = Home(HOME.spf_include)
    assert look({}, home=home).of("return_path") is None
    assert all(one.key != "return_path" for one in wanted(DOMAIN, KEYS, home))


def test_the_house_itself_needs_no_include() -> None:
    """Which servers the operator's SPF must list, only the operator knows."""
    own = {
        ("kontor.example", "TXT"): ["v=spf1 ip4:192.0.2.1 -all"],
        ("kontor1._domainkey.kontor.example", "TXT"): [dkim_value()],
    }
    home = Home("kontor.example")
    assert look(own, home=home, domain="kontor.example").verdict("kontor1") == "good"
    spf_of = {one.key: one.value for one in wanted("kontor.example", KEYS, home)}
    assert "include" not in spf_of["spf"]


# --- DKIM ----------------------------------------------------------------------------------------

PUBLIC = KEYS[0].public_key


@pytest.mark.feature("N14")
@pytest.mark.parametrize(
    ("texts", "reason", "state"),
    [
        ([], "absent", "missing"),
        ([dkim_value(), f"p={PUBLIC[::-1]}"], "several", "wrong"),
        (["v=DKIM1; k=rsa"], "no_key", "wrong"),
        ([f"V=DKIM1; K=rsa; P={PUBLIC}"], "no_key", "wrong"),
        (["something else"], "no_key", "wrong"),
        (["v=DKIM1; k=rsa; p="], "revoked", "wrong"),
        ([f"v=DKIM1 k=rsa; p={PUBLIC}"], "missing_semicolon", "wrong"),
        ([f"v=DKIM1; k=rsa p={PUBLIC}"], "missing_semicolon", "wrong"),
        ([f"v=DKIM2; k=rsa; p={PUBLIC}"], "wrong_version", "wrong"),
        ([f"v=DKIM1; k=ed25519; p={PUBLIC}"], "wrong_key_type", "wrong"),
        ([f"v=DKIM1; h=sha1; p={PUBLIC}"], "wrong_hash", "wrong"),
        ([f"v=DKIM1; s=tlsrpt; p={PUBLIC}"], "wrong_service", "wrong"),
        ([dkim_value()[:255]], "cut", "wrong"),
        ([dkim_value(KEYS[1])], "other_selector", "wrong"),
        ([f"v=DKIM1; k=rsa; p={weak_key()}"], "short_key", "wrong"),
        ([f"v=DKIM1; k=rsa; p={new_key()[1]}"], "key_mismatch", "wrong"),
        (["v=DKIM1; k=rsa; p=no base64!"], "key_mismatch", "wrong"),
        ([f'"v=DKIM1; k=rsa; " "p={PUBLIC}"'], "escaped", "wrong"),
        ([f"v=DKIM1\\; k=rsa\\; p={PUBLIC}"], "escaped", "wrong"),
        (None, "not_answered", "unknown"),
    ],
)
def test_what_can_be_wrong_with_the_key(texts: list[str] | None, reason: str, state: str) -> None:
    check = check_of("kontor1", {(DKIM_NAME, "TXT"): texts})
    assert (check.reason, check.state) == (reason, state)


@pytest.mark.parametrize(
    "text",
    [
        f"p={PUBLIC}",
        f" v=DKIM1 ;k=rsa;  p = {PUBLIC[:100]} {PUBLIC[100:]} ; n=a note; ",
        f"v=DKIM1;k=rsa;h=sha1:sha256;s=email;t=s;p={PUBLIC}",
        f"v=DKIM1; p={PUBLIC};",
    ],
)
def test_a_key_that_is_written_in_another_way_is_right(text: str) -> None:
    assert check_of("kontor1", {(DKIM_NAME, "TXT"): [text, "a note of the provider"]}).state == "ok"


def test_a_key_that_is_marked_as_a_test_is_told() -> None:
    check = check_of("kontor1", {(DKIM_NAME, "TXT"): [f"v=DKIM1; t=y:s; p={PUBLIC}"]})
    assert (check.state, check.warnings) == ("ok", ("testing",))


def test_a_name_that_the_provider_completed_twice_is_recognised() -> None:
    doubled = f"{DKIM_NAME}.{DOMAIN}"
    check = check_of("kontor1", {(DKIM_NAME, "TXT"): [], (doubled, "TXT"): [dkim_value()]})
    assert (check.state, check.reason) == ("wrong", "doubled_name")
    assert check.facts["name"] == doubled


# --- SPF -----------------------------------------------------------------------------------------

OURS = "include:spf.kontor.example"


def spf_check(*texts: str, **names: str) -> Check:
    """``a__b="..."`` is the SPF record of ``a.b``."""
    others: dict[tuple[str, str], list[str] | None] = {
        (name.replace("__", "."), "TXT"): [text] for name, text in names.items()
    }
    return check_of("spf", {(DOMAIN, "TXT"): list(texts)} | others)


@pytest.mark.feature("N14")
@pytest.mark.parametrize(
    ("texts", "reason", "state"),
    [
        ([], "absent", "missing"),
        (["v=spf10 -all", "v=spf2.0/pra"], "absent", "missing"),
        ([f"v=spf1 {OURS} -all", "v=spf1 mx -all"], "several", "wrong"),
        (["v=spf1 mx -all"], "not_included", "wrong"),
        ([f"v=spf1 -{OURS} -all"], "not_included", "wrong"),
        ([f"v=spf1 mx -all {OURS}"], "after_all", "wrong"),
        ([f"v=spf1 ipv4:192.0.2.1 {OURS} -all"], "syntax", "wrong"),
        ([f"v=spf1 ip4:192.0.2.300 {OURS} -all"], "syntax", "wrong"),
        ([f"v=spf1 {OURS} -all; mx"], "syntax", "wrong"),
        ([f"v=spf1 include: {OURS} -all"], "syntax", "wrong"),
        ([f"v=spf1 mx/33 {OURS} -all"], "syntax", "wrong"),
        ([f"v=spf1 {OURS} include:gone.example -all"], "include_missing", "wrong"),
        ([f"v=spf1 {OURS} include:odd.example -all"], "include_broken", "wrong"),
    ],
)
def test_what_can_be_wrong_with_spf(texts: list[str], reason: str, state: str) -> None:
    check = spf_check(*texts, odd__example="v=spf1 foo:bar -all")
    assert (check.reason, check.state) == (reason, state)


@pytest.mark.parametrize(
    "text",
    [
        f"V=SPF1  A:laden.example/24//64 {OURS} ?all exp=why.laden.example",
        f"v=spf1 {OURS}. ip4:192.0.2.1 ip6:2001:db8::1 x-note=hello",
        "v=spf1 include:all.laden.example ~all",
        "v=spf1 redirect=all.laden.example",
    ],
)
def test_ours_may_be_reached_in_many_ways(text: str) -> None:
    check = check_of(
        "spf",
        {
            (DOMAIN, "TXT"): [text],
            (DOMAIN, "A"): ["192.0.2.1"],
            ("all.laden.example", "TXT"): [f"v=spf1 {OURS} -all"],
        },
    )
    assert (check.state, check.reason) == ("ok", "")


@pytest.mark.feature("N14")
def test_look_ups_are_counted_through_all_includes() -> None:
    """Ten may be asked for: RFC 7208, 4.6.4. Addresses cost nothing."""
    just = spf_check(
        f"v=spf1 mx {OURS} include:many.example ip4:192.0.2.1 -all",
        many__example="v=spf1 exists:%{i}.a.example exists:%{i}.b.example ptr include:more.example",
        more__example="v=spf1 exists:a.%{d} exists:b.%{d} exists:c.%{d} -all ptr ptr ptr",
    )
    assert (just.state, just.facts["lookups"]) == ("ok", "10")
    over = spf_check(
        f"v=spf1 mx {OURS} include:many.example -all",
        many__example="v=spf1 " + "exists:%{i}.a.example " * 8 + "-all",
    )
    assert (over.reason, over.facts["lookups"]) == ("too_many_lookups", "11")


def test_a_record_that_includes_itself_comes_to_an_end() -> None:
    zones = Zones({("a.example", "TXT"): ["v=spf1 include:a.example include:a.example -all"]})
    cost = spf.cost_of("a.example", parse("v=spf1 include:a.example -all"), zones)
    assert cost.lookups > spf.MAX_LOOKUPS
    assert len(zones.asked) <= 2 * spf.LOOKUPS_COUNTED


def test_more_than_two_names_that_are_not_there_are_too_many() -> None:
    check = spf_check(f"v=spf1 a:x.example a:y.example mx:z.example {OURS} -all")
    assert (check.reason, check.facts["count"]) == ("too_many_void_lookups", "3")
    assert spf_check(f"v=spf1 a:x.example mx:z.example {OURS} -all").state == "ok"


def test_that_anybody_may_send_is_warned_of() -> None:
    for text in (f"v=spf1 {OURS} +all", f"v=spf1 {OURS} all"):
        assert spf_check(text).warnings == ("lets_all_pass",)
    assert spf_check(f"v=spf1 {OURS} ?all").warnings == ()


@pytest.mark.feature("N14")
def test_an_include_that_cannot_be_asked_leaves_it_open() -> None:
    changed = {
        (DOMAIN, "TXT"): [f"v=spf1 {OURS} include:slow.example -all"],
        ("slow.example", "TXT"): None,
    }
    assert check_of("spf", changed).state == "unknown"
    # Ours could be in the one that was not answered.
    changed[(DOMAIN, "TXT")] = ["v=spf1 include:slow.example -all"]
    assert check_of("spf", changed).state == "unknown"
    # What is surely wrong is wrong all the same.
    changed[(DOMAIN, "TXT")] = [f"v=spf1 {OURS} include:slow.example include:gone.example -all"]
    assert check_of("spf", changed).reason == "include_missing"


@pytest.mark.feature("S15")
@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([], f"v=spf1 {OURS} ~all"),
        (["v=spf1 mx -all"], f"v=spf1 mx {OURS} -all"),
        (["v=spf1 a  mx"], f"v=spf1 a mx {OURS} ~all"),
        (["v=spf1 mx redirect=x.example"], f"v=spf1 mx {OURS} redirect=x.example"),
        ([f"v=spf1 mx -all {OURS}"], f"v=spf1 mx {OURS} -all"),
        (["v=spf1 mx -all", "v=spf1 a mx ~all"], f"v=spf1 mx a {OURS} -all"),
        (["v=spf1 ipv4:192.0.2.1 a: mx -all"], f"v=spf1 mx {OURS} -all"),
        (["v=spf1 redirect=x.example", "v=spf1 a"], f"v=spf1 include:x.example a {OURS} ~all"),
    ],
)
def test_our_include_is_put_into_the_record_that_is_there(
    records: list[str], expected: str
) -> None:
    merged = with_include(records, "spf.kontor.example")
    assert merged == expected
    assert parse(merged)
    assert wanted(DOMAIN, KEYS, HOME, records)[2].value == expected


@pytest.mark.parametrize("word", ["", "mx:", "all:x", "include:a/24", "a//129", "=x", "redirect="])
def test_words_that_are_none(word: str) -> None:
    if not word:
        assert parse("v=spf1") == []
        return
    with pytest.raises(SpfError):
        parse(f"v=spf1 {word} -all")


# --- DMARC, return path --------------------------------------------------------------------------


@pytest.mark.feature("S16", "N14")
@pytest.mark.parametrize(
    ("texts", "state", "reason"),
    [
        (["v=DMARC1; p=none"], "ok", ""),
        (["v=DMARC1;p=quarantine;pct=20"], "ok", ""),
        (["v=DMARC1; rua=mailto:a@laden.example"], "ok", ""),
        ([], "missing", "absent"),
        (["v=DMARC1; p=none", "v=DMARC1; p=reject"], "wrong", "several"),
        (["v=DMARC1; p=perhaps"], "wrong", "invalid"),
        (["v=DMARC1 p=none"], "wrong", "invalid"),
        (["p=none"], "wrong", "invalid"),
        (None, "unknown", "not_answered"),
    ],
)
def test_any_valid_dmarc_record_will_do(texts: list[str] | None, state: str, reason: str) -> None:
    check = check_of("dmarc", {(f"_dmarc.{DOMAIN}", "TXT"): texts})
    assert (check.state, check.reason) == (state, reason)


def test_dmarc_says_what_is_asked_of_receivers_and_how_names_must_agree() -> None:
    facts = check_of("dmarc", {}).facts
    assert facts == {"policy": "reject", "holder": DOMAIN, "dkim": "strict", "spf": "relaxed"}


def test_dmarc_of_the_domain_above_counts() -> None:
    zones = Zones({("_dmarc.laden.example", "TXT"): ["v=DMARC1; p=none"]})
    check = judge("mail.laden.example", KEYS, HOME, zones).of("dmarc")
    assert check is not None
    assert (check.state, check.facts["holder"]) == ("ok", "laden.example")
    assert ("_dmarc.example", "TXT") not in zones.asked


@pytest.mark.parametrize(
    ("records", "state", "reason"),
    [
        (["Bounces.kontor.example"], "ok", ""),
        (["other.example"], "wrong", "other_target"),
        ([], "missing", "absent"),
        (None, "unknown", "not_answered"),
    ],
)
def test_the_return_path(records: list[str] | None, state: str, reason: str) -> None:
    check = check_of("return_path", {(f"bounce.{DOMAIN}", "CNAME"): records})
    assert (check.state, check.reason) == (state, reason)


# --- the verdict ---------------------------------------------------------------------------------


@pytest.mark.feature("S17", "N14")
def test_what_decides_is_spf_and_the_key_that_signs() -> None:
    others_gone = {
        (f"kontor2._domainkey.{DOMAIN}", "TXT"): [],
        (f"_dmarc.{DOMAIN}", "TXT"): [],
        (f"bounce.{DOMAIN}", "CNAME"): [],
    }
    assert look(others_gone).verdict("kontor1") == "good"
    assert look(others_gone).verdict("kontor2") == "bad"
    assert look({(DKIM_NAME, "TXT"): None}).verdict("kontor1") == "unknown"
    assert look({(DKIM_NAME, "TXT"): None, (DOMAIN, "TXT"): []}).verdict("kontor1") == "bad"
    report = look({(DKIM_NAME, "TXT"): [], (DOMAIN, "TXT"): []})
    assert [check.key for check in report.problems("kontor1")] == ["kontor1", "spf"]


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("laden.example", "laden.example"),
        (" Anna@Laden.Example. ", "laden.example"),
        ("bücher-laden.de", "xn--bcher-laden-thb.de"),
        ("post.laden.co.uk", "post.laden.co.uk"),
    ],
)
def test_names_of_domains(typed: str, expected: str) -> None:
    assert checked_domain(typed) == expected


@pytest.mark.feature("S14")
@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("anna@gmail.com", "freemail"),
        ("GMX.de", "freemail"),
        ("anna.web.de", "freemail"),
        ("co.uk", "shared"),
        ("or.at", "shared"),
        ("laden", "invalid"),
        ("", "invalid"),
        ("localhost", "invalid"),
        ("laden.test", "invalid"),
        ("localhost.localdomain", "invalid"),
        ("server.lan", "invalid"),
        ("192.0.2.1", "invalid"),
        ("https://laden.example/", "invalid"),
        ("laden.example\r\nX: y", "invalid"),
        ("a." * 130 + "example", "invalid"),
    ],
)
def test_domains_that_mails_cannot_come_from(typed: str, why: str) -> None:
    with pytest.raises(DomainError) as refused:
        checked_domain(typed)
    assert refused.value.args == (why,)


def test_the_list_of_freemail_providers_is_in_order() -> None:
    assert len(freemail_domains()) > 120
    assert all(name == name.lower() and "." in name for name in freemail_domains())


def test_what_is_shown_of_strangers_has_no_control_characters() -> None:
    found = check_of("dmarc", {(f"_dmarc.{DOMAIN}", "TXT"): ["x\x00\x1b[2J\u202e" + "y" * 9_000]})
    assert found.found[0].startswith("x\ufffd\ufffd[2J\ufffdy")
    assert len(found.found[0]) == 2_000


def test_a_record_for_a_zone_file_is_quoted() -> None:
    record = Record("dmarc", "dmarc", "TXT", "_dmarc.laden.example", "v=DMARC1; p=none", False)
    assert record.quoted == '"v=DMARC1; p=none"'
