"""Proximal policy optimisation: answers are sampled, scored, and those better than expected made likelier.

From an SFT model, against a reward model of `stage: reward` or a Python function, held to the SFT model by a price on
KL. One base in memory: policy, reference, reward and value are adapters and heads on it (see finetune/ppo). Leaves
out: training all weights (the reference would be a second model), pretraining gradients mixed in.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from data_prep import hooks
from data_prep.hooks import FUNCTION
from finetune import first_rows
from finetune.ppo.settings import Data, Method, Optimisation
from recipes import model_faults
from recipes.errors import UserError
from recipes.sections import Fault, Generation, Launch, Lora, Model, ModelRef, StageRecipe

if TYPE_CHECKING:
    from finetune.models import Loaded
    from finetune.ppo.rewards import Scorer
    from finetune.ppo.roles import RewardFiles, Roles


class Recipe(StageRecipe):
    """Proximal policy optimisation."""

    stage: Literal["ppo"] = "ppo"
    model: Model
    adapter: Lora = Field(default_factory=Lora)
    reward_model: ModelRef | None = Field(None, description="A `stage: reward` folder, or a classifier with one label.")
    reward_function: str | None = Field(
        None, pattern=FUNCTION, description="module:function of prompt messages, answer text, meta; returns a number."
    )
    gold_function: str | None = Field(
        None, pattern=FUNCTION, description="Such a function that only watches: is the true aim reached too?"
    )
    data: Data
    method: Method
    generation: Generation = Field(default_factory=Generation)
    training: Optimisation
    launch: Launch = Field(default_factory=Launch)

    def faults(self) -> list[Fault]:
        """Return pairs of values that exclude each other, and functions that are not there."""
        return [
            *model_faults.lora_alone(self.model, self.adapter),
            *self._reward_faults(),
            *self._sampling_faults(),
            *self._batch_faults(),
            *self._data_faults(),
        ]

    def _data_faults(self) -> list[Fault]:
        from data_prep.records import Prompt, parse

        def prompt(row: dict[str, Any], where: str) -> Prompt:
            try:
                return parse(row, Prompt)
            except ValueError as error:
                raise UserError(where, str(error), 'write rows like {"prompt": [messages], "meta": {}}') from None

        files = first_rows.files_of(self.data)
        return first_rows.faults(files, prompt)

    def _reward_faults(self) -> list[Fault]:
        found = []
        if (self.reward_model is None) == (self.reward_function is None):
            what = "neither is there" if self.reward_model is None else "both are there"
            found.append(Fault(("reward_model",), f"of reward_model and reward_function {what}", "write just one"))
        if self.reward_function and self.method.value_function == "reward":
            write = "write policy or shared, or leave the key out"
            found.append(Fault(("method", "value_function"), "reward, but there is no reward model", write))
        for key in ("reward_function", "gold_function"):
            name = getattr(self, key)
            if name and not hooks.exists(name.partition(":")[0]):
                write = "write module:function; the module may lie in the working folder"
                found.append(Fault((key,), f"{name}: there is no module {name.partition(':')[0]}", write))
        return found

    def _sampling_faults(self) -> list[Fault]:
        """PPO's ratio is exact only when answers come from the very distribution that is trained."""
        given = self.generation
        wrong = {"do_sample": not given.do_sample, "top_p": given.top_p < 1, "top_k": given.top_k > 0}
        write = {"do_sample": "write true", "top_p": "write 1.0", "top_k": "write 0"}
        what = "PPO has to sample from the whole distribution, or its probability ratios are wrong"
        return [Fault(("generation", name), what, write[name]) for name, bad in wrong.items() if bad]

    def _batch_faults(self) -> list[Fault]:
        method, size = self.method, self.method.rollout_batch_size
        found = []
        if method.num_mini_batches > size:
            what = f"{method.num_mini_batches}, more than the {size} answers of rollout_batch_size"
            found.append(Fault(("method", "num_mini_batches"), what, f"write at most {size}"))
        pieces, processes = -(-size // self.training.generation_batch_size), self.launch.num_processes
        if pieces % processes:
            what = f"the batch is sampled in {pieces} pieces, which {processes} processes cannot share evenly"
            write = f"write {-(-size // processes)}"
            found.append(Fault(("training", "generation_batch_size"), what, write))
        return found


def run(recipe: Recipe) -> None:
    """Train a policy with PPO; write its adapter."""
    from accelerate import Accelerator
    from transformers import set_seed

    from finetune import models
    from finetune.ppo import rollout, update
    from finetune.ppo.trainer import Ppo
    from recipes import artifact, launch

    with artifact.writing(recipe) as work:
        set_seed(recipe.seed)
        loaded = models.load(
            recipe.model.model_name_or_path,
            dtype=recipe.model.dtype,
            attn_implementation=recipe.model.attn_implementation,
            trust_remote_code=recipe.model.trust_remote_code,
            trainable=True,
        )
        models.add_adapter(loaded, recipe.adapter)
        accelerator = Accelerator(cpu=loaded.device.type == "cpu")
        launch.expect_world(accelerator.num_processes)
        pieces = -(-recipe.method.rollout_batch_size // recipe.training.generation_batch_size)
        rollout.refuse_uneven(pieces, accelerator.num_processes)
        roles, score = with_roles(recipe, loaded)
        prepare(loaded, recipe.training.gradient_checkpointing)
        prompts, held_out, left_out = read_data(recipe, loaded)
        work.metrics |= {"train_prompts": len(prompts), "left_out": left_out}
        gold = function_scorer(recipe.gold_function, "gold_function")
        sampler = rollout.Sampler(roles, loaded.tokenizer, recipe.generation, recipe.training, score, gold, accelerator)
        updater = update.Updater(roles, recipe.method, recipe.training, recipe.generation.temperature, accelerator)
        ppo = Ppo(recipe.method, recipe.training, sampler, updater, prompts, held_out, recipe.seed, work)
        work.metrics |= ppo.train()
        work.notes["base"] = models.base_note(loaded.base, recipe.output_dir)
        roles.leave_policy_only()
        if work.main:
            models.save(loaded.model, loaded.tokenizer, work.path)


def with_roles(recipe: Recipe, loaded: Loaded) -> tuple[Roles, Scorer]:
    """Put all roles on the loaded base, and return them with what scores answers."""
    from finetune import models
    from finetune.ppo import rewards
    from finetune.ppo import roles as ppo_roles

    size = recipe.training.per_device_eval_batch_size
    shared = reward_on_same_base(recipe, loaded)
    if recipe.method.value_function == "reward" and shared is None:
        what = "reward, but the reward model stands on another base than the policy"
        raise UserError("method.value_function", what, "write policy or shared, or leave the key out")
    value_function = recipe.method.value_function or ("reward" if shared else "policy")
    roles = ppo_roles.build(loaded, shared, value_function)
    if shared:
        return roles, rewards.by_role(roles, size)
    if recipe.reward_model:
        reward = models.load_reward(recipe.reward_model, dtype=recipe.model.dtype)
        return roles, rewards.by_model(reward, size)
    score = function_scorer(recipe.reward_function, "reward_function")
    assert score is not None
    return roles, score


def function_scorer(name: str | None, key: str) -> Scorer | None:
    """Return a scorer that calls `module:function`, or None without a name."""
    from finetune.ppo import rewards

    return rewards.by_function(name, key) if name else None


def reward_on_same_base(recipe: Recipe, loaded: Loaded) -> RewardFiles | None:
    """Return the reward model's files if it is an adapter on the policy's own base and reads the same tokens."""
    from pathlib import Path

    from finetune import models
    from finetune.ppo import roles as ppo_roles

    if recipe.reward_model is None:
        return None
    base, adapter = models.base_of(recipe.reward_model)
    if adapter is None or models.base_note(base, ".")["signature"] != models.base_note(loaded.base, ".")["signature"]:
        return None
    if not Path(base).is_dir() and base != loaded.base:  # two ids of the hub
        return None
    own = models.load_tokenizer(adapter)
    if own.chat_template != loaded.tokenizer.chat_template or own.get_vocab() != loaded.tokenizer.get_vocab():
        return None
    return ppo_roles.read_reward(Path(adapter))


def prepare(loaded: Loaded, gradient_checkpointing: bool) -> None:
    """Set the mode of the model: dropout is silenced, so only gradient checkpointing needs the training mode."""
    loaded.model.train(gradient_checkpointing)
    if gradient_checkpointing:
        loaded.model.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})


def read_data(recipe: Recipe, loaded: Loaded) -> tuple[list[Any], list[Any], dict[str, int]]:
    """Return training and held-out prompts, and what was left out and why.

    Raises:
        UserError: no prompt is left, or prompts with their answers do not fit the context.
    """
    from finetune.ppo.prompts import read_prompts

    context = getattr(loaded.model.config, "max_position_embeddings", None)
    wanted = recipe.data.max_prompt_length + recipe.generation.max_new_tokens
    if context and wanted > context:
        what = f"prompts of {recipe.data.max_prompt_length} and answers of {recipe.generation.max_new_tokens} tokens"
        write = f"write at most {context - recipe.generation.max_new_tokens}"
        raise UserError("data.max_prompt_length", f"{what} do not fit the context of {context}", write)
    left_out: Counter[str] = Counter()
    train = read_prompts(recipe.data.train_file, loaded.tokenizer, recipe.data.max_prompt_length, left_out)
    if not train:
        why = ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "the file is empty"
        raise UserError(recipe.data.train_file, f"no prompt is left ({why})", "give prompts, or allow longer ones")
    held_out = []
    if recipe.data.validation_file:
        held_out = read_prompts(recipe.data.validation_file, loaded.tokenizer, recipe.data.max_prompt_length, left_out)[
            : recipe.data.validation_prompts
        ]
    return train, held_out, dict(left_out)


def samples(recipe: Recipe, tokenizer: Any, left_out: Counter[str]) -> list[tuple[str, list[int], list[int]]]:
    """Return title and ids of each prompt, for `tuneloop show`; its answer is sampled, so nothing of it counts."""
    from finetune.ppo.prompts import read_prompts

    prompts = read_prompts(recipe.data.train_file, tokenizer, recipe.data.max_prompt_length, left_out)
    return [
        (f"prompt {number} (the answer is sampled)", one.ids, [0] * len(one.ids))
        for number, one in enumerate(prompts, 1)
    ]
