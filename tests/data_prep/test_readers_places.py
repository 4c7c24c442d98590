"""Where documents come from: folders with traps in them, URLs, Hugging Face data sets; memory that does not grow."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow
import pytest
from pyarrow import parquet

from data_prep import readers
from data_prep.inputs import Input, documents_of, faults, units_of
from data_prep.readers import Skipped
from data_prep.records import Document
from recipes import existence, provenance, remote
from recipes.errors import UserError
from recipes.sections import DatasetRef, SourcePath, StageRecipe

ROOT = Path(__file__).parents[2]


def _found(size: int = 0, **keys: Any) -> list[Document | Skipped]:
    item = Input.model_validate(keys)
    return [found for unit in units_of(item, size) for found in documents_of(item, pickle.loads(pickle.dumps(unit)))]


def _ids(**keys: Any) -> list[str]:
    return [item.id for item in _found(**keys) if isinstance(item, Document)]


def test_an_input_is_a_path_or_a_data_set() -> None:
    for keys in ({}, {"path": "a", "dataset": "b"}):
        with pytest.raises(ValueError, match="an input has either a path or a dataset"):
            Input.model_validate(keys)


def test_patterns_choose_files(tmp_path: Path) -> None:
    for name in ("a.md", "b.txt", "drafts/c.md", "drafts/old/d.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text")
    where = {"path": str(tmp_path), "name": "x"}
    assert _ids(**where, include=["*.md"]) == ["x/a.md", "x/drafts/c.md", "x/drafts/old/d.md"]
    assert _ids(**where, include=["*.md"], exclude=["drafts/old/*"]) == ["x/a.md", "x/drafts/c.md"]
    assert _ids(**where, exclude=["drafts/*", "b.*"]) == ["x/a.md"]
    assert _ids(path=str(tmp_path / "a.md"), include=["*.txt"]) == []


def test_traps_in_a_folder(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "deep").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("outside")
    (tmp_path / "root2").mkdir()
    (tmp_path / "root2" / "near.txt").write_text("outside, under a name that begins alike")
    (root / "good.txt").write_text("Good.")
    (root / "inside.txt").symlink_to("good.txt")
    (root / "deep" / "up.txt").symlink_to("../../secret.txt")
    (root / "near.txt").symlink_to(tmp_path / "root2" / "near.txt")
    (root / "deep" / "loop").symlink_to(root)
    os.link(root / "good.txt", root / "twin.txt")
    os.mkfifo(root / "pipe.jsonl")
    with open(os.fsencode(root) + b"/caf\xe9.txt", "w") as file:
        file.write("A name in Latin-1.")
    with open(os.fsencode(root) + b"/caf\xe8.txt", "w") as file:
        file.write("Another.")
    assert _ids(path=str(root), name="x") == [
        "x/caf\\xe8.txt", "x/caf\\xe9.txt", "x/good.txt", "x/inside.txt", "x/twin.txt",
    ]  # fmt: skip
    assert {item.path: item.reason for item in _found(path=str(root)) if isinstance(item, Skipped)} == {
        "deep/loop": "symbolic link to a folder",
        "deep/up.txt": "symbolic link out of the folder",
        "near.txt": "symbolic link out of the folder",
        "pipe.jsonl": "not a regular file",
    }


def test_a_pipe_as_the_input_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jsonl")
    assert _found(path=str(tmp_path / "a.jsonl")) == [Skipped("a.jsonl", "not a regular file")]


def test_an_empty_folder_gives_nothing(tmp_path: Path) -> None:
    assert _found(path=str(tmp_path)) == []


def test_a_file_that_goes_or_changes_after_it_was_listed(tmp_path: Path) -> None:
    for name in ("a.txt", "b.parquet", "c.arrow", "d.docx", "e.warc", "f.txt"):
        (tmp_path / name).write_text("text")
    units = list(readers.units(str(tmp_path), 1))
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    os.mkfifo(tmp_path / "f.txt")
    found = [item for unit in units for item in readers.read_unit(unit, "x")]
    assert [item.reason for item in found if isinstance(item, Skipped)] == [
        *["cannot be opened: No such file or directory"] * 5,
        "not a regular file",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read")
def test_files_without_permission() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        for name in ("closed/a.txt", "b.txt", "c.txt"):
            Path(folder, name).parent.mkdir(exist_ok=True)
            Path(folder, name).write_text("text")
        os.chmod(Path(folder, "closed"), 0)
        os.chmod(Path(folder, "b.txt"), 0)
        script = (
            "import os, sys; from data_prep import readers; from data_prep.files import listing\n"
            "from data_prep.readers import text\n"
            "readers.modules(); os.setgid(65534); os.setuid(65534)\n"
            "print([getattr(item, 'reason', item) if hasattr(item, 'reason') else item.text for item in "
            "readers.read(__import__('pathlib').Path(sys.argv[1]))])"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, folder], cwd=ROOT, capture_output=True, text=True, check=True
        )
        os.chmod(Path(folder, "closed"), 0o755)
    denied = "Permission denied"
    assert done.stdout.strip() == str([f"cannot be opened: {denied}", "text", f"cannot be listed: {denied}"])


def test_a_folder_deeper_than_the_stack(tmp_path: Path) -> None:
    folder = Path(str(tmp_path) + "/d" * 1200)
    try:
        subprocess.run(["mkdir", "-p", str(folder)], check=True)
        (folder / "a.txt").write_text("text")
        assert len(_ids(path=str(tmp_path))) == 1
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)


def test_a_reader_that_fails_costs_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "odd.py").write_text(
        "SUFFIXES = ('.odd',)\ndef recognises(head):\n    return False\ndef read(path):\n    yield {}[1]\n"
    )
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.odd").write_text("x")
    (tmp_path / "raw" / "b.txt").write_text("text")
    monkeypatch.setattr(readers, "__path__", [*readers.__path__, str(tmp_path / "code")])
    readers.modules.cache_clear()
    try:
        assert [getattr(item, "reason", "") for item in _found(path=str(tmp_path / "raw"))] == [
            "the odd reader failed with KeyError", "",
        ]  # fmt: skip
    finally:
        readers.modules.cache_clear()


@pytest.fixture
def store() -> Iterator[Any]:
    """A store that is not on this disk."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def test_urls_are_listed_fetched_and_removed(store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    store.pipe("/corpus/b.jsonl", b'{"text": "One."}\n{"text": "Two."}\n')
    store.pipe("/corpus/a/c.txt", b"Three.")
    store.pipe("/corpus/.hidden/d.txt", b"hidden")
    store.pipe("/corpus/LICENSE", b"Apache License, Version 2.0")
    store.pipe("/corpus/z.png", b"\x89PNG\r\n")
    found = _found(1, path="memory://corpus", license="MIT")
    assert [(item.id, item.source, item.text) for item in found if isinstance(item, Document)] == [
        ("corpus/a/c.txt", "corpus/a", "Three."), ("corpus/b.jsonl#1", "corpus", "One."),
        ("corpus/b.jsonl#2", "corpus", "Two."),
    ]  # fmt: skip
    assert found[-1] == Skipped("z.png", "no reader for .png")
    assert _ids(path="memory://corpus/b.jsonl") == ["b.jsonl#1", "b.jsonl#2"]
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "e.txt").write_text("Four.")
    assert _ids(path=f"file://{tmp_path}/e.txt", name="x") == ["x"]
    units = list(readers.units("memory://corpus"))
    store.rm("/corpus/b.jsonl")
    gone = [item for unit in units if unit.relative == "b.jsonl" for item in readers.read_unit(unit, "x")]
    assert [item.path for item in gone if isinstance(item, Skipped)] == ["b.jsonl"]


def test_a_changed_store_is_another_content(store: Any) -> None:
    class Reads(StageRecipe):
        data: SourcePath

    recipe = Reads(stage="x", output_dir="y", data=SourcePath("memory://corpus"))
    (named,) = provenance.inputs_of(recipe)
    store.pipe("/corpus/a.txt", b"One.")
    first = provenance.absent_hash(named.path)
    assert provenance.absent_hash(named.path) == first
    store.pipe("/corpus/a.txt", b"Two.")
    assert provenance.absent_hash(named.path) != first


@pytest.mark.parametrize(
    ("url", "what", "write"),
    [
        ("memory://nothing", "there is nothing here", "correct the URL"),
        ("oss://bucket/a", "oss:// needs a package that is not installed", "pip install ossfs"),
        ("nonsense://a", "there is no protocol nonsense://", "one of "),
    ],
)
def test_urls_that_cannot_be_read(url: str, what: str, write: str) -> None:
    (fault,) = existence.faults([(("path",), SourcePath(url))], "runs/x", {}, {})
    assert what in fault.what and write in fault.write
    with pytest.raises(UserError, match=what.split("(")[0]):
        _found(path=url)


def test_a_store_that_does_not_answer_is_said_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    monkeypatch.setattr(remote, "PROBE_SECONDS", 0.2)
    monkeypatch.setattr(fsspec.implementations.memory.MemoryFileSystem, "exists", lambda *_: threading.Event().wait(20))
    (fault,) = existence.faults([(("path",), SourcePath("memory://a"))], "runs/x", {}, {})
    assert fault.what == "memory://a: cannot be listed (no answer in 0 s)"


def _save(folder: Path, count: int, shards: int) -> None:
    import datasets

    datasets.disable_progress_bars()
    rows = datasets.Dataset.from_dict({"text": [f"Row {n}." for n in range(count)], "n": list(range(count))})
    datasets.DatasetDict({"train": rows, "test": rows.select([0])}).save_to_disk(
        folder, num_shards={"train": shards, "test": 1}
    )


def test_saved_data_sets(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    _save(folder, 10, 2)
    found = _found(dataset=str(folder))
    assert [item.text for item in found if isinstance(item, Document)] == [f"Row {n}." for n in range(10)]
    assert _ids(dataset=str(folder), split="test") == ["set/data-00000-of-00001.arrow#1"]
    wrong = Input.model_validate({"dataset": str(folder), "columns": {"text": "body"}})
    assert [fault.what for fault in faults(wrong, ())] == [f"{folder} has no column body"]
    nowhere = Input.model_validate({"dataset": str(folder), "split": "dev"})
    assert [(fault.key, fault.what) for fault in faults(nowhere, ())] == [
        (("split",), f"{folder}: there is no split dev")
    ]
    assert len(found) == 10 and len(_found(path=str(folder))) == 11  # a path is all of it, and nothing is skipped
    with pytest.raises(UserError, match="there is no split dev; one of test, train"):
        _found(dataset=str(folder), split="dev")
    state = json.loads((folder / "train" / "state.json").read_text())
    state["_data_files"] = [{"filename": "../../secret.arrow"}, {"filename": "data-00001-of-00002.arrow"}]
    (folder / "train" / "state.json").write_text(json.dumps(state))
    shutil.copy(folder / "test" / "data-00000-of-00001.arrow", tmp_path / "secret.arrow")
    assert len(_found(dataset=str(folder))) == 5


def test_data_sets_of_the_hub_are_streamed_by_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "datasets--org--set"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    data = folder / "snapshots" / "abc" / "data"
    data.mkdir(parents=True)
    for shard in range(3):
        table = pyarrow.table({"body": [f"{shard} {row}" for row in range(2)], "picture": [b"x"] * 2})
        parquet.write_table(table, data / f"train-0000{shard}-of-00003.parquet")
    assert list(existence.faults([(("dataset",), DatasetRef("org/set"))], "runs/x", {}, {})) == []
    found = _found(dataset="org/set")
    assert [(item.id, item.text) for item in found if isinstance(item, Document)] == [
        (f"set/train-0000{shard}#{row + 1}", f"{shard} {row}") for shard in range(3) for row in range(2)
    ]
    assert found == _found(dataset="org/set", size=1)
    with pytest.raises(UserError, match="org/set: cannot be loaded"):
        _found(dataset="org/set", split="dev")
    (data / "train-00001-of-00003.parquet").write_bytes(b"PAR1 damaged")
    reasons = [item.reason for item in _found(dataset="org/set") if isinstance(item, Skipped)]
    assert len(reasons) == 1 and reasons[0].startswith("cannot be streamed (")


def test_a_data_set_that_cannot_be_had(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}")
    said = {}
    for name in ("org/nothing", str(tmp_path / "a.jsonl"), "./nowhere/set"):
        (fault,) = existence.faults([(("dataset",), DatasetRef(name))], "runs/x", {}, {})
        said[name] = f"{fault.what}; {fault.write}"
        with pytest.raises(UserError):
            _found(dataset=name)
    assert said["org/nothing"] == (
        "org/nothing is not on this disk, and the hub is switched off (HF_HUB_OFFLINE=1); write a local folder, or "
        "download it first where there is a network: hf download --repo-type dataset org/nothing"
    )
    assert "is a file, not a data set's folder; write path: " in said[str(tmp_path / "a.jsonl")]
    assert said["./nowhere/set"].startswith("./nowhere/set is not there")


MEASURE = """
import json, sys
from pathlib import Path
from data_prep import readers
def anonymous():
    return int(next(line for line in open('/proc/self/status') if line.startswith('RssAnon')).split()[1]) // 1024
peaks = {}
for path in sys.argv[1:]:
    peak = count = 0
    for item in readers.read(Path(path)):
        assert type(item).__name__ == 'Document', item
        count += 1
        if count % 200 == 0:
            peak = max(peak, anonymous())
    peaks[path] = (count, peak)
print(json.dumps(peaks))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_flat_over_files_ten_times_as_big(tmp_path: Path) -> None:
    paths = [path for make in MAKERS for path in (make(tmp_path, 2), make(tmp_path, 20))]
    done = subprocess.run([sys.executable, "-c", MEASURE, *map(str, paths)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    peaks = json.loads(done.stdout)
    for small, big in zip(paths[::2], paths[1::2], strict=True):
        assert peaks[str(big)][0] == 10 * peaks[str(small)][0]
        assert peaks[str(big)][1] - peaks[str(small)][1] < 6, (big.name, peaks)  # MiB; the files differ by 18 MB


TEXT = "The silver fern grows in the rock house and wants water every two days. " * 14  # about 1 kB


def _lines(folder: Path, size: int) -> Path:
    path = folder / f"{size}.jsonl"
    path.write_text(f'{{"text": "{TEXT}"}}\n' * 1000 * size)
    return path


def _array(folder: Path, size: int) -> Path:
    path = folder / f"{size}.json"
    path.write_text("[" + ",".join([f'{{"text": "{TEXT}"}}'] * 1000 * size) + "]")
    return path


def _csv(folder: Path, size: int) -> Path:
    path = folder / f"{size}.csv"
    path.write_text("n,text\n" + f'1,"{TEXT}\n"\n' * 1000 * size)
    return path


def _mbox(folder: Path, size: int) -> Path:
    path = folder / f"{size}.mbox"
    path.write_text(f"From a@b Mon Jan  1 10:00:00 2024\nSubject: x\n\n{TEXT}\n\n" * 1000 * size)
    return path


def _warc(folder: Path, size: int) -> Path:
    path = folder / f"{size}.warc"
    record = (
        "WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Record-ID: <urn:uuid:2>\r\nContent-Type: text/plain\r\n"
        f"Content-Length: {len(TEXT)}\r\n\r\n{TEXT}\r\n\r\n"
    )
    path.write_text(record * 1000 * size, newline="")
    return path


def _table(size: int) -> pyarrow.Table:
    return pyarrow.table({"text": [f"{number} {TEXT}" for number in range(1000 * size)]})


def _parquet(folder: Path, size: int) -> Path:
    path = folder / f"{size}.parquet"
    parquet.write_table(_table(size), path, use_dictionary=False, compression="none")  # one row group
    return path


def _arrow(folder: Path, size: int) -> Path:
    path = folder / f"{size}.arrow"
    table = _table(size)
    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table, max_chunksize=1000)
    return path


MAKERS = (_lines, _array, _csv, _mbox, _warc, _parquet, _arrow)
