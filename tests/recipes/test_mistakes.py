"""What bad input gets: every message word for word, all mistakes at once, exit code 2, nothing heavy imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recipes import existence
from recipes.errors import RecipeError
from recipes.load import examine, load

GOOD = """\
stage: letter
output_dir: runs/letter
text: hello
data:
  file: data/train.txt
"""


@pytest.fixture(autouse=True)
def files(workplace):
    Path("data").mkdir()
    Path("data/train.txt").write_text("some text")
    Path("data/empty.txt").write_text("")
    Path("empty").mkdir()
    Path("models/small").mkdir(parents=True)
    os.mkfifo("models/pipe")
    Path("models/small/config.json").write_text("{}")
    Path("models/nothing").mkdir()
    Path("models/nothing/readme.txt").write_text("x")
    return workplace


def said(text, *overrides):
    Path("r.yaml").write_text(text)
    return [str(problem) for problem in examine("r.yaml", overrides).problems]


def test_a_good_recipe_has_none():
    assert said(GOOD) == []
    assert load("r.yaml", ["times=2"]).times == 2


MISTAKES = {
    "a typo in a key": (
        "txet: x",
        "r.yaml:6: txet: there is no key `txet` at the top level; did you mean `text`?",
    ),
    "another tool's name for a key": (
        "training: {lr: 5e-7}",
        "r.yaml:6: training.lr: there is no key `lr` in `training`; did you mean `learning_rate`?",
    ),
    "a key of another section": (
        "keep: 0.3",
        "r.yaml:6: keep: there is no key `keep` at the top level; `keep` belongs under `data:`",
    ),
    "a key of the top level in a section": (
        "training: {learning_rate: 1e-4, times: 2}",
        "r.yaml:6: training.times: there is no key `times` in `training`; `times` belongs at the top level",
    ),
    "a misspelt key of another section": (
        "max_stepss: 3",
        "r.yaml:6: max_stepss: there is no key `max_stepss` at the top level; "
        "did you mean `max_steps`? It belongs under `training:`",
    ),
    "a key like no other": (
        "model: {model_name_or_path: models/small, colour: red}",
        "r.yaml:6: model.colour: there is no key `colour` in `model`; the keys here are model_name_or_path",
    ),
    "an argument of TrainingArguments": (
        "training: {learning_rate: 1e-4, adam_epsilon: 5}",
        "r.yaml:6: training.adam_epsilon: there is no key `adam_epsilon` in `training`; "
        "it is an argument of transformers' TrainingArguments: write it under `training: extra:`",
    ),
    "no argument of TrainingArguments": (
        "training: {learning_rate: 1e-4, extra: {neftune_noise: 5}}",
        "r.yaml:6: training.extra.neftune_noise: transformers' TrainingArguments has no argument `neftune_noise`; "
        "did you mean `neftune_noise_alpha`?",
    ),
    "our own key as an extra": (
        "training: {learning_rate: 1e-4, extra: {max_steps: 5}}",
        "r.yaml:6: training.extra.max_steps: `max_steps` cannot be set here; write `max_steps` directly under "
        "`training:`",
    ),
    "a missing key": (
        "training: {max_steps: 3}",
        "r.yaml:6: training.learning_rate: this key is required and missing; add `learning_rate: <a number>`",
    ),
    "a number in quotes": (
        'times: "8"',
        "r.yaml:6: times: '8' is not a whole number; write 8, without quotes",
    ),
    "a number with separators": (
        "times: 1_000",
        "r.yaml:6: times: '1_000' is not a whole number; write 1000",
    ),
    "a whole number written as a float": (
        "times: 1e3",
        "r.yaml:6: times: 1e3 is not a whole number; write 1000",
    ),
    "a text for a number": (
        "times: many",
        "r.yaml:6: times: 'many' is not a whole number; write 1",
    ),
    "a number for a text": (
        "kind: 7",
        "r.yaml:6: kind: 7 is none of the possible values; one of plain, fancy",
    ),
    "a wrong choice": (
        "kind: fancyy",
        "r.yaml:6: kind: 'fancyy' is none of the possible values; did you mean fancy? one of plain, fancy",
    ),
    "yes for true": (
        "training: {learning_rate: 1e-4, gradient_checkpointing: yes}",
        "r.yaml:6: training.gradient_checkpointing: 'yes' is not true or false; "
        "write true (YAML 1.2 knows no yes, no, on, off)",
    ),
    "a value for a section": (
        "model: models/small",
        "r.yaml:6: model: 'models/small' is not a section with keys; "
        "write its keys below it, indented: model_name_or_path",
    ),
    "out of range, above": (
        "launch: {num_processes: 0}",
        "r.yaml:6: launch.num_processes: 0 is not at least 1; write a number at least 1",
    ),
    "out of range, two bounds": (
        "training: {learning_rate: 5}",
        "r.yaml:6: training.learning_rate: 5 is not at most 1; write a number above 0 and at most 1",
    ),
    "not a finite number": (
        "training: {learning_rate: .inf}",
        "r.yaml:6: training.learning_rate: .inf is not a finite number; write <a number>",
    ),
    "a repeated key": (
        "text: again",
        "r.yaml:6: text: this key stands here twice (first in line 3: 'hello'); remove one of the two",
    ),
    "two values that exclude each other": (
        "kind: fancy\ntimes: 4",
        "r.yaml:7: times: fancy texts are written 3 times at most, not 4; write 3",
    ),
    "a tag": (
        "do: !!python/name:os.system x",
        "r.yaml:6: do: tags such as tag:yaml.org,2002:python/name:os.system are not used here; remove it",
    ),
    "a section whose keys need each other": (
        "training: {learning_rate: 1e-3, early_stopping_patience: 2}",
        "r.yaml:6: training: early_stopping_patience needs validations; write eval_steps",
    ),
    "an argument that a schedule does not take": (
        "training: {learning_rate: 1e-3, extra: {lr_scheduler_kwargs: {cycles: 2}}}",
        "r.yaml:6: training: extra.lr_scheduler_kwargs has cycles, which cosine does not take; write num_cycles, "
        "or leave it out",
    ),
    "a word for an empty list": (
        "training: {learning_rate: 1e-3, report_to: none}",
        "r.yaml:6: training.report_to: 'none' is not a list; write a list of tensorboard, wandb, mlflow, trackio, "
        "or [] for none of them",
    ),
    "one of a list, alone": (
        "training: {learning_rate: 1e-3, report_to: wandb}",
        "r.yaml:6: training.report_to: 'wandb' is not a list; write [wandb]",
    ),
    "a list that is too short": (
        "parts: []",
        "r.yaml:6: parts: [] has 0 entries; write at least 1",
    ),
    "a model that is not there": (
        "model: {model_name_or_path: models/smal}",
        "r.yaml:6: model.model_name_or_path: models/smal is not there; did you mean models/small?",
    ),
    "a folder without a model": (
        "model: {model_name_or_path: models/nothing}",
        "r.yaml:6: model.model_name_or_path: models/nothing holds no model (neither config.json nor "
        "adapter_config.json); write a folder that holds a model",
    ),
    "a folder of models": (
        "model: {model_name_or_path: models}",
        "r.yaml:6: model.model_name_or_path: models holds no model (neither config.json nor adapter_config.json); "
        "did you mean models/small?",
    ),
    "a file for a model": (
        "model: {model_name_or_path: models/small/config.json}",
        "r.yaml:6: model.model_name_or_path: models/small/config.json is a file, not a model's folder; "
        "write the folder it is in: models/small",
    ),
    "a hub id while offline": (
        "model: {model_name_or_path: org/name}",
        "r.yaml:6: model.model_name_or_path: org/name is not on this disk, and the hub is switched off "
        "(HF_HUB_OFFLINE=1); write a local folder, or download it first where there is a network: "
        "hf download org/name",
    ),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_one_mistake(kind):
    lines, message = MISTAKES[kind]
    assert said(GOOD + lines + "\n") == [message]


def test_a_mistake_of_the_recipe_as_a_whole():
    lines = GOOD.replace("text: hello", 'text: ""').replace("  file:", "  fiel: x\n  file:")
    assert said(lines + "kind: fancy\n") == [
        "r.yaml:5: data.fiel: there is no key `fiel` in `data`; did you mean `file`?"
    ]
    lines = GOOD.replace("text: hello", 'text: ""')
    assert said(lines + "kind: fancy\n") == ["r.yaml:1: a fancy text has letters; correct one of the values"]


FILES = {
    "missing": ("data/trian.txt", "data/trian.txt is not there; did you mean data/train.txt?"),
    "missing folder": ("dta/train.txt", "dta/train.txt is not there; did you mean data/train.txt?"),
    "like no other": ("data/q.jsonl", "data/q.jsonl is not there; in data there are empty.txt, train.txt"),
    "empty file": ("data/empty.txt", "data/empty.txt is an empty file; name a file with something in it"),
    "pipe": ("models/pipe", "models/pipe is a pipe or a device, not a file; name a file"),
    "empty folder": ("empty", "empty is an empty folder; name a folder with files in it"),
    "in the result": (
        "runs/letter/out.txt",
        "runs/letter/out.txt and output_dir (runs/letter) lie in each other; name another output_dir: a stage "
        "replaces its output_dir, so nothing that it reads may lie there",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_files(kind):
    value, message = FILES[kind]
    assert said(GOOD.replace("data/train.txt", value)) == [f"r.yaml:5: data.file: {message}"]


def test_an_input_that_a_neighbour_makes():
    Path("make.yaml").write_text("stage: letter\noutput_dir: runs/first\n")
    text = GOOD.replace("data/train.txt", "runs/first/out.txt")
    assert said(text) == ["r.yaml:5: data.file: runs/first/out.txt is not there; make it first: tuneloop run make.yaml"]


WHOLE = b'\x40\0\0\0\0\0\0\0{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}          ' + b"\0" * 8
DAMAGED = {
    "half of config.json": ("config.json", b'{"model_type": "lla', "is no JSON object; copy or download it again"),
    "half of the weights": (
        "model.safetensors",
        WHOLE[:-3],
        "has 77 bytes, and 80 belong there; copy or download it again",
    ),
    "no header": ("model.safetensors", b"hello", "has no header of safetensors; copy or download it again"),
    "a pointer": (
        "model.safetensors",
        b"version https://git-lfs.github.com/spec/v1",
        "is a pointer of Git LFS, not weights; run `git lfs pull` in its folder",
    ),
    "a shard": (
        "model.safetensors.index.json",
        b'{"weight_map": {"a": "model-00001-of-00002.safetensors"}}',
        "names model-00001-of-00002.safetensors, which is not there; copy the missing file in",
    ),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_model(kind):
    text = GOOD + "model: {model_name_or_path: models/small}\n"
    assert len(WHOLE) == 80
    Path("models/small/model.safetensors").write_bytes(WHOLE)
    assert said(text) == []
    name, content, message = DAMAGED[kind]
    Path("models/small", name).write_bytes(content)
    assert said(text) == [f"r.yaml:6: model.model_name_or_path: models/small/{name} {message}"]


def test_a_result_of_data_for_a_model():
    from recipes import artifact

    with artifact.writing(examine_good()) as work:
        (work.path / "out.txt").write_text("x")
    text = GOOD.replace("runs/letter", "runs/other") + "model: {model_name_or_path: runs/letter}\n"
    assert said(text) == [
        "r.yaml:6: model.model_name_or_path: runs/letter is the result of stage letter, which makes no model; "
        "name a model"
    ]


def examine_good():
    Path("good.yaml").write_text(GOOD)
    return load("good.yaml")


OUTPUTS = {
    "data": "data: this folder is not empty and is not the result of a stage (it has no manifest.json); "
    "name another output_dir, or move what is in it away",
    "data/train.txt": "data/train.txt: output_dir is a file; name a folder that is empty or not there yet",
    "data/train.txt/x": "data/train.txt/x: data/train.txt is a file; name another folder",
    ".": ". is not a folder to replace; name a folder of its own, runs/NAME say",
}


@pytest.mark.parametrize("folder", OUTPUTS)
def test_output_dir(folder, files):
    text = GOOD.replace("runs/letter", folder).replace("\ndata:\n  file: data/train.txt", "")
    found = [line.replace(f"{files}/", "") for line in said(text)]
    assert found == [f"r.yaml:2: output_dir: {OUTPUTS[folder]}"]


FORMS = {
    "empty": ("", "r.yaml: this recipe is empty; write at least `stage:`"),
    "a list": ("- stage: letter\n", "r.yaml:1: a recipe is a list of `key: value`; write those"),
    "tab": (
        "stage: letter\ndata:\n\tfile: x\n",
        "r.yaml:3: not YAML: found character that cannot start any token; indent with spaces, not tabs",
    ),
    "bracket": (
        "stage: [letter\noutput_dir: x\n",
        "r.yaml:2: not YAML: did not find expected ',' or ']'; check the indentation, the colons and the quotes there",
    ),
    "no stage": ("output_dir: x\n", None),
    "unknown stage": ("stage: leter\noutput_dir: x\n", None),
}


@pytest.mark.parametrize("form", FORMS)
def test_form(form):
    text, message = FORMS[form]
    found = said(text)
    assert len(found) == 1
    if form == "no stage":
        assert found[0].startswith("r.yaml:1: stage: this key is required and missing; add `stage: NAME`; there are ")
    elif form == "unknown stage":
        assert found[0].startswith("r.yaml:1: stage: there is no stage 'leter'; did you mean letter? There are ")
        assert "pipeline" in found[0] and "sft" in found[0]
    else:
        assert found == [message]


def test_not_text_and_not_there():
    Path("r.yaml").write_bytes(b"stage: \xff\xfe")
    assert [str(problem) for problem in examine("r.yaml").problems] == [
        "r.yaml: not UTF-8 at byte 7; save the file as UTF-8"
    ]
    assert str(examine("no.yaml").problems[0]) == "no.yaml: there is no such recipe; write the path of a YAML file"
    assert str(examine("data").problems[0]) == "data: this is a folder; write the path of a YAML file in it"


def test_all_at_once_in_the_order_of_lines():
    text = """\
stage: letter
output_dir: runs/letter
txet: a
times: 0
kind: plane
data:
  file: data/trian.txt
  keep: 1.5
model:
  model_name_or_path: org/name
"""
    found = said(text, "training.learnin_rate=1e-4", "seed=x")
    assert [line.split(": ")[0] for line in found] == [
        "r.yaml:3", "r.yaml:4", "r.yaml:5", "r.yaml:7", "r.yaml:8", "r.yaml:10",
        "override seed=x", "override training.learnin_rate=1e-4",
    ]  # fmt: skip
    with pytest.raises(RecipeError) as caught:
        load("r.yaml")
    assert caught.value.code == 2 and len(caught.value.problems) == 6


OVERRIDES = {
    "times=0": "override times=0: 0 is not at least 1; write a number at least 1",
    "tmes=2": "override tmes=2: there is no key `tmes` at the top level; did you mean `times`?",
    "data.fil=x": "override data.fil=x: there is no key `fil` in `data`; did you mean `file`?",
    "data.file=data/x.txt": "override data.file=data/x.txt: data/x.txt is not there; in data there are empty.txt, "
    "train.txt",
    "text.a=2": "override text.a=2: text is not a section that has keys; name a key that exists",
    "times": "override times: not of the form key=value; write key.sub=value",
    "times=[1": "override times=[1: not YAML: did not find expected ',' or ']'; check the indentation, the colons "
    "and the quotes there",
    "data={file: data/train.txt, keep: 2}": "override data={file: data/train.txt, keep: 2}: data.keep: 2 is not at "
    "most 1; write a number at least 0 and at most 1",
}  # fmt: skip


@pytest.mark.parametrize("override", OVERRIDES)
def test_override(override):
    assert said(GOOD, override) == [OVERRIDES[override]]


@pytest.mark.parametrize(
    "written, value",
    [
        ("5e-7", 5e-7),
        ("1e-4", 1e-4),
        ("2E-5", 2e-5),
        (".5", 0.5),
        ("1", 1),
        ("1.0e-3", 1e-3),
    ],
)
def test_numbers_are_numbers(written, value):
    Path("r.yaml").write_text(GOOD + f"training:\n  learning_rate: {written}\n")
    assert load("r.yaml").training.learning_rate == value


@pytest.mark.parametrize("written", ["no", "yes", "on", "off", "'5'", '"true"', "2020-01-01", "0b1", "1:30", "1_0"])
def test_texts_stay_texts(written):
    assert said(GOOD.replace("hello", written)) == []
    assert load("r.yaml").text == written.strip("'\"")


def test_no_value_is_changed():
    Path("r.yaml").write_text(GOOD + "times: 3\nseed: 9\n")
    recipe = load("r.yaml", ["data.keep=0.25", "data.more=[data/train.txt]"])
    assert (recipe.times, recipe.seed, recipe.text, recipe.data.keep) == (3, 9, "hello", 0.25)
    assert recipe.data.more == ["data/train.txt"]


def test_a_hub_that_does_not_answer_is_said_in_time(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the port that throws everything away: refused at once
    existence.hub_answer.cache_clear()
    text = GOOD + "model: {model_name_or_path: org/name}\n"
    assert said(text) == [
        "r.yaml:6: model.model_name_or_path: org/name is not on this disk, and the hub gave no answer in 3 s; "
        "write a local folder, or download it first where there is a network: hf download org/name"
    ]


def test_a_hub_model_in_the_cache_is_fine(monkeypatch, files):
    monkeypatch.setenv("HF_HUB_CACHE", str(files / "hub"))
    folder = files / "hub" / "models--org--name"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    assert said(GOOD + "model: {model_name_or_path: org/name}\n") == []


def test_a_refused_recipe_on_the_command_line(tuneloop):
    Path("r.yaml").write_text(GOOD + "txet: x\n")
    for command in ("run", "check", "show", "app"):
        result = tuneloop(command, "r.yaml")
        assert result.returncode == 2
        assert result.stdout == ""
        assert result.stderr == "r.yaml:6: txet: there is no key `txet` at the top level; did you mean `text`?\n"


def test_a_stage_of_another_floor(tuneloop, files):
    Path("r.yaml").write_text(GOOD)
    result = subprocess.run([sys.executable, "-m", "eval", "r.yaml"], capture_output=True, text=True, env=os.environ)
    assert result.returncode == 2
    assert result.stderr == (
        "r.yaml:1: stage: stage letter belongs to data_prep, not to eval; write: tuneloop run r.yaml\n"
    )


def test_check_of_a_good_recipe(tuneloop):
    Path("r.yaml").write_text(GOOD)
    result = tuneloop("check", "r.yaml")
    assert result.returncode == 0 and result.stderr == ""
    assert result.stdout.splitlines()[0] == "ok"
    assert "1 found" in result.stdout


def test_schema_knows_every_stage_and_refuses_unknown_keys(tuneloop):
    one = json.loads(tuneloop("schema", "letter").stdout)
    assert one["additionalProperties"] is False and "stage" in one["required"]
    every = json.loads(tuneloop("schema").stdout)
    assert {"letter", "novel", "sft", "pipeline"} <= set(every["properties"]["stage"]["enum"])
    references = [text for text in json.dumps(every).split('"') if text.startswith("#/$defs/")]
    assert references and all(text.removeprefix("#/$defs/") in every["$defs"] for text in references)
    assert "did you mean letter?" in tuneloop("schema", "leter").stderr
