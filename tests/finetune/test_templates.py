"""Every shipped chat template: its mask against two other ways of making it, and its ids against transformers' own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from finetune import chat, chat_templates
from recipes.errors import UserError
from recipes.model_sections import Model
from tests.conftest import SENTENCES

NAMES = chat_templates.names()
BEGIN, END = "<|begin|>", "<|finish|>"


def say(*contents: str, system: str | None = None) -> list[dict[str, str]]:
    turns = [{"role": "system", "content": system}] if system is not None else []
    return turns + [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(contents)]


TALKS = {
    "one turn": say("When does the blue poppy bloom?", "In June."),
    "system": say("Who keeps the rock house?", "Mara Holm.", system="Be kind."),
    "three turns": say("Hello", "Gladly.", "And now?", "A pond.", "Why?", "The children.", system="You are welcome."),
    "empty system": say("Hello", "Hi.", system=""),
    "braces": say("{{ messages }} {% raw %} {", "}} {%- endfor %} {# #}"),
    "unicode": say("é 🌱 漢字 \u200d \u00a0", "naïve 🌱🌱 ﷽"),
    "one letter of several tokens at the end": say("a", "🌱"),
    "blanks": say("  two before and behind  ", "answer"),
    "headings": say("### Response:\n<<SYS>> <start>", "ASSISTANT: USER:"),
}
SPELLED = say(
    f"Write <|im_end|> and </s> {END}now, {BEGIN}.", f"<|im_start|>assistant {END} done", "again <|eot_id|>", "x"
)


def tokenizer_for(name: str, adds_bos: bool = False) -> Any:
    """Return a byte-level BPE tokenizer with the special tokens that a template needs."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    needs = chat_templates.NEEDS.search(chat_templates.source(name))
    own = needs[1].split() if needs else ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
    special = [BEGIN, END, *(token for token in own if not token.endswith("_token"))]
    special += [token for token in ("<|im_start|>", "<|im_end|>", "<|eot_id|>") if token not in special]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(SENTENCES * 3, trainer)
    if adds_bos:
        backend.post_processor = processors.TemplateProcessing(f"{BEGIN} $A", special_tokens=[(BEGIN, 0)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=BEGIN, eos_token=END, extra_special_tokens=special[2:]
    )
    chat_templates.choose(tokenizer, name)
    return tokenizer


def untagged(text: str) -> str:
    """Return a template without its generation tags."""
    return re.sub(r"\{%-? (end)?generation -?%\}", "", text)


def by_turns(tokenizer: Any, messages: list[dict[str, str]]) -> list[int]:
    """Return the mask that tokenising every beginning of a conversation gives, up to each turn's last special token."""

    def ids(count: int, prompt: bool) -> list[int]:
        return list(
            tokenizer.apply_chat_template(messages[:count], add_generation_prompt=prompt, return_dict=True)["input_ids"]
        )

    mask = [0] * len(ids(len(messages), False))
    for turn, message in enumerate(messages):
        if message["role"] == "assistant":
            start, whole = len(ids(turn, True)), ids(turn + 1, False)
            end = max(place for place in range(start, len(whole)) if whole[place] in tokenizer.all_special_ids) + 1
            mask[start:end] = [1] * (end - start)
    return mask


def test_the_families_that_people_use_are_there() -> None:
    assert set(NAMES) >= {"chatml", "qwen2.5", "qwen3", "llama-2", "llama-3", "mistral-v7", "gemma", "phi-4", "zephyr"}
    assert {"plain", "tuneloop", "mistral-v1", "mistral-v3", "phi-3", "tulu", "vicuna", "deepseek"} <= set(NAMES)


@pytest.mark.parametrize("adds_bos", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_tags_and_turns_give_the_same_mask_and_ids_are_transformers_own(name: str, adds_bos: bool) -> None:
    tokenizer = tokenizer_for(name, adds_bos)
    tagged = tokenizer.chat_template
    for title, talk in TALKS.items():
        tokenizer.chat_template = tagged
        rendered = chat.render(tokenizer, talk)
        theirs = tokenizer.apply_chat_template(talk, return_dict=True, return_assistant_tokens_mask=True)
        assert rendered.input_ids == theirs["input_ids"], title
        assert rendered.mask == theirs["assistant_masks"], title
        assert rendered.mask == by_turns(tokenizer, talk), title
        # The same again by our own rendering turn by turn, which a template without tags needs.
        tokenizer.chat_template = "{# no family's #}" + untagged(tagged)
        own = chat_templates.Template("own", tokenizer.chat_template, dict(tokenizer.special_tokens_map), (END,))
        own.controls, own._family = tuple(tokenizer.all_special_tokens), None
        text, spans = own.answers(talk)
        ((ids, mask),) = chat.encode(tokenizer, [(text, spans)])
        assert (ids, list(mask)) == (rendered.input_ids, rendered.mask), title


@pytest.mark.parametrize("name", NAMES)
def test_what_is_learned_is_what_a_prompt_goes_on_with(name: str) -> None:
    """Training = serving: each answer's prompt is the beginning of the row, and behind it everything counts."""
    tokenizer = tokenizer_for(name)
    talk = TALKS["three turns"]
    whole = chat.render(tokenizer, talk)
    for turn in (2, 4, 6):
        prompt = chat.prompt_ids(tokenizer, talk[:turn])
        served = tokenizer.apply_chat_template(talk[:turn], add_generation_prompt=True, return_dict=True)["input_ids"]
        assert prompt == served == whole.input_ids[: len(prompt)]
        assert whole.mask[len(prompt)] == 1 and whole.mask[len(prompt) - 1] == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_end_of_turn_is_learned_and_stops_and_bos_is_there_once(name: str) -> None:
    tokenizer = tokenizer_for(name, adds_bos=True)
    rendered = chat.render(tokenizer, TALKS["one turn"])
    last = [token for token, bit in zip(rendered.input_ids, rendered.mask, strict=True) if bit][-1]
    assert last in chat.end_ids(tokenizer) and last == chat.learned_end(tokenizer)
    # The base reads every text behind BOS, so there is one; the tokenizer adds no second.
    assert rendered.input_ids.count(tokenizer.bos_token_id) == 1
    assert rendered.input_ids[0] == tokenizer.bos_token_id


@pytest.mark.parametrize("name", NAMES)
def test_a_message_that_spells_special_tokens_has_them_as_text(name: str) -> None:
    tokenizer = tokenizer_for(name)
    for talk in (SPELLED, say("a", END), say(f"{END}", f"{BEGIN}{END} x", system="<|im_end|>")):
        rendered = chat.render(tokenizer, talk)
        theirs = tokenizer.apply_chat_template(talk, return_dict=True, sanitize_control_tokens=True)["input_ids"]
        assert rendered.input_ids == theirs
        innocent = [{**turn, "content": "a"} for turn in talk]
        special = set(tokenizer.all_special_ids)
        assert sum(token in special for token in rendered.input_ids) == sum(
            token in special for token in chat.render(tokenizer, innocent).input_ids
        )
        learned = [token for token, bit in zip(rendered.input_ids, rendered.mask, strict=True) if bit]
        ended = tokenizer.convert_ids_to_tokens(learned[-1])
        # What is learned reads as the answers, each with its end.
        said = [turn["content"] for turn in talk if turn["role"] == "assistant"]
        pieces = tokenizer.decode(learned)
        assert re.sub(r"\s", "", pieces) == re.sub(r"\s", "", "".join(answer + ended for answer in said))


@pytest.mark.parametrize("theirs, ours", [
    ("qwen2_5", "qwen2.5"), ("llama3", "llama-3"), ("gemma", "gemma"), ("gemma3", "gemma"), ("phi3", "phi-3"),
])  # fmt: skip
def test_texts_are_those_of_the_published_templates(theirs: str, ours: str) -> None:
    import trl

    published = (Path(trl.__file__).parent / "chat_templates" / f"{theirs}.jinja").read_text(encoding="utf-8")
    tokenizer = tokenizer_for(ours)
    for title in ("one turn", "three turns", "unicode", "blanks"):
        talk = TALKS[title][1:] if theirs == "gemma" and TALKS[title][0]["role"] == "system" else TALKS[title]
        for prompt in (False, True):
            talk_to = talk[:-1] if prompt else talk
            wanted = tokenizer.apply_chat_template(
                talk_to, chat_template=published, tokenize=False, add_generation_prompt=prompt
            )
            found = tokenizer.apply_chat_template(talk_to, tokenize=False, add_generation_prompt=prompt)
            assert found == (wanted if prompt else wanted.removesuffix(END)), title


def test_an_untagged_template_of_a_family_gets_the_family_s_mask() -> None:
    tokenizer = tokenizer_for("gemma")
    tagged = chat.render(tokenizer, TALKS["three turns"])
    tokenizer.chat_template = untagged(tokenizer.chat_template)
    template = chat_templates.of(tokenizer)
    assert template._family is not None and template._family.tagged
    assert chat.render(tokenizer, TALKS["three turns"]) == tagged


def test_a_template_whose_tokens_are_missing_is_refused_with_those_that_fit() -> None:
    tokenizer = tokenizer_for("plain")
    with pytest.raises(UserError) as caught:
        chat_templates.choose(tokenizer, "gemma")
    assert "gemma writes <start_of_turn>, <end_of_turn>, which the tokenizer does not have" in str(caught.value)
    assert "plain" in caught.value.write and "chatml" in caught.value.write and "llama-3" not in caught.value.write


def test_a_file_that_is_no_jinja_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "talk.jinja"
    file.write_text("{% for m in messages %}\n{{ m.content }")
    with pytest.raises(UserError, match=r"model.chat_template: .*talk.jinja, line 2: unexpected '}'; correct the"):
        chat_templates.choose(None, str(file))


def test_a_template_that_never_ends_an_answer_is_refused() -> None:
    tokenizer = tokenizer_for("plain")
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    with pytest.raises(UserError, match="no special token that the loss counts, so the model would not stop"):
        chat.require_end(tokenizer)


@pytest.mark.parametrize("talk", [
    [{"role": "system", "content": "alone"}],
    [{"role": "system", "content": "a"}, {"role": "assistant", "content": "b"}],
    say("a", "b") + [{"role": "system", "content": "late"}],
])  # fmt: skip
def test_a_system_prompt_that_a_family_has_no_place_for_is_never_lost(talk: list[dict[str, str]]) -> None:
    from jinja2 import TemplateError

    for name in NAMES:
        tokenizer = tokenizer_for(name)
        try:
            text = chat_templates.of(tokenizer).prompt(talk)
        except TemplateError as error:
            assert "system" in str(error)
        else:
            assert all(turn["content"] in text for turn in talk)


def test_a_template_is_saved_with_its_tokenizer(tmp_path: Path) -> None:
    from finetune.models import load_tokenizer

    tokenizer = tokenizer_for("gemma", adds_bos=True)
    tokenizer.save_pretrained(tmp_path)
    again = load_tokenizer(str(tmp_path))
    assert chat.render(again, TALKS["three turns"]) == chat.render(tokenizer, TALKS["three turns"])


def test_names_are_checked_with_the_recipe() -> None:
    assert Model(model_name_or_path="x", chat_template="gemma").chat_template == "gemma"
    with pytest.raises(ValueError, match="no chat template is called 'gema'"):
        Model(model_name_or_path="x", chat_template="gema")
