"""From an empty database to the newest schema, and the models say the same: `make check`."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.util import CommandError

from server import migrations
from server.embedded import Embedded


def main() -> int:
    home = Path(tempfile.mkdtemp(prefix="kontor-check-", dir="/tmp"))
    home.chmod(0o755)
    services = Embedded(home, lambda _: None, durable=False)
    services.start(redis=False)
    try:
        config = migrations.alembic_config(services.database_url)
        migrations.upgrade(services.database_url)
        migrations.check(services.database_url)
        command.downgrade(config, "base")
        migrations.upgrade(services.database_url)
    except CommandError as drift:
        print(f"models and migrations differ: {drift}", file=sys.stderr)
        return 1
    finally:
        services.stop()
        shutil.rmtree(home, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
