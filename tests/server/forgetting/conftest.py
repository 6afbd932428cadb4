"""Where the stories of forgetting happen: a merchant, his shop, and folders of their own."""

from __future__ import annotations

import dataclasses

import pytest

from server import config
from tests.factories import make_merchant, make_shop, make_user


@pytest.fixture
def merchant(app):
    made = make_merchant()
    make_user(made)
    return made


@pytest.fixture
def shop(merchant):
    return make_shop(merchant)


@pytest.fixture
def place(app, tmp_path):
    """The folder with the inbox and with what the server writes itself."""
    before = app.config["SETTINGS"]
    inbox, var = tmp_path / "inbox", tmp_path / "var"
    inbox.mkdir()
    var.mkdir()
    app.config["SETTINGS"] = dataclasses.replace(before, inbox=inbox, var=var)
    config.install(app.config["SETTINGS"])
    yield tmp_path
    app.config["SETTINGS"] = before
    config.install(before)
