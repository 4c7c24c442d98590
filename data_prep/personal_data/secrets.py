"""Keys, tokens, passwords: what lets somebody in.

By the form their issuers publish (prefix, length, alphabet): AWS, GitHub, GitLab, Slack, Google, Stripe, OpenAI and
Anthropic, Hugging Face, npm, PyPI, SendGrid, DigitalOcean, JSON web tokens, PEM private keys. By their place: the user
and password of a URL, and values that are assigned to a name such as `password` or `api_key` if they look random
(letters and digits or signs, and enough entropy), so that `password: required` and `token = tokenizer(text)` stay.
The forms follow gitleaks' rules (https://github.com/gitleaks/gitleaks). Left out: keys without prefix or name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from math import log2

from data_prep.personal_data.span import Span, occurrences

# What a secret begins with, and the whole of it from there.
_FORMS = {
    "AKIA": r"AKIA[A-Z2-7]{16}\b",
    "ASIA": r"ASIA[A-Z2-7]{16}\b",
    "ghp_": r"ghp_[A-Za-z0-9]{36,255}",
    "gho_": r"gho_[A-Za-z0-9]{36,255}",
    "ghu_": r"ghu_[A-Za-z0-9]{36,255}",
    "ghs_": r"ghs_[A-Za-z0-9]{36,255}",
    "ghr_": r"ghr_[A-Za-z0-9]{36,255}",
    "github_pat_": r"github_pat_[A-Za-z0-9_]{22,255}",
    "glpat-": r"glpat-[\w-]{20,64}",
    "xox": r"xox[abeoprs]-[A-Za-z0-9-]{10,255}",
    "hooks.slack.com/": r"hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9+/]{40,80}",
    "AIza": r"AIza[\w-]{35}(?![\w-])",
    "ya29.": r"ya29\.[\w-]{20,255}",
    "sk_live_": r"sk_live_[A-Za-z0-9]{16,128}",
    "sk_test_": r"sk_test_[A-Za-z0-9]{16,128}",
    "rk_live_": r"rk_live_[A-Za-z0-9]{16,128}",
    "rk_test_": r"rk_test_[A-Za-z0-9]{16,128}",
    "sk-": r"sk-(?=[\w-]{0,255}[0-9])(?=[\w-]{0,255}[A-Z])[A-Za-z0-9][\w-]{19,255}",
    "hf_": r"hf_(?=[a-z]{0,64}[A-Z0-9])[A-Za-z0-9]{30,64}(?!\w)",
    "npm_": r"npm_[A-Za-z0-9]{36}(?!\w)",
    "pypi-": r"pypi-[\w-]{50,512}",
    "SG.": r"SG\.[\w-]{16,32}\.[\w-]{32,64}",
    "dop_v1_": r"dop_v1_[a-f0-9]{64}",
    "eyJ": r"eyJ[\w-]{8,4096}\.eyJ[\w-]{8,16384}\.[\w-]{0,4096}",
    "-----BEGIN ": r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-(?!----)){0,20000}"
    r"(?:-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----)?",
}
_PATTERNS = {prefix: re.compile(form) for prefix, form in _FORMS.items()}
_WITHOUT = {prefix: pattern for prefix, pattern in _PATTERNS.items() if "_" not in prefix}
_USER_INFO = re.compile(r"://([^\s:/@<>\"'{}]{1,64}:([^\s/@<>\"'{}]{1,128}))@")
_STAND_INS = {"password", "pass", "passwd", "pwd", "secret", "xxx", "***", "..."}
_ASSIGNED = re.compile(
    r"""(?P<rest>[A-Za-z0-9_]{0,32})["']?\s{0,3}(?:=>|:=|[:=])\s{0,3}["'`]?
        (?P<value>[!#-&*-+\--:=?@A-Z^-_a-z|~\\/]{6,256}+)(?![(\[{<])""",
    re.VERBOSE,
)
# Names of what is assigned, in lower case; what may follow in the name (max_token_num and tokenizer are no secrets);
# the fewest characters and bits of entropy that a value must have.
_NAMES = {
    "passw": (re.compile(r"\w*"), 6, 12.0),
    "passphrase": (re.compile(r"\w*"), 6, 12.0),
    "secret": (re.compile(r"s?(?:_?(?:access_)?(?:key|value|id|token))?"), 12, 36.0),
    "token": (re.compile(r"(?:_(?:key|value|secret|string))?"), 16, 48.0),
    "credential": (re.compile(r"s?"), 12, 36.0),
    "key": (re.compile(r"(?:_(?:id|value|secret|base64))?"), 12, 36.0),
}
_KEY_OF = tuple(
    f"{whose}{between}"
    for whose in ("api", "access", "account", "private", "client", "auth", "encryption")
    for between in ("", "_", "-", " ")
)
_NO_VALUE = re.compile(
    r"your|example|changeme|placeholder|x{4,}|\*{3,}|\.{3,}|^[\w.]*\.(?:py|json|md|txt|ya?ml|html?)$|^https?:|^/", re.I
)


def secrets(text: str, runs: list[Span]) -> Iterator[Span]:
    """Yield keys, tokens and passwords."""
    for prefix, pattern in (_PATTERNS if "_" in text else _WITHOUT).items():
        for start, _ in occurrences(prefix, text):
            if start and (text[start - 1].isalnum() or text[start - 1] == "_"):
                continue
            match = pattern.match(text, start)
            if match:
                yield match.span()
    if "://" in text and "@" in text:
        yield from (match.span(1) for match in _USER_INFO.finditer(text) if match[2] not in _STAND_INS)
    yield from _assigned(text)


def _assigned(text: str) -> Iterator[Span]:
    """Yield values that a name such as `password` is given."""
    lower = text.lower()
    if len(lower) != len(text):  # a few letters have a longer lower case, which would shift all places
        lower = "".join(small if len(small := character.lower()) == 1 else character for character in text)
    for name, (rest, fewest, bits) in _NAMES.items():
        for start, end in occurrences(name, lower):
            if name == "key" and not lower[max(start - 11, 0) : start].endswith(_KEY_OF):
                continue
            match = _ASSIGNED.match(text, end)
            if match and rest.fullmatch(match["rest"].lower()) and looks_random(match["value"], fewest, bits):
                yield match.span("value")


def looks_random(value: str, fewest: int, bits: float) -> bool:
    """Tell whether a value is long, mixed and varied enough to be a password or key; `bits` are of the whole value."""
    if len(value) < fewest or _NO_VALUE.search(value) or not any(map(str.isdigit, value)):
        return False
    if not any(map(str.isalpha, value)):
        return False
    return entropy(value) * len(value) >= bits


def entropy(value: str) -> float:
    """Return the Shannon entropy of a string's characters, in bits a character."""
    return -sum(count / len(value) * log2(count / len(value)) for count in Counter(value).values())
