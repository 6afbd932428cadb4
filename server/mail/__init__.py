"""Mail: what Kontor writes to customers and merchants, how it leaves the house, what comes back.

A mail is a row with the facts it states, written in the transaction of its cause
(``service.queue_mail``). A worker writes it (``rules.compose``), signs it, hands it to a mail
server (``rounds``) and keeps what was sent. Nothing here looks at orders or postings: a mail
carries its own facts as finished strings.

What it says
    kinds.py         which facts each kind of mail states
    languages.py     the editions, and how each writes amounts and days
    wording.py       words into compiled templates; texts/ in templates
    own_words.py     a merchant's words; texts.py keeps them as versions
    rules.py         facts to words, HTML and MIME
    theme.py         colours and font; pictures.py the header picture
    codes.py         the payment QR codes
    samples.py       an invented order for previews and test mails
    build.py         templates/ to compiled/, run by us when a template changes

How it leaves
    service.py       queueing, reading, sending again
    delivery.py      one row to the bytes of one mail
    rounds.py        a batch to many servers at once, a lane each
    routes.py        which server; dns.py asks, hosts.py remembers how they are doing
    smtp.py          one connection; replies.py what an answer means

Under whose name
    domains.py       a shop's own domains; domain_rules.py and spf.py read their DNS
    dkim.py          the signature

What comes back
    verp.py          the address that says which mail it was
    reports.py       bounces, complaints and automatic answers, read; parts.py cuts them up
    bounces.py       written on the mail
    suppression.py   addresses that get no mail; typos.py those that look mistyped
"""
