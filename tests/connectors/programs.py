"""Runs the SDK's commands and a connector's own tests as processes, as a developer does."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 180

is_installed = any(entry.name == "kontor" for entry in entry_points(group="pytest11"))
PLUGIN = [] if is_installed else ["-p", "plugin_sdk.testing.plugin"]


def environment(*paths, **more):
    """What a process is told: no settings of ours, and these folders to import from."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("KONTOR_", "PYTEST_")) and name != "PYTHONPATH"
    }
    places = os.pathsep.join(str(path) for path in (*paths, ROOT))
    return {**kept, "PYTHONPATH": places, "PYTHONDONTWRITEBYTECODE": "1", **more}


def kontor(*words, cwd, paths=(), **env):
    """`kontor WORDS`; returns the finished process."""
    return subprocess.run(
        [sys.executable, "-m", "plugin_sdk.cli", *map(str, words)],
        cwd=cwd,
        env=environment(*paths, **env),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def run_pytest(folder, *words, paths=()):
    """The tests in a folder, with warnings as errors; returns the finished process."""
    plain = ["-q", "-W", "error", "-p", "no:cacheprovider", *PLUGIN]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *plain, *words],
        cwd=folder,
        env=environment(*paths),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
