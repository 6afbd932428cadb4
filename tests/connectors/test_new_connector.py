"""`kontor new`: what it writes works at once, as a folder and as a package."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import pytest

from plugin_sdk.commands.new import write_connector
from plugin_sdk.errors import Misconfigured
from plugin_sdk.scaffold.myshop.fake_shop import FakeMyShop
from tests.connectors.programs import kontor, run_pytest

FILES = {"__init__.py", "config.py", "connector.py", "fake_shop.py", "mapping.py"}


def test_the_tests_of_a_new_package_are_green(tmp_path):
    """Those of a folder are run by test_connectors_page."""
    made = kontor("new", "tea_house", "--package", "--into", tmp_path, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    folder = tmp_path / "kontor-tea-house"
    assert f"wrote {folder}" in made.stdout
    tests = run_pytest(folder, "--kontor-table=README.md")
    assert tests.returncode == 0, tests.stdout
    assert "skipped" not in tests.stdout
    table = (folder / "README.md").read_text().partition("<!-- kontor-table -->")[2]
    assert table.count("| all ") == 9


@pytest.mark.parametrize("package", [False, True])
def test_nothing_of_the_template_is_left(tmp_path, package):
    made = write_connector("tea_house", tmp_path, package=package)
    texts = [path.read_text() for path in made.folder.rglob("*") if path.is_file()]
    for word in ("myshop", "MyShop", "MYSHOP", "scaffold"):
        assert not [text for text in texts if word in text], word
    folder = made.folder / "kontor_tea_house" if package else made.folder
    assert {path.name for path in folder.iterdir()} >= FILES
    lint = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "E4,E7,F,I,B,UP"]
    done = subprocess.run([*lint, "."], cwd=made.folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_package_names_its_connector(tmp_path):
    made = write_connector("tea_house", tmp_path, package=True)
    project = tomllib.loads((made.folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == "kontor-tea-house"
    assert project["entry-points"]["kontor.connectors"] == {
        "tea_house": "kontor_tea_house:TeaHouse"
    }


def test_in_a_checkout_it_belongs_to_the_connectors(tmp_path):
    (tmp_path / "connectors").mkdir()
    (tmp_path / "connectors" / "__init__.py").touch()
    made = kontor("new", "tea_house", cwd=tmp_path)
    assert "KONTOR_CONNECTOR=tea_house kontor check" in made.stdout
    text = (tmp_path / "connectors" / "tea_house" / "__init__.py").read_text()
    assert "from connectors.tea_house.connector import TeaHouse" in text


@pytest.mark.parametrize("name", ["TeaHouse", "tea-house", "class", "", "../tea", "1tea"])
def test_a_name_that_is_none(tmp_path, name):
    with pytest.raises(Misconfigured, match="no name"):
        write_connector(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_overwritten(tmp_path):
    write_connector("tea_house", tmp_path)
    (tmp_path / "tea_house" / "mapping.py").write_text("mine")
    again = kontor("new", "tea_house", "--into", tmp_path, cwd=tmp_path)
    assert again.returncode == 2
    assert (tmp_path / "tea_house" / "mapping.py").read_text() == "mine"


def test_the_command_drives_a_loose_folder(tmp_path):
    write_connector("tea_house", tmp_path)
    with FakeMyShop() as shop:
        key = shop.add_order(name="Mustermann")
        named = {f"KONTOR_{name.upper()}": value for name, value in shop.settings().items()} | {
            "KONTOR_CONNECTOR": "tea_house:TeaHouse"
        }
        check = kontor("check", cwd=tmp_path, **named)
        assert check.returncode == 0, check.stderr
        pulled = kontor("pull", key, cwd=tmp_path, **named)
        assert '"last_name": "Mustermann"' in pulled.stdout
        planned = kontor("push", key, "--dry-run", cwd=tmp_path, **named)
        assert planned.stdout == f"would change order {key} from open to paid\n"
        assert shop.status_of(key) == "open"
        assert kontor("push", key, cwd=tmp_path, **named).returncode == 0
        assert shop.status_of(key) == "paid"


@pytest.mark.parametrize("name", ["tea_house:Nobody", "nowhere:TeaHouse", "json:JSONDecoder"])
def test_a_class_that_is_no_connector(tmp_path, name):
    done = kontor("check", cwd=tmp_path, KONTOR_CONNECTOR=name)
    assert (done.returncode, "There is no connector" in done.stderr) == (2, True)
