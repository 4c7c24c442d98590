"""A result is there whole or not at all, whenever the run is killed; manifests, hashes, locks, resumption."""

import errno
import json
import os
import signal
import time
from pathlib import Path
from typing import Literal

import pytest

from recipes import artifact, publish
from recipes.artifact import matches, read, writing
from recipes.errors import UserError
from recipes.hashing import file_hash, folder_hash
from recipes.sections import InputPath, ModelRef, StageRecipe


class Recipe(StageRecipe):
    stage: Literal["letter"] = "letter"
    output_dir: str = "runs/letter"
    text: str = "a"
    file: InputPath | None = None
    model: ModelRef | None = None


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(recipe, also=None):
    with writing(recipe) as work:
        (work.path / "deep").mkdir(exist_ok=True)
        for number in range(3):
            (work.path / "deep" / f"{number}.txt").write_text(recipe.text * (number + 1))
        (work.path / "report.html").write_text(str(time.time()))
        work.volatile.add("report.html")
        (work.scratch / "checkpoint").write_text("half way")
        work.metrics["letters"] = len(recipe.text)
        if also:
            also(work)
    return read(recipe.output_dir)


def assert_whole(folder):
    """Check every byte of a result; return the text it was made with."""
    manifest = read(folder)
    assert {name: file_hash(Path(folder) / name) for name in manifest.files} == manifest.files
    assert sorted(path.name for path in Path(folder).iterdir()) == ["deep", "manifest.json", "report.html"]
    return (Path(folder) / "deep" / "0.txt").read_text()


def test_manifest_says_what_the_result_came_from():
    Path("in.txt").write_text("input")
    manifest = write(Recipe(file="in.txt", seed=7))
    assert manifest.recipe == {
        "stage": "letter", "output_dir": "runs/letter", "seed": 7, "text": "a", "file": "in.txt", "model": None,
    }  # fmt: skip
    assert manifest.inputs["file"]["path"] == "in.txt"
    assert manifest.inputs["file"]["content"] == file_hash("in.txt")
    assert manifest.inputs["file"]["stage"] is None
    assert manifest.metrics == {"letters": 1}
    assert manifest.seed == 7 and manifest.processes == 1 and not manifest.resumed
    assert manifest.libraries["transformers"] and manifest.machine["python"]
    assert manifest.peak_memory > 1e6 and manifest.seconds >= 0 and len(manifest.source) == 64
    assert sorted(manifest.files) == ["deep/0.txt", "deep/1.txt", "deep/2.txt", "report.html"]
    assert not Path("runs/letter/.scratch").exists() and not Path("runs/letter.partial").exists()


def test_equal_results_have_equal_content_whatever_the_time():
    first = write(Recipe(output_dir="runs/1"))
    time.sleep(0.01)
    second = write(Recipe(output_dir="runs/2"))
    assert first.files["report.html"] != second.files["report.html"]
    assert first.content == second.content
    assert first.fingerprint == second.fingerprint
    assert write(Recipe(output_dir="runs/3", text="b")).content != first.content


def test_content_hash_of_a_result_of_its_parts_and_of_plain_files():
    manifest = write(Recipe())
    assert artifact.content_hash("runs/letter") == manifest.content
    assert artifact.content_hash("runs/letter/deep/1.txt") == file_hash("runs/letter/deep/1.txt")
    Path("copy").mkdir()
    for number in range(3):
        (Path("copy") / f"{number}.txt").write_text("a" * (number + 1))
    assert artifact.content_hash("runs/letter/deep") == artifact.content_hash("copy")
    assert artifact.owner("runs/letter/deep/1.txt").stage == "letter"
    assert artifact.owner("copy") is None
    assert artifact.read("copy") is None


def test_a_changed_result_is_refused_as_an_input():
    write(Recipe())
    Path("runs/letter/deep/1.txt").write_text("longer than before")
    with pytest.raises(UserError, match=r"deep/1.txt: this file of a finished letter stage was changed"):
        artifact.content_hash("runs/letter")


def test_matches_until_recipe_or_input_changes():
    Path("in.txt").write_text("input")
    recipe = Recipe(file="in.txt")
    assert not matches(recipe)
    write(recipe)
    assert matches(recipe)
    assert not matches(Recipe(file="in.txt", seed=1))
    Path("in.txt").write_text("other")
    assert not matches(recipe)


def test_matches_follows_a_hub_model_by_its_commit(monkeypatch, here):
    monkeypatch.setenv("HF_HUB_CACHE", str(here / "hub"))
    recipe = Recipe(model="org/name")
    write(recipe)

    def fetch(commit):
        folder = here / "hub" / "models--org--name"
        (folder / "refs").mkdir(parents=True, exist_ok=True)
        (folder / "refs" / "main").write_text(commit)
        (folder / "snapshots" / commit).mkdir(parents=True)

    fetch("c1")
    assert matches(recipe)  # its first run had to download it: that does not make it another model
    write(recipe)
    assert read("runs/letter").inputs["model"]["revision"] == "c1"
    fetch("c2")
    assert not matches(recipe)


def test_a_former_result_is_kept():
    first = write(Recipe())
    write(Recipe(text="b"))
    assert assert_whole("runs/letter") == "b"
    assert assert_whole(f"runs/.previous/letter-{first.content[:12]}") == "a"


def test_an_interrupted_run_goes_on_and_another_recipe_does_not_lose_it():
    def stop(work):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        write(Recipe(), stop)
    assert not Path("runs/letter").exists()
    assert Path("runs/letter.partial/.scratch/checkpoint").exists()
    write(Recipe(text="b"), lambda work: assert_fresh(work))
    assert assert_whole("runs/letter") == "b"
    seen = []
    write(Recipe(), lambda work: seen.append(work.resumed))  # back to the first: its work folder had been put aside
    assert seen == [True]
    assert read("runs/letter").resumed


def assert_fresh(work):
    assert not work.resumed and list(work.scratch.iterdir()) == [work.scratch / "checkpoint"]


OPERATIONS = ("rename", "replace", "fsync", "unlink", "rmdir", "mkdir", "open", "ftruncate")


def killed_at(moment, recipe, monkeypatch):
    """Write a result in a child that is killed before its `moment`-th disk operation; return whether it was."""
    child = os.fork()
    if child == 0:
        count = 0

        def counted(function):
            def call(*arguments, **named):
                nonlocal count
                count += 1
                if count == moment:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*arguments, **named)

            return call

        for name in OPERATIONS:
            setattr(os, name, counted(getattr(os, name)))
        publish.exchange = counted(publish.exchange)
        if not matches(recipe):
            write(recipe)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("swap", [True, False])
def test_a_kill_at_any_moment_leaves_the_old_result_or_the_new_one(monkeypatch, swap):
    if not swap:  # a system without renameat2: two renames, with a gap in which neither is in place
        monkeypatch.setattr(publish, "exchange", lambda one, other: False)
    moment, gaps, seen = 0, 0, set()
    while True:
        moment += 1
        name = f"runs/{moment}/letter"
        old, new = Recipe(output_dir=name, text="a"), Recipe(output_dir=name, text="b")
        former = write(old)
        killed = killed_at(moment, new, monkeypatch)
        if Path(name).exists():
            seen.add(assert_whole(name))
        else:
            gaps += 1
        if not matches(new):  # the same command again
            write(new)
        assert assert_whole(name) == "b"
        assert assert_whole(f"runs/{moment}/.previous/letter-{former.content[:12]}") == "a"
        assert not Path(f"{name}.partial").exists()
        if not killed:
            break
    assert moment > 25 and seen == {"a", "b"}
    assert gaps == (0 if swap else 1)


def test_a_kill_after_the_manifest_costs_no_second_run():
    """What was whole is published at the next start, not computed again."""
    child = os.fork()
    if child == 0:
        publish.put = lambda *arguments: os._exit(9)
        write(Recipe())
    os.waitpid(child, 0)
    assert not Path("runs/letter").exists()
    assert matches(Recipe())
    assert assert_whole("runs/letter") == "a"


def test_the_lock_names_the_other_process_and_ends_with_it():
    reading, writing_end = os.pipe()
    child = os.fork()
    if child == 0:
        with publish.lock(Path("runs/letter").resolve()):
            os.write(writing_end, b"x")
            time.sleep(60)
    os.read(reading, 1)
    with pytest.raises(UserError, match=rf"another run \(process {child}\) is writing this folder now"):
        write(Recipe())
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    write(Recipe())


def test_a_forked_worker_does_not_keep_the_lock():
    reading, writing_end = os.pipe()
    with publish.lock(Path("runs/letter").resolve()):
        child = os.fork()
        if child == 0:
            os.write(writing_end, b"x")
            time.sleep(60)
            os._exit(0)
        os.read(reading, 1)
    write(Recipe())  # another descriptor of the lock's file: refused as long as the child has the first one open
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_foreign_folders_are_left_alone():
    Path("runs/letter").mkdir(parents=True)
    Path("runs/letter/thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="is not the result of a stage"):
        write(Recipe())
    assert Path("runs/letter/thesis.txt").read_text() == "mine"
    Path("runs/file").write_text("mine")
    with pytest.raises(UserError, match="output_dir is a file"):
        write(Recipe(output_dir="runs/file"))


@pytest.mark.parametrize(
    "error, said",
    [
        (OSError(errno.ENOSPC, "No space left on device"), r"runs/letter: no space left on the disk \(\d+ MB free\)"),
        (RuntimeError("Error while serializing: I/O error: No space left on device"), "no space left on the disk"),
        (
            RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 15349056 vs 15348948"),
            "no space left on the disk",
        ),
        (RuntimeError("I/O error: File too large (os error 27)"), "refuses a file this large; raise the limit"),
        (OSError(errno.EFBIG, "File too large"), "refuses a file this large; raise the limit"),
        (
            PermissionError(errno.EACCES, "Permission denied", "runs/x"),
            r"runs/x: no permission \(Permission denied\)",
        ),
    ],
)
def test_a_full_or_closed_disk_is_one_line_and_loses_nothing(error, said):
    write(Recipe())

    def fail(work):
        raise error

    with pytest.raises(UserError, match=said) as caught:
        write(Recipe(text="b"), fail)
    assert caught.value.code == 1
    assert assert_whole("runs/letter") == "a"
    write(Recipe(text="b"), lambda work: None if work.resumed else pytest.fail("should have gone on"))


def test_other_errors_pass_unchanged():
    def fail(work):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        write(Recipe(), fail)


def test_a_link_to_another_place_stays_a_link(here):
    (here / "big").mkdir()
    Path("runs").mkdir()
    Path("runs/letter").symlink_to(here / "big")
    write(Recipe())
    assert Path("runs/letter").is_symlink() and assert_whole("runs/letter") == "a"


def test_metrics_of_any_kind_become_json():
    class Scalar:
        def item(self):
            return 0.5

    def more(work):
        work.metrics |= {"nan": float("nan"), "scalar": Scalar(), "path": Path("a/b"), "inner": {1: (1, 2)}}

    manifest = write(Recipe(), more)
    assert manifest.metrics["nan"] == "nan" and manifest.metrics["scalar"] == 0.5
    assert manifest.metrics["inner"] == {"1": [1, 2]} and manifest.metrics["path"] == "a/b"
    json.loads(Path("runs/letter/manifest.json").read_text(), parse_constant=pytest.fail)


def test_several_processes_share_the_folder_and_the_first_publishes(here):
    """Rank 1 starts first, finds a stale work folder, and waits for the one of this run."""

    def stop(work):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        write(Recipe(), stop)
    children = []
    for rank in (1, 0):
        child = os.fork()
        if child == 0:
            os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_PORT": "1"}
            with writing(Recipe()) as work:
                assert work.resumed and work.main is (rank == 0)
                (work.path / f"{rank}.txt").write_text("x")
                time.sleep(0.3 * rank)
                (work.path / f"{rank}.late.txt").write_text("x")
            os._exit(0)
        children.append(child)
        time.sleep(0.2)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    manifest = read("runs/letter")
    assert manifest.processes == 2
    assert {"0.txt", "1.txt", "0.late.txt", "1.late.txt"} <= set(manifest.files)


def test_a_damaged_manifest_is_said():
    write(Recipe())
    Path("runs/letter/manifest.json").write_text("{")
    with pytest.raises(UserError, match="this manifest is damaged"):
        read("runs/letter")


def test_what_cannot_be_read_in_an_input_folder_is_an_input_too(here):
    raw = here / "raw"
    raw.mkdir()
    (raw / "a.txt").write_text("a")
    (raw / "lost.txt").symlink_to("nowhere")
    (raw / "loop.txt").symlink_to("loop.txt")
    before = folder_hash(raw)
    os.mkfifo(raw / "pipe.txt")  # opening it would wait for a writer
    assert folder_hash(raw) != before
    with_pipe = folder_hash(raw)
    (raw / "nowhere").write_text("no longer lost")
    assert folder_hash(raw) != with_pipe
