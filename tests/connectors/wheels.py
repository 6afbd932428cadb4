"""Builds the wheel of a pure package from its pyproject.toml, without a network.

As hatchling would: the packages that are named, the metadata and the entry points (PEP 427, 621).
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path


def build_wheel(project: Path, into: Path) -> Path:
    """The wheel of the project, in a folder."""
    content = tomllib.loads((project / "pyproject.toml").read_text())
    about = content["project"]
    stem = f"{about['name'].replace('-', '_')}-{about['version']}"
    lines = ["Metadata-Version: 2.1", f"Name: {about['name']}", f"Version: {about['version']}"]
    lines += [f"Requires-Dist: {each}" for each in about["dependencies"]]
    points = [
        text
        for group, entries in about["entry-points"].items()
        for text in (f"[{group}]", *(f"{name} = {value}" for name, value in entries.items()))
    ]
    files = {
        f"{stem}.dist-info/METADATA": "\n".join(lines) + "\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{stem}.dist-info/entry_points.txt": "\n".join(points) + "\n",
    }
    for package in content["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        for path in sorted((project / package).rglob("*.py")):
            files[str(path.relative_to(project))] = path.read_text()
    record = "".join(f"{name},{_digest(text)}\n" for name, text in files.items())
    files[f"{stem}.dist-info/RECORD"] = f"{record}{stem}.dist-info/RECORD,,\n"
    wheel = into / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return wheel


def install(wheel: Path, target: Path) -> None:
    """By pip, into a folder of its own, asking nobody."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    only = ["--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*pip, *only, str(wheel)], check=True, capture_output=True)


def _digest(text: str) -> str:
    raw = text.encode()
    digest = base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).rstrip(b"=").decode()
    return f"sha256={digest},{len(raw)}"
