"""Letters: what goes to customers on paper (S47, S73, K60).

An edge to the world: a letter is composed as PDF from facts that it carries itself, waits until
the day's cut-off and is handed over to whoever prints it.
"""
