"""Encodings: bytes decoded as they were meant, and wrongly decoded text repaired.

Decoding, first table: paragraphs of udhr written in every legacy encoding that their language uses and that holds all
their characters, in files of one and of ten paragraphs; a file counts as right when every character is. Second table:
the files of udhr/encodings, most of which are not in the encoding that their names declare; of the words with letters
beyond ASCII, the share that the UTF-8 edition of the same language knows (only languages of which there is one).
Repair: udhr/mojibake, lines put right of those that can be, and sound lines changed.
"""

from __future__ import annotations

import base64
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from data_prep.files.decoding import Unreadable, decode
from data_prep.filters.encoding import repair
from detection.measuring import installed, megabytes, rows, timed

WRITTEN_IN = {
    "cp1252": "ca da de en es fi fr id it nl pt sv", "latin-1": "de es fr pt", "mac_roman": "de fr", "cp850": "de fr",
    "cp1250": "cs hu pl ro", "iso8859_2": "cs hu pl", "cp1251": "bg ru uk", "koi8_r": "ru", "koi8_u": "uk",
    "iso8859_5": "bg ru", "cp866": "ru", "cp1253": "el", "iso8859_7": "el", "cp1254": "tr", "cp1255": "he",
    "cp1256": "ar", "iso8859_6": "ar", "cp874": "th", "shift_jis": "ja", "euc_jp": "ja", "iso2022_jp": "ja",
    "gb18030": "zh", "big5": "zh", "euc_kr": "ko", "utf-16-le": "de ru zh", "utf-16-be": "de ru zh",
    "utf-32-le": "de ru",
}  # fmt: skip
NAMES = {"Czech": "cs", "Polish": "pl", "Hungarian": "hu", "Romanian": "ro", "Russian": "ru", "Ukrainian": "uk",
         "Bulgarian": "bg", "Greek": "el", "Hebrew": "he", "Arabic": "ar", "Turkish": "tr"}  # fmt: skip
WORD = re.compile(r"[^\W\d_]{2,}")
COMMAS = str.maketrans("\u0163\u015f", "\u021b\u0219")  # legacy encodings write Romanian with cedillas
Decoder = Callable[[bytes], str]


def table(data: Path) -> None:
    """Print the three tables."""
    texts = defaultdict(list)
    for row in rows(data / "udhr" / "langid.jsonl.gz"):
        texts[row["lang"]].append(row["text"])
    _written(texts)
    _declared(data, texts)
    _repaired(data)


def _written(texts: dict[str, list[str]]) -> None:
    print("\nfiles decoded without a wrong character")
    for size in (1, 10):
        files = [(codec, text, text.encode(codec)) for codec, text in _files(texts, size)]
        print(f"  {len(files)} files of {size} paragraphs")
        for name, decoder in decoders().items():
            said, seconds = timed(decoder, [data for _, _, data in files], at_least=0)
            right: dict[str, list[bool]] = defaultdict(list)
            for (codec, text, _), one in zip(files, said, strict=True):
                right[codec].append(one == text)
            total = sum(map(sum, right.values())) / len(files)
            worst = sorted((sum(hits) / len(hits), codec) for codec, hits in right.items())[:5]
            speed = sum(len(data) for _, _, data in files) / 1e6 / seconds
            print(f"    {name:22}{total:.3f}  {speed:7.1f} MB/CPU-s   worst: "
                  + ", ".join(f"{codec} {share:.2f}" for share, codec in worst))  # fmt: skip


def _files(texts: dict[str, list[str]], size: int) -> Iterator[tuple[str, str]]:
    """Yield codec and text of each file that the codec can hold and that is not plain ASCII."""
    for codec, languages in WRITTEN_IN.items():
        for language in languages.split():
            for start in range(0, min(len(texts[language]), 60), size):
                text = "\n".join(texts[language][start : start + size])
                try:
                    text.encode(codec)
                except UnicodeEncodeError:
                    continue
                if not text.isascii() or codec.startswith("utf"):
                    yield codec, text


def _declared(data: Path, texts: dict[str, list[str]]) -> None:
    files = [
        (language, base64.b64decode(row["bytes_base64"]))
        for row in rows(data / "udhr" / "encodings.jsonl.gz")
        for name, language in NAMES.items()
        if row["id"].startswith(name) and row["declared"] != "utf-8"
    ]
    known = {language: set(WORD.findall(" ".join(texts[language]).lower().translate(COMMAS))) for language, _ in files}
    print(f"\nwords beyond ASCII that the language knows, in {len(files)} files of udhr/encodings")
    for name, decoder in decoders().items():
        shares = []
        for language, content in files:
            text = decoder(content).lower().translate(COMMAS)
            found = [word for word in WORD.findall(text) if not word.isascii()]
            shares.append(sum(word in known[language] for word in found) / max(len(found), 1))
        print(f"    {name:22}{sum(shares) / len(shares):.3f}")


def decoders() -> dict[str, Decoder]:
    """Return ours and those built on the detectors that are installed."""
    found: dict[str, Decoder] = {"ours": _ours, "UTF-8 or Windows-1252": _with(lambda data: "cp1252")}
    if installed("resiliparse"):
        from resiliparse.parse.encoding import detect_encoding

        found["resiliparse"] = _with(detect_encoding)
    if installed("cchardet"):
        import cchardet

        found["cchardet"] = _with(lambda data: cchardet.detect(data)["encoding"])
    if installed("chardet"):
        import chardet

        found["chardet"] = _with(lambda data: chardet.detect(data)["encoding"])
    if installed("charset_normalizer"):
        import charset_normalizer

        found["charset-normalizer"] = _with(lambda data: charset_normalizer.detect(data)["encoding"])
    return found


def _ours(data: bytes) -> str:
    try:
        return decode(data)
    except Unreadable:
        return ""


def _with(detect: Callable[[bytes], str | None]) -> Decoder:
    """Return a decoder that tries UTF-8 first, then what a detector says, then Windows-1252."""

    def decoder(data: bytes) -> str:
        try:
            if b"\0" not in data and b"\x1b" not in data:
                return data.decode("utf-8")
        except UnicodeDecodeError:
            pass
        try:
            return data.decode(detect(data) or "cp1252", errors="replace")
        except (LookupError, UnicodeError):
            return data.decode("cp1252", errors="replace")

    return decoder


def _repaired(data: Path) -> None:
    damaged = rows(data / "udhr" / "mojibake.jsonl.gz")
    sound = [row["text"] for row in rows(data / "udhr" / "langid.jsonl.gz")]
    print(f"\nrepair of udhr/mojibake, and {len(sound)} sound paragraphs changed")
    for name, function in repairs().items():
        said, _ = timed(function, [row["damaged"] for row in damaged], at_least=0)
        right: dict[str, list[bool]] = defaultdict(list)
        for row, one in zip(damaged, said, strict=True):
            if row["recoverable"]:
                right[row["damage"]].append(one == row["original"])
        after, seconds = timed(function, sound, at_least=0)
        harmed = sum(one != text for one, text in zip(after, sound, strict=True))
        print(f"    {name:22}" + ", ".join(f"{kind} {sum(hits)}/{len(hits)}" for kind, hits in right.items())
              + f"; harmed {harmed}; {megabytes(sound) / seconds:.1f} MB/CPU-s on sound text")  # fmt: skip


def repairs() -> dict[str, Callable[[str], str]]:
    """Return ours, and ftfy alone on every line."""
    import ftfy

    return {
        "ours": repair,
        "ftfy.fix_encoding": lambda text: "\n".join(ftfy.fix_encoding(line) for line in text.split("\n")),
        "ftfy.fix_text": ftfy.fix_text,
    }
