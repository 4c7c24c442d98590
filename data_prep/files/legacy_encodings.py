"""Which encoding bytes are in that are neither UTF-8 nor marked.

East Asian encodings of several bytes a character are told by resiliparse's detector (uchardet) and believed if the
bytes decode without a fault; Korean also by its letters. Among encodings of one byte a character the words that hold
such bytes are decoded by each candidate, and the one that makes the likeliest words of some language is taken
(`data_prep.language`); Windows-1252 stays unless another one is clearly likelier. UTF-16 and UTF-32 without a mark are
told by which order of bytes gives known characters of few blocks with blanks between them.

Left out: EBCDIC, UTF-7, fonts with an encoding of their own, and languages that have no profile: those come out as the
encoding of their nearest relative.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

_WESTERN = tuple("af ca cy da de en es fi fr id it nb nl pt so sq sv sw tl".split())
_CENTRAL = tuple("cs hr hu pl ro sk sl sq".split())
_CYRILLIC = tuple("bg mk ru uk".split())
_ARABIC = tuple("ar fa ur".split())
# Each encoding with the languages that are written in it. Windows' come before ISO's, as they hold more: of equals the
# first is taken.
_BALTIC = tuple("et lt lv".split())
_SINGLE_BYTE = {
    "cp1252": _WESTERN, "cp1250": _CENTRAL, "cp1251": _CYRILLIC, "cp1253": ("el",), "cp1254": ("tr",),
    "cp1255": ("he",), "cp1256": _ARABIC, "cp1257": _BALTIC, "cp874": ("th",), "iso8859_2": _CENTRAL,
    "iso8859_4": _BALTIC, "iso8859_5": _CYRILLIC, "iso8859_6": _ARABIC, "iso8859_7": ("el",), "iso8859_8": ("he",),
    "koi8_u": _CYRILLIC, "koi8_r": _CYRILLIC, "cp866": _CYRILLIC, "cp852": _CENTRAL, "cp850": _WESTERN,
    "cp437": _WESTERN, "mac_roman": _WESTERN,
}  # fmt: skip
_SEVERAL_BYTES = {
    "shift_jis": "cp932", "euc_jp": "euc_jp", "iso2022_jp": "iso2022_jp", "gb18030": "gb18030", "gb2312": "gb18030",
    "gbk": "gb18030", "big5": "big5hkscs", "euc_kr": "cp949", "uhc": "cp949", "cp949": "cp949",
}  # fmt: skip
# Dashes and quotes of Big5 in Western text: all that is beyond ASCII begins with 0xA1. (An inverted exclamation mark of
# Spanish in Windows-1252 stands before ASCII letters.)
_BIG5_SIGNS = re.compile(rb"\xa1[\x40-\x7e\xa1-\xfe]")
_LEGACY_WORD = re.compile(rb"[A-Za-z\x80-\xff']*[\x80-\xff][A-Za-z\x80-\xff']*")
_SAMPLE = 4_000  # bytes of words that are decoded by each candidate
_DETECTED = 20_000  # bytes that the detector is given
_EVIDENCE = 15.0  # nats by which another encoding must be likelier than Windows-1252: a few known n-grams more
_KNOWN = 0.35  # share of the 3-grams that the language must know: one without a profile proves nothing
_FAR = 2  # times as likely: enough, whatever is known
_OLD = {"cp866", "cp852", "cp850", "cp437", "mac_roman"}  # of DOS and the first Macintosh: rarely met today,
_OF_OLD = 0.8  # so they must be clearly better
_FEWEST_CHARACTERS = 4  # of several bytes: fewer may be chance


def encoding_of(data: bytes) -> str:
    """Return the name of the codec that legacy bytes are most likely in; "cp1252" where nothing speaks against it."""
    if codec := _several_bytes(data):
        return codec
    sample = b" ".join(_LEGACY_WORD.findall(data[: 50 * _SAMPLE]))[:_SAMPLE]
    if not sample:
        return "cp1252"
    from data_prep.language import best_fit

    # What the ASCII letters of the words say is no evidence for any encoding, so it is taken off.
    nothing = {languages: best_fit(_as_letters(sample, "ascii"), languages).gain for languages in _SINGLE_BYTE.values()}
    fits = {codec: best_fit(_as_letters(sample, codec), languages) for codec, languages in _SINGLE_BYTE.items()}
    gains = {
        codec: (fit.gain - nothing[_SINGLE_BYTE[codec]]) * (_OF_OLD if codec in _OLD else 1)
        for codec, fit in fits.items()
    }
    best = max(_SINGLE_BYTE, key=lambda codec: gains[codec])
    usual = gains["cp1252"]
    likelier = gains[best] > usual + _EVIDENCE and fits[best].gain > fits["cp1252"].gain
    return best if likelier and (fits[best].known > _KNOWN or gains[best] > _FAR * usual) else "cp1252"


def _as_letters(sample: bytes, codec: str) -> str:
    """Return decoded words; what is no letter becomes one that no language knows, as it may not just part words."""
    text = sample.decode(codec, errors="replace")
    return "".join(character if character.isalpha() or character in " '" else "\ufffe" for character in text)


def decoded(data: bytes, codec: str) -> str:
    """Return the text of bytes; the five that Windows-1252 leaves undefined are read as in Latin-1, as browsers do."""
    if codec == "cp1252":
        try:
            return data.decode("cp1252")
        except UnicodeDecodeError:
            return data.decode("cp1252", errors="surrogateescape").translate(_UNDEFINED)
    return data.decode(codec, errors="replace")


_UNDEFINED = {0xDC00 + byte: byte for byte in range(0x80, 0x100)}


def wide_encoding_of(data: bytes) -> str:
    """Return the codec of UTF-16 or UTF-32 without a mark, or "" if the bytes are neither."""
    candidates = [name for name, width in _WIDE.items() if len(data) % width == 0]
    texts = {name: text for name in candidates if (text := _plausible(data, name))}
    return max(texts, key=lambda name: sum(map(texts[name].count, _BLANKS)), default="")


_BLANKS = " \n,\u3000\u3002\u3001\uff0c"
_WIDE = {"utf-32-le": 4, "utf-32-be": 4, "utf-16-le": 2, "utf-16-be": 2}


def _plausible(data: bytes, codec: str) -> str:
    """Return the text if all of it is what texts hold: known characters of few blocks, with blanks between them."""
    try:
        text = data.decode(codec)
    except UnicodeDecodeError:
        return ""
    sample = text[:_SAMPLE]
    if any(unicodedata.category(one) in ("Cc", "Cn", "Co", "Cs") and one not in "\t\n\r\f" for one in sample):
        return ""
    if max(sample) < "\u0250":
        return text
    blocks = Counter(map(_block, sample))
    usual = sum(number for _, number in blocks.most_common(3))
    return text if usual >= 0.95 * len(sample) and any(blank in text for blank in _BLANKS) else ""


def _block(character: str) -> int:
    point = ord(character)
    return 0x4E if 0x2E80 <= point < 0xA000 else 0xAC if 0xAC00 <= point < 0xD800 else point >> 8


def _several_bytes(data: bytes) -> str:
    from resiliparse.parse.encoding import detect_encoding

    signs = _BIG5_SIGNS.findall(data)
    if 3 * sum(sign[1] > 0x7F for sign in signs) >= len(signs) > 3 and _BIG5_SIGNS.sub(b"", data).isascii():
        return "big5"

    codec = _SEVERAL_BYTES.get(detect_encoding(data[:_DETECTED]) or "", "")
    for candidate in filter(None, (codec, "cp949")):
        text = _without_fault(data, candidate)
        wide = [character for character in text[:_DETECTED] if character > "\x7f" and character.isalpha()]
        if candidate == codec and sum(character >= "\u1100" for character in wide) >= _FEWEST_CHARACTERS:
            return candidate
        hangul = sum("\uac00" <= character <= "\ud7a3" for character in wide)
        letters = sum(map(str.isalpha, text[:_DETECTED]))
        if hangul >= max(0.9 * len(wide), 0.5 * letters, _FEWEST_CHARACTERS):
            return candidate
    return ""


def _without_fault(data: bytes, codec: str) -> str:
    """Return the text, or "" if the bytes are not in that encoding; a character cut off at the end is no fault."""
    try:
        return data.decode(codec)
    except UnicodeDecodeError as error:
        return data[: error.start].decode(codec) if error.start >= len(data) - 3 else ""
