"""Which connectors there are on this machine: ours, and those of packages that others wrote."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from pkgutil import iter_modules
from typing import Any

from plugin_sdk.connector import Connector
from plugin_sdk.errors import Misconfigured

ENTRY_POINTS = "kontor.connectors"


def installed_connectors() -> list[str]:
    """The names of all of them, in order."""
    return sorted({entry.name for entry in entry_points(group=ENTRY_POINTS)} | _of_checkout())


def connector_class(name: str) -> type[Connector[Any]]:
    """The connector of this name: an installed one, else a folder of this checkout.

    Raises Misconfigured when there is none.
    """
    found: Any = None
    for entry in entry_points(group=ENTRY_POINTS, name=name):
        found = entry.load()
    if found is None and name.isidentifier():
        found = _in_checkout(name)
    if not (isinstance(found, type) and issubclass(found, Connector)):
        known = ", ".join(installed_connectors())
        raise Misconfigured(f"There is no connector {name!r}; known are: {known}.")
    return found


def _in_checkout(name: str) -> Any:
    module_name = f"connectors.{name}"
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name not in ("connectors", module_name):
            raise  # the connector is there and misses something else
        return None
    classes = (each for each in vars(module).values() if isinstance(each, type))
    return next((each for each in classes if getattr(each, "name", None) == name), None)


def _of_checkout() -> set[str]:
    """Folders beside the SDK; an installed package names its own by entry points."""
    try:
        ours = importlib.import_module("connectors")
    except ModuleNotFoundError:
        return set()
    return {module.name for module in iter_modules(ours.__path__) if module.ispkg}
