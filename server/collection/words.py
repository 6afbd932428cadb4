"""The words of the dossier's index and of mails to a partner, in the merchant's language.

A file of its own because a translator reads nothing else. Law offices write German or English.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "de": {
        "title": "Inkassoakte {reference}",
        "intro": "Forderung von {creditor} gegen {debtor}. Alle Angaben stehen auch in case.json.",
        "creditor": "Gläubiger",
        "debtor": "Schuldner",
        "claim": "Forderung",
        "shop": "Shop",
        "contact": "Ansprechpartner",
        "account": "Konto",
        "name": "Name",
        "company": "Firma",
        "address": "Anschrift",
        "delivery_address": "Lieferanschrift",
        "email": "E-Mail",
        "phone": "Telefon",
        "customer_number": "Kundennummer",
        "vat_id": "USt-IdNr.",
        "order": "Bestellung",
        "invoices": "Rechnungen",
        "items": "Artikel",
        "principal": "Hauptforderung",
        "fees": "Mahngebühren",
        "interest": "Verzugszinsen",
        "interest_until": "berechnet bis {day}",
        "total": "Summe bei Übergabe",
        "order_total": "Bestellwert",
        "paid_before": "Davor bezahlt",
        "due_date": "Fällig am",
        "handed_over": "Übergeben am",
        "reason": "Anlass",
        "reason_rule": "nach der Regel des Händlers",
        "reason_person": "von Hand",
        "payments": "Zahlungen",
        "notices": "Schreiben an den Kunden",
        "said": "Äußerungen des Kunden",
        "history": "Verlauf",
        "files": "Dateien dieser Akte",
        "left_out": "Wegen der Größe weggelassen",
        "none": "keine",
        "by_mail": "E-Mail",
        "by_letter": "Brief",
        "to": "an {recipient}",
        "level": "Stufe {level}",
        "payment": "Zahlung",
        "payment_returned": "Zahlung zurückgebucht oder zurückgenommen",
        "payment_marked": "vom Händler als bezahlt vermerkt",
        "payment_difference": "vom Händler nachgelassen",
        "after_hand_over": "nach der Übergabe",
        "ordered": "Bestellt",
        "invoiced": "Rechnung {number}",
        "said_paid": "Der Kunde sagt, er habe bezahlt",
        "said_proof": "Der Kunde hat einen Beleg geschickt",
        "said_time": "Der Kunde bittet um Aufschub bis {day}",
        "payment_information": "Zahlungsinformation",
        "partially_paid": "Hinweis auf Teilzahlung",
        "reminder": "Zahlungserinnerung",
        "dunning_notice": "Mahnung",
        "order_overdue": "Mitteilung: überfällig",
        "mail_subject": "Neue Forderung {reference}: {creditor} gegen {debtor}",
        "mail_text": (
            "Guten Tag,\n\n{creditor} übergibt Ihnen diese Forderung zur Einziehung. Die Akte "
            "liegt als ZIP bei: Übersicht, Rechnungen, alle Schreiben und die Daten als JSON.\n"
            "\nAktenzeichen bei uns: {reference}\nSchuldner: {debtor}\nSumme: {total}\n"
            "Ansprechpartner: {contact_name}, {contact_phone}\n"
        ),
        "paid_subject": "Direkte Zahlung zu {reference}: {creditor} gegen {debtor}",
        "paid_text": (
            "Guten Tag,\n\nzur Forderung {reference} gegen {debtor} ist nach der Übergabe direkt "
            "bei {creditor} bezahlt worden.\n\n{payments}\nInsgesamt seit der Übergabe: {total}\n"
        ),
        "withdrawn_subject": "Auftrag zurückgezogen: {reference}, {creditor} gegen {debtor}",
        "withdrawn_text": (
            "Guten Tag,\n\n{creditor} zieht den Auftrag zur Forderung {reference} gegen {debtor} "
            "zurück. Bitte unternehmen Sie nichts weiter.\n"
        ),
    },
    "en": {
        "title": "Collection file {reference}",
        "intro": "Claim of {creditor} against {debtor}. Everything is in case.json as well.",
        "creditor": "Creditor",
        "debtor": "Debtor",
        "claim": "Claim",
        "shop": "Shop",
        "contact": "Contact",
        "account": "Account",
        "name": "Name",
        "company": "Company",
        "address": "Address",
        "delivery_address": "Delivery address",
        "email": "E-mail",
        "phone": "Phone",
        "customer_number": "Customer number",
        "vat_id": "VAT id",
        "order": "Order",
        "invoices": "Invoices",
        "items": "Items",
        "principal": "Principal",
        "fees": "Dunning fees",
        "interest": "Default interest",
        "interest_until": "calculated up to {day}",
        "total": "Total at the hand-over",
        "order_total": "Order total",
        "paid_before": "Paid before",
        "due_date": "Due on",
        "handed_over": "Handed over on",
        "reason": "Occasion",
        "reason_rule": "by the merchant's rule",
        "reason_person": "by hand",
        "payments": "Payments",
        "notices": "Letters and mails to the customer",
        "said": "What the customer said",
        "history": "History",
        "files": "Files of this dossier",
        "left_out": "Left out because of the size",
        "none": "none",
        "by_mail": "e-mail",
        "by_letter": "letter",
        "to": "to {recipient}",
        "level": "level {level}",
        "payment": "Payment",
        "payment_returned": "Payment returned or taken back",
        "payment_marked": "marked as paid by the merchant",
        "payment_difference": "waived by the merchant",
        "after_hand_over": "after the hand-over",
        "ordered": "Ordered",
        "invoiced": "Invoice {number}",
        "said_paid": "The customer says that he has paid",
        "said_proof": "The customer sent a proof",
        "said_time": "The customer asks for more time until {day}",
        "payment_information": "Payment information",
        "partially_paid": "Note of a part payment",
        "reminder": "Payment reminder",
        "dunning_notice": "Dunning notice",
        "order_overdue": "Note: overdue",
        "mail_subject": "New claim {reference}: {creditor} against {debtor}",
        "mail_text": (
            "Hello,\n\n{creditor} hands this claim over to you for collection. The dossier is "
            "attached as a ZIP: an overview as PDF, invoices, all notices, and the facts as JSON.\n"
            "\nOur reference: {reference}\nDebtor: {debtor}\nTotal: {total}\n"
            "Contact: {contact_name}, {contact_phone}\n"
        ),
        "paid_subject": "Direct payment on {reference}: {creditor} against {debtor}",
        "paid_text": (
            "Hello,\n\nafter the hand-over of {reference} against {debtor}, {creditor} was paid "
            "directly.\n\n{payments}\nIn all since the hand-over: {total}\n"
        ),
        "withdrawn_subject": "Withdrawn: {reference}, {creditor} against {debtor}",
        "withdrawn_text": (
            "Hello,\n\n{creditor} withdraws the claim {reference} against {debtor}. Please do "
            "nothing more about it.\n"
        ),
    },
}


def words_for(language: str) -> Mapping[str, str]:
    """Those of the language, else the English ones."""
    return WORDS.get(language[:2], WORDS["en"])
