"""What mail servers answer, and what follows from it for the mail."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.mail.replies import (
    FAILURES,
    MAX_RETRY_AFTER_SECONDS,
    Verdict,
    classify,
)


def final(failure: str, *, suppress: bool = False) -> Verdict:
    return Verdict(failure, is_final=True, suppress=suppress)


def later(failure: str, *, pause: bool = False, seconds: int | None = None) -> Verdict:
    return Verdict(failure, pause_host=pause, retry_after_seconds=seconds)


GONE = final("no_such_mailbox", suppress=True)
NO_DOMAIN = final("no_such_domain", suppress=True)
POLICY = final("policy")
FULL = later("mailbox_full")

ANSWERS = [
    # The enhanced status code says it.
    (550, "5.1.1 <erika@example.org>: Recipient address rejected: User unknown in table", GONE),
    (550, "5.1.1 The email account that you tried to reach does not exist.", GONE),
    (550, "5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found", GONE),
    (550, "5.1.6 recipient no longer on server", GONE),
    (550, "5.2.1 The email account that you tried to reach is inactive.", GONE),
    (525, "5.7.13 user account disabled", GONE),
    (550, "5.1.2 Bad destination host 'DNS Hard Error'", NO_DOMAIN),
    (550, "5.4.4 Host or domain name not found. Name service error", NO_DOMAIN),
    (556, "5.1.10 Recipient address has null MX", final("domain_takes_no_mail", suppress=True)),
    (501, "5.1.3 Bad recipient address syntax", final("invalid_address")),
    (552, "5.2.2 The email account that you tried to reach is over quota.", FULL),
    (452, "4.2.2 The email account that you tried to reach is over quota.", FULL),
    (552, "5.3.4 Message size exceeds fixed limit", final("too_large")),
    (552, "5.2.3 Your message is larger than allowed", final("too_large")),
    (554, "5.4.7 Delivery expired (message too old)", final("expired")),
    (554, "5.4.6 Too many hops", final("unreachable")),
    (550, "5.7.1 Our system has detected that this message is likely unsolicited", POLICY),
    (550, "5.7.26 Unauthenticated email from example.org is not accepted", POLICY),
    (550, "5.1.8 Sender address rejected: Domain not found", POLICY),
    (554, "5.7.0 Rejected", POLICY),
    # ... but where it is known to be used for something else, the words count.
    (550, "5.1.1 Message rejected due to SPF policy of your domain", POLICY),
    (550, "5.4.1 Recipient address rejected: Access denied. AS(201806281)", GONE),
    (450, "4.2.1 The user is receiving mail at a rate that prevents delivery", later("other")),
    # Only a sentence.
    (550, "Requested action not taken: mailbox unavailable", GONE),
    (550, "sorry, no mailbox here by that name. (#5.1.1)", GONE),
    (550, "No such user here", GONE),
    (550, "unknown user account", GONE),
    (550, "Unbekannter Empfänger", GONE),
    (550, "Der Empfänger existiert nicht", GONE),
    (554, "delivery error: This user doesn't have a yahoo.com account", GONE),
    (550, "Unrouteable address", GONE),
    (554, "Sorry, mailbox is full", FULL),
    (550, "Das Postfach ist voll", FULL),
    (552, "Quota exceeded. The recipients mailbox is full.", FULL),
    (554, "Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org", POLICY),
    (550, "Mail from your server has poor reputation", POLICY),
    (554, "Transaction failed. Reject due to policy restrictions", POLICY),
    (550, "Message too large", final("too_large")),
    (550, "Nachricht zu groß", final("too_large")),
    (550, "Unknown domain", NO_DOMAIN),
    # Words inside addresses and links say nothing.
    (550, "5.2.1 <spam@example.org> see https://example.com/spf", GONE),
    (550, "<spam-policy@example.org>", final("refused")),
    # Nothing but three digits.
    (550, "", final("refused")),
    (521, "", final("domain_takes_no_mail", suppress=True)),
    (551, "", GONE),
    (552, "", final("too_large")),
    (553, "", final("invalid_address")),
    (451, "", later("other")),
    (421, "", later("other", pause=True)),
    # Our own set-up: a person, whatever the first digit says.
    (530, "5.7.0 Authentication required", later("misconfigured")),
    (535, "5.7.8 Authentication credentials invalid", later("misconfigured")),
    (554, "5.7.1 <erika@example.org>: Relay access denied", later("misconfigured")),
    # Later: who wants to be left alone, and for how long.
    (421, "4.3.2 Service not available, closing", later("other", pause=True)),
    (450, "4.1.1 unverified address: User unknown", later("no_such_mailbox")),
    (451, "4.7.1 Greylisted, please try again in 300 seconds", later("policy", seconds=300)),
    (450, "4.2.0 Greylisting in effect, come back in 5 minutes", later("other", seconds=300)),
    (451, "Bitte versuchen Sie es in 2 Stunden noch einmal", later("other", seconds=7200)),
    (450, "4.3.2 try again in 900 days", later("other", pause=True)),
    (450, "busy, retry in 99 hours", later("other", seconds=MAX_RETRY_AFTER_SECONDS)),
    (451, "4.7.28 Too many messages from your address", later("policy", pause=True)),
    (451, "Too many concurrent SMTP connections", later("other", pause=True)),
    (421, "4.7.0 [TSS04] Messages temporarily deferred", later("policy", pause=True)),
    (452, "4.3.1 Insufficient system storage", later("other", pause=True)),
    (550, "try again in 5 minutes", final("refused")),
    # A report may have lost the digits.
    (0, "5.1.1 user unknown", GONE),
    (0, "4.4.7 delivery time expired", later("expired")),
    (0, "user unknown", later("no_such_mailbox")),
    (0, "", later("other")),
]


@pytest.mark.feature("S6", "S7")
@pytest.mark.parametrize(("code", "text", "verdict"), ANSWERS)
def test_answers(code: int, text: str, verdict: Verdict) -> None:
    assert classify(code, text) == verdict


def test_every_failure_has_a_word_of_its_own() -> None:
    assert len(set(FAILURES)) == len(FAILURES)
    assert all(len(word) <= 24 for word in FAILURES), "Mail.failure holds 24 letters"
    assert {verdict.failure for _, _, verdict in ANSWERS} <= set(FAILURES)


@given(
    st.integers(0, 599),
    st.text(max_size=300) | st.from_regex(r"[245]\.\d{1,3}\.\d{1,3} [a-z ]{0,60}", fullmatch=True),
)
def test_whatever_a_server_says(code: int, text: str) -> None:
    verdict = classify(code, text)
    assert verdict.failure in FAILURES
    assert not (verdict.suppress and not verdict.is_final)
    assert not (verdict.suppress and verdict.failure in {"policy", "mailbox_full", "too_large"})
    assert not (verdict.is_final and verdict.pause_host)
    if code // 100 == 4:
        assert not verdict.is_final


@pytest.mark.parametrize("text", ["1" * 100_000, "5.1." * 50_000, "a@" * 50_000, "user " * 50_000])
def test_endless_answers_are_read_to_a_limit(text: str) -> None:
    assert classify(550, text).failure in FAILURES


@pytest.mark.parametrize("number", ["5.1.1.7", "15.1.1", "192.5.1.1", "5.1.1111"])
def test_other_numbers_are_no_status_code(number: str) -> None:
    assert classify(550, f"host {number} says no").failure == "refused"
