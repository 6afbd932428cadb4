"""Make .venv and install what the project needs: ``python tools/setup.py .venv [GROUP ...]``.

Without groups all of them. Reads the dependency groups of pyproject.toml itself, so that any pip
will do.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GROUPS = ("server", "test", "docs")
NO_VENV = """\
This Python cannot make virtual environments. On Debian and Ubuntu:
    apt-get install python3-venv"""
WRONG_PYTHON = "Kontor needs Python 3.11 or newer; this is {}. Try: make PYTHON=python3.12 {}"


def main(target: str, *wanted_groups: str) -> int:
    if sys.version_info < (3, 11):  # noqa: UP036  any Python may be asked to run this
        print(WRONG_PYTHON.format(sys.version.split()[0], "run"), file=sys.stderr)
        return 1
    import tomllib

    venv = ROOT / target
    python = venv / "bin" / "python"
    if not python.exists():
        say(f"making {target} with Python {sys.version.split()[0]}")
        if subprocess.run([sys.executable, "-m", "venv", venv], check=False).returncode:
            print(NO_VENV, file=sys.stderr)
            return 1
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = list(project["project"]["dependencies"])
    for name in wanted_groups or GROUPS:
        wanted += project["dependency-groups"][name]
    say("installing (a minute or two the first time)")
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    pip += ["--progress-bar", "on", "-c", ROOT / "constraints.txt", "--prefer-binary"]
    for what in (wanted, ["--no-deps", "-e", str(ROOT)]):
        done = subprocess.run([*pip, *what], check=False)
        if done.returncode:
            return done.returncode
    say("installed")
    return 0


def say(text: str) -> None:
    print(f"· {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
