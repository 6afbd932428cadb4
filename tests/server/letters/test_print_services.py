"""Who prints: settings that are sealed, the print folder, and a service that takes mails."""

from __future__ import annotations

import base64
import csv
import email
import io
from dataclasses import replace
from email.policy import default
from typing import Any

import pytest

from plugin_sdk.errors import Misconfigured, Rejected, Temporary
from server import vault
from server.db import db, now
from server.letters import services
from server.letters.adapters import HandoverInDoubt, Parcel
from server.letters.adapters.folder import Folder
from server.letters.adapters.smtp import SmtpService
from server.letters.rules import PriceError
from tests.fakes.smtp_server import FakeSmtp
from tests.unit.letters import samples
from tests.unit.letters.samples import RECIPIENT, letter

pytestmark = pytest.mark.feature("S47", "K60")


def _parcel(number: int = 7, **changes: Any) -> Parcel:
    parcel = Parcel(
        letter_id=number,
        pdf=letter(),
        pages=1,
        recipient=RECIPIENT,
        country="DE",
        is_registered=False,
        kind="reminder",
        at=now(),
    )
    return replace(parcel, **changes)


# --- settings -------------------------------------------------------------------------------------


def _save(merchant, adapter: str = "letterxpress", currency: str = "EUR", **settings: str):
    return services.save_service(
        merchant.id, adapter, settings, {}, currency, actor="anna", at=now()
    )


def test_secrets_are_sealed_kept_and_not_shown(merchant) -> None:
    row = _save(merchant, username="anna", apikey="very secret")
    assert b"very secret" not in row.settings
    assert "very secret" in vault.installed().open(row.settings)
    assert services.shown_settings(row) == {"username": "anna"}
    row = _save(merchant, username="bea", apikey="")
    assert services.settings_of(row) == {"username": "bea", "apikey": "very secret"}
    assert services.service_of(merchant.id) is row


def test_settings_move_to_the_newest_key(merchant, allowed) -> None:
    row = _save(merchant, username="anna", apikey="very secret")
    new = base64.urlsafe_b64encode(b"n" * 32).decode()
    assert services.reseal_all(vault.Vault((new, *allowed.encryption_keys))) == 1
    assert "very secret" in vault.Vault((new,)).open(row.settings)


def test_a_secret_goes_to_no_other_address_by_itself(merchant) -> None:
    there = "https://print.example.org/v3"
    _save(merchant, username="anna", apikey="very secret", url=there)
    kept = _save(merchant, username="anna", apikey="", url=there)
    assert services.settings_of(kept)["apikey"] == "very secret"
    for other in ("https://print.example.com/v3", ""):
        with pytest.raises(services.ServiceError, match="setting_missing"):
            _save(merchant, username="anna", apikey="", url=other)


def test_another_adapter_inherits_no_secret(merchant) -> None:
    _save(merchant, username="anna", apikey="very secret")
    row = _save(merchant, "folder")
    assert services.settings_of(row) == {}
    with pytest.raises(services.ServiceError, match="setting_missing"):
        _save(merchant, username="anna", apikey="")


def test_settings_that_no_adapter_can_work_with(merchant) -> None:
    with pytest.raises(services.ServiceError, match="adapter_unknown"):
        _save(merchant, "pigeon")
    with pytest.raises(services.ServiceError, match="currency_unknown"):
        _save(merchant, "folder", "XAU")
    with pytest.raises(services.ServiceError, match="setting_missing"):
        _save(merchant, "smtp")
    with pytest.raises(services.ServiceError, match="setting_invalid"):
        _save(merchant, username="a\nb", apikey="c")
    with pytest.raises(Misconfigured, match="mail address"):
        _save(merchant, "smtp", address="nobody")
    with pytest.raises(PriceError):
        services.save_service(
            merchant.id, "folder", {}, {"first_sheet": "x"}, "EUR", actor="a", at=now()
        )
    db.session.rollback()
    assert services.service_of(merchant.id) is None


def test_a_service_can_be_forgotten(merchant, in_folder) -> None:
    said = services.check_service(in_folder, db.session.commit)
    assert said.endswith(f"letters/{merchant.id}")
    assert services.forget_service(merchant.id) is True
    assert services.forget_service(merchant.id) is False
    assert services.service_of(merchant.id) is None


# --- the print folder -----------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(tmp_path, 1)


def _rows(folder: Folder) -> list[list[str]]:
    (file,) = folder.place.glob("*/addresses.csv")
    return list(csv.reader(io.StringIO(file.read_text("utf-8-sig")), delimiter=";"))


def test_the_folder_holds_letters_addresses_and_all_in_one(folder) -> None:
    for number in (7, 9):
        folder.hand_over(_parcel(number, is_registered=number == 9))
    folder.finish()
    (day,) = (path for path in folder.place.iterdir() if path.is_dir())
    assert sorted(path.name for path in day.iterdir()) == [
        "0001-letter-7.pdf",
        "0002-letter-9.pdf",
        "addresses.csv",
        "all.pdf",
    ]
    assert samples.page_count((day / "all.pdf").read_bytes()) == 2
    head, first, second = _rows(folder)
    assert head[:3] == ["number", "file", "kind"]
    assert first == ["0001", "0001-letter-7.pdf", "reminder", "1", "", "DE", *RECIPIENT]
    assert second[4] == "yes"


def test_the_same_letter_is_the_same_file(folder) -> None:
    first = folder.hand_over(_parcel())
    again = folder.hand_over(_parcel())
    assert first.reference == again.reference
    assert len(_rows(folder)) == 2


def test_what_a_crash_left_undone_is_done_the_next_time(folder) -> None:
    folder.hand_over(_parcel())
    (file,) = folder.place.glob("*/addresses.csv")
    file.unlink()
    folder.hand_over(_parcel())
    assert len(_rows(folder)) == 2


def test_an_address_is_no_formula(folder) -> None:
    folder.hand_over(_parcel(recipient=("=HYPERLINK(1)", "@x", "-51147 Musterstadt")))
    assert _rows(folder)[1][6:] == ["'=HYPERLINK(1)", "'@x", "'-51147 Musterstadt"]


def test_letters_can_be_taken_out_again(folder) -> None:
    for number in (7, 70):
        folder.hand_over(_parcel(number, recipient=(f"Erika {number}", "x", "y")))
    folder.finish()
    assert folder.remove({7, 8}) == 1
    (day,) = (path for path in folder.place.iterdir() if path.is_dir())
    assert [row[1] for row in _rows(folder)[1:]] == ["0002-letter-70.pdf"]
    assert samples.page_count((day / "all.pdf").read_bytes()) == 1
    assert folder.remove({70}) == 1
    assert not (day / "all.pdf").exists()
    assert Folder(folder.place / "nowhere", 1).remove({1}) == 0


def test_a_folder_that_cannot_be_written_is_tried_again(tmp_path) -> None:
    (tmp_path / "letters").write_text("a file where the folder should be")
    broken = Folder(tmp_path, 1)
    with pytest.raises(Temporary, match="cannot be written"):
        broken.hand_over(_parcel())
    with pytest.raises(Misconfigured, match="cannot be written"):
        broken.check()


# --- a service that takes mails -------------------------------------------------------------------


@pytest.fixture
def mail_server():
    with FakeSmtp() as running:
        yield running


@pytest.fixture
def by_mail(settings, mail_server) -> SmtpService:
    house = replace(settings, smtp_url=f"smtp://127.0.0.1:{mail_server.port}")
    return SmtpService({"address": "druck@example.org", "subject": "KD 4711"}, house)


def test_a_letter_is_a_mail_with_its_pdf(mail_server, by_mail) -> None:
    parcel = _parcel(is_registered=True)
    receipt = by_mail.hand_over(parcel)
    (received,) = mail_server.received
    assert received.recipients == ("druck@example.org",)
    mail = email.message_from_bytes(received.content, policy=default)
    assert mail["Subject"] == "KD 4711 letter-7"
    assert receipt.reference in str(mail["Message-ID"])
    (attached,) = mail.iter_attachments()
    assert attached.get_content() == parcel.pdf
    text = mail.get_body(("plain",)).get_content()
    for words in (*RECIPIENT, "GERMANY", "sending: registered", "pages: 1"):
        assert words in text
    assert by_mail.check() == "druck@example.org"
    assert by_mail.status(receipt.reference) is None


@pytest.mark.parametrize(
    ("verb", "fault", "error"),
    [
        ("RCPT", "550 5.1.1 unknown", Rejected),
        ("RCPT", "450 4.2.0 later", Temporary),
        ("MAIL", "drop", Temporary),
        ("DATA", "451 4.3.0 later", Temporary),
        ("DOT", "554 5.6.0 no PDF", Rejected),
        ("DOT", "keep and drop", HandoverInDoubt),
        ("CONNECT", "421 4.3.2 closing", Temporary),
    ],
)
def test_before_the_content_went_out_a_failure_is_harmless(
    mail_server, by_mail, verb: str, fault: str, error: type[Exception]
) -> None:
    mail_server.faults[verb].append(fault)
    with pytest.raises(error) as raised:
        by_mail.hand_over(_parcel())
    assert isinstance(raised.value, HandoverInDoubt) is (error is HandoverInDoubt)


def test_without_a_mail_server_a_person_must_act(settings) -> None:
    service = SmtpService({"address": "druck@example.org"}, replace(settings, smtp_url=None))
    with pytest.raises(Misconfigured, match="SMTP_URL"):
        service.check()
