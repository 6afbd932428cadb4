"""How fast it is, as ratios against something in the same run: ``make bench``.

Each part starts real processes of its own in a directory of its own and prints what it is
compared to. Nothing here is a test: a slow machine is no failure.
"""
