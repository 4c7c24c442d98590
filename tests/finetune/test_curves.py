"""Learning curves: what is drawn is what the log says, the files stand alone, and nothing of it can end a training."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from finetune import curves
from finetune.curves import panels, picture
from recipes.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def log(folder, factor=1.0):
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for step in range(10, 101, 10):
        rows.append({"step": step, "loss": factor * 100 / step, "learning_rate": 1e-3 / step, "epoch": step / 50})
        rows.append({"step": step, "tokens": step * 9, "tokens_per_second": 1000.0 + step, "grad_norm": 1.0})
        if step % 50 == 0:
            rows.append({"step": step, "eval_loss": factor * 5.0, "eval_f1": step / 200})
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "log.jsonl"


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


def test_the_panels_are_the_logs_numbers(tmp_path):
    found = panels.of({"run": panels.read(log(tmp_path))})
    assert [panel.title for panel in found] == ["loss", "eval_f1", "learning_rate", "grad_norm", "tokens_per_second"]
    training, validation = found[0].lines
    assert (training.name, validation.name) == ("training", "validation")
    assert training.points == [(float(step), 100 / step) for step in range(10, 101, 10)]
    assert validation.points == [(50.0, 5.0), (100.0, 5.0)]
    assert training.colour != validation.colour


def test_several_runs_share_a_panel_and_keep_their_colours(tmp_path):
    rows = {name: panels.read(log(tmp_path / name, factor)) for name, factor in (("a", 1.0), ("b", 2.0))}
    loss, f1 = panels.of(rows)[:2]
    assert [line.name for line in loss.lines] == ["a, training", "a, validation", "b, training", "b, validation"]
    assert [line.name for line in f1.lines] == ["a", "b"]
    assert {line.run: line.colour for line in loss.lines} == {line.run: line.colour for line in f1.lines}


def test_what_is_no_number_leaves_a_gap_and_a_line_at_work_waits(tmp_path):
    file = tmp_path / "log.jsonl"
    file.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": NaN}\n{"step": 3, "loss": 1.0}\n{"step": 4, "lo')
    [panel] = panels.of({"run": panels.read(file)})
    assert panel.lines[0].points == [(1.0, 2.0), (3.0, 1.0)]


def test_a_spike_survives_thinning():
    points = [(float(step), 1.0) for step in range(50_000)]
    points[31_415] = (31_415.0, 99.0)
    kept = panels.thinned(points)
    assert len(kept) <= 1002
    assert (31_415.0, 99.0) in kept and kept[0] == points[0] and kept[-1] == points[-1]
    assert kept == sorted(set(kept))


@pytest.mark.parametrize("low, high", [(0.0, 1.0), (3.2, 3.2), (-5, 7), (1e-5, 3e-4), (12345, 98765), (0, 0)])
def test_an_axis_covers_its_values_in_equal_steps(low, high):
    marks = panels.ticks(low, high)
    assert marks[0] <= low and marks[-1] >= high and 2 <= len(marks) <= 7
    gaps = [b - a for a, b in zip(marks, marks[1:], strict=False)]
    assert gaps == pytest.approx([gaps[0]] * len(gaps), rel=1e-6) and gaps[0] > 0


def test_the_page_stands_alone_and_holds_the_values(tmp_path):
    assert curves.write(log(tmp_path), tmp_path, "<sft> & co") == {"curves.png", "curves.html"}
    page = (tmp_path / "curves.html").read_text()
    assert not re.search(r"(src|href)\s*=|https?://(?!www\.w3\.org/2000/svg)|@import|url\(", page)
    assert "&lt;sft&gt; &amp; co" in page and "<sft>" not in page
    first = data_of(page)["panels"][0]["lines"][0]
    assert first["points"] == [[float(step), 100 / step] for step in range(10, 101, 10)]
    open_tags = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attributes):
            if tag != "meta":
                open_tags.append(tag)

        def handle_startendtag(self, tag, attributes):
            pass

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

    Parser().feed(page)
    assert open_tags == []


def test_the_picture_shows_each_point_in_its_curves_colour(tmp_path):
    from PIL import Image

    found = panels.of({"run": panels.read(log(tmp_path))})
    picture.draw(found, ["run"], tmp_path / "curves.png")
    image = Image.open(tmp_path / "curves.png").convert("RGB")
    assert image.size == (3 * picture.WIDTH * picture.KEPT, 2 * picture.HEIGHT * picture.KEPT)
    for line in found[0].lines:
        wanted = tuple(int(line.colour[at : at + 2], 16) for at in (1, 3, 5))
        for point in line.points[1:-1]:
            x, y = (round(part * picture.KEPT) for part in picture.place(found[0], point))
            assert max(abs(a - b) for a, b in zip(image.getpixel((x, y)), wanted, strict=True)) < 40


def test_nothing_can_end_a_training(tmp_path, capsys):
    assert curves.write(tmp_path / "none.jsonl", tmp_path, "run") == set()
    assert "no learning curves (FileNotFoundError" in capsys.readouterr().err
    (tmp_path / "log.jsonl").write_text("")
    assert curves.write(tmp_path / "log.jsonl", tmp_path, "run") == set()
    (tmp_path / "log.jsonl").write_text('{"loss": 1}\n')  # without a step
    assert curves.write(tmp_path / "log.jsonl", tmp_path, "run") == set()
    assert list(tmp_path.glob("curves.*")) == []


def test_the_command_draws_finished_runs_and_those_at_work(tmp_path):
    log(tmp_path / "done"), log(tmp_path / "working.partial", 2.0)
    command = [sys.executable, "-m", "recipes.run", "curves", str(tmp_path / "done"), str(tmp_path / "working")]
    result = subprocess.run([*command, "--output", str(tmp_path / "out")], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    names = [line["name"] for line in data_of((tmp_path / "out" / "curves.html").read_text())["panels"][1]["lines"]]
    assert names == ["done", "working"]


def test_a_folder_without_a_history_is_a_mistake(tmp_path):
    with pytest.raises(UserError) as error:
        curves.report([str(tmp_path)], None)
    assert str(error.value) == f"{tmp_path}: there is no log.jsonl here; name the folder of a training stage's result"


def test_a_file_is_no_place_for_curves(tmp_path):
    log(tmp_path / "done")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="this is a file; name a folder"):
        curves.report([str(tmp_path / "done")], str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "x"
