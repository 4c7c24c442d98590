"""What a PPO recipe says about data, method and optimisation. No torch here: a refused recipe must answer at once."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recipes.sections import InputPath, Section


class Data(Section):
    """Prompts: JSONL rows with `prompt` (messages that wait for an answer) and `meta`."""

    train_file: InputPath
    validation_file: InputPath | None = Field(None, description="Held-out prompts, answered before and after training.")
    validation_prompts: int = Field(128, ge=1, description="How many of the held-out prompts, at most.")
    max_prompt_length: int = Field(512, ge=1, description="Prompts of more tokens are left out, and counted.")


class Method(Section):
    """What is PPO's own; defaults from Ouyang et al. 2022 and Huang et al. 2024 where they agree."""

    iterations: int = Field(ge=1, description="How many batches are sampled; each is trained on for num_ppo_epochs.")
    rollout_batch_size: int = Field(128, ge=2, description="Answers an iteration, over all processes.")
    num_ppo_epochs: int = Field(4, ge=1)
    num_mini_batches: int = Field(1, ge=1, description="Optimiser steps an epoch.")
    cliprange: float = Field(0.2, gt=0, lt=1)
    cliprange_value: float | None = Field(0.2, gt=0, description="null: the value function is not clipped.")
    dual_clip: float | None = Field(None, gt=1, description="Bounds the loss of tokens with a negative advantage.")
    vf_coef: float = Field(0.1, ge=0)
    entropy_coef: float = Field(0.0, ge=0)
    gamma: float = Field(1.0, ge=0, le=1)
    lam: float = Field(0.95, ge=0, le=1)
    whiten_advantages: bool = True
    target_kl: float | None = Field(
        None, gt=0, description="Leave the rest of an iteration's steps out once KL(old || new) exceeds this, in nats."
    )
    kl_coef: float = Field(0.05, ge=0, description="Price of a nat of KL to the reference, in units of the score.")
    kl_estimator: Literal["k1", "k2", "k3"] = Field(
        "k1", description="k1: taken off the tokens' rewards (exact). k2, k3: a term of the loss, as in GRPO."
    )
    adaptive_kl_target: float | None = Field(
        None, gt=0, description="Steer kl_coef towards this KL to the reference, in nats an answer; null: fixed."
    )
    adaptive_kl_horizon: int = Field(10000, ge=1, description="Answers over which an adaptive kl_coef changes by 20 %.")
    missing_eos_penalty: float = Field(0.0, ge=0, description="Taken off the score of an answer that was cut.")
    normalize_score: bool = Field(
        False, description="Shift and scale scores so that the reference's answers have mean 0 and deviation 1."
    )
    score_clip: float | None = Field(None, gt=0, description="Scores are held within plus or minus this.")
    whiten_rewards: bool = Field(False, description="Scale the tokens' rewards of a batch to variance 1.")
    value_function: Literal["reward", "policy", "shared"] | None = Field(
        None,
        description="reward: an adapter of its own that starts as the reward model with its head; policy: one that "
        "starts as the policy, with a head of zeros; shared: a head on the policy's own adapter, half the work. "
        "null: reward where the reward model stands on the same base, else policy.",
    )


class Optimisation(Section):
    """Optimiser and batches; names of transformers' `TrainingArguments` where it has them."""

    learning_rate: float = Field(gt=0, le=1)
    value_learning_rate: float | None = Field(None, gt=0, le=1, description="null: as learning_rate.")
    lr_scheduler_type: Literal["linear", "cosine", "constant"] = Field("linear", description="Changes each iteration.")
    warmup_ratio: float = Field(0.0, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    adam_beta2: float = Field(0.999, gt=0, lt=1)
    adam_epsilon: float = Field(1e-5, gt=0, description="1e-5 and not 1e-8: Huang et al. 2024, detail 9.")
    max_grad_norm: float = Field(1.0, gt=0, description="For the policy's and the value function's gradient each.")
    per_device_train_batch_size: int = Field(
        32, ge=1, description="Answers in memory at once, with gradients; changes speed and memory, not the result."
    )
    per_device_eval_batch_size: int = Field(32, ge=1, description="Answers in memory at once, without gradients.")
    generation_batch_size: int = Field(128, ge=1, description="Answers sampled side by side.")
    gradient_checkpointing: bool = False
    logging_steps: int = Field(1, ge=1, description="Iterations between two lines on the terminal.")
    save_steps: int = Field(5, ge=1, description="Iterations between two checkpoints, to resume from.")
