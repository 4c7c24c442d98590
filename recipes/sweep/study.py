"""The study: which configurations were tried and what came out, in SQLite through Optuna.

Whatever is known of a trial is written before the next thing happens, so a sweep that is killed finds its place again:
a trial that Optuna holds for running is one that was cut. The sampler is made anew for each trial from the sweep's
seed and the trial's number: a restarted search draws what the uninterrupted one would have drawn.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes import artifact, provenance
from recipes.errors import UserError
from recipes.hashing import text_hash
from recipes.load import Examined
from recipes.stages.sweep import Recipe
from recipes.sweep import space

if TYPE_CHECKING:
    import optuna

FILE = "study.db"
REASON = "reason"
IDENTITY = "identity"
FEW = 8  # with fewer trials than this, importances are noise


def opened(recipe: Recipe, base: Examined) -> optuna.Study:
    """Return the study in the sweep's folder, a new one where there is none.

    Raises:
        UserError: optuna is not installed, or the folder holds a sweep of something else.
    """
    optuna = imported()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    file = Path(recipe.output_dir).absolute() / FILE
    storage = optuna.storages.RDBStorage(f"sqlite:///{file}", engine_kwargs={"connect_args": {"timeout": 60}})
    study = optuna.create_study(
        storage=storage, study_name="sweep", direction=recipe.direction, load_if_exists=True, pruner=pruner(recipe)
    )
    _same_sweep(study, recipe, base)
    return study


def imported() -> Any:
    """Return the library.

    Raises:
        UserError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise UserError("tuneloop sweep", "optuna is not installed", "write: pip install optuna") from None
    return optuna


def _same_sweep(study: optuna.Study, recipe: Recipe, base: Examined) -> None:
    """Refuse to put trials of another recipe, data or space into one table."""
    now = identity(recipe, base)
    before = study.user_attrs.get(IDENTITY)
    if before is None:  # new, or killed before this was written
        study.set_user_attr(IDENTITY, now)
        return
    changed = [name for name in now if before.get(name) != now[name]]
    if changed:
        if "space" in changed and "recipe" in changed:  # which keys are left to the recipe depends on the space
            changed.remove("recipe")
        raise UserError(
            recipe.output_dir,
            f"the sweep in this folder was of another {', '.join(changed)}; its trials do not compare with new ones",
            "name another output_dir, or remove this folder",
        )


def identity(recipe: Recipe, base: Examined) -> dict[str, str]:
    """Return what makes trials comparable, hashed where it is long."""
    assert base.recipe is not None
    values = provenance.resolved(base.recipe)
    for name in ("output_dir", "seed", *recipe.space):  # what differs from trial to trial
        _drop(values, name.split("."))
    parts: dict[str, Any] = {
        "recipe": values,
        "data": artifact.input_hashes(base.recipe),
        "space": {name: one.model_dump(mode="json") for name, one in recipe.space.items()},
    }
    hashed = {name: text_hash(json.dumps(value, sort_keys=True)) for name, value in parts.items()}
    return hashed | {"metric": recipe.metric, "direction": recipe.direction}


def _drop(values: Any, key: list[str]) -> None:
    for part in key[:-1]:
        values = values.get(part) if isinstance(values, dict) else None
    if isinstance(values, dict):
        values.pop(key[-1], None)


def sampler(recipe: Recipe, number: int) -> Any:
    """Return the sampler for one trial."""
    optuna = imported()
    seed = zlib.crc32(f"{recipe.seed}/{number}".encode())
    if recipe.sampler == "tpe":
        return optuna.samplers.TPESampler(n_startup_trials=recipe.n_startup_trials, seed=seed)
    return optuna.samplers.RandomSampler(seed=seed)


def pruner(recipe: Recipe) -> Any:
    """Return what says of a running trial whether to go on with it."""
    pruners = imported().pruners
    if recipe.pruner == "median":
        return pruners.MedianPruner(n_startup_trials=recipe.n_startup_trials, n_warmup_steps=recipe.n_warmup_steps)
    return pruners.HyperbandPruner() if recipe.pruner == "hyperband" else pruners.NopPruner()


def frozen(study: optuna.Study, *names: str) -> list[Any]:
    """Return the trials in these states (running, waiting, complete, pruned, fail), by number."""
    states = tuple(imported().trial.TrialState[name.upper()] for name in names)
    return list(study.get_trials(deepcopy=False, states=states))


def next_trial(study: optuna.Study, recipe: Recipe, active: set[int]) -> Any:
    """Return the trial to work on next, with its values: one that was cut, else a new one; None when all are begun."""
    distributions = space.distributions(recipe.space, space.target_class(recipe))
    cut = next((one for one in frozen(study, "running") if one.number not in active), None)
    if cut:
        trial = imported().trial.Trial(study, cut._trial_id)
    else:
        if not frozen(study, "waiting"):
            if len(study.get_trials(deepcopy=False)) >= recipe.wanted:
                return None
            # In one step: there is no trial with half of its values, whenever this process is killed.
            study.enqueue_trial(_drawn(study, recipe, distributions))
        trial = study.ask()
    for name, distribution in distributions.items():
        trial._suggest(name, distribution)
    return trial


def _drawn(study: optuna.Study, recipe: Recipe, distributions: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a new trial, drawn in a copy of the study in memory."""
    every = study.get_trials(deepcopy=False)
    if not recipe.space:
        return {}
    if recipe.sampler == "grid":
        return space.stored(recipe.space, space.grid(recipe.space, space.target_class(recipe))[len(every)])
    copy = imported().create_study(direction=recipe.direction, sampler=sampler(recipe, len(every)))
    copy.add_trials(every)
    return dict(copy.ask(distributions).params)


def intermediate(trial: Any) -> dict[int, float]:
    """Return what a trial has reported so far, by step."""
    return dict(trial.study._storage.get_trial(trial._trial_id).intermediate_values)


def told(
    study: optuna.Study, trial: Any, *, value: float | None = None, reason: str = "", pruned: bool = False
) -> None:
    """Write how a trial ended: with a value, stopped, or failed for a reason."""
    states = imported().trial.TrialState
    if reason:
        trial.set_user_attr(REASON, reason)
    state = states.PRUNED if pruned else states.FAIL if value is None else states.COMPLETE
    study.tell(trial.number, value, state=state)


def importances(study: optuna.Study) -> dict[str, float]:
    """Return the share of each key in how much the metric varies; nothing where too few trials say so."""
    done = [one for one in frozen(study, "complete") if one.value is not None]
    if len(done) < FEW or len({one.value for one in done}) < 2:
        return {}
    try:
        return dict(imported().importance.get_param_importances(study))
    except (ValueError, RuntimeError):  # all trials alike in their keys, say
        return {}


def repeat_failures(study: optuna.Study) -> dict[str, str]:
    """Return why repetitions with another seed failed, by the trial's folder."""
    return dict(study.user_attrs.get("repeat_failures", {}))


def note_repeat_failure(study: optuna.Study, folder: str, reason: str) -> None:
    """Remember that a repetition failed: it is not tried again."""
    study.set_user_attr("repeat_failures", repeat_failures(study) | {folder: reason})


def best_first(study: optuna.Study, recipe: Recipe) -> Iterator[Any]:
    """Yield the complete trials, the best value first."""
    done = [one for one in frozen(study, "complete") if one.value is not None]
    yield from sorted(done, key=lambda one: (one.value if recipe.direction == "minimize" else -one.value, one.number))
