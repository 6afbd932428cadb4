"""For tests: the contract every connector keeps, and shops that behave like real ones.

Importing this package imports nothing else; ``contract`` needs pytest, the fake shops do not.
"""
