"""The row types that every data set is made of, and their only way to and from disk: JSON lines, UTF-8, plain or gzip
(Zstandard is read too).

A row is one JSON object on one line. `read_rows` gives bare dictionaries; `read` checks them against one of the types
below and names file and line of the first that does not fit. Columns that a type does not have are kept in `meta`, so
nothing that a data set says gets lost on the way. Writing is atomic and byte-identical for equal rows: sorted keys, no
ASCII escapes, no time stamps inside gzip files.

Left out: Parquet, and rows that do not fit in memory one at a time.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from recipes.errors import UserError

Message = dict[str, Any]  # role and content; an answer with `weight: 0` is read and not learnt
ROLES = ("system", "user", "assistant")
ZSTANDARD = b"\x28\xb5\x2f\xfd"
DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error)  # what reading a damaged compressed file raises


@dataclass(slots=True)
class Document:
    """A piece of running text, for continued pretraining."""

    id: str
    text: str
    source: str
    title: str = ""
    url: str = ""
    license: str = ""
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Conversation:
    """Messages that end with an assistant's answer, for supervised fine-tuning."""

    messages: list[Message]
    id: str = ""
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Preference:
    """Two answers to one prompt, one better than the other; `margin` says by how much, `agreement` how many say so."""

    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]
    id: str = ""
    margin: float = 1.0
    agreement: float = 1.0
    raters: int = 0
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Prompt:
    """Messages that wait for an answer, with the answers known to be right, if any."""

    prompt: list[Message]
    id: str = ""
    references: list[str] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Unpaired:
    """One answer to a prompt and whether it is good, for KTO."""

    prompt: list[Message]
    completion: list[Message]
    label: bool
    id: str = ""
    agreement: float = 1.0
    raters: int = 0
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Labelled:
    """A text, or two to be judged together, and its labels: one, or several (or none) where labels exclude nothing.

    `weight` is what the row counts in the loss.
    """

    text: str
    labels: list[str]
    text_pair: str = ""
    id: str = ""
    weight: float = 1.0
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Tagged:
    """Words with one tag each, for token classification."""

    tokens: list[str]
    tags: list[str]
    id: str = ""
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Pair:
    """A text and the one that is to be made of it, for sequence-to-sequence models; a source may have several rows."""

    source: str
    target: str
    source_language: str = ""
    target_language: str = ""
    id: str = ""
    meta: dict[str, Any] = field(default_factory=dict)


Row = TypeVar("Row", Document, Conversation, Preference, Prompt, Unpaired, Labelled, Tagged, Pair)


def read_rows(path: Path | str) -> Iterator[dict[str, Any]]:
    """Yield the JSON object of each line; blank lines are skipped.

    Raises: UserError with `file:line` for a line that is not one JSON object.
    """
    for _, row in numbered_rows(path):
        yield row


def numbered_rows(path: Path | str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line number (from 1) and JSON object of each line."""
    for number, line in lines(Path(path)):
        try:
            yield number, parse_line(line)
        except ValueError as error:
            raise UserError(f"{path}:{number}", str(error), "one JSON object on each line") from error


def parse_line(line: bytes) -> dict[str, Any]:
    """Return the JSON object that a line holds.

    Raises: ValueError that says what is wrong with it.
    """
    try:
        row = json.loads(line.rstrip(b"\r\n").decode("utf-8-sig"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 (byte {error.start} is 0x{line[error.start]:02x})") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg.removesuffix(' at')} at column {error.colno})") from error
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error
    if not isinstance(row, dict):
        raise ValueError(f"a JSON {type(row).__name__} where an object was expected")
    return row


def _refuse_constant(name: str) -> None:
    raise ValueError(f"not JSON ({name} is no JSON number)")


def read(path: Path | str, kind: type[Row]) -> Iterator[Row]:
    """Yield the rows of a file as `kind`; extra columns go to `meta`.

    Raises: UserError with `file:line`, the keys found and those expected, for a row that does not fit.
    """
    for number, row in numbered_rows(path):
        try:
            yield parse(row, kind)
        except ValueError as error:
            raise UserError(f"{path}:{number}", str(error), expected(kind)) from error


def parse(row: dict[str, Any], kind: type[Row]) -> Row:
    """Return a row as `kind`.

    Raises: ValueError that says which column is missing or wrong.
    """
    fields = {item.name: item for item in dataclasses.fields(kind)}
    missing = [name for name, item in fields.items() if _required(item) and name not in row]
    if missing:
        raise ValueError(f"missing column {', '.join(missing)}; found {', '.join(sorted(row)) or 'no column'}")
    for name in fields.keys() & row.keys():
        _CHECKS[str(fields[name].type)](name, row[name])
    known = {name: value for name, value in row.items() if name in fields}
    extra = {name: value for name, value in row.items() if name not in fields}
    if extra:
        known["meta"] = {**extra, **known.get("meta", {})}
    return kind(**known)


def expected(kind: type[Any]) -> str:
    """Return the columns of a row type in words."""
    fields = dataclasses.fields(kind)
    required = [item.name for item in fields if _required(item)]
    optional = [item.name for item in fields if not _required(item)]
    return f"columns {', '.join(required)} (optional: {', '.join(optional)})"


def write_rows(path: Path | str, rows: Iterable[Any]) -> int:
    """Write dictionaries or row types as JSON lines, whole or not at all; return how many."""
    count = 0
    with writer(path) as write:
        for row in rows:
            write(row)
            count += 1
    return count


@contextmanager
def writer(path: Path | str) -> Iterator[Callable[[Any], None]]:
    """Yield a function that appends one row; the file appears only when the block ends without an error."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # A fixed name: what a killed process leaves behind is overwritten by the next one, not published with its result.
    temporary = target.with_name(f".{target.name}.partial")
    try:
        with temporary.open("wb") as raw:
            with _packed(raw, target) as stream:
                yield lambda row: _append(stream, row)
            raw.flush()
            os.fsync(raw.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def to_line(row: Any) -> str:
    """Return a row as one line of JSON without the line end."""
    value = dataclasses.asdict(row) if dataclasses.is_dataclass(row) and not isinstance(row, type) else row
    return json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False)


def _append(stream: IO[bytes], row: Any) -> None:
    # Half a surrogate pair cannot be written as UTF-8; JSON input may hold one.
    stream.write(to_line(row).encode("utf-8", errors="replace") + b"\n")


@contextmanager
def _packed(raw: IO[bytes], target: Path) -> Iterator[IO[bytes]]:
    if target.suffix == ".gz":
        with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as stream:
            yield cast(IO[bytes], stream)
    else:
        yield raw


def open_binary(path: Path) -> io.BufferedReader:
    """Open a file for reading, unpacked if its first bytes are those of gzip or Zstandard, whatever its name.

    Reading raises one of `DAMAGED` where the packed bytes end too early or are not what they should be.
    """
    raw = path.open("rb")
    mark = raw.read(4)
    raw.seek(0)
    if mark.startswith(b"\x1f\x8b"):
        return io.BufferedReader(_Gzip(raw), 2**17)
    if mark == ZSTANDARD:
        return io.BufferedReader(_Zstandard(raw), 2**17)
    return raw


class _Gzip(io.RawIOBase):
    """Unpacks gzip as far as it is whole; `GzipFile` itself loses what it read in one go with the damaged part."""

    def __init__(self, raw: IO[bytes]) -> None:
        self.raw = raw
        self.stream = gzip.GzipFile(fileobj=raw, mode="rb")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.stream.read1(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self.stream.close()
            self.raw.close()
        super().close()


class _Zstandard(io.RawIOBase):
    """Unpacks Zstandard through pyarrow, which notices a file that ends too early (python-zstandard does not)."""

    def __init__(self, raw: IO[bytes]) -> None:
        import pyarrow

        self.raw = raw
        self.stream = pyarrow.CompressedInputStream(pyarrow.PythonFile(raw, mode="r"), "zstd")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            return int(self.stream.readinto(buffer))
        except OSError as error:
            raise EOFError(str(error)) from error

    def close(self) -> None:
        if not self.closed:
            self.raw.close()
        super().close()


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield number (from 1) and bytes of each line that is not blank."""
    number = 0
    try:
        with open_binary(path) as stream:
            for line in stream:
                number += 1
                if line.strip():
                    yield number, line
    except DAMAGED as error:
        kind = "zstd" if path.suffix == ".zst" else "gzip"
        raise UserError(f"{path}:{number + 1}", f"damaged {kind} file ({error})", "a file that unpacks") from error
    except OSError as error:
        raise UserError(str(path), f"cannot be read ({error.strerror or error})", "a readable file") from error


def _required(item: dataclasses.Field[Any]) -> bool:
    return item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING


def check_messages(name: str, value: Any) -> None:
    """Refuse anything but a non-empty list of {"role", "content"} with known roles.

    Raises: ValueError that names the message.
    """
    if not isinstance(value, list) or not value:
        raise ValueError(f"{name} is {_described(value)}, not a list of messages")
    for index, message in enumerate(value):
        if not isinstance(message, dict) or not {"role", "content"} <= message.keys():
            raise ValueError(f"{name}[{index}] is {_described(message)}, not an object with role and content")
        if message["role"] not in ROLES:
            raise ValueError(f"{name}[{index}] has the role {message['role']!r}, not one of {', '.join(ROLES)}")
        if not isinstance(message["content"], str):
            raise ValueError(f"{name}[{index}].content is {_described(message['content'])}, not text")


def _check_text(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{name} is {_described(value)}, not text")


def _check_number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValueError(f"{name} is {_described(value)}, not a number")


def _check_truth(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {_described(value)}, not true or false")


def _check_whole(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} is {_described(value)}, not a whole number")


def _check_object(name: str, value: Any) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {_described(value)}, not an object")


def _check_texts(name: str, value: Any) -> None:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{name} is {_described(value)}, not a list of texts")


def _described(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


_CHECKS: dict[str, Callable[[str, Any], None]] = {
    "str": _check_text,
    "float": _check_number,
    "int": _check_whole,
    "bool": _check_truth,
    "dict[str, Any]": _check_object,
    "list[str]": _check_texts,
    "list[Message]": check_messages,
}
