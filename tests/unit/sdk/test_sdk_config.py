"""Settings of a connector, and where the command finds them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from connectors.woocommerce import WooCommerce
from plugin_sdk.cli import main, read_settings
from plugin_sdk.connector import config_from, secrets_of, setting
from plugin_sdk.errors import Misconfigured
from plugin_sdk.installed import connector_class


@dataclass(frozen=True)
class Config:
    address: str = setting("Address")
    password: str = setting("Password", secret=True)
    days: int = setting("Days", default=30)
    careful: bool = setting("Careful", default=False)
    topics: tuple[str, ...] = setting("Topics", default=())


def test_values_from_text_and_from_toml():
    text = {"address": " a ", "password": "p", "days": "7", "careful": "yes", "topics": "x, y,"}
    toml = {"address": "a", "password": "p", "days": 7, "careful": True, "topics": ["x", "y"]}
    assert config_from(Config, text) == config_from(Config, toml)
    assert config_from(Config, text).topics == ("x", "y")


def test_everything_wrong_is_named_at_once_and_no_value_shown():
    wrong = {"password": 5, "days": "s3cret", "careful": "s3cret", "topics": 5, "colour": "s3cret"}
    with pytest.raises(Misconfigured) as caught:
        config_from(Config, wrong)
    text = str(caught.value)
    for name in ("address", "password", "days", "careful", "topics", "colour"):
        assert name in text
    assert "s3cret" not in text


def test_secrets_stay_out_of_repr():
    config = config_from(Config, {"address": "a", "password": "s3cret"})
    assert "s3cret" not in repr(config)
    assert secrets_of(config) == ("s3cret",)


def test_the_environment_wins_over_the_file(tmp_path):
    path = tmp_path / "kontor.toml"
    path.write_text(
        'url = "https://kontor.example.org"\napi_key = "k1"\nconnector = "woocommerce"\n'
        '[woocommerce]\nshop_url = "https://shop.example.org"\nhistory_days = 10\n'
    )
    environment = {"KONTOR_API_KEY": "k2", "KONTOR_SHOP_URL": "https://other.example.org"}
    settings = read_settings(environment, path)
    assert (settings.url, settings.api_key) == ("https://kontor.example.org", "k2")
    assert settings.fields == {"shop_url": "https://other.example.org", "history_days": 10}


@pytest.mark.parametrize(
    "text", ["connector = ", "\udcff", "connector = 'woocommerce'\nwoocommerce=1"]
)
def test_a_file_that_cannot_be_read(tmp_path, text):
    path = tmp_path / "kontor.toml"
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(Misconfigured, match=r"kontor\.toml"):
        read_settings({}, path)


def test_a_connector_is_found_by_name():
    assert connector_class("woocommerce") is WooCommerce
    for name in ("nope", "os", "../x", "", "testing"):
        with pytest.raises(Misconfigured, match="no connector"):
            connector_class(name)


def test_wrong_settings_end_with_two(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KONTOR_CONNECTOR", "woocommerce")
    assert main(["check"]) == 2
    assert "shop_url is missing" in capsys.readouterr().err
    monkeypatch.delenv("KONTOR_CONNECTOR")
    assert main(["check"]) == 2
    assert "KONTOR_CONNECTOR" in capsys.readouterr().err


def test_wrong_usage_ends_with_two(capsys):
    for words in ([], ["dance"], ["run", "--listen", "nowhere"], ["run", "--listen", "h:99999"]):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 2
    capsys.readouterr()
