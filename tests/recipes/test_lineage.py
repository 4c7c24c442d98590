"""The tree from a result back to raw files: also after a move, a change, a replacement."""

import json
from pathlib import Path

import pytest

from recipes import lineage
from recipes.errors import UserError


@pytest.fixture
def chain(workplace, tuneloop):
    """raw.txt -> a -> b"""
    Path("raw.txt").write_text("raw")
    write("a", data={"file": "raw.txt"})
    write("b", data={"file": "runs/a/out.txt"}, text="b")
    for name in ("a", "b"):
        assert tuneloop("run", f"{name}.yaml").returncode == 0
    return workplace


def write(name, **values):
    Path(f"{name}.yaml").write_text(json.dumps({"stage": "letter", "output_dir": f"runs/{name}", **values}))


def test_the_tree_goes_down_to_the_raw_file(chain, tuneloop):
    origin = lineage.trace("runs/b")
    assert [inner.path for inner in origin.inputs] == ["runs/a/out.txt"]
    assert origin.inputs[0].manifest.stage == "letter"
    assert [inner.path for inner in origin.inputs[0].inputs] == ["raw.txt"]
    assert origin.inputs[0].inputs[0].manifest is None
    printed = tuneloop("lineage", "runs/b/out.txt")
    assert printed.returncode == 0
    assert [line.split()[-1] for line in printed.stdout.splitlines() if "letters" in line] == ["9", "8"]
    assert "data.file raw.txt" in printed.stdout and origin.content[:12] not in ("", None)


def test_a_moved_tree_finds_its_parts(chain):
    Path("archive").mkdir()
    Path("runs").rename("archive/runs")
    origin = lineage.trace("archive/runs/b")
    assert origin.inputs[0].manifest is not None and origin.inputs[0].note == ""


def test_what_changed_since_is_said(chain, tuneloop):
    Path("raw.txt").write_text("other")
    assert lineage.trace("runs/b").inputs[0].inputs[0].note == "changed since it was used"
    Path("raw.txt").unlink()
    assert lineage.trace("runs/b").inputs[0].inputs[0].note == "no longer there"
    assert tuneloop("lineage", "runs/b", "--verify").returncode == 1


def test_a_replaced_result_is_found_where_it_is_kept(chain, tuneloop):
    write("a", data={"file": "raw.txt"}, text="new")
    assert tuneloop("run", "a.yaml").returncode == 0
    inner = lineage.trace("runs/b").inputs[0]
    assert inner.note.startswith("changed since it was used; kept as ") and ".previous/a-" in inner.note
    assert [origin.path for origin in inner.inputs] == ["raw.txt"]


def test_verify_reads_every_file(chain, tuneloop):
    good = tuneloop("lineage", "runs/b", "--verify")
    assert good.returncode == 0 and good.stdout.count("1 files as written") == 2
    text = Path("runs/a/out.txt").read_text()
    Path("runs/a/out.txt").write_text(text.swapcase())  # same size: only reading it shows the change
    bad = tuneloop("lineage", "runs/b", "--verify")
    assert bad.returncode == 1 and "changed: out.txt" in bad.stdout


@pytest.mark.parametrize(
    "path, said",
    [
        ("nowhere", "nowhere: there is nothing here; write the folder of a result, or a file in one"),
        ("raw.txt", "raw.txt: this is not the result of a stage (no manifest.json here or above); name a result"),
    ],
)
def test_mistakes(chain, tuneloop, path, said):
    with pytest.raises(UserError):
        lineage.trace(path)
    result = tuneloop("lineage", path)
    assert (result.returncode, result.stderr) == (2, said + "\n")
