"""Secrets at rest: opened by any key of the settings, sealed by the newest, never in a text."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet

from server import config, vault
from server.vault import Vault, VaultLocked

OLD, NEW, LOST = (Fernet.generate_key().decode() for _ in range(3))


def test_what_is_sealed_can_be_opened_and_not_be_read():
    sealed = Vault([OLD]).seal("geheim ÄÖÜ €")
    assert b"geheim" not in sealed
    assert Vault([OLD]).open(sealed) == "geheim ÄÖÜ €"


def test_the_same_secret_looks_different_each_time():
    assert Vault([OLD]).seal("12345") != Vault([OLD]).seal("12345")


def test_bytes_that_are_no_text_come_back():
    state = bytes(range(256))
    assert Vault([OLD]).open_bytes(Vault([OLD]).seal_bytes(state)) == state


def test_an_older_key_still_opens_and_the_newest_seals():
    sealed = Vault([OLD]).seal("12345")
    both = Vault([NEW, OLD])
    assert both.open(sealed) == "12345"
    assert Vault([NEW]).open(both.seal("12345")) == "12345"


def test_rotation_moves_a_secret_to_the_newest_key():
    sealed = Vault([OLD]).seal("12345")
    moved = Vault([NEW, OLD]).reseal(sealed)
    assert Vault([NEW]).open(moved) == "12345"
    with pytest.raises(VaultLocked):
        Vault([OLD]).open(moved)


@pytest.mark.parametrize("act", [Vault.open, Vault.open_bytes, Vault.reseal])
def test_without_its_key_the_error_names_the_setting(act):
    sealed = Vault([LOST]).seal("12345")
    with pytest.raises(VaultLocked, match="KONTOR_ENCRYPTION_KEYS") as caught:
        act(Vault([NEW, OLD]), sealed)
    assert "12345" not in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_what_was_changed_does_not_open():
    sealed = bytearray(Vault([OLD]).seal("12345"))
    sealed[20] ^= 1
    with pytest.raises(VaultLocked):
        Vault([OLD]).open(bytes(sealed))


def test_a_secret_has_a_largest_size(monkeypatch):
    monkeypatch.setattr(vault, "MAX_SECRET_BYTES", 4)
    with pytest.raises(ValueError, match="4 bytes"):
        Vault([OLD]).seal("12345")


def test_no_keys_is_no_vault():
    with pytest.raises(ValueError, match="KONTOR_ENCRYPTION_KEYS"):
        Vault([])


def test_the_keys_of_the_settings_are_used(monkeypatch):
    settings = config.Settings("d", "r", "s" * 32, (NEW, OLD))
    monkeypatch.setattr(config, "_installed", [settings])
    assert vault.installed().open(Vault([OLD]).seal("12345")) == "12345"


def test_keys_that_an_embedded_installation_makes_are_keys(tmp_path):
    made = config.create_secrets(tmp_path / "secrets")["KONTOR_ENCRYPTION_KEYS"]
    assert Vault([made]).open(Vault([made]).seal("12345")) == "12345"
