"""One document's way down to checkpoints, and its removal: over real results of the corpus, mixture and tokens stages.

The checkpoints' weights are a few bytes: what is looked at is their manifests, which the real code has written.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from data_prep.governance import document_lineage, forget, forgetting
from data_prep.records import read_rows, write_rows
from data_prep.stages import corpus, mixture, tokens
from data_prep.tokens import packed_rows, token_shards
from finetune.stages import cpt, sft
from recipes import artifact, run
from recipes.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
SUBJECTS = ("ferns", "moss", "roses", "apples", "lilies", "ivy", "oaks", "reeds")


def text_about(subject, extra=""):
    lines = (f"The {subject} of row {n} like {n * 7 % 13} parts of shade and {n * 5 % 11} of rain." for n in range(12))
    return f"On {subject}. {' '.join(lines)} {extra}".strip()


def checkpoint(recipe):
    with artifact.writing(recipe) as work:
        (work.path / "model.safetensors").write_text(recipe.output_dir)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """raw -> corpus -> mixture -> tokens -> cpt -> sft; and an other corpus with an other checkpoint."""
    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for subject in SUBJECTS:
            where = Path("raw", "letters" if subject in ("ferns", "moss") else "notes")
            where.mkdir(parents=True, exist_ok=True)
            extra = "Write to Ada Lovelace, ada@example.org." if subject == "ferns" else ""
            (where / f"{subject}.txt").write_text(text_about(subject, extra))
        Path("raw/notes/ferns again.txt").write_text(Path("raw/letters/ferns.txt").read_text())
        recipe = {"inputs": [{"path": "raw"}], "split": {"validation": 0, "test": 0.2}, "engine": {"workers": 1},
                  "filters": {"personal_data": {}}, "seed": 5}  # fmt: skip
        corpus.run(corpus.Recipe(output_dir="runs/corpus", **recipe))
        Path("other").mkdir()
        Path("other/x.txt").write_text(text_about("stones"))
        Path("other/y.txt").write_text(Path("raw/letters/moss.txt").read_text() + " Ada Lovelace liked it.")
        other = {"inputs": [{"path": "other"}], "split": {"validation": 0, "test": 0}}
        corpus.run(corpus.Recipe(output_dir="runs/other", **recipe | other))
        mixture.run(mixture.Recipe(output_dir="runs/mixture", inputs=[{"path": "runs/corpus/train.jsonl"}],
                                   engine={"workers": 1}))  # fmt: skip
        tokenizer()
        tokens.run(tokens.Recipe(output_dir="runs/tokens", inputs=["runs/mixture/train.jsonl"], tokenizer="words",
                                 eos_token="<eos>", engine={"workers": 1}))  # fmt: skip
        Path("model").mkdir()
        Path("model/config.json").write_text("{}")
        training = {"learning_rate": 1e-3}
        start = {"model_name_or_path": "model"}
        checkpoint(cpt.Recipe(output_dir="runs/cpt", model=start, training=training,
                              data={"train_file": "runs/tokens", "max_length": 64}))  # fmt: skip
        checkpoint(cpt.Recipe(output_dir="runs/cpt_other", model=start, training=training,
                              data={"train_file": "runs/other/train.jsonl"}))  # fmt: skip
        checkpoint(cpt.Recipe(output_dir="runs/cpt_test", model=start, training=training,
                              data={"train_file": "runs/corpus/test.jsonl"}))  # fmt: skip
        write_rows(
            "chats.jsonl", [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}]
        )
        checkpoint(sft.Recipe(output_dir="runs/sft", model={"model_name_or_path": "runs/cpt"}, training=training,
                              data={"train_file": "chats.jsonl"}))  # fmt: skip
    return folder


def tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    words = Tokenizer(models.WordLevel(unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    texts = [row["text"] for row in read_rows("runs/mixture/train.jsonl")]
    words.train_from_iterator(texts, trainers.WordLevelTrainer(special_tokens=["<unk>", "<eos>"]))
    Path("words").mkdir()
    words.save("words/tokenizer.json")


@pytest.fixture
def world(made, monkeypatch):
    monkeypatch.chdir(made)
    yield made
    Path("forgotten.jsonl").unlink(missing_ok=True)


def side_of(document):
    return next(side for side in ("train", "test") if document in ids(f"runs/corpus/{side}.jsonl"))


def ids(path):
    return [row["id"] for row in read_rows(path)]


def in_side(side):
    """Return a document of a side that stands for no other."""
    return next(one for one in ids(f"runs/corpus/{side}.jsonl") if "ferns" not in one)


# --- lineage


def test_the_way_of_a_document_down_to_the_training_rows(world, capsys):
    document = in_side("train")
    assert document_lineage.report("runs/corpus", document) == 0
    said = capsys.readouterr().out
    shards = token_shards.TokenShards("runs/tokens")
    (place,) = shards.find(document)
    plan = packed_rows.plan(shards.lengths(), "wrap", 64, 42)
    rows = ", ".join(map(str, plan.rows_of(place)[:5]))
    line = ids("runs/corpus/train.jsonl").index(document) + 1
    mixed = ids("runs/mixture/train.jsonl").index(document) + 1
    for words in (
        f"inputs.0.path: raw/{document.removeprefix('raw/')}", "(--verify compares the whole input)",
        f"runs/corpus/train.jsonl, line {line}", f"mixture (inputs.0.path)  train.jsonl line {mixed}",
        f"tokenised document {place} of {len(shards)} (from 0), {len(shards[place])} tokens",
        f"training row {rows}", "checkpoint runs/sft",
    ):  # fmt: skip
        assert words in said, words
    assert "cpt_other" not in said and "cpt_test" not in said
    depth = {name: next(line.index("─") for line in said.splitlines() if f" {name} " in line)
             for name in ("runs/mixture", "runs/tokens", "runs/cpt", "runs/sft")}  # fmt: skip
    assert list(depth.values()) == sorted(set(depth.values()))  # each below the one before


def test_what_a_document_stands_for_and_what_was_changed(world, capsys):
    kept, copy = "raw/letters/ferns.txt", "raw/notes/ferns again.txt"
    document_lineage.report("runs/corpus", kept)
    said = capsys.readouterr().out
    assert f"{copy} (exact_duplicate, 1.00 alike)" in said and "personal data replaced: EMAIL 1" in said
    document_lineage.report("runs/corpus", copy)
    said = capsys.readouterr().out
    assert f"dropped by deduplicate: exact_duplicate ({kept} is 1.00 alike); follow {kept}" in said
    assert "no result in runs" in said


def test_a_document_that_was_held_back_was_seen_by_no_one_who_trained_on_the_rest(world, capsys):
    document_lineage.report("runs/corpus", in_side("test"))
    said = capsys.readouterr().out
    assert "runs/cpt_test" in said and "may hold" not in said
    assert not any(name in said for name in ("mixture", "tokens", "runs/sft"))


def test_verify_tells_that_the_raw_file_has_changed(world, capsys):
    document = in_side("train")
    assert document_lineage.report("runs/corpus", document, verify=True) == 0
    assert "as it was read" in capsys.readouterr().out
    path = Path(document)
    before = path.read_text()
    path.write_text(before + "!")
    try:
        assert document_lineage.report("runs/corpus", document, verify=True) == 1
        assert "changed since it was read" in capsys.readouterr().out
        path.unlink()
        assert document_lineage.report("runs/corpus", document) == 1
        assert "no longer there" in capsys.readouterr().out
    finally:
        path.write_text(before)


def test_moved_results_are_found_where_they_are_searched(world, capsys):
    Path("archive").mkdir()
    Path("runs/cpt").rename("archive/cpt")
    try:
        document_lineage.report("runs/corpus", in_side("train"), ["archive", "runs"])
        said = capsys.readouterr().out
        assert "archive/cpt" in said and "runs/sft" in said
        document_lineage.report("runs/corpus", in_side("train"))
        assert "runs/sft" not in capsys.readouterr().out  # its link to the corpus lies elsewhere
    finally:
        Path("archive/cpt").rename("runs/cpt")
        Path("archive").rmdir()


MISTAKES = [
    (("runs/corpus", "raw/letters/fern.txt"),
     "--document raw/letters/fern.txt: no document of runs/corpus has this id; did you mean raw/letters/ferns.txt"),
    (("runs/corpus", "?"), "--document ?: no document of runs/corpus has this id; an id as it stands in train.jsonl"),
    (("nowhere", "x"), "nowhere: there is nothing here; write the folder of a corpus"),
    (("raw", "x"), "raw: this is not the result of a stage (no manifest.json here or above); name a corpus"),
    (("runs/cpt", "x"), "runs/cpt: this is the result of a cpt stage, not of a corpus stage; name a corpus; "
                        "`tuneloop lineage runs/cpt` shows which one it came from"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "said"), MISTAKES)
def test_mistakes(world, arguments, said):
    with pytest.raises(UserError) as caught:
        document_lineage.report(*arguments)
    assert str(caught.value).startswith(said)
    with pytest.raises(UserError) as caught:
        forget.report(arguments[0], document=arguments[1])
    assert str(caught.value).startswith(said)


def test_a_folder_to_search_that_is_not_there(world):
    with pytest.raises(UserError) as caught:
        document_lineage.report("runs/corpus", in_side("train"), ["elsewhere"])
    assert str(caught.value) == "--in elsewhere: there is no such folder; a folder with results, such as runs"


def test_a_corpus_whose_file_was_changed(world):
    path = Path("runs/corpus/train.jsonl")
    before = path.read_bytes()
    path.write_bytes(before + b"\n")
    try:
        with pytest.raises(UserError, match=r"train\.jsonl: this file of the corpus was changed or removed afterwards"):
            document_lineage.report("runs/corpus", in_side("train"))
    finally:
        path.write_bytes(before)


def test_a_damaged_manifest_is_told_and_the_rest_goes_on(world, capsys):
    Path("runs/broken").mkdir()
    Path("runs/broken/manifest.json").write_text("{")
    try:
        document_lineage.report("runs/corpus", in_side("train"))
    finally:
        Path("runs/broken/manifest.json").unlink()
        Path("runs/broken").rmdir()
    said = capsys.readouterr().out
    assert "not looked at: runs/broken/manifest.json: this manifest is damaged" in said and "runs/sft" in said


# --- removal


def test_a_person_is_found_by_what_only_the_raw_files_hold(world, capsys):
    forget.report("runs/corpus", match="ada@example.org", dry_run=True)
    said = capsys.readouterr().out
    assert "ada@example.org" not in "".join(row["text"] for row in read_rows("runs/corpus/train.jsonl"))
    assert "raw/letters/ferns.txt" in said and "raw/notes/ferns again.txt" in said
    assert "nothing written (--dry-run); 1 entries would be added to forgotten.jsonl" in said
    assert not Path("forgotten.jsonl").exists()


def test_every_corpus_and_checkpoint_that_saw_a_person_is_listed(world, capsys):
    before = {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()}
    forget.report("runs/corpus", match="Ada  LOVELACE")
    said = capsys.readouterr().out
    assert "other/y.txt  train.jsonl" in said and "checkpoint: runs/cpt_other" in said
    if side_of("raw/letters/ferns.txt") == "train":
        assert "checkpoint: runs/cpt (" in said and "checkpoint: runs/sft (" in said and "data: runs/tokens (" in said
    else:
        assert "checkpoint: runs/cpt_test (" in said
    assert "write `forget: forgotten.jsonl` in the corpus recipe" in said
    # Nothing that is published has been touched.
    assert before == {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()}
    forget.report("runs/corpus", match="ada lovelace")
    assert "forgotten.jsonl: already has this" in capsys.readouterr().out


def test_the_next_run_leaves_them_out_also_their_copies(world, tmp_path, capsys):
    kept, copy = "raw/letters/ferns.txt", "raw/notes/ferns again.txt"
    forget.report("runs/corpus", document=kept)
    forget.report("runs/corpus", source="raw/letters")
    assert len(forgetting.load("forgotten.jsonl").entries) == 3
    recipe = corpus.Recipe(output_dir=str(tmp_path / "again"), inputs=[{"path": "raw"}], forget="forgotten.jsonl",
                           split={"validation": 0, "test": 0}, engine={"workers": 1})  # fmt: skip
    corpus.run(recipe)
    left = ids(tmp_path / "again" / "train.jsonl")
    assert kept not in left and copy not in left and "raw/letters/moss.txt" not in left and len(left) == 6
    dropped = list(read_rows(tmp_path / "again" / "dropped.jsonl"))
    assert [row["reason"] for row in dropped] == ["forgotten"] * 3
    published = b"".join(path.read_bytes() for path in (tmp_path / "again").iterdir() if path.is_file())
    assert b"Lovelace" not in published and b"ferns" not in published


def test_a_source_that_is_not_there(world):
    with pytest.raises(UserError) as caught:
        forget.report("runs/corpus", source="raw/leters")
    assert str(caught.value) == (
        "--source raw/leters: no document of runs/corpus is of this source; did you mean raw/letters or raw/notes?"
    )


def test_words_that_nobody_wrote_are_kept_out_of_later_runs_all_the_same(world, capsys):
    forget.report("runs/corpus", match="Grace Hopper")
    said = capsys.readouterr().out
    assert "0 documents (none)" in said and "forgotten.jsonl: 1 entries added, 1 in all" in said


def test_an_input_that_is_gone_is_said(world, capsys):
    Path("raw").rename("moved")
    try:
        forget.report("runs/corpus", match="Ada Lovelace", dry_run=True)
    finally:
        Path("moved").rename("raw")
    said = capsys.readouterr().out
    assert (
        "raw: not read again, so searched only in what the corpus kept of it (no longer there)" in said
        and "raw/letters/ferns.txt" in said
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("lineage", "runs/cpt", "--document", "x"), "runs/cpt: this is the result of a cpt stage"),
        (("lineage", "runs/corpus", "--in", "runs"), "--in runs: folders are searched for who saw a document; name"),
        (("forget", "runs/corpus", "--match", "..."), "--match: '...' has 0 words; 1 to 16 words to look for"),
        (("forget", "runs/corpus", "--match", "x", "--list", "chats.jsonl"), "chats.jsonl:1: this is no block list"),
    ],
)
def test_the_command_line_tells_mistakes_in_one_line(world, capsys, arguments, said):
    assert run.main(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith(said) and err.count("\n") == 1


@pytest.mark.parametrize("arguments", [(), ("--source", "a", "--match", "b")])
def test_one_thing_is_forgotten_at_a_time(world, capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        run.main(["forget", "runs/corpus", *arguments])
    assert stopped.value.code == 2 and "--document" in capsys.readouterr().err


def test_the_command_line_loads_nothing_heavy(world):
    heavy = {"torch", "transformers", "datasets", "pyarrow", "tokenizers", "pandas"}
    program = (
        "import sys; from recipes.run import main; code = main(sys.argv[1:]); "
        f"print(code, sorted({heavy} & set(sys.modules)))"
    )
    for command in (
        ("lineage", "runs/corpus", "--document", in_side("test")),
        ("forget", "runs/corpus", "--source", "raw/letters", "--dry-run"),
    ):
        done = subprocess.run([sys.executable, "-c", program, *command], capture_output=True, text=True, cwd=world,
                              env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, check=True)  # fmt: skip
        assert done.stdout.splitlines()[-1] == "0 []", done.stdout + done.stderr
