"""A folder, a file or a URL -> the files to read, in a fixed order.

Hidden files and folders, what a `.gitignore` inside the root leaves out (git's own rules, through pathspec), and
licence files are not listed; a licence file's SPDX identifier goes to the files beside and below it. Files that must
not or cannot be read (links out of the root, loops, pipes and devices) are listed with the reason. A folder that
`datasets.save_to_disk` wrote gives its data files only, in the order in which it names them.

Names need not be UTF-8: what is shown and what ids are made of is written with backslashes then, each byte its own.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_prep.files import licences
from recipes import remote

SAVED = "state.json"  # of datasets' save_to_disk
SAVED_SPLITS = "dataset_dict.json"  # beside a folder for each split


@dataclass(frozen=True, slots=True)
class Unit:
    """What one task reads: a file, or a part of a big one."""

    path: str  # local path, URL, or the data set's name
    relative: str  # below the input's root, with /; empty when the root itself is the file
    where: str  # shown in messages and kept in meta.path
    size: int  # bytes; 0 unknown
    part: tuple[int, ...] = ()  # as the reader's `parts` said; empty: the whole file
    refusal: str = ""  # why it is not read
    license: str = ""  # SPDX expression of the licence file that covers it


@dataclass
class _Rules:
    """What a folder passes on to those below it: its ignore files, deepest last, and its licence."""

    ignored: list[tuple[str, Any]] = field(default_factory=list)
    license: str = ""

    def leave_out(self, relative: str) -> bool:
        """Return whether an ignore file leaves a path out; the deepest file with a rule for it decides."""
        for folder, spec in reversed(self.ignored):
            decided = spec.check_file(relative.removeprefix(folder)).include
            if decided is not None:
                return bool(decided)
        return False


def files(root: str) -> Iterator[Unit]:
    """Yield each file at or below `root`."""
    if remote.is_url(root):
        yield from _remote(root)
    elif os.path.isdir(root):
        yield from _folder(root)
    else:
        name = _shown(os.path.basename(os.path.abspath(root)))
        yield Unit(root, "", name, _size(root), refusal=_refusal(root, None))


def _remote(root: str) -> Iterator[Unit]:
    for file in remote.files(root):
        name = file.relative or file.url.rstrip("/").rpartition("/")[2]
        hidden = any(part.startswith(".") for part in file.relative.split("/"))
        if not hidden and not (file.relative and licences.is_licence(name.rpartition("/")[2])):
            yield Unit(file.url, file.relative, name, file.size)


def _folder(root: str) -> Iterator[Unit]:
    """Yield the files of a folder, then those of the folders in it, each sorted by name."""
    inside = os.path.realpath(root)
    waiting = [(root, "", _Rules())]
    while waiting:
        folder, relative, above = waiting.pop()
        try:
            entries = _entries(folder)
        except OSError as error:
            yield Unit(folder, _shown(relative), _shown(relative), 0, refusal=f"cannot be listed: {error.strerror}")
            continue
        rules = _rules(folder, relative, entries, above)
        saved = _saved(folder, {entry.name for entry in entries})
        if saved is not None:
            yield from (_unit(os.path.join(folder, name), relative + name, inside, rules) for name in saved)
            continue
        folders = []
        for entry in entries:
            if entry.name == SAVED_SPLITS:
                continue
            path = relative + entry.name
            if os.path.isdir(entry.path):
                if not rules.leave_out(path + "/"):
                    folders.append((entry.path, path + "/", rules))
            elif not rules.leave_out(path) and not licences.is_licence(entry.name):
                yield _unit(entry.path, path, inside, rules)
        for path, name, _ in folders:
            if os.path.islink(path):  # one that leads upwards would never end
                yield Unit(path, _shown(name[:-1]), _shown(name[:-1]), 0, refusal="symbolic link to a folder")
        waiting += reversed([item for item in folders if not os.path.islink(item[0])])


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as scan:
        return sorted((entry for entry in scan if not entry.name.startswith(".")), key=lambda entry: entry.name)


def _unit(path: str, relative: str, inside: str, rules: _Rules) -> Unit:
    shown = _shown(relative)
    return Unit(path, shown, shown, _size(path), refusal=_refusal(path, inside), license=rules.license)


def _rules(folder: str, relative: str, entries: list[os.DirEntry[str]], above: _Rules) -> _Rules:
    ignored = list(above.ignored)
    if spec := _ignore_file(os.path.join(folder, ".gitignore")):
        ignored.append((relative, spec))
    named = [entry for entry in entries if licences.is_licence(entry.name) and entry.is_file(follow_symlinks=False)]
    own = licences.of_files({entry.name: _start(entry.path) for entry in named})
    return _Rules(ignored, own or above.license)


def _ignore_file(path: str) -> Any:
    if not os.path.isfile(path) or os.path.islink(path):
        return None
    from pathspec import GitIgnoreSpec

    return GitIgnoreSpec.from_lines(_start(path).splitlines())


def _start(path: str) -> str:
    """Return the first bytes of a small text file; an unreadable one counts as empty, since it is no document."""
    try:
        with open(path, "rb") as file:
            return file.read(licences.LONGEST).decode("utf-8", errors="replace")
    except OSError:
        return ""


def _saved(folder: str, names: set[str]) -> list[str] | None:
    """Return the data files of a saved data set, also missing ones; None for any other folder.

    Names that lead out of the folder do not count.
    """
    if not {SAVED, "dataset_info.json"} <= names:
        return None
    try:
        state = json.loads(Path(folder, SAVED).read_text("utf-8"))
        listed = [str(file["filename"]) for file in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return [name for name in listed if os.path.basename(name) == name]


def _refusal(path: str, inside: str | None) -> str:
    """Return why a file is not read; nothing is opened here, since opening a pipe would wait for a writer."""
    if inside is not None and os.path.islink(path):
        try:
            target = os.path.realpath(path, strict=True)
        except OSError:
            return "symbolic link that leads nowhere"
        if not target.startswith(inside.rstrip(os.sep) + os.sep):
            return "symbolic link out of the folder"
    return not_regular(path)


def not_regular(path: str) -> str:
    """Return why a path is no file that can be read to its end, if it is not."""
    try:
        return "" if stat.S_ISREG(os.stat(path).st_mode) else "not a regular file"
    except OSError as error:
        return f"cannot be opened: {error.strerror}"


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _shown(path: str) -> str:
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")
