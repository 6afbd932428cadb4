"""`kontor new`: a connector to begin with, whose tests are green, as a folder or a package.

It is a copy of ``plugin_sdk.scaffold.myshop`` under another name.
"""

from __future__ import annotations

import keyword
import re
import shutil
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from plugin_sdk.errors import Misconfigured

TEMPLATE = "plugin_sdk.scaffold.myshop"
NAME = re.compile(r"[a-z][a-z0-9_]{1,39}")
IMPORT = re.compile(r"^from ([\w.]+) import (?:\([^)]*\)|[^\n]*)\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Made:
    """What was written: the folder, and the module of the connector in it."""

    folder: Path
    module: str
    class_name: str


def write_connector(name: str, into: Path, *, package: bool = False) -> Made:
    """Write the connector ``name`` as a folder in ``into``, or as a package to be installed.

    Raises Misconfigured for a name that is none, and where something is there already.
    """
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise Misconfigured(
            f"{name!r} is no name: small letters, digits and underscores, such as my_shop."
        )
    folder = into / (f"kontor-{name.replace('_', '-')}" if package else name)
    if folder.exists():
        raise Misconfigured(f"{folder} is there already.")
    made = Made(
        folder,
        f"kontor_{name}" if package else _module_of(into, name),
        "".join(part.capitalize() for part in name.split("_")),
    )
    template = Path(str(resources.files(TEMPLATE)))
    try:
        if package:
            _copy(template, folder / made.module, name, made, leave=("tests", "README.md"))
            _copy(template / "tests", folder / "tests", name, made)
            _copy(template.parent / "package", folder, name, made)
            _copy_file(template / "README.md", folder / "README.md", name, made)
        else:
            _copy(template, folder, name, made)
    except OSError as error:
        raise Misconfigured(f"{folder} cannot be written ({error.strerror}).") from None
    return made


def connector_setting(name: str, made: Made) -> str:
    """What KONTOR_CONNECTOR says: a loose folder is known by its class only."""
    return f"{name}:{made.class_name}" if made.module == name else name


def next_steps(name: str, made: Made) -> list[str]:
    """What to do now, as lines to print."""
    steps = [f"(cd {made.folder} && python -m pytest)"]
    if made.module == f"kontor_{name}":
        steps.append(f"python -m pip install -e {made.folder}")
    return [*steps, f"KONTOR_CONNECTOR={connector_setting(name, made)} kontor check"]


def _module_of(into: Path, name: str) -> str:
    """How the folder is imported: packages around it (``connectors``) belong to its name."""
    parts = [name]
    for parent in (into.resolve(), *into.resolve().parents):
        if not (parent / "__init__.py").exists():
            break
        parts.insert(0, parent.name)
    return ".".join(parts)


def _copy(source: Path, target: Path, name: str, made: Made, leave: tuple[str, ...] = ()) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        if path.name in leave or path.name == "__pycache__":
            continue
        if path.is_dir():
            _copy(path, target / path.name, name, made)
        else:
            _copy_file(path, target / path.name, name, made)


def _copy_file(source: Path, target: Path, name: str, made: Made) -> None:
    text = source.read_text(encoding="utf-8")
    for old, new in (
        (TEMPLATE, made.module),
        ("kontor-myshop", made.folder.name),
        ("kontor_myshop", made.module),
        ("MYSHOP_IN_SETTINGS", connector_setting(name, made)),
        ("MyShop", made.class_name),
        ("myshop", name),
    ):
        text = text.replace(old, new)
    if target.suffix == ".py":
        text = _sorted_imports(text, made.module)
    target.write_text(text, encoding="utf-8")
    shutil.copymode(source, target)


def _sorted_imports(text: str, module: str) -> str:
    """The copy's own modules have another place among the imports than the template's had."""
    found = [each for each in IMPORT.finditer(text) if each[1].startswith(("plugin_sdk", module))]
    if not found:
        return text
    of_sdk = sorted(
        (each for each in found if each[1].startswith("plugin_sdk")), key=lambda each: each[1]
    )
    own = sorted((each for each in found if each not in of_sdk), key=lambda each: each[1])
    if module.startswith("connectors."):  # one block: both belong to the checkout
        block = "".join(each[0] for each in (*own, *of_sdk))
    else:
        parts = ("".join(each[0] for each in group) for group in (of_sdk, own) if group)
        block = "\n".join(parts)
    begin = text[: found[0].start()]
    if of_sdk and not module.startswith("connectors.") and begin.endswith("import pytest\n\n"):
        begin = begin[:-1]  # both are installed
    return begin + block + text[found[-1].end() :]
