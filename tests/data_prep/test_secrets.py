"""Keys, tokens and passwords: the forms that issuers publish are found, what only looks like one stays.

Values are put together here from pieces, so that scanners of repositories do not take them for leaked ones.
"""

from __future__ import annotations

import base64
import random
import string

import pytest

from data_prep import personal_data
from data_prep.personal_data.secrets import entropy, looks_random

_RANDOM = random.Random(5)


def _some(length: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    """Return random characters that hold a digit and a capital."""
    return "".join(_RANDOM.choices(alphabet, k=length - 2)) + "A7" if length > 2 else "A7"


def _segment(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


JWT = ".".join([_segment('{"alg":"HS256","typ":"JWT"}'), _segment('{"sub":"1234567890","name":"A"}'), _some(43)])
PEM = "\n".join(["-----BEGIN RSA " + "PRIVATE KEY-----", *(_some(64) for _ in range(5)),
                 "-----END RSA " + "PRIVATE KEY-----"])  # fmt: skip
KEYS = {
    "aws": "AKIA" + _some(16, string.ascii_uppercase + "234567"),
    "aws, temporary": "ASIA" + "Q2" * 8,
    "github": "ghp_" + _some(36),
    "github, fine-grained": "github" + "_pat_" + _some(22) + "_" + _some(59),
    "gitlab": "glpat" + "-" + _some(20),
    "slack": "xox" + "b-" + "1234567890-" + _some(24),
    "slack webhook": "hooks.slack." + "com/services/T0ABCDEFG/B0ABCDEFG/" + _some(24),
    "google": "AI" + "za" + _some(35),
    "stripe": "sk_" + "live_" + _some(24),
    "openai": "sk-" + _some(48),
    "openai, project": "sk-" + "proj-" + _some(20) + "_" + _some(60),
    "hugging face": "hf" + "_" + _some(34),
    "npm": "npm" + "_" + _some(36),
    "sendgrid": "SG" + "." + _some(22) + "." + _some(43),
    "json web token": JWT,
    "private key": PEM,
}


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("frame", ["{}", "key = '{}'", "Use {} for it.", "({})\nnext", "https://host.example/?q={}"])
def test_published_forms_are_found_wherever_they_stand(name: str, frame: str) -> None:
    text, counts = personal_data.redact(frame.format(KEYS[name]))
    assert text == frame.format("<SECRET>")
    assert counts == {"SECRET": 1}


@pytest.mark.parametrize(
    "before",
    ["password: ", "PASSWORD=", "db_password = '", 'passwd="', '"api_key": "', "API_KEY=", "client_secret: ",
     "auth_token = ", "accessKey: ", "aws_secret_access_key = ", "api-key: ", "credentials: "],
)  # fmt: skip
def test_what_a_telling_name_is_given_is_found(before: str) -> None:
    value = "k7Qp2vX9zLm4Rt8w"
    assert personal_data.redact(f"{before}{value}")[0].startswith(f"{before}<SECRET>")


@pytest.mark.parametrize(
    "text",
    [
        "password: required", "password: your_password1", "The token: it is a word.", "token = tokenizer(text2024)",
        "api_key = os.environ['OPENAI_API_KEY']", "max_token_num: qwen3_vl_emb1800",
        "tokenizer: 'EleutherAI/pythia-6.9b'",
        "api_key = settings.API_KEY", "secret: <hidden1234567890>", "hash_input_tokens: 29916e7afe5cb51d",
        "password=***********1", "risk-averse, task-oriented, sk-", "keys: 12345678901234567890",
        "the key: a1b2c3d4e5f6g7h8", "AKIA is a prefix, as ghp_ and hf_transformers are", "see eyJ.eyJ.x",
        "-----BEGIN PUBLIC KEY-----", "ftp://user:password@host", "password_file: /run/secrets/db1",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_secret_stays(text: str) -> None:
    assert personal_data.redact(text)[0] == text


def test_of_a_url_only_user_and_password_go() -> None:
    text = "git clone https://rosa:" + "hunter2@git.example.org/a.git"
    assert personal_data.redact(text)[0] == "git clone https://<SECRET>@git.example.org/a.git"


def test_a_private_key_without_its_end_goes_too() -> None:
    cut = PEM.rpartition("\n")[0]
    assert personal_data.redact(f"Before\n{cut}")[0] == "Before\n<SECRET>"


def test_entropy_is_shannons() -> None:
    assert entropy("aaaa") == 0
    assert entropy("abcd") == 2
    assert entropy("aab") == pytest.approx(0.9183, abs=1e-4)
    assert looks_random("hunter2", 6, 12)
    assert not looks_random("hunter", 6, 12)  # a word
    assert not looks_random("aaaaaaaaaaa1", 6, 12)  # hardly varied
