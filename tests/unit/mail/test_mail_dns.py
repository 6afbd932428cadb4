"""What the DNS says, told apart from what it cannot say now; against a server on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from server.config import Settings, WrongSetting
from server.mail import dns as edge
from server.mail.dns import Answer, MailHosts, Resolver, resolver_of
from tests.fakes.dns_server import FakeDns


@pytest.fixture
def fake() -> Iterator[FakeDns]:
    with FakeDns() as running:
        yield running


@pytest.fixture
def resolver(fake: FakeDns) -> Resolver:
    return Resolver([fake.server])


def test_texts_are_joined_and_told_apart(fake: FakeDns, resolver: Resolver) -> None:
    fake.put("laden.example", "TXT", "v=spf1 -all", "x" * 300, 'with "quotes" and \\')
    answer = resolver.lookup("Laden.Example.", "TXT")
    assert answer.status == "found"
    assert set(answer.records) == {"v=spf1 -all", "x" * 300, 'with "quotes" and \\'}


def test_a_chain_of_names_is_followed(fake: FakeDns, resolver: Resolver) -> None:
    fake.put("a.example", "CNAME", "b.example")
    fake.put("b.example", "CNAME", "c.example")
    fake.put("c.example", "TXT", "at the end")
    assert resolver.lookup("a.example", "TXT") == Answer("found", ("at the end",))
    assert resolver.lookup("a.example", "CNAME") == Answer("found", ("b.example",))


def test_nothing_there_is_told_from_nothing_of_that_kind(fake: FakeDns, resolver: Resolver) -> None:
    fake.put("laden.example", "A", "192.0.2.1")
    assert resolver.lookup("laden.example", "TXT") == Answer("no_data")
    assert resolver.lookup("other.example", "TXT") == Answer("no_such_name")
    for broken in ("a..b", "x" * 64 + ".example", ".".join(["y" * 60] * 5)):
        assert resolver.lookup(broken, "TXT").is_absent


@pytest.mark.feature("N14")
@pytest.mark.parametrize("fault", ["SERVFAIL", "REFUSED", "silence", "garbage"])
def test_a_server_out_of_order_says_nothing_about_the_domain(
    fake: FakeDns, resolver: Resolver, fault: str
) -> None:
    fake.put("laden.example", "TXT", "v=spf1 -all")
    fake.faults["laden.example"] = fault
    answer = Resolver([fake.server], seconds=0.3).lookup("laden.example", "TXT")
    assert answer.status == "unknown"
    assert "DNS" in answer.why
    assert not answer.is_absent
    del fake.faults["laden.example"]
    assert resolver.lookup("laden.example", "TXT").status == "found"  # and it was not remembered


def test_a_long_answer_comes_over_tcp(fake: FakeDns, resolver: Resolver) -> None:
    fake.put("laden.example", "TXT", *(f"{number}" * 200 for number in range(9)))
    assert len(resolver.lookup("laden.example", "TXT").records) == 9
    fake.put("other.example", "TXT", "short")
    fake.faults["other.example"] = "truncated"
    assert resolver.lookup("other.example", "TXT").records == ("short",)


def test_answers_are_remembered_for_a_while(fake: FakeDns) -> None:
    time = [0.0]
    resolver = Resolver([fake.server], clock=lambda: time[0])
    fake.put("laden.example", "TXT", "one")
    for kind in ("TXT", "MX", "TXT", "MX"):
        resolver.lookup("laden.example", kind)
    assert fake.asked == [("laden.example", "TXT"), ("laden.example", "MX")]
    fake.put("laden.example", "TXT", "two")
    time[0] = 61.0  # the record said 60 s
    assert resolver.lookup("laden.example", "TXT").records == ("two",)
    assert resolver.lookup("laden.example", "MX").is_absent
    assert len(fake.asked) == 3
    time[0] = 301.0
    resolver.lookup("laden.example", "MX")
    assert len(fake.asked) == 4


def test_a_fresh_one_asks_again_and_not_for_ever(fake: FakeDns) -> None:
    time = [0.0]
    resolver = Resolver([fake.server], clock=lambda: time[0])
    fake.put("laden.example", "TXT", "one")
    resolver.lookup("laden.example", "TXT")
    fake.put("laden.example", "TXT", "two")
    fresh = resolver.fresh(seconds=8)
    assert fresh.lookup("laden.example", "TXT").records == ("two",)
    time[0] = 8.0
    late = fresh.lookup("other.example", "TXT")
    assert late.status == "unknown"
    assert "no time" in late.why


def test_memory_is_bounded(
    fake: FakeDns, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "MAX_CACHED", 3)
    for number in range(5):
        resolver.lookup(f"{number}.example", "TXT")
    before = len(fake.asked)
    resolver.lookup("4.example", "TXT")
    assert len(fake.asked) == before
    resolver.lookup("0.example", "TXT")
    assert len(fake.asked) == before + 1


@pytest.mark.feature("S6")
def test_where_a_domain_takes_its_mail(fake: FakeDns, resolver: Resolver) -> None:
    fake.put("big.example", "MX", "20 mx2.big.example", "10 MX1.big.example")
    fake.put("small.example", "AAAA", "2606:4700::1")
    fake.put("none.example", "MX", "0 .")
    fake.put("web.example", "TXT", "no mail here")
    fake.faults["ill.example"] = "SERVFAIL"
    fake.put("half.example", "TXT", "known")
    assert resolver.mail_hosts("big.example") == MailHosts(
        "found", ((10, "mx1.big.example"), (20, "mx2.big.example"))
    )
    assert resolver.mail_hosts("small.example") == MailHosts("found", ((0, "small.example"),))
    assert resolver.mail_hosts("none.example").status == "null_mx"
    assert resolver.mail_hosts("web.example").status == "no_host"
    assert resolver.mail_hosts("typo.example").status == "no_such_domain"
    assert resolver.mail_hosts("ill.example").status == "unknown"


def test_mail_never_goes_into_our_own_network(fake: FakeDns, resolver: Resolver) -> None:
    fake.put("mx.example", "A", "127.0.0.1", "8.8.8.8", "10.0.0.5")
    fake.put("mx.example", "AAAA", "::1", "::ffff:192.168.1.1", "2606:4700::1")
    fake.put("inner.example", "A", "192.168.0.1")
    assert resolver.addresses("mx.example").addresses == ("8.8.8.8", "2606:4700::1")
    assert resolver.addresses("inner.example").status == "private"
    assert resolver.addresses("gone.example").status == "no_such_name"
    allowing = Resolver([fake.server], allows_private=True)
    assert allowing.addresses("inner.example").addresses == ("192.168.0.1",)


def test_one_family_of_addresses_that_cannot_be_asked_does_not_hide_the_other(
    fake: FakeDns, resolver: Resolver
) -> None:
    fake.faults["ill.example"] = "SERVFAIL"
    assert resolver.addresses("ill.example").status == "unknown"


def test_the_servers_come_from_the_settings() -> None:
    env = {
        "DATABASE_URL": "postgresql://x",
        "REDIS_URL": "redis://x",
        "KONTOR_SECRET_KEY": "s" * 32,
        "KONTOR_ENCRYPTION_KEYS": "A" * 43 + "=",
    }
    asked = Settings.from_env(
        {**env, "KONTOR_DNS_SERVERS": "192.0.2.1:5353, [2001:db8::1]:53 2001:db8::2"}
    )
    assert resolver_of(asked).servers == ("192.0.2.1:5353", "[2001:db8::1]:53", "2001:db8::2")
    assert resolver_of(asked) is resolver_of(asked)
    named = Settings.from_env({**env, "KONTOR_SPF_INCLUDE": "_SPF.Kontor.example"})
    assert named.spf_include == "_spf.kontor.example"
    for wrong in ("include:kontor.example", "kontor", "a b.example"):
        with pytest.raises(WrongSetting, match="KONTOR_SPF_INCLUDE"):
            Settings.from_env({**env, "KONTOR_SPF_INCLUDE": wrong})
    for wrong in ("dns.example", "192.0.2.1:0x5", "192.0.2.1:99999"):
        with pytest.raises(WrongSetting, match="KONTOR_DNS_SERVERS"):
            Settings.from_env({**env, "KONTOR_DNS_SERVERS": wrong})
