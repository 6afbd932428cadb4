"""How well the matcher decides: generated orders and postings whose truth is known.

``python -m bench.matching --seeds 10 --postings 5000`` invents shops of several styles, writes
what their customers write to the bank, asks ``python -m server match`` and counts what was right,
wrong and left to a person. The generator knows the wire format and the words of bank statements,
nothing of how the engine decides.

names     who buys and pays: skewed name lists, IBANs
orders    what is open: merchant styles, numbers, prices, customers
noise     what payers write and banks do to it: one small function a kind
generate  a whole set from a seed, also through real bank files
score     right, wrong, missed, calibration, intervals
baselines simple engines to compare with
"""
