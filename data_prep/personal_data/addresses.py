"""Street addresses by form: a house number and a street of English, German or Romance names; post office boxes.

    12 Main Street, Apt. 4     221B Baker St     Hauptstraße 5a     12 rue de la Paix     Via Roma 3     P.O. Box 42

A flat, town and postal code that follow directly go with it. Precision comes first: a street without a number, a number
without a word for street is no address here. Measured by `benchmarks/quality_detection.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from data_prep.personal_data.span import Span

_NAME = r"(?:[A-ZÀ-Ý0-9][\w'’.-]*[ ]){1,4}?"
_ENGLISH = (
    r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Place|Pl|Square|Sq|Terrace|Ter|Way|"
    r"Parkway|Pkwy|Highway|Hwy|Circle|Cir|Trail|Trl|Alley|Crescent|Cres|Close|Row|Walk|Grove|Gardens|Mews|Plaza)"
)
_FLAT = r"(?:,?\s{1,3}(?:Apt|Apartment|Suite|Ste|Unit|Flat|Room|Floor|\#)\.?\s?\#?[\w-]{1,6})?"
# A town with its postal code: "Springfield, IL 62704", "London SW1A 2AA"
_TOWN = (
    r"(?:,?\s{1,3}[A-ZÀ-Ý][\w'’.-]+(?:[ ][A-ZÀ-Ý][\w'’.-]+){0,2},?\s{1,3}"
    r"(?:[A-Z]{2}\s{1,3}\d{5}(?:-\d{4})?|[A-Z]{1,2}\d[A-Z\d]?[ ]\d[A-Z]{2}|\d{4,5}))?"
)
_STREET_AT_THE_END = (
    r"(?:stra(?:ß|ss)e|str\.|gasse|allee|all[eé]e?n|weg|platz|brücke|laan|straat|plein|kade|dijk|vej(?:en)?|gade|stien|"
    r"vägen|gatan|gata|gate|veien|vegen|katu|tie)"
)
ADDRESS = re.compile(
    rf"""(?<![\w.,/$€£-])(?:
        \d{{1,5}}[A-Za-z]?,?[ ](?:(?:North|South|East|West|N|S|E|W)\.?[ ])?{_NAME}{_ENGLISH}\b\.?
        (?:[ ](?:NW|NE|SW|SE|N|S|E|W)\b)?{_FLAT}{_TOWN}
      | \d{{1,4}}(?:[ ]?(?:bis|ter))?,?[ ](?:[Rr]ue|[Aa]venue|boulevard|place|chemin|allée|quai|impasse)[ ]
        (?:\w[\w'’-]*[ ]?){{1,5}}(?<![ ])
      | (?:Via|Viale|Piazza|Corso|Calle|Avenida|Plaza|Paseo|Rua|Travessa|ul\.|Rue)[ ](?:[\w'’.-]+[ ]){{1,4}}?
        (?:n\.?[ ]?)?\d{{1,4}}[A-Za-z]?\b
      | [A-ZÄÖÜ][\wäöüß-]*(?:{_STREET_AT_THE_END}|[ ](?:Stra(?:ß|ss)e|Gasse|Allee|Weg|Platz))[ ]\d{{1,4}}[a-z]?\b{_FLAT}
      | (?:P\.?[ ]?O\.?[ ]?Box|Post(?:al|bus|fach)?[ ]?[Bb]ox|Postfach)[ ]\d{{1,6}}{_TOWN}
      | (?:(?:PSC|Unit|CMR)[ ]\d{{1,5}},?[ ]Box[ ]\d{{1,5}}|(?:USS|USNS|USCGC)[ ]\w+),?\s{{1,3}}
        [AFD]PO,?[ ]A[AEP][ ]\d{{5}}                                   # military post
    )""",
    re.VERBOSE,
)


def street_addresses(text: str, runs: list[Span]) -> Iterator[Span]:
    """Yield street addresses."""
    if any(map(str.isdigit, text)):
        yield from (match.span() for match in ADDRESS.finditer(text))
