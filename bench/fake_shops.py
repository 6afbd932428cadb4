"""Many WooCommerce shops in a process of their own: ``python -m bench.fake_shops HUNG ORDERS…``.

One shop for each number in ORDERS, with so many open orders; the first HUNG of them never answer.
Prints their addresses as one line of JSON and serves until it is ended.
"""

from __future__ import annotations

import json
import signal
import sys
import threading

from plugin_sdk.testing.fake_woocommerce import FakeWooCommerce

FOR_EVER = 1_000_000


def main(hung: int, orders: list[int]) -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    shops = [FakeWooCommerce().start() for _ in orders]
    for shop, count in zip(shops, orders, strict=True):
        for _ in range(count):
            shop.add_order()
    for shop in shops[:hung]:
        shop.fail("hang", FOR_EVER)
    print(json.dumps([shop.url for shop in shops]), flush=True)
    stop.wait()
    for shop in shops:
        shop.heal()
        shop.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), [int(count) for count in sys.argv[2:]]))
