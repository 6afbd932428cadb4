"""docs/connectors.md, "Write a connector in 30 minutes": its blocks are run as they stand there."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys

import pytest

from tests.connectors.programs import PLUGIN, ROOT, environment
from tests.connectors.stand_in import until

PAGE = (ROOT / "docs" / "connectors.md").read_text()
CHAPTER = PAGE.partition("## Write a connector in 30 minutes")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", CHAPTER, re.MULTILINE | re.DOTALL)
SECONDS = 120


class Desk:
    """A folder with a terminal, in which the page is followed."""

    def __init__(self, folder):
        self.folder = folder
        programs = folder.parent / "programs"
        programs.mkdir()
        for name, words in (("python", []), ("kontor", ["-m", "plugin_sdk.cli"])):
            program = programs / name
            program.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, *words])} "$@"\n')
            program.chmod(0o755)
        self.env = environment(folder)
        self.env |= {
            "PATH": f"{programs}:{self.env['PATH']}",
            "PYTEST_ADDOPTS": shlex.join(["-p", "no:cacheprovider", *PLUGIN]),
        }
        self.running = []

    def follow(self, kind, text):
        if kind == "console":
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, _, printed = part.partition("\n")
                self.run(command, printed)
        elif kind == "python":
            path = self.folder / text.splitlines()[0].removeprefix("# ")
            path.write_text(f"{path.read_text()}\n\n{text.partition(chr(10))[2]}")
        elif kind == "diff":
            self.change(text)
        else:
            assert kind == "toml", "a block that nobody would run"

    def run(self, command, printed):
        if command.endswith(" &"):
            self.start(command.removesuffix(" &"))
            return
        done = subprocess.run(
            command,
            shell=True,
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        pattern = re.escape(printed).replace(re.escape("..."), ".*")
        said = done.stdout + done.stderr
        assert re.fullmatch(pattern, said, re.DOTALL), f"$ {command}\n{said}"

    def start(self, command):
        process = subprocess.Popen(
            shlex.split(command), cwd=self.folder, env=self.env, stdout=subprocess.PIPE, text=True
        )
        self.running.append(process)
        until(lambda: process.stdout.readline().startswith("{"), command)

    def change(self, text):
        """A diff without line numbers: what is taken away must be there once."""
        name = re.search(r"^--- (.*)$", text, re.MULTILINE)[1]
        lines = text.splitlines()[1:]
        old = "\n".join(line[1:] for line in lines if line.startswith("-"))
        new = "\n".join(line[1:] for line in lines if line.startswith("+"))
        path = self.folder / name
        assert path.read_text().count(old) == 1
        path.write_text(path.read_text().replace(old, new))

    def leave(self):
        for process in self.running:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            process.stdout.close()


@pytest.fixture
def desk(tmp_path):
    (tmp_path / "desk").mkdir()
    desk = Desk(tmp_path / "desk")
    yield desk
    desk.leave()


def test_the_page_can_be_followed(desk):
    assert [kind for kind, _ in BLOCKS].count("console") == 4
    for kind, text in BLOCKS:
        desk.follow(kind, text)
    readme = (desk.folder / "tea_house" / "README.md").read_text()
    assert "| all " in readme.partition("<!-- kontor-table -->")[2]
    lint = [sys.executable, "-m", "ruff", "check", "--isolated", "--line-length", "100", "."]
    assert subprocess.run(lint, cwd=desk.folder, capture_output=True, check=False).returncode == 0


def test_the_package_is_what_the_page_says(tmp_path):
    (toml,) = (text for kind, text in BLOCKS if kind == "toml")
    command = [sys.executable, "-m", "plugin_sdk.cli", "new", "tea_house", "--package"]
    subprocess.run(command, cwd=tmp_path, env=environment(), check=True, capture_output=True)
    assert toml in (tmp_path / "kontor-tea-house" / "pyproject.toml").read_text()
