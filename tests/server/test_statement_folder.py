"""Files that another program lays into a folder: taken once, kept, moved away."""

from __future__ import annotations

import dataclasses
import os
import time

import pytest

from server import config
from server.banking.models import BankAccount, Posting, Statement
from server.db import db, now
from server.jobs import drain_statement, due_kinds
from tests.bank_files import Paid, camt
from tests.factories import make_account, make_merchant

SECONDS_AGO = 60
PAID_ONE = Paid()


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def inbox(app, tmp_path, merchant):
    before = app.config["SETTINGS"]
    app.config["SETTINGS"] = dataclasses.replace(before, inbox=tmp_path)
    config.install(app.config["SETTINGS"])
    (tmp_path / str(merchant.id)).mkdir()
    yield tmp_path
    app.config["SETTINGS"] = before
    config.install(before)


def lay(folder, name, content, age=SECONDS_AGO):
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / name
    path.write_bytes(content)
    os.utime(path, (time.time() - age,) * 2)
    return path


def names(folder):
    return sorted(path.name.partition("-")[2] for path in folder.iterdir())


@pytest.mark.feature("C3")
def test_a_finished_file_is_taken_read_and_moved_away(inbox, merchant):
    mine = inbox / str(merchant.id)
    path = lay(mine, "umsatz.xml", camt("camt.053", PAID_ONE))
    assert "statement" in due_kinds(now())
    drain_statement()
    (statement,) = db.session.query(Statement).all()
    assert (statement.filename, statement.status) == ("umsatz.xml", "done")
    assert statement.uploaded_by == "Folder"
    assert (path.exists(), names(mine / "taken")) == (False, ["umsatz.xml"])
    drain_statement()
    assert db.session.query(Statement).count() == 1
    assert "statement" not in due_kinds(now())


def test_a_file_that_is_still_being_written_is_left_alone(inbox, merchant):
    mine = inbox / str(merchant.id)
    lay(mine, "jetzt.xml", camt("camt.053", PAID_ONE), age=0)
    for name in ("a.xml.part", ".verborgen", "b.tmp"):
        lay(mine, name, b"x")
    lay(mine, "leer.xml", b"")
    drain_statement()
    assert db.session.query(Statement).count() == 0


def test_the_name_of_the_folder_may_say_the_account(inbox, merchant):
    account = make_account(merchant, "DE68210501700012345678")
    lay(inbox / str(merchant.id) / account.iban, "u.xml", camt("camt.053", PAID_ONE, iban=""))
    drain_statement()
    assert [row.account_id for row in db.session.query(Posting)] == [account.id]


def test_what_belongs_to_nobody_is_refused_and_kept(inbox, merchant):
    lay(inbox / "999999", "u.xml", camt("camt.053", PAID_ONE))
    lay(inbox / str(merchant.id) / "DE00", "u.xml", camt("camt.053", PAID_ONE))
    lay(inbox / "kein-haendler", "u.xml", camt("camt.053", PAID_ONE))
    drain_statement()
    assert db.session.query(Statement).count() == 0
    assert names(inbox / "999999" / "refused") == ["u.xml"]
    assert names(inbox / str(merchant.id) / "DE00" / "refused") == ["u.xml"]
    assert (inbox / "kein-haendler" / "u.xml").exists()


def test_links_are_never_followed(inbox, merchant, tmp_path):
    secret = tmp_path / "geheim.xml"
    secret.write_bytes(camt("camt.053", PAID_ONE))
    (inbox / str(merchant.id) / "link.xml").symlink_to(secret)
    (inbox / str(merchant.id) / "DE1").symlink_to(tmp_path)
    drain_statement()
    assert db.session.query(Statement).count() == 0
    assert db.session.query(BankAccount).count() == 1
