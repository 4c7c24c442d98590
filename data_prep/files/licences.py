"""Licence files -> SPDX identifiers (https://spdx.org/licenses), by the phrases that no other licence has.

Left out: licences that are not among those below, and the difference between "version 3" and "version 3 or later" of
the GNU licences, which their text does not show (GitHub writes `GPL-3.0` too). An unknown text gives no identifier.
"""

from __future__ import annotations

import re

FILE_NAME = re.compile(
    r"(?:licen[cs]es?|copying|unlicense|notice)(?P<of>[.-][a-z0-9][a-z0-9.-]*?)?(?:\.(?:txt|md|rst|markdown))?",
    re.IGNORECASE,
)
HEADER = re.compile(r"SPDX-License-Identifier:[ \t]*([A-Za-z0-9.+() -]*[A-Za-z0-9.+)])")
LONGEST = 2**16  # bytes of a licence file that are looked at
_SPACE = re.compile(r"[\s*#>_\"'“”‘’-]+")
_GNU = re.compile(r"gnu (lesser |library |affero )?general public license,? version (\d)(?:\.(\d))?")
_CREATIVE = re.compile(r"attribution( noncommercial)?( sharealike| noderivatives| noderivs)? (\d\.\d)")
_GNU_NAMES = {"": "GPL", "lesser ": "LGPL", "library ": "LGPL", "affero ": "AGPL"}
# All phrases of a row must be there; the first row that fits decides.
_PHRASES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Apache-2.0", ("apache license", "version 2.0")),
    ("MPL-2.0", ("mozilla public license", "version 2.0")),
    ("EPL-2.0", ("eclipse public license", "v 2.0")),
    ("BSL-1.0", ("boost software license", "version 1.0")),
    ("Artistic-2.0", ("artistic license 2.0",)),
    ("OFL-1.1", ("sil open font license", "version 1.1")),
    ("PSF-2.0", ("python software foundation license version 2",)),
    ("CC0-1.0", ("cc0 1.0 universal",)),
    ("Unlicense", ("this is free and unencumbered software released into the public domain",)),
    ("WTFPL", ("do what the fuck you want to public license",)),
    ("Zlib", ("this software is provided as is", "altered source versions must be plainly marked")),
    ("MIT", ("permission is hereby granted, free of charge", "this permission notice shall be included")),
    ("MIT-0", ("permission is hereby granted, free of charge", "without restriction")),
    ("ISC", ("with or without fee is hereby granted, provided that the above copyright notice",)),
    ("0BSD", ("with or without fee is hereby granted",)),
    ("BSD-4-Clause", ("redistributions in binary form must", "all advertising materials")),
    ("BSD-3-Clause", ("redistributions in binary form must", "used to endorse or promote products")),
    ("BSD-2-Clause", ("redistributions in binary form must",)),
)


def is_licence(name: str) -> bool:
    """Return whether a file of this name tells the licence of what lies beside and below it."""
    return bool(FILE_NAME.fullmatch(name))


def of_files(texts: dict[str, str]) -> str:
    """Return the SPDX expression for a folder's licence files, given the text of each by its name.

    `LICENSE-MIT` beside `LICENSE-APACHE` is a choice (OR), as everywhere in Rust; other files hold together (AND).
    """
    found = {name: guess(text) for name, text in sorted(texts.items()) if guess(text)}
    identifiers = sorted(set(found.values()))
    if any(name.startswith("LGPL") for name in identifiers):  # always ships with the GPL that it changes
        identifiers = [name for name in identifiers if not name.startswith("GPL")]
    chosen = all((match := FILE_NAME.fullmatch(name)) and match["of"] for name in found)
    return (" OR " if chosen else " AND ").join(identifiers)


def guess(text: str) -> str:
    """Return the SPDX identifier of a licence's text, or an empty text."""
    plain = _SPACE.sub(" ", text[:LONGEST]).lower()
    if gnu := _GNU.search(plain[:2000]):
        return f"{_GNU_NAMES[gnu[1] or '']}-{gnu[2]}.{gnu[3] or '0'}"
    for identifier, phrases in _PHRASES:
        if all(phrase in plain for phrase in phrases):
            return identifier
    if creative := _CREATIVE.search(plain[:2000]):
        parts = {"noncommercial": "NC", "sharealike": "SA", "noderivatives": "ND", "noderivs": "ND"}
        added = "".join(f"-{parts[part.strip()]}" for part in creative.groups()[:2] if part)
        return f"CC-BY{added}-{creative[3]}"
    return ""


def in_header(head: str) -> str:
    """Return what a source file's own `SPDX-License-Identifier` line says."""
    found = HEADER.search(head)
    return found[1].strip() if found else ""
