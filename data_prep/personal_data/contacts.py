"""E-mail, phone numbers, IP and MAC addresses, URLs.

Phone numbers have no checksum. A run of digits counts as one if it is written with a plus sign or 00, with an area code
in brackets, in the North American 3-3-4 or another grouped form, or after a word such as "phone" or "call".
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from data_prep.personal_data.span import Span, matches, occurrences

EMAIL = re.compile(
    r"(?<![\w.+-])[A-Za-z0-9][\w.+%'-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}\b"
)
IPV4 = re.compile(r"(?<![\w.-])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?!\w|\.\d|-\w)")
IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
MAC = re.compile(r"(?<![\w:-])[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}(?![\w:-])")
URL = re.compile(r"\b(?:https?|ftp)://[^\s<>\"'`]{2,2000}[^\s<>\"'`.,;:!?)\]}]", re.IGNORECASE)
PHONE = re.compile(
    r"""(?<![\w/.:=+-])(?<!\d,)(?:(?<!\d[ ])|(?=\+))(?:         # not inside a longer row of groups of digits
        \+[1-9](?:[ ./()-]{0,3}\d){6,14}                             # +44 20 7946 0958
      | 00[1-9](?:[ ./()-]{0,3}\d){8,14}                             # 0049 (30) 123456
      | (?:1[ .-])?\(\d{2,5}\)[ ./-]{0,3}\d(?:[ ./-]?\d){4,9}         # (555) 010-0199
      | (?:001[ .-]|1[ .-])?\d{3}[.-]\d{3}[.-]\d{4}                   # 555-010-0199
      | (?:1[ ])?\d{3}[ ]\d{3}[ ]\d{4}
      | 0\d{1,4}[ /-]\d{2,4}(?:[ /-]?\d{2,4}){1,3}                    # 020 7946 0958, 0171/1234567
      | \d{2,3}(?P<between>[ -])\d{2}(?:(?P=between)\d{2}){2}         # 50-98-28-96, 089 72 63 41
    )(?:[ ]?(?:x|ext\.?)[ ]?\d{1,6})?(?![\w]|[./-]\d|[ ]\d)""",
    re.VERBOSE | re.IGNORECASE,
)
NAMED_PHONE = re.compile(
    r"(?<![\w<])(?:tel|telephone|phone|fax|mobile|cell|call|ring|text|whatsapp|dial|desk|answering|reach(?:ed)?)\b"
    r"(?:[^\d\n+(]{0,24}|:\s{1,3})([+(]?\d(?:[ ./()-]{0,2}\d){5,14}(?:[ ]?(?:x|ext\.?)[ ]?\d{1,6})?)(?!\w)",
    re.IGNORECASE,
)
# The word after the number, as in a business card: 22 498317 office
PHONE_NAMED_AFTER = re.compile(
    r"(?<![\w/.:=+-])(?<!\d,)([+(]?\d(?:[ ./()-]{0,2}\d){6,14})[ ]?[-(]?(?:office|fax|mobile|cell|telephone|phone)\b",
    re.IGNORECASE,
)
_DATE = re.compile(r"\d{4}[-./ ]\d{1,2}[-./ ]\d{1,2}|\d{1,2}[-./ ]\d{1,2}[-./ ]\d{4}")
_SHORTEST_UNNAMED = 8  # digits; shorter runs are numbers of many kinds unless a word says that they are a phone's
_DOTTED = re.compile(r"\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]")
_COLONS = re.compile(r":[0-9A-Fa-f]{0,4}:")
_HYPHENS = re.compile(r"-[0-9A-Fa-f]{2}-[0-9A-Fa-f]{2}-")


def emails(text: str, runs: list[Span]) -> Iterator[Span]:
    """Yield e-mail addresses."""
    # Most signs of that kind in texts that have many are no addresses: @handle, @-@, a @ b.
    signs = (place for place in occurrences("@", text) if text[place[1] : place[1] + 1].isalnum())
    yield from (match.span() for match in matches(EMAIL, text, signs, margin=320))


def ip_addresses(text: str, runs: list[Span]) -> Iterator[Span]:
    """Yield IPv4 and IPv6 addresses."""
    candidates = list(matches(IPV4, text, (match.span() for match in _DOTTED.finditer(text))))
    if ":" in text:
        colons = (match.span() for match in _COLONS.finditer(text))
        candidates += [match for match in matches(IPV6, text, colons) if any(map(str.isdigit, match.group()))]
    yield from (match.span() for match in candidates if _somebodys(match))


def _somebodys(match: re.Match[str]) -> bool:
    """Tell whether digits and dots, or colons, are an address that can lead to a person."""
    try:
        address = ipaddress.ip_address(match.group())
    except ValueError:
        return False  # the form fits, the value does not: 300.1.2.3 or a time
    if address.is_loopback or address.is_unspecified:
        return False
    return not match.string[max(match.start() - 12, 0) : match.start()].lower().rstrip(": ").endswith("version")


def mac_addresses(text: str, runs: list[Span]) -> Iterator[Span]:
    """Yield hardware addresses."""
    for guard in (_COLONS, _HYPHENS):
        found = (match.span() for match in guard.finditer(text))
        yield from (match.span() for match in matches(MAC, text, found))


def urls(text: str, runs: list[Span]) -> Iterator[Span]:
    """Yield web addresses."""
    if "://" in text:
        yield from (match.span() for match in URL.finditer(text))


def phones(text: str, runs: list[Span]) -> Iterator[Span]:
    """Yield phone numbers."""
    if not runs:
        return
    for match in matches(PHONE, text, runs):
        digits = sum(map(str.isdigit, match.group()))
        if digits >= _SHORTEST_UNNAMED and not _DATE.fullmatch(match.group()):
            yield match.span()
    for pattern in (NAMED_PHONE, PHONE_NAMED_AFTER):
        for match in matches(pattern, text, runs):
            if not _DATE.fullmatch(match.group(1)):
                yield match.span(1)
