"""Matching: which posting pays which order.

``rules`` decides over a whole batch of postings, purely: candidates from the words of the text,
evidence for and against each, vetoes apart from it, the decision last. What is not certain is a
suggestion for a person. ``service`` gives the rules their candidates from the database and books
what they decide.
"""
