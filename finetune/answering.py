"""Answers of a local model for the stages that write data (`data_prep.synthesis`), which may not import torch.

`load` takes the recipe's generator section as a dictionary and returns a function from conversations and a seed to
answers. A model with a chat template reads the conversation as it was trained to; one without (a base model) reads the
texts one after the other and goes on writing. The end of an answer that was cut at `max_new_tokens` is left as it is:
what is done with half a sentence is for the stage to say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from finetune import chat, generate, models
from recipes.sections import Generation

Message = dict[str, str]


def load(settings: dict[str, Any]) -> Callable[[list[list[Message]], int], list[str | None]]:
    """Load the model and return the function that answers.

    Raises:
        UserError: the model is none that writes text, or its base is gone.
    """
    loaded = models.load(
        settings["model_name_or_path"], dtype=settings["dtype"], attn_implementation=settings["attn_implementation"]
    )
    generation = Generation(**settings["generation"])
    longest = getattr(loaded.model.config, "max_position_embeddings", None)

    def answers(conversations: list[list[Message]], seed: int) -> list[str | None]:
        prompts = [prompt_ids(loaded.tokenizer, messages) for messages in conversations]
        fitting = [
            at for at, ids in enumerate(prompts) if not longest or len(ids) + generation.max_new_tokens <= longest
        ]
        found: list[str | None] = [None] * len(prompts)
        said = generate.generate(
            loaded.model, loaded.tokenizer, [prompts[at] for at in fitting], generation, seed=seed,
            batch_size=settings["batch_size"],
        )  # fmt: skip
        for at, answer in zip(fitting, said, strict=True):
            found[at] = answer.text
        return found

    return answers


def prompt_ids(tokenizer: Any, messages: list[Message]) -> list[int]:
    """Return the ids that a model reads before it answers."""
    if getattr(tokenizer, "chat_template", None):
        return chat.prompt_ids(tokenizer, messages)
    return list(tokenizer("\n\n".join(message["content"] for message in messages) + "\n")["input_ids"])
