"""What we write for banks: payment files, and the codes from which others pay.

Pure functions: values in, text or bytes out. Each file follows one standard and names it.

    pain001.py    credit transfers that a merchant hands to the bank
    epc.py        the text of the European QR code (GiroCode)
    swiss_qr.py   the text of the Swiss QR-bill
"""
