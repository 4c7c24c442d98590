"""Mail archives (mbox, RFC 4155, with mboxrd's quoting) and single mails (`.eml`): one document a mail.

Plain text is preferred to HTML. What others wrote is left out: quoted lines with the line that announces them, and
everything below a copied header ("-----Original Message-----"). So are the signature, a phone's advertisement and a
mailing list's footer. The title is the subject; `meta` has the date, the message's id and that of the one it answers.

Left out: names and addresses of sender and receivers (they are personal data, and no text); attachments and attached
mails; Maildir folders and PST files. A shell prompt `>` at the start of a line is taken for a quotation.

An archive is read line by line, one mail in memory, at 25 MB a CPU second for plain mails of 1 kB (the standard
library's `mailbox`, which keeps a table of the whole archive and all quotations, at 60).
"""

from __future__ import annotations

import email
import email.header
import email.utils
import re
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

from data_prep.files import streams
from data_prep.files.decoding import Unreadable, decode
from data_prep.readers import html
from data_prep.records import Document, open_binary

SUFFIXES = (".mbox", ".mbx", ".eml")
MAX_NESTED = 20  # parts in parts

_FROM = re.compile(rb"From \S+.*\d\d:\d\d.*\d{4}\s*$")
_EML = re.compile(
    rb"(?:return-path|received|delivered-to|x-original-to|dkim-signature|message-id|mime-version):", re.IGNORECASE
)
_ESCAPED = re.compile(rb">+From ")
_ANNOUNCES = re.compile(
    r"(?:wrote|writes|schrieb|schreibt|écrit|escribió|escreveu|schreef|scritto|said)\b[^\n]{0,60}:\s*$", re.IGNORECASE
)
_ANNOUNCES_FIRST = re.compile(r"\s*(?:on|am|le|el|em|op|il|at)\b", re.IGNORECASE)
_COPIED = re.compile(
    r"^[ \t]*-{3,} ?(?:original|ursprüngliche)[^\n]*-{3,}\s*$|^\*?From:\*? .*\n(?:>?\s*\*?(?:Sent|Date|To):\*? )",
    re.IGNORECASE | re.MULTILINE,
)
_FOOTER = re.compile(r"^_{30,}\s*\n(?=[^\n]*mailing list)", re.IGNORECASE | re.MULTILINE)
_PHONE = re.compile(r"\n[ \t]*Sent from my [^\n]{1,40}\Z", re.IGNORECASE)
_SIGNATURE_LINES = 12
_ANSWER = re.compile(r"(?:(?:re|aw|sv|antw|fwd?|wg)(?:\[\d+\])?:\s*)+", re.IGNORECASE)


def recognises(head: bytes) -> bool:
    """Tell an archive by its first line, a mail by headers that only delivery writes."""
    first, _, rest = head.partition(b"\n")
    return bool(_FROM.match(first) and re.match(rb"[!-9;-~]+:", rest)) or bool(_EML.match(head))


def read(path: Path) -> Iterator[Document | Unreadable]:
    """Yield each mail's own text, and the reason for each that has none."""
    for number, data in _mails(path):
        try:
            if data is None:
                raise Unreadable(f"a mail {streams.TOO_LONG}")
            yield _document(email.message_from_bytes(data), number)
        except Unreadable as error:
            yield Unreadable(error.reason, number)
        except RecursionError:
            yield Unreadable("a mail with too many parts in parts", number)


def _mails(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Yield number and bytes of each mail, None for one that is too long; 0 is the only mail of a file."""
    number, size, blank = 0, 0, True
    mail: list[bytes] = []
    with open_binary(path) as stream:
        for _, line in streams.numbered_lines(stream):
            text = line if line is not None else b""
            if blank and _FROM.match(text):
                if mail:
                    yield number, b"".join(mail) if size <= streams.MAX_LINE else None
                number, size, mail = number + 1, 0, []
                continue
            size += len(text) if line is not None else streams.MAX_LINE + 1
            if size <= streams.MAX_LINE:
                mail.append(text[1:] if _ESCAPED.match(text) else text)
            blank = not text.strip()
    if mail:
        yield number, b"".join(mail) if size <= streams.MAX_LINE else None


def _document(mail: Message, number: int) -> Document:
    plain: list[str] = []
    marked: list[str] = []
    _collect(mail, plain, marked, 0)
    text = own_text("\n".join(plain if any(part.strip() for part in plain) else marked))
    if not text:
        raise Unreadable("a mail without text of its own")
    meta: dict[str, Any] = {"date": _date(mail["Date"]), "message_id": _header(mail["Message-ID"]),
                            "in_reply_to": _header(mail["In-Reply-To"]), "row": number}  # fmt: skip
    title = _ANSWER.sub("", _header(mail["Subject"]), count=1)
    return Document("", text, "", title=title, meta={key: value for key, value in meta.items() if value})


def _collect(part: Message, plain: list[str], marked: list[str], depth: int) -> None:
    """Gather a mail's texts, plain and HTML."""
    if depth > MAX_NESTED:
        raise Unreadable("a mail with too many parts in parts")
    if part.is_multipart():
        if part.get_content_maintype() == "multipart":
            for inner in part.get_payload():
                if isinstance(inner, Message):
                    _collect(inner, plain, marked, depth + 1)
        return
    kind = part.get_content_type()
    if part.get_content_disposition() == "attachment" or kind not in ("text/plain", "text/html"):
        return
    data = part.get_payload(decode=True)
    if not isinstance(data, bytes) or not data.strip():
        return
    charset = part.get_content_charset() or ""
    if kind == "text/html":
        marked.append(html.whole_text(data, charset))
    else:
        text = _decoded(data, charset).replace("\r\n", "\n")
        plain.append(_unwrapped(text) if str(part.get_param("format")).lower() == "flowed" else text)


def _decoded(data: bytes, charset: str) -> str:
    try:
        return data.decode(charset or "utf-8")
    except (UnicodeDecodeError, LookupError):
        return decode(data)


def _unwrapped(text: str) -> str:
    """Join the lines that a mail program broke (RFC 3676: a space at the end says so)."""
    return re.sub(r"(?m)^(?!>)(?!-- $)(.*) \n(?![>\s])", r"\1 ", text)


def own_text(text: str) -> str:
    """Return what the sender of a mail wrote, without quotations, signature and footers."""
    for mark in (_COPIED, _FOOTER):
        if found := mark.search(text):
            text = text[: found.start()]
    lines: list[str] = []
    for line in text.split("\n"):
        if not line.startswith(">"):
            lines.append(line.rstrip("\r"))
        else:
            _drop_announcement(lines)
    place = next((place for place, line in enumerate(lines) if _is_signature(lines, place)), len(lines))
    lines = lines[:place]
    return _PHONE.sub("", "\n" + re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()).strip()


def _is_signature(lines: list[str], place: int) -> bool:
    """Tell the line that begins a signature; without its blank it is one only near the end."""
    line = lines[place]
    return line == "-- " or (line.rstrip() == "--" and len(lines) - place <= _SIGNATURE_LINES)


def _drop_announcement(lines: list[str]) -> None:
    """Remove "On Monday, A. wrote:" from the end, also when it was broken in two."""
    last = len(lines)
    while last > len(lines) - 3 and last and not lines[last - 1].strip():
        last -= 1
    if not last or not _ANNOUNCES.search(lines[last - 1]):
        return
    before = last - 2 if last > 1 and not _ANNOUNCES_FIRST.match(lines[last - 1]) else last - 1
    if before == last - 2 and not _ANNOUNCES_FIRST.match(lines[before]):
        before = last - 1
    del lines[before:]


def _header(value: Any) -> str:
    """Return a header's text; one that is not as it should be stays as it is."""
    if value is None:
        return ""
    try:
        text = str(email.header.make_header(email.header.decode_header(str(value))))
    except (ValueError, LookupError, UnicodeError):
        text = str(value)
    return " ".join(text.split())


def _date(value: Any) -> str:
    try:
        return email.utils.parsedate_to_datetime(str(value)).isoformat() if value else ""
    except (ValueError, TypeError, IndexError, OverflowError):
        return ""
