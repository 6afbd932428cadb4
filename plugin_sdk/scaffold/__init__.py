"""What ``kontor new`` copies: a connector that works, with a fake of the shop it was made for.

``myshop`` is code like any other (checked, tested); only its names are replaced.
"""
