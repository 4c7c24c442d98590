"""Loss masks: the two independent ways of making them agree, and the end of turn is learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from finetune import chat
from finetune.models import load_tokenizer
from recipes.load import UserError

TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "When does the blue poppy bloom?"},
    {"role": "assistant", "content": "In June."},
    {"role": "user", "content": "Who keeps the rock house?"},
    {"role": "assistant", "content": "Mara Holm."},
]
# The same format as the shipped template, but without generation tags: the mask must come from rendering by turns.
UNTAGGED = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture
def tokenizer(tiny_model_dir: Path) -> Any:
    return load_tokenizer(str(tiny_model_dir))


def test_mask_covers_the_assistants_words_and_their_end(tokenizer: Any) -> None:
    rendered = chat.render(tokenizer, TALK)
    learned = [token for token, bit in zip(rendered.input_ids, rendered.mask, strict=True) if bit]
    assert tokenizer.decode(learned) == "In June.<|end|>Mara Holm.<|end|>"
    assert tokenizer.decode(rendered.input_ids) == (
        "<|system|>Be kind.<|end|><|user|>When does the blue poppy bloom?<|end|><|assistant|>In June.<|end|>"
        "<|user|>Who keeps the rock house?<|end|><|assistant|>Mara Holm.<|end|>"
    )


def test_tags_and_turn_by_turn_rendering_give_the_same_mask(tokenizer: Any) -> None:
    tagged = chat.render(tokenizer, TALK)
    tokenizer.chat_template = UNTAGGED
    assert chat.render(tokenizer, TALK) == tagged


def test_prompt_is_a_prefix_of_the_whole(tokenizer: Any) -> None:
    whole = chat.render(tokenizer, TALK[:3])
    prompt = chat.prompt_ids(tokenizer, TALK[:2])
    assert whole.input_ids[: len(prompt)] == prompt
    assert whole.mask == [0] * len(prompt) + [1] * (len(whole.mask) - len(prompt))


def test_a_template_that_rewrites_history_is_refused(tokenizer: Any) -> None:
    tokenizer.chat_template = (
        "{% for m in messages %}{% if loop.last or m['role'] == 'user' %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>"
        "{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    with pytest.raises(UserError, match="rewrites earlier turns"):
        chat.render(tokenizer, TALK)


def test_a_tokenizer_without_template_is_refused(tokenizer: Any) -> None:
    tokenizer.chat_template = None
    with pytest.raises(UserError, match="no chat template"):
        chat.prompt_ids(tokenizer, TALK[:2])


def test_the_end_of_an_answer_is_the_templates(tokenizer: Any) -> None:
    assert chat.end_ids(tokenizer) == [tokenizer.convert_tokens_to_ids("<|end|>")]
    tokenizer.eos_token = "<|pad|>"  # a tokenizer whose EOS is not what its template writes
    assert chat.end_ids(tokenizer) == sorted(tokenizer.convert_tokens_to_ids(["<|pad|>", "<|end|>"]))
