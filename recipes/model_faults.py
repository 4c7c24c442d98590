"""Mistakes in which weights are trained: sections that exclude each other, and names that the base does not have.

Looked for in every recipe that trains, so that no stage can forget it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from recipes import optimizers, trackers, weight_names
from recipes.finding import nearest
from recipes.sections import (
    Adapter,
    Fault,
    Freeze,
    InputPath,
    Key,
    Launch,
    Model,
    Section,
    StageRecipe,
    Training,
    shipped,
)

# Made new for a stage or tied, so that the base's files need not have them.
NEW_MODULES = {"lm_head", "score", "classifier", "qa_outputs", "embed_out"}

# What a stage cannot have that switches between LoRA adapters on one base.
LORA_ALONE = (
    ("adapter", "modules_to_save"),
    ("adapter", "loraplus_lr_ratio"),
    ("model", "quantization"),
    ("model", "freeze"),
)


def faults(recipe: StageRecipe) -> list[Fault]:
    """Return what is wrong with the model and adapter sections of a recipe that trains."""
    model, adapter = getattr(recipe, "model", None), getattr(recipe, "adapter", None)
    training = getattr(recipe, "training", None)
    found: list[Fault] = []
    if isinstance(training, Training):
        found += optimizers.faults(training, adapter)
        found += trackers.faults(("training", "report_to"), training.report_to)
        found += _alone(training, getattr(recipe, "launch", None))
        found += _unvalidated(training, getattr(recipe, "data", None))
    if not isinstance(model, Model) or not isinstance(training, Training):
        return found
    names = weight_names.of(model.model_name_or_path)
    found += _template(model.chat_template)
    found += _excluding(model, adapter)
    if isinstance(adapter, Adapter) and adapter.peft_type != "lora" and getattr(recipe, "tokenizer", None):
        what = f"{adapter.peft_type} trains no embeddings, which new tokens need"
        found.append(Fault(("adapter", "peft_type"), what, "write peft_type: lora, or leave the `adapter` section out"))
    if adapter is not None and names:
        found += _names(adapter, names)
    if model.freeze and names:
        found += _frozen(model.freeze, names)
    return found


def lora_alone(model: Model, adapter: Adapter) -> list[Fault]:
    """Return what a stage cannot have that switches between LoRA adapters on one base, as PPO's roles do."""
    found, kind = [], adapter.peft_type
    if kind != "lora":
        what = f"{kind} cannot be switched from role to role on one base"
        found.append(Fault(("adapter", "peft_type"), what, "write lora"))
    if adapter.init_lora_weights is not True:
        what = f"{adapter.init_lora_weights} moves the base, which the other roles stand on"
        found.append(Fault(("adapter", "init_lora_weights"), what, "leave it out"))
    what = "the roles share one whole base, and switch LoRA layers alone"
    given = [(name, key) for name, key in LORA_ALONE if getattr(model if name == "model" else adapter, key)]
    found += [Fault(key, what, "leave it out") for key in given]
    return [*found, *_names(adapter, weight_names.of(model.model_name_or_path))]


def _alone(training: Training, launch: Launch | None) -> Iterator[Fault]:
    """Yield what several processes cannot have."""
    if training.auto_find_batch_size and launch is not None and launch.num_processes > 1:
        what = f"true with {launch.num_processes} processes: one that runs out of memory leaves the others waiting"
        write = "leave it out, and write a smaller per_device_train_batch_size"
        yield Fault(("training", "auto_find_batch_size"), what, write)


def _unvalidated(training: Training, data: Section | None) -> Iterator[Fault]:
    """Yield choices by validations that never happen."""
    if getattr(data, "validation_file", "none asked for") is not None:
        return
    for key in ("early_stopping_patience", "load_best_model_at_end"):
        if value := getattr(training, key):
            what = f"{str(value).lower()}, and there are no validation rows to choose by"
            yield Fault(("training", key), what, "write data.validation_file, or leave it out")


def _template(template: str | None) -> Iterator[Fault]:
    """Yield a fault for a template file that is not there; names are looked at where the section is read."""
    if isinstance(template, InputPath) and not Path(template).is_file():
        what = f"{template} is not there"
        yield Fault(("model", "chat_template"), what, "write a file.jinja, or the name of a shipped template")


def _excluding(model: Model, adapter: Adapter | None) -> Iterator[Fault]:
    """Yield pairs of values that exclude each other."""
    if "bnb_4bit_use_double_quant" in model.model_fields_set and model.quantization not in ("nf4", "fp4"):
        what = "constants are quantised again in 4 bits only"
        yield Fault(("model", "bnb_4bit_use_double_quant"), what, "write model.quantization: nf4, or leave it out")
    if adapter is None:
        if (shipped(model.model_name_or_path) / "adapter_config.json").is_file():
            what = f"{model.model_name_or_path} is an adapter, and the recipe has no `adapter` section"
            write = "write `adapter: {}` to go on training that adapter, or start from a whole model"
            yield Fault(("model", "model_name_or_path"), what, write)
        elif model.quantization:
            what = f"a base in {model.quantization} cannot be trained itself"
            yield Fault(("model", "quantization"), what, "add an `adapter` section, or leave quantization out")
        return
    by_pattern = isinstance(adapter.target_modules, str) and adapter.target_modules != "all-linear"
    if adapter.layers_to_transform and by_pattern:
        what = "a regular expression picks its layers itself, so layers_to_transform has no say"
        write = "write target_modules as a list, or the layers into the expression"
        yield Fault(("adapter", "layers_to_transform"), what, write)
    key: Key = ("adapter", "init_lora_weights")
    start, bits = adapter.init_lora_weights, model.quantization
    if model.freeze:
        what = "beside an adapter the whole base is frozen"
        yield Fault(("model", "freeze"), what, "leave it out; adapter.modules_to_save names what is trained whole")
    if start == "loftq" and bits not in ("nf4", "fp4"):
        yield Fault(key, "loftq makes up for 4-bit quantisation", "write model.quantization: nf4, or another start")
    if adapter.moves_base and bits:
        what = f"{start} takes the first values out of the base, which {bits} would round anew"
        yield Fault(key, what, "write loftq (with nf4 or fp4) or true, or leave model.quantization out")
    if adapter.use_dora and bits == "int8":
        what = "DoRA needs the size of each weight, which int8 layers do not give before the first step"
        yield Fault(("adapter", "use_dora"), what, "write model.quantization: nf4, or use_dora: false")
    if start is not True and (shipped(model.model_name_or_path) / "adapter_config.json").is_file():
        what = f"{start}, but {model.model_name_or_path} is an adapter, which training goes on from"
        yield Fault(key, what, "leave the key out, or start from a whole model")


def _names(adapter: Adapter, names: dict[str, int]) -> Iterator[Fault]:
    """Yield names and layers of an adapter section that the base does not have."""
    modules = weight_names.modules(names)
    if adapter.peft_type == "prompt_tuning" or not modules:
        return
    yield from _targets(("adapter", "target_modules"), adapter.target_modules, modules)
    if adapter.exclude_modules:
        yield from _targets(("adapter", "exclude_modules"), adapter.exclude_modules, modules)
    if adapter.feedforward_modules:
        yield from _targets(("adapter", "feedforward_modules"), adapter.feedforward_modules, modules)
    whole = sorted({name.rsplit(".", 1)[0] for name in names} | NEW_MODULES)
    yield from _targets(("adapter", "modules_to_save"), adapter.modules_to_save or [], whole)
    yield from _patterns(adapter, modules)
    count = weight_names.layers(names)
    for index, layer in enumerate(adapter.layers_to_transform or ()):
        if not 0 <= layer < count:
            yield _no_layer(("adapter", "layers_to_transform", index), layer, count)


def _patterns(adapter: Adapter, modules: list[str]) -> Iterator[Fault]:
    """Yield patterns of other ranks and alphas that meet no module, as peft reads them."""
    tables: list[tuple[str, dict[str, int]]] = [
        ("rank_pattern", adapter.rank_pattern),
        ("alpha_pattern", adapter.alpha_pattern),
    ]
    for key, table in tables:
        for pattern in table:
            try:
                met = weight_names.searched(rf"(.*\.)?({pattern})", modules, whole=True)
            except re.error as error:
                what = f"{pattern!r} is no regular expression ({error})"
                yield Fault(("adapter", key), what, "write names such as q_proj")
                continue
            if not met:
                yield _not_there(("adapter", key), pattern, modules, f"the pattern {pattern!r} meets no module")


def _no_layer(key: Key, layer: int, count: int) -> Fault:
    return Fault(key, f"there is no layer {layer}", f"the base has layers 0 to {count - 1}: write some of these")


def _targets(key: Key, wanted: str | list[str], modules: list[str]) -> Iterator[Fault]:
    """Yield what meets no module, with what was probably meant."""
    if isinstance(wanted, str):
        if wanted == "all-linear":
            return
        try:
            met = weight_names.searched(wanted, modules, whole=True)
        except re.error as error:
            yield Fault(key, f"{wanted!r} is no regular expression ({error})", "write all-linear, or a list of names")
            return
        if not met:
            yield _not_there(key, wanted, modules, f"the pattern {wanted!r} meets no whole module name of the base")
        return
    for index, name in enumerate(wanted):
        if not any(module == name or module.endswith(f".{name}") for module in modules):
            yield _not_there((*key, index), name, modules, f"the base has no module {name}")


def _not_there(key: Key, name: str, modules: list[str], what: str) -> Fault:
    endings = weight_names.endings(modules)
    guess = nearest(name, endings)
    shown = ", ".join(endings[:12]) + (", ..." if len(endings) > 12 else "")
    return Fault(key, what, f"did you mean {guess}?" if guess else f"write names such as {shown}")


def _frozen(section: Freeze, names: dict[str, int]) -> Iterator[Fault]:
    """Yield layers and patterns of a freeze section that the base does not have."""
    count, numbers = weight_names.layers(names), section.layer_numbers()
    if section.layers and not numbers:
        write = "write the lower number first"
        yield Fault(("model", "freeze", "layers"), f"{section.layers} are no layers", write)
    for layer in sorted(numbers):
        if not 0 <= layer < count:
            yield _no_layer(("model", "freeze", "layers"), layer, count)
            break
    written: list[tuple[str, list[str]]] = [("modules", section.modules), ("unfreeze", section.unfreeze)]
    known = [*names, *(f"{name}.weight" for name in NEW_MODULES)]
    if (
        section.modules
        and not section.unfreeze
        and all(any(re.search(pattern, name) for pattern in section.modules) for name in known)
    ):
        what = "its patterns meet every weight, so nothing is left to train"
        yield Fault(("model", "freeze", "modules"), what, "freeze less, or name what is trained in unfreeze")
    for key, patterns in written:
        for index, pattern in enumerate(patterns):
            if not weight_names.searched(pattern, known):
                write = f"write a pattern that meets names such as {sorted(names)[len(names) // 2]}"
                yield Fault(("model", "freeze", key, index), f"{pattern!r} meets no weight of the base", write)
