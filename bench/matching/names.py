"""Who buys and pays: names as skewed as real ones, companies, bank account numbers.

A few family names are very common and most are rare, so equal names among strangers occur as
often as they do in a real shop. All combinations are invented.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from random import Random
from typing import Final

FAMILY_NAMES: Final = tuple(
    """Müller Schmidt Schneider Fischer Weber Meyer Wagner Becker Schulz Hoffmann Schäfer Koch
    Bauer Richter Klein Wolf Schröder Neumann Schwarz Zimmermann Braun Krüger Hofmann Hartmann
    Lange Schmitt Werner Schmitz Krause Meier Lehmann Schmid Schulze Maier Köhler Herrmann König
    Walter Mayer Huber Kaiser Fuchs Peters Lang Scholz Möller Weiß Jung Hahn Schubert Vogel
    Friedrich Keller Günther Frank Berger Winkler Roth Beck Lorenz Baumann Franke Albrecht Schuster
    Simon Ludwig Böhm Winter Kraus Martin Schumacher Krämer Vogt Stein Jäger Otto Sommer Groß
    Seidel Heinrich Brandt Haas Schreiber Graf Schulte Dietrich Ziegler Kuhn Kühn Pohl Engel Horn
    Busch Bergmann Thomas Voigt Sauer Arnold Wolff Pfeiffer Yılmaz Kaya Demir Çelik Şahin Öztürk
    Arslan Doğan Kılıç Aydın Nguyen Tran Kowalski Nowak Wiśniewski Wójcik Kamiński Lewandowski
    Zieliński Ivanov Petrov Popov Novák Dvořák Horváth Nagy Szabó Kovács Rossi Russo Ferrari
    Esposito Silva Santos Pereira García López Fernández Petrović Jovanović Nikolić Horvat Babić
    Ahmed Hassan Ali Khan Hussein Haddad Beckmann Lindner Kramer Schilling Ernst Hübner Kruse
    Brinkmann Böttcher Ebert Jansen Janßen Thiel Ullrich Barth Schütz Stahl Wendt Reuter Bender
    Held Marx Paul Michel Urban Moser Gruber Steiner Eder Pichler Hofer Egger Wimmer Brunner
    Reiter Leitner Aigner Fink Ritter Bachmann Ackermann Brandl Auer Fiedler Nickel Naumann
    Heinze Hein Bock Bartsch Reinhardt Kirchner Kern Lutz Stock Kunz Wenzel Decker Rudolph Blum
    Hermann Kurz Beyer Adam Noack Dittrich Opitz Hesse Geiger Rau Gerlach Wild Zander Unger Burger
    Gebhardt Hirsch Jahn Jacobs Konrad Preuß Rose Stark Straub Witt Wirth Wegener Wiese Zeller
    Zöller Ott Betz Bühler Binder Bruns Buchholz Burkhardt Claus Conrad Dietz Döring Dreyer Esser
    Falk Feldmann Frey Fritz Funk Gärtner Geißler Giese Götz Grimm Großmann Haase Hagen Hansen
    Harms Hauser Heck Heim Heller Henke Hentschel Herbst Herold Heß Hildebrandt Hiller Hinz Höfer
    Hoppe Jacob Jakob Jordan Kessler Keßler Kiefer Klaus Kluge Knoll Köster Kolb Körner Krieger
    Kröger Kuhlmann Langer Lauer Lechner Lenz Lindemann Löffler Lohmann Maas Mai Martens Mattes
    Menzel Merkel Metz Metzger Mohr Moritz Nagel Neubauer Neugebauer Nitsche Oppermann Oswald
    Pape Petersen Petzold Pietsch Probst Raab Rademacher Rausch Reich Reichert Reimann Renner
    Riedel Riedl Rieger Römer Rothe Ruf Runge Sander Schade Schaller Scherer Schiller Schindler
    Schlegel Schlüter Schmidtke Schober Scholl Schön Schramm Schröter Schürmann Seifert Siebert
    Singer Sonntag Späth Springer Stadler Steffen Stephan Stoll Strauß Sturm Teichmann Thiele
    Thomsen Timm Trautmann Uhlig Ulbrich Vetter Vollmer Voß Wagener Wahl Walther Weidner Weigel
    Weinert Weis Weise Wieland Wilde Wilhelm Wille Will Wolter Wulf Zapf Zimmer Abel Ahrens Altmann
    Apel Bach Bär Baier Balzer Baur Behr Benz Berg Bergmaier Bischoff Blank Bode Bohn Böhme Borchert
    Born Brand Bräuer Brenner Breuer Büttner Carstens Christ Daniel Degen Diehl Dörr Drescher
    Ebner Eckert Ehlers Eichhorn Engelhardt Erdmann Fabian Faust Fröhlich Fritsch Gabriel Gerber
    Glaser Göbel Grau Greiner Groth Gruber Hammer Hanke Haupt Heide Heinemann Heinz Henning Hensel
    Heuer Höhn Holz Hummel Ihle Jost Junker Kahl Karl Kirsch Klose Knapp Koller Kopp Kremer Krebs
    Kreß Kretschmer Kunze Kästner Lamprecht Löhr Löwe Link Lück Marquardt Mack Matthes Merz
    Möbius Mertens Nolte Oertel Paulus Pfeifer Philipp Pieper Rapp Reimer Reinhold Rohde Rösch
    Rupp Sachs Sattler Schenk Schick Schlosser Schott Schrader Seitz Siegel Specht Staudt Steinbach
    Strobel Süß Tietz Trapp Veit Völker Wacker Walz Weller Wetzel Wichmann Witte Wunderlich
    Zech Zeidler Ziemann""".split()
)
WOMEN: Final = tuple(
    """Maria Anna Sabine Petra Susanne Andrea Monika Claudia Karin Ursula Julia Katrin Stefanie
    Nicole Sandra Birgit Angelika Gabriele Heike Martina Christine Barbara Renate Brigitte Helga
    Laura Lena Lisa Sarah Katharina Christina Melanie Kathrin Anja Silke Anke Tanja Ute Silvia
    Cornelia Doris Erika Ingrid Elisabeth Johanna Eva Hannah Sophie Marie Emma Mia Lea Leonie
    Franziska Nadine Simone Bettina Regina Manuela Jutta Christa Gisela Elke Inge Gerda Hildegard
    Käthe Zoë Elif Fatma Ayşe Emine Aylin Olga Svetlana Natalia Irina Agnieszka Katarzyna
    Małgorzata Jelena Ivana Chiara Giulia Francesca Carmen Inès Amélie Charlotte Greta Frieda
    Ida Clara Luisa Nele Pia Svenja Wiebke Antje Friederike Dörte Hannelore Annegret Anneliese
    Eva-Maria Anna-Lena Marie-Luise Karla Nora Vera Tina Jana Maike Britta Kerstin""".split()
)
MEN: Final = tuple(
    """Thomas Michael Andreas Peter Stefan Christian Wolfgang Klaus Jürgen Markus Matthias Frank
    Martin Daniel Alexander Jan Uwe Bernd Ralf Dieter Tobias Sebastian Florian Jens Hans Manfred
    Helmut Günter Werner Horst Karl Heinz Gerhard Rainer Holger Dirk Jörg Oliver Sven Torsten
    Thorsten Marco Patrick Dennis Philipp Felix Max Maximilian Lukas Leon Paul Jonas Tim Niklas
    Simon David Benjamin Johannes Jakob Anton Emil Moritz Fabian Kevin Marcel René Björn Søren Lars
    Nils Ole Henning Volker Norbert Joachim Reinhard Rolf Harald Siegfried Walter Otto Ernst Franz
    Josef Georg Anton Ludwig Mehmet Mustafa Ali Ahmet Murat Yusuf Emre Can Viktor Igor Sergej
    Dmitri Piotr Krzysztof Tomasz Marek Milan Zoran Goran Luca Marco Antonio José Miguel François
    André Hans-Peter Karl-Heinz Hans-Jürgen Jan-Philipp Kai Ingo Axel Olaf Achim Steffen Carsten
    Karsten Heiko Mario Ronny Maik Bastian Dominik Julian Erik""".split()
)
TITLES: Final = ("Dr.", "Prof. Dr.", "Dr. med.", "Dipl.-Ing.", "Mag.")
TRADES: Final = tuple(
    """Metallbau Elektro Dachdecker Gartenbau Buchhandlung Apotheke Tischlerei Autohaus Bäckerei
    Malerbetrieb Sanitär Architekten Zahnarztpraxis Physiotherapie Fahrschule Optik Floristik
    Spedition Maschinenbau Software Werbeagentur Weinhandel Fahrradladen Steuerberatung Catering
    Hausverwaltung Druckerei Goldschmiede Reisebüro Feinkost Antiquitäten Bürobedarf
    Musikhaus""".split()
)
FANTASY: Final = tuple(
    """Nordlicht Alpenblick Hansekontor Sonnenhof Grünwerk Lichtblick Waldfee Rheingold Falkenstein
    Blauzahn Zeitgeist Querfeld Tintenfass Morgentau Kupferkessel Seestern Windrose Bergquell
    Papierboot Roter-Faden Steinbock Eulennest Drachenfels Neuland Urknall Pixelkraft Datenwerk
    Wortschatz Klangraum Farbenfroh Weitblick Heimathafen""".split()
)
LEGAL_FORMS: Final = ("GmbH", "GmbH", "GmbH & Co. KG", "e.K.", "UG (haftungsbeschränkt)", "AG",
                      "OHG", "GbR", "KG", "e.V.")  # fmt: skip
CITIES: Final = tuple(
    """Berlin Hamburg München Köln Frankfurt Stuttgart Düsseldorf Leipzig Dortmund Essen Bremen
    Dresden Hannover Nürnberg Duisburg Bochum Wuppertal Bielefeld Bonn Münster Mannheim Karlsruhe
    Augsburg Wiesbaden Freiburg Erfurt Rostock Kassel Mainz Lübeck Oldenburg Göttingen Trier Jena
    Konstanz Passau Husum Celle Görlitz Wismar""".split()
)
STREETS: Final = tuple(
    """Hauptstraße Bahnhofstraße Gartenweg Lindenallee Dorfstraße Schulstraße Bergstraße Ringstraße
    Kirchgasse Mühlenweg Goethestraße Schillerstraße Waldweg Feldstraße Marktplatz Am-Anger
    Rosenweg Birkenweg Amselweg Parkstraße""".split()
)
BANK_CODES: Final = tuple(
    """37040044 10050000 20050550 70150000 12030000 50010517 43060967 60050101 25050180 76026000
    10011001 30060601""".split()
)
SKEW: Final = 0.85
SHIFT: Final = 4
"""Zipf-Mandelbrot: the n-th name's share falls with (n + SHIFT) ** -SKEW."""


@dataclass(frozen=True)
class Person:
    """A person or, with ``company``, somebody who buys for one."""

    first_name: str
    last_name: str
    company: str = ""
    title: str = ""
    is_woman: bool = True


@cache
def _weights(size: int) -> tuple[float, ...]:
    return tuple(accumulate((rank + SHIFT) ** -SKEW for rank in range(size)))


def skewed(rng: Random, values: Sequence[str]) -> str:
    """One of ``values``, the first ones far more often than the last ones."""
    return rng.choices(values, cum_weights=_weights(len(values)))[0]


def family_name(rng: Random) -> str:
    """A family name; one in fifty is a double name, one in a hundred has a ``von``."""
    name = skewed(rng, FAMILY_NAMES)
    kind = rng.random()
    if kind < 0.02:
        other = skewed(rng, FAMILY_NAMES)
        return f"{name}-{other}" if other != name else name
    return f"{rng.choice(('von', 'van der', 'de', 'zu'))} {name}" if kind < 0.03 else name


def person(rng: Random, last_name: str | None = None) -> Person:
    """A private person, of this family if one is given."""
    is_woman = rng.random() < 0.55
    first_name = skewed(rng, WOMEN if is_woman else MEN)
    title = rng.choice(TITLES) if rng.random() < 0.03 else ""
    return Person(first_name, last_name or family_name(rng), title=title, is_woman=is_woman)


def company(rng: Random) -> Person:
    """A company and who orders for it; half of them are called after somebody."""
    buyer = person(rng)
    form = rng.choice(LEGAL_FORMS)
    owner = buyer.last_name if rng.random() < 0.5 else skewed(rng, FAMILY_NAMES)
    trade = rng.choice(TRADES)
    name = rng.choice(
        (
            f"{owner} {trade} {form}",
            f"{trade} {owner} {form}",
            f"{rng.choice(FANTASY)} {trade} {form}",
            f"{rng.choice(FANTASY)} {form}",
            f"{owner} & {skewed(rng, FAMILY_NAMES)} {form}",
            f"{owner} & Söhne {form}",
        )
    )
    return Person(buyer.first_name, buyer.last_name, company=name, is_woman=buyer.is_woman)


def iban(rng: Random, country: str = "DE") -> str:
    """An IBAN with right check digits; country DE, AT, CH or NL."""
    if country == "AT":
        account = f"{rng.choice(('12000', '20111', '32000'))}{rng.randrange(10**11):011}"
    elif country == "CH":
        account = f"{rng.choice(('00762', '09000', '80808'))}{rng.randrange(10**12):012}"
    elif country == "NL":
        account = f"{rng.choice(('ABNA', 'INGB', 'RABO'))}{rng.randrange(10**10):010}"
    else:
        account = f"{rng.choice(BANK_CODES)}{rng.randrange(10**10):010}"
    return f"{country}{check_digits(account, country)}{account}"


def creditor_reference(text: str) -> str:
    """ISO 11649: RF, two check digits, up to 21 letters and digits of ``text``."""
    body = "".join(one for one in text.upper() if one.isascii() and one.isalnum())[:21]
    return f"RF{check_digits(body, 'RF')}{body}"


def check_digits(body: str, lead: str) -> str:
    """ISO 7064 mod 97-10 as IBAN and creditor reference use it."""
    number = "".join(str(int(one, 36)) for one in f"{body}{lead}00")
    return f"{98 - int(number) % 97:02}"
