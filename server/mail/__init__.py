"""Mail: what Kontor writes to customers and merchants, and how it leaves the house.

A mail is a row with the facts it states, written in the transaction of its cause
(``service.queue_mail``). A drain composes it (``rules.compose``), hands it to the SMTP server
(``service.deliver_mail``) and keeps what was sent. Nothing here looks at orders or postings: a
mail carries its own facts as finished strings.

    rules.py      facts to words, HTML and MIME; no input or output
    kinds.py      which facts each kind of mail states
    girocode.py   the payment QR code
    theme.py      colours
    service.py    queueing and delivering
    smtp.py       one SMTP connection for many mails
    build.py      templates/ to compiled/, run by us when a template or text changes
"""
