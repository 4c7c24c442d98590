"""The command line: `tuneloop run | check | show | lineage | forget | doctor | ...`, and the floors' own commands.

`python -m data_prep RECIPE`, `accelerate launch -m finetune RECIPE` and `python -m eval RECIPE` run one stage in the
process they are started in; `tuneloop run` runs a stage, or a pipeline with a process for each step.

Whatever a subcommand needs is imported when it is called: help and a refused recipe answer at once.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes import __version__
from recipes.errors import UserError

if TYPE_CHECKING:
    from recipes.load import Examined
    from recipes.sections import StageRecipe

INTERRUPTED = 130
FOR_THE_FIRST = 5.0  # seconds
STRICT = "the same as strict=true: a data stage stops at the first file or row that it cannot use"
SWEEP = "sweep"
TRAINING = "finetune"  # the floor that trains; its commands too are imported when a user asks for them
DOCUMENTS = "data_prep"  # the floor that knows documents; its commands are imported when a user asks for them
DESCRIPTION = "Fine-tune and align language models: from raw documents to a model that people talk to and judge."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the `tuneloop` command; return its exit code: 0 well, 1 failed, 2 refused, 130 interrupted."""
    parsed = _parse(parser(), arguments)
    return guarded(lambda: int(parsed.act(parsed)))


def _parse(command: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse a command line; overrides may also stand behind options, where argparse does not look for them."""
    parsed, rest = command.parse_known_args(arguments)
    dashed = [text for text in rest if text.startswith("-")]
    if dashed and "=" in dashed[0]:
        command.error(f"unknown option {dashed[0]}; write overrides without dashes: {dashed[0].lstrip('-')}")
    if rest and (dashed or not hasattr(parsed, "overrides")):
        command.error(f"unknown arguments: {' '.join(rest)}")
    if rest:
        parsed.overrides += rest
    if getattr(parsed, "strict", False):
        parsed.overrides.append("strict=true")
    parsed.own_process = arguments is None  # else another program, a test say, goes on after the command
    return parsed


def guarded(act: Callable[[], int]) -> int:
    """Run something; tell the user's mistakes in one line each, without a traceback."""
    try:
        return act()
    except UserError as error:
        _tell(error)
        return error.code
    except KeyboardInterrupt:
        print("\nstopped; run the same command to go on", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader (head, say) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # where no stage is at work: the pipeline's own log, say
        if mistake := _disk_mistake(error):
            _tell(mistake)
            return mistake.code
        raise


def _disk_mistake(error: OSError) -> UserError | None:
    from recipes import disk

    return disk.mistake_of(error, Path.cwd())


def _tell(error: UserError) -> None:
    """Print a mistake, once for all processes of a run, and leave it for the pipeline that started this one.

    When one process ends, the launcher ends the others: the first one is given time to tell what all have found. One
    that still lives after that has found something of its own.
    """
    from recipes import launch

    if launch.rank() != 0:
        time.sleep(FOR_THE_FIRST)
    print(error, file=sys.stderr, flush=True)
    if said := os.environ.get("TUNELOOP_SAID"):
        from recipes import steps

        steps.say(error, Path(said))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    whole = argparse.ArgumentParser("tuneloop", description=DESCRIPTION)
    whole.add_argument("--version", action="version", version=f"tuneloop {__version__}")
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, act: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(act=act)
        return command

    for name, act, text in (
        ("run", _run, "run a recipe: one stage, or a pipeline of them"),
        ("check", _check, "say what is wrong with a recipe, or what it would read and cost"),
        ("show", _show, "print what a training recipe's model will read, with the tokens that the loss counts"),
        ("app", _app, "start the app: talk to checkpoints side by side and vote"),
    ):
        command = add(name, act, text)
        command.add_argument("recipe", metavar="RECIPE", help="path of a YAML file")
        command.add_argument(
            "overrides",
            nargs="*",
            metavar="key.sub=value",
            help="put over the recipe; in a pipeline step.key.sub=value",
        )
        if name == "run":
            command.add_argument("--force", action="store_true", help="run also what is finished and unchanged")
            command.add_argument("--strict", action="store_true", help=STRICT)
    command = add("sweep", _sweep, "try values of a recipe's keys over seeds, and compare what comes out")
    command.add_argument("recipe", metavar="RECIPE", nargs="?", help="path of a YAML file with `stage: sweep`")
    command.add_argument("overrides", nargs="*", metavar="key.sub=value", help="put over the sweep's own keys")
    command.add_argument("--table", metavar="FOLDER", help="print the table of a finished sweep again; run nothing")
    command = add("curves", _curves, "draw the learning curves of results, several in one picture")
    command.add_argument("runs", metavar="RUN", nargs="+", help="a result's folder, or that of a run at work")
    command.add_argument("--output", metavar="FOLDER", help="where curves.png and curves.html go (default: here)")
    command = add("lineage", _lineage, "draw the tree from a result back to the raw files")
    command.add_argument("path", metavar="PATH", help="a result's folder, or a file in one")
    command.add_argument("--verify", action="store_true", help="read every file again and compare its hash")
    command.add_argument("--document", metavar="ID", help="of a corpus: one document's way, down to the checkpoints")
    _search_in(command)
    command = add("forget", _forget, "find documents and the checkpoints that saw them; keep them out of later runs")
    command.add_argument("path", metavar="CORPUS", help="the folder of a corpus")
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("--document", metavar="ID", help="one document, and the copies of it")
    what.add_argument("--source", metavar="NAME", help="all documents of a source")
    what.add_argument("--match", metavar="TEXT", help="all documents with a name, an e-mail address, any words")
    command.add_argument("--list", metavar="FILE", help="the block list (default: the recipe's, or forgotten.jsonl)")
    command.add_argument("--dry-run", action="store_true", help="only tell; write nothing")
    _search_in(command)
    add("doctor", _doctor, "look at Python, libraries, memory, disk and GPU, and say what would go wrong")
    command = add("schema", _schema, "print the JSON Schema of recipes, for editors")
    command.add_argument("stage", nargs="?", metavar="STAGE", help="only this stage; else all of them")
    command.add_argument("--output", metavar="FILE", help="write it to a file")
    return whole


def _search_in(command: argparse.ArgumentParser) -> None:
    said = "a folder with results to search (more than one may be given; default: runs)"
    command.add_argument("--in", dest="folders", metavar="FOLDER", action="append", default=[], help=said)


def _run(parsed: argparse.Namespace) -> int:
    from recipes import pipeline

    found = pipeline.checked(pipeline.examine(parsed.recipe, parsed.overrides))
    if found[0].stage and found[0].stage.name == pipeline.NAME:
        assert found[0].recipe is not None
        pipeline.run_steps(found[0].recipe, found[1:], force=parsed.force)
        return 0
    if found[0].stage and found[0].stage.name == SWEEP:
        from recipes.sweep import cost

        return _run_sweep(found[0], cost.sweep_of(found[0]))
    return run_stage(found[0], force=parsed.force, lean=parsed.own_process)


def run_stage(examined: Examined, *, force: bool, launched: bool = False, lean: bool = False) -> int:
    """Run one stage in this process, or through accelerate when it asks for several processes.

    `lean` leaves out of this process what the stage will not use of the heavy libraries.
    """
    from recipes import artifact, launch, steps, surroundings

    recipe, stage = examined.recipe, examined.stage
    assert recipe is not None and stage is not None
    surroundings.prepare([recipe])
    if stage.makes_result and not force and artifact.matches(recipe):
        print(f"{stage.name}: {recipe.output_dir} is finished and unchanged, skipped (--force runs it again)")
        return 0
    started = time.monotonic()
    section = steps.launch_of(recipe)
    if launched:
        launch.expect_config(section.config)
        launch.expect_world(launch.world(), section.num_processes)
    if section.launched and not launched:
        steps.launch_alone(examined, section, Path(recipe.output_dir).parent / ".logs")
    else:
        if lean:
            _import_lean(stage.floor, recipe)
        stage.module.run(recipe)
    if stage.makes_result and launch.rank() == 0 and steps.SAID not in os.environ:  # else whoever started it says so
        print(f"{stage.name}: {recipe.output_dir} written in {time.monotonic() - started:.0f} s")
    return 0


def _import_lean(floor: str, recipe: StageRecipe) -> None:
    """Import a floor's heavy libraries without what this recipe does not use, where the floor knows how."""
    import importlib

    from recipes import finding

    if finding.exists(f"{floor}.lean_imports"):
        importlib.import_module(f"{floor}.lean_imports").prepare(recipe)


def stage_main(floor: str, arguments: Sequence[str] | None = None) -> int:
    """Run the one recipe that a floor's own command is given; return the exit code."""
    command = argparse.ArgumentParser(f"python -m {floor}")
    command.add_argument("recipe", metavar="RECIPE")
    command.add_argument("overrides", nargs="*", metavar="key.sub=value")
    command.add_argument("--force", action="store_true")
    command.add_argument("--strict", action="store_true", help=STRICT)
    parsed = _parse(command, arguments)
    return guarded(lambda: _run_on_floor(floor, parsed))


def _run_on_floor(floor: str, parsed: argparse.Namespace) -> int:
    from recipes import load, pipeline

    if floor == "recipes":
        return _run(parsed)
    examined = pipeline.checked([load.examine(parsed.recipe, parsed.overrides)])[0]
    assert examined.stage is not None
    if examined.stage.floor != floor:
        raise UserError(
            examined.source.where(("stage",)),
            f"stage {examined.stage.name} belongs to {examined.stage.floor}, not to {floor}",
            f"write: tuneloop run {parsed.recipe}",
        )
    launched = floor == "finetune" or "WORLD_SIZE" in os.environ
    return run_stage(examined, force=parsed.force, launched=launched, lean=parsed.own_process)


def _check(parsed: argparse.Namespace) -> int:
    from recipes import estimate, pipeline

    found = pipeline.checked(pipeline.examine(parsed.recipe, parsed.overrides))
    if found[0].stage and found[0].stage.name == SWEEP:
        from recipes.sweep import cost

        cost.report(found[0])
        return 0
    estimate.report([one for one in found if one.stage and one.stage.name != pipeline.NAME])
    return 0


def _sweep(parsed: argparse.Namespace) -> int:
    from recipes import load, pipeline
    from recipes.sweep import cost, report

    if parsed.table:
        if parsed.recipe:
            raise UserError(f"--table {parsed.table}", "only prints a table", f"leave {parsed.recipe} out")
        report.show(report.read(parsed.table), Path(parsed.table))
        return 0
    if not parsed.recipe:
        raise UserError("tuneloop sweep", "which sweep?", "write: tuneloop sweep RECIPE, or --table FOLDER")
    examined = pipeline.checked([load.examine(parsed.recipe, parsed.overrides)])[0]
    if examined.stage is None or examined.stage.name != SWEEP:
        raise UserError(examined.source.where(("stage",)), "this is no sweep", f"write: tuneloop run {parsed.recipe}")
    return _run_sweep(examined, cost.sweep_of(examined))


def _run_sweep(examined: Examined, sweep: Any) -> int:
    """Run a sweep: the environment is set for the recipe that its trials run."""
    from recipes import surroundings
    from recipes.sweep import search

    target = search.examined_target(sweep)
    surroundings.prepare([target.recipe] if target.recipe else [])
    search.run(sweep)
    return 0


def _curves(parsed: argparse.Namespace) -> int:
    import importlib

    module = importlib.import_module(f"{TRAINING}.curves")
    return int(module.report(parsed.runs, parsed.output))


def _show(parsed: argparse.Namespace) -> int:
    import importlib

    from recipes import finding, pipeline, surroundings

    examined = pipeline.checked(pipeline.examine(parsed.recipe, parsed.overrides))[0]
    assert examined.recipe is not None and examined.stage is not None
    surroundings.prepare([examined.recipe])
    if not finding.exists(f"{examined.stage.floor}.show"):
        raise UserError(
            examined.source.where(("stage",)),
            f"stage {examined.stage.name} has nothing to show",
            "name a recipe of a stage that trains, or one of its steps",
        )
    importlib.import_module(f"{examined.stage.floor}.show").main(examined.recipe, parsed.recipe)
    return 0


def _app(parsed: argparse.Namespace) -> int:
    import importlib

    from recipes import pipeline, surroundings

    found = pipeline.checked(pipeline.examine(parsed.recipe, parsed.overrides))
    surroundings.prepare([one.recipe for one in found if one.recipe])
    return int(importlib.import_module("app").main([parsed.recipe, *parsed.overrides]) or 0)


def _lineage(parsed: argparse.Namespace) -> int:
    import importlib

    from recipes import lineage

    if parsed.document is None:
        if parsed.folders:
            where = f"--in {parsed.folders[0]}"
            raise UserError(where, "folders are searched for who saw a document", "name one with --document")
        return lineage.report(parsed.path, verify=parsed.verify)
    module = importlib.import_module(f"{DOCUMENTS}.governance.document_lineage")
    return int(module.report(parsed.path, parsed.document, parsed.folders, verify=parsed.verify))


def _forget(parsed: argparse.Namespace) -> int:
    import importlib

    wanted = {"document": parsed.document, "source": parsed.source, "match": parsed.match}
    module = importlib.import_module(f"{DOCUMENTS}.governance.forget")
    return int(
        module.report(parsed.path, **wanted, block_list=parsed.list, folders=parsed.folders, dry_run=parsed.dry_run)
    )


def _doctor(parsed: argparse.Namespace) -> int:
    from recipes import doctor

    return doctor.report()


def _schema(parsed: argparse.Namespace) -> int:
    from recipes import schema

    schema.report(parsed.stage, parsed.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
