"""Our matcher beside pretix', on the same files and in the same run.

    python -m venv /tmp/pretix && /tmp/pretix/bin/pip install pretix
    python -m bench.matching.pretix --python /tmp/pretix/bin/python \\
        --orders ORDERS.jsonl --postings POSTINGS.jsonl [--truth TRUTH.jsonl] [--json]

pretix (AGPL-3.0) is the best-known open ticket shop that finds its orders in bank postings. It is
only ever run, in an interpreter of its own that whoever measures has installed it in; this project
neither imports nor ships it. ``run.py`` compares, ``inside.py`` is what that interpreter runs.

Truth: one ``{"id", "orders": [numbers]}`` a posting, an empty list where nothing may be assigned
without asking. A decision is *right* if it was made automatically and names exactly these orders,
*wrong* if it was made automatically and names others.

What is measured:

``pure``     finding the orders, nothing stored, the best of three in seconds of the one process, so
             that other work on the machine counts little. pretix: pattern and look-ups; what its
             Postgres works meanwhile is not counted, in its favour. Ours: deciding, and building
             the index of the orders (``index_seconds``), which the server keeps in its database.
``booking``  pretix alone, by the clock: its import as merchants run it, mails queued but not sent,
             on a Postgres and a Redis of our own, started for this run with the settings our
             server uses (``--database sqlite`` does without both).

Setting pretix up, a few hundred migrations, takes a minute or two and is not measured.
"""
