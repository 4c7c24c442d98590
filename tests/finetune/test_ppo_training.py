"""Rollouts, updates and whole runs: exact at the first step, blind to batching, at the known optimum, resumable."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from ppo_world import even_tokens, make_base, make_reward, make_run, make_sft, trained

from finetune import chat, models
from finetune.generate import Answer
from finetune.ppo import checkpoint, prompts, rewards
from finetune.ppo.experience import Experience, Scale, final_scores, from_rollouts
from finetune.ppo.prompts import TokenPrompt
from finetune.ppo.rollout import Rollout
from finetune.ppo.settings import Method, Optimisation
from finetune.ppo.trainer import Ppo, rate_scale
from recipes.errors import UserError
from recipes.sections import Generation


@pytest.fixture(scope="module")
def sft(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = make_base(tiny_model_dir, tmp_path_factory.mktemp("base"))
    return make_sft(base, tmp_path_factory.mktemp("sft"))


@pytest.fixture(scope="module")
def reward(sft: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_reward(sft, tmp_path_factory.mktemp("reward"))


def experience_of(run: Ppo, count: int = 8) -> Experience:
    return from_rollouts(run.sampler.collect(run.prompts[:count], 3), run.method, 0.05, Scale())


def gradient(run: Ppo, experience: Experience, rows: Sequence[int]) -> torch.Tensor:
    run.updater._gradients(experience, rows, first=True)
    parameters = [value for group in run.updater.optimizer.param_groups for value in group["params"]]
    found = torch.cat([value.grad.flatten() for value in parameters])
    run.updater.optimizer.zero_grad()
    return found


# ---- rollouts


def test_before_any_step_ratios_are_one_and_kl_is_zero(sft: Path, reward: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path, sft, reward, generation=Generation(max_new_tokens=12, temperature=0.7))
    rollouts = run.sampler.collect(run.prompts, 0)
    for row in rollouts:
        assert row.reference == pytest.approx(row.answer.logprobs, abs=1e-5)
        assert len(row.values) == len(row.reference) == len(row.answer.ids)
    sums = run.updater._gradients(from_rollouts(rollouts, run.method, 0.05, Scale()), range(8), first=True)
    assert sums["largest_drift"] < 1e-5
    assert sums["clip_share"] == 0


def test_rollouts_do_not_depend_on_their_batch(sft: Path, reward: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path, sft, reward, training={"per_device_eval_batch_size": 8})
    rollouts = run.sampler.collect(run.prompts, 0)
    for row in rollouts:  # measured again, alone: no padding, no neighbours
        alone = Rollout(row.prompt, row.answer, 0.0)
        run.sampler._measure([alone], with_values=True)
        assert alone.reference == pytest.approx(row.reference, abs=1e-5)
        assert alone.values == pytest.approx(row.values, abs=1e-5)
        assert run.sampler.score([row.prompt], [row.answer])[0] == pytest.approx(row.score, abs=1e-5)


def test_scores_are_read_at_the_last_real_token(sft: Path, reward: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path, sft, reward)
    end = run.sampler.tokenizer.eos_token_id
    prompt = run.prompts[0]
    finished, cut = Answer([7, 8, end], [0.0] * 3, True, ""), Answer([7, 8, 9], [0.0] * 3, False, "")
    wanted = models.load_reward(str(reward)).score([[*prompt.ids, 7, 8, end], [*prompt.ids, 7, 8, 9]])
    assert run.sampler.score([prompt, prompt], [finished, cut]) == pytest.approx(wanted, abs=1e-5)


def test_a_pad_token_that_is_eos_changes_nothing(sft: Path, reward: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path, sft, reward)
    before = run.sampler.collect(run.prompts, 0)
    tokenizer = run.sampler.tokenizer
    tokenizer.pad_token = tokenizer.eos_token
    run.sampler.roles.model.config.pad_token_id = tokenizer.eos_token_id
    after = run.sampler.collect(run.prompts, 0)
    assert [row.answer for row in after] == [row.answer for row in before]
    assert [(row.score, row.values) for row in after] == [(row.score, row.values) for row in before]
    experience = from_rollouts(after, run.method, 0.05, Scale())
    assert [len(answer) for _, answer in experience.pairs] == experience.mask.sum(1).tolist()


def test_scores_are_normalised_then_clipped_then_penalised() -> None:
    rows = [
        Rollout(TokenPrompt([], [], {}), Answer([1], [0.0], finished, ""), score)
        for score, finished in ((1.0, True), (1.0, False), (9.0, True), (-9.0, False))
    ]
    method = Method(iterations=1, missing_eos_penalty=0.5, score_clip=2.0)
    assert final_scores(rows, method, Scale(mean=1.0, deviation=2.0)).tolist() == [0.0, -0.5, 2.0, -2.5]


def test_normalising_scores_moves_a_value_head_from_the_reward_model_along(
    sft: Path, reward: Path, tmp_path: Path
) -> None:
    run = make_run(tmp_path, sft, reward, value_function="reward", method={"normalize_score": True})
    before = [row.values for row in run.sampler.collect(run.prompts, 0)]
    run._begin()
    scale = run.state.scale
    assert scale.deviation > 0.01
    for old, row in zip(before, run.sampler.collect(run.prompts, 0), strict=True):
        assert row.values == pytest.approx([(value - scale.mean) / scale.deviation for value in old], abs=1e-4)


def test_prompts_are_dealt_in_whole_shuffles() -> None:
    dealt = [index for iteration in range(6) for index in prompts.deal(5, 3, iteration, 1)]
    assert sorted(dealt[:5]) == sorted(dealt[5:10]) == sorted(dealt[10:15]) == [0, 1, 2, 3, 4]
    assert dealt[:5] != dealt[5:10]
    assert prompts.deal(2, 7, 0, 1)  # a file smaller than a batch


# ---- update


@pytest.mark.parametrize("value_function", ["reward", "shared"])
def test_micro_batches_and_row_order_do_not_change_the_gradient(
    sft: Path, reward: Path, tmp_path: Path, value_function: str
) -> None:
    found = []
    for size, rows in ((8, range(8)), (3, range(8)), (1, reversed(range(8)))):
        run = make_run(
            tmp_path, sft, reward, value_function=value_function, training={"per_device_train_batch_size": size}
        )
        found.append(gradient(run, experience_of(run), list(rows)))
    assert found[0].abs().max() > 1e-3
    for other in found[1:]:
        assert (found[0] - other).norm() < 1e-5 * found[0].norm()


def test_the_gradient_is_that_of_the_mean_over_tokens(sft: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path, sft, None, value_function="shared", method={"vf_coef": 0.0})
    experience = experience_of(run)
    found = gradient(run, experience, range(8))
    plain = models.load(str(sft), trainable=True).model
    terms = []  # at ratio 1 the surrogate's gradient is -A grad log p; one row at a time, no batch, no padding
    for row, (prompt, answer) in enumerate(experience.pairs):
        logits = plain(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
        log_p = logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None]).squeeze(1)
        terms.append(-experience.advantages[row][: len(answer)] * log_p)
    torch.cat(terms).mean().backward()
    wanted = {name: value.grad for name, value in plain.named_parameters() if value.grad is not None}
    own = {name: None for name, _ in run.sampler.roles.model.named_parameters() if ".default." in name}
    assert set(own) == set(wanted)
    sizes = {id(value): name for name, value in run.sampler.roles.model.named_parameters()}
    order = [sizes[id(value)] for value in run.sampler.roles.policy_parameters()]
    flat = torch.cat([wanted[name].flatten() for name in order])
    assert torch.allclose(found[: len(flat)], flat, atol=1e-6)


def test_gradient_checkpointing_gives_the_same_weights(sft: Path, reward: Path, tmp_path: Path) -> None:
    found = []
    for checkpointing in (False, True):
        run = make_run(tmp_path / str(checkpointing), sft, reward, value_function="reward", checkpointing=checkpointing)
        assert run.sampler.roles.model.get_base_model().is_gradient_checkpointing is checkpointing
        run.train()
        found.append(trained(run))
    assert torch.allclose(found[0], found[1], atol=1e-5)


def test_training_stops_early_within_an_iteration_when_kl_runs_off(sft: Path, tmp_path: Path) -> None:
    method = {"num_ppo_epochs": 8, "iterations": 1}
    free = make_run(tmp_path / "free", sft, None, method=method)
    free.train()
    held = make_run(tmp_path / "held", sft, None, method=method | {"target_kl": 1e-3})
    held.train()
    rows = [json.loads((tmp_path / name / "log.jsonl").read_text()) for name in ("free", "held")]
    assert rows[0]["steps"] == 16
    assert 1 <= rows[1]["steps"] < 16


def test_a_policy_that_is_not_the_sampled_one_is_refused(sft: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path, sft, None)
    experience = experience_of(run)
    experience.log_probs.add_(0.01)
    with pytest.raises(UserError, match=r"log-probs of sampling and training differ by 0\.01 nats"):
        run.updater.update(experience, 0, 1.0)


def test_learning_rate_schedules() -> None:
    method = Method(iterations=10)

    def rates(**keys: Any) -> list[float]:
        training = Optimisation(learning_rate=1.0, **keys)
        return [round(rate_scale(iteration, method, training), 3) for iteration in range(10)]

    assert rates() == [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    assert rates(lr_scheduler_type="constant", warmup_ratio=0.2)[:4] == [0.333, 0.667, 1.0, 1.0]
    assert rates(lr_scheduler_type="cosine")[5] == 0.5


# ---- whole runs


@pytest.mark.parametrize("value_function", ["reward", "shared"])
def test_reward_rises(sft: Path, reward: Path, tmp_path: Path, value_function: str) -> None:
    run = make_run(
        tmp_path,
        sft,
        reward,
        score=even_tokens,
        value_function=value_function,
        method={"iterations": 25, "rollout_batch_size": 32, "kl_coef": 0.02},
        training={"save_steps": 100},
    )
    metrics = run.train()
    assert metrics["after"]["reward"] > metrics["before"]["reward"] + 0.15
    assert metrics["before"]["kl"] == pytest.approx(0, abs=1e-4)
    assert metrics["after"]["kl"] > 0.05
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 26))
    assert all(row["log_ratio_drift"] < 1e-4 for row in rows)


def test_an_adaptive_kl_coefficient_answers_the_measured_kl(sft: Path, tmp_path: Path) -> None:
    method = {"iterations": 4, "kl_coef": 0.1, "adaptive_kl_target": 1e-3, "adaptive_kl_horizon": 16}
    make_run(tmp_path, sft, None, method=method).train()
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["kl_coef"] for row in rows[:2]] == pytest.approx([0.1, 0.1 * 0.9])  # no KL before the first step
    for row, following in zip(rows, rows[1:], strict=False):
        error = min(0.2, max(-0.2, row["kl"] / 1e-3 - 1))
        assert following["kl_coef"] == pytest.approx(row["kl_coef"] * (1 + error * 8 / 16))


def test_a_cut_run_goes_on_bit_for_bit(sft: Path, reward: Path, tmp_path: Path) -> None:
    keys: dict[str, Any] = {
        "value_function": "reward",
        "method": {"iterations": 5, "rollout_batch_size": 8, "adaptive_kl_target": 0.05, "normalize_score": True},
        "training": {"save_steps": 2},
    }
    whole = make_run(tmp_path / "whole", sft, reward, **keys)
    wanted = whole.train()

    cut = make_run(tmp_path / "cut", sft, reward, **keys)
    saved = {}

    def die(state: int) -> None:
        if state == 4:
            raise KeyboardInterrupt

    original = cut._iterate

    def iterate() -> dict[str, float]:
        die(cut.state.iteration + 1)  # behind the checkpoint of iteration 2, with iteration 3 in the log
        return original()

    cut._iterate = iterate  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        cut.train()
    saved = checkpoint.load(tmp_path / "cut" / ".scratch")
    assert saved is not None
    assert saved["iteration"] == 2
    assert len((tmp_path / "cut" / "log.jsonl").read_text().splitlines()) == 3

    again = make_run(tmp_path / "cut", sft, reward, **keys)
    found = again.train()
    assert torch.equal(trained(again), trained(whole))
    for name in ("log.jsonl", "samples.jsonl"):
        assert (tmp_path / "cut" / name).read_text() == (tmp_path / "whole" / name).read_text()
    del wanted["time_share"], found["time_share"]
    assert found == wanted


def test_a_checkpoint_that_was_being_written_does_not_count(sft: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path, sft, None, method={"iterations": 2})
    run.train()
    folder = tmp_path / ".scratch"
    whole = (folder / checkpoint.NAME).read_bytes()
    (folder / f"{checkpoint.NAME}.new").write_bytes(whole[:100])
    stored = checkpoint.load(folder)
    assert stored is not None
    assert stored["iteration"] == 2
    shutil.rmtree(folder)
    assert checkpoint.load(folder) is None


# ---- rewards


def test_reward_functions(sft: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_rewards.py").write_text(
        "def length(prompt, answer, meta): return len(answer) + meta['bonus']\n"
        "def parts(prompt, answer, meta): return {'total': 0.5, 'polite': 1}\n"
        "def broken(prompt, answer, meta): return answer['text']\n"
        "number = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    prompt = TokenPrompt([1], [{"role": "user", "content": "Hello?"}], {"bonus": 2})
    answer = Answer([5], [0.0], True, "good")
    assert rewards.by_function("my_rewards:length", "reward_function")([prompt], [answer]) == [6.0]
    assert rewards.by_function("my_rewards:parts", "reward_function")([prompt], [answer]) == [0.5]
    with pytest.raises(UserError, match=r"broken failed with TypeError.*'Hello\?'.*'good'"):
        rewards.by_function("my_rewards:broken", "reward_function")([prompt], [answer])
    for name, what in (("my_rewards:number", "not a function"), ("my_rewards:gone", "cannot be imported")):
        with pytest.raises(UserError, match=what):
            rewards.by_function(name, "reward_function")


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_reward_that_is_no_number_stops_the_run(sft: Path, tmp_path: Path, bad: float) -> None:
    def score(asked: Sequence[TokenPrompt], answers: Sequence[Answer]) -> list[float]:
        return [0.0] * (len(answers) - 1) + [bad]

    run = make_run(tmp_path, sft, None, score=score)
    with pytest.raises(UserError, match=f"the reward is {bad} for the prompt"):
        run.train()


def test_a_separate_reward_model_reads_the_text_again(sft: Path, reward: Path, tmp_path: Path) -> None:
    """With the same tokenizer, rendering again gives the sampled tokens: so both ways must agree."""
    run = make_run(tmp_path, sft, reward)
    tokenizer = run.sampler.tokenizer
    messages = [{"role": "user", "content": "When does the blue poppy bloom?"}]
    prompt = TokenPrompt(chat.prompt_ids(tokenizer, messages), messages, {})
    words = tokenizer("In June.")["input_ids"]
    end = tokenizer.eos_token_id
    answers = [Answer([*words, end], [0.0], True, "In June."), Answer(words, [0.0], False, "In June.")]
    separate = rewards.by_model(models.load_reward(str(reward)), 8)([prompt] * 2, answers)
    assert separate == pytest.approx(run.sampler.score([prompt] * 2, answers), abs=1e-5)
    assert separate[0] != pytest.approx(separate[1], abs=1e-4)
