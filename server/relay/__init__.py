"""Relay: complete mails of other systems, taken in by SMTP or HTTP, signed and delivered (S87).

A floor above ``mail``, whose engine it uses: servers and their pauses, what answers mean, signing,
suppression, domains. Nothing of a mail's body is ever changed here.
"""
