"""The wheel holds the SDK and the connectors, and works in an empty environment: `make check`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TRY = """
import sys, plugin_sdk.agent, plugin_sdk.client, plugin_sdk.cli, connectors.woocommerce
heavy = {"flask", "sqlalchemy", "rq", "redis", "server"} & set(sys.modules)
assert not heavy, heavy
"""


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="kontor-wheel-") as place:
        home = Path(place)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        run([*pip, "wheel", "-q", "--no-deps", "-w", home, ROOT])
        (wheel,) = home.glob("kontor_sdk-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            tops = {name.split("/")[0] for name in archive.namelist()}
        extra = {t for t in tops if not t.endswith(".dist-info")} - {"plugin_sdk", "connectors"}
        if extra:
            print(f"the wheel holds {sorted(extra)} too", file=sys.stderr)
            return 1
        venv.create(home / "env", with_pip=True)
        python = home / "env" / "bin" / "python"
        constraints = ROOT / "constraints.txt"
        run([python, "-m", "pip", "install", "-q", "-c", constraints, wheel], cwd=home)
        run([python, "-c", TRY], cwd=home)
        run([home / "env" / "bin" / "kontor", "--help"], cwd=home, stdout=subprocess.DEVNULL)
    return 0


def run(command: list[object], **options: object) -> None:
    subprocess.run([str(part) for part in command], check=True, **options)


if __name__ == "__main__":
    sys.exit(main())
