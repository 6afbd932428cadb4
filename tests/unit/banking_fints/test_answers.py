"""What return codes mean: nothing that could be about the PIN is ever tried again by itself."""

from __future__ import annotations

import pytest

from plugin_sdk.errors import Misconfigured, Rejected, Temporary
from server.banking.fints.answers import AccessLocked, NotConfirmed, Reply, WrongPin, failure


def meant(*codes: str, is_login: bool = True, secrets: tuple[str, ...] = ()):
    replies = []
    for code in codes:
        number, _, text = code.partition(" ")
        replies.append(Reply(number, text))
    return failure(replies, is_login=is_login, secrets=secrets)


@pytest.mark.parametrize(
    "codes",
    [
        ("0010", "0020"),
        ("3060", "3920", "3076"),
        ("0010", "3010 Keine Einträge"),
        ("0030", "3955", "3956"),
    ],
)
def test_hints_are_no_failure(codes):
    assert meant(*codes) is None


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        (("9050", "9800", "9942 PIN falsch"), WrongPin),
        (("9050", "9931 Anmeldung fehlgeschlagen"), WrongPin),
        (("9340 Auftrag abgelehnt",), WrongPin),
        (("9910 PIN ungültig", "9010 nicht verfügbar"), WrongPin),
        (("3938 Ihr Zugang ist vorläufig gesperrt",), AccessLocked),
        (("9010", "3938 gesperrt"), AccessLocked),
        (("9050", "9078 nicht registriert"), Misconfigured),
        (("9075 Starke Authentifizierung",), Misconfigured),
        (("9941 TAN falsch",), NotConfirmed),
        (("9010 Wartungsarbeiten",), Temporary),
        (("9050", "9800", "9311 Pin/Tan-System nicht verfügbar! Bitte später"), Temporary),
        (("9010", "9110 Falsche Segmentzusammenstellung"), Misconfigured),
        (("9123 Der Zugang wurde vorübergehend gesperrt",), Misconfigured),
        (("9050", "9800"), Misconfigured),
        (("9999 etwas Neues",), Misconfigured),
    ],
)
def test_what_happens_next_when_a_dialog_is_opened(codes, kind):
    assert type(meant(*codes)) is kind


def test_inside_a_dialog_a_refused_request_is_only_refused():
    assert type(meant("9210 Konto nicht berechtigt", is_login=False)) is Rejected
    assert type(meant("9010 Camt-Nachrichtenformat ungültig", is_login=False)) is Rejected
    assert type(meant("9010 Wartungsarbeiten", is_login=False)) is Temporary
    assert type(meant("9800 Dialog abgebrochen", is_login=False)) is Temporary


def test_a_wrong_product_names_the_setting():
    assert "KONTOR_FINTS_PRODUCT_ID" in str(meant("9078 nicht registriert"))


def test_the_bank_is_quoted_the_reason_first_and_without_secrets():
    error = meant("9050 Fehler", "9942 PIN 4711x von erika falsch", secrets=("4711x", "erika", "x"))
    assert "The bank says: 9942 PIN ••• von ••• falsch; 9050 Fehler" in str(error)


def test_a_long_answer_is_cut():
    assert len(str(meant("9999 " + "viel " * 500))) < 400
