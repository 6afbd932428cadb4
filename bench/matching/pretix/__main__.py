"""``python -m bench.matching.pretix``."""

import sys

from bench.matching.pretix.run import main

sys.exit(main(sys.argv[1:]))
