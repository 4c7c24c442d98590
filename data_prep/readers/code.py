"""Source code: one document a file, as it stands, with its language in `meta.programming_language`.

The language goes by the suffix, by the whole name (Makefile) or by the program that the first line names. The licence
is that of the file's own `SPDX-License-Identifier`, else of the licence file beside or above it
(data_prep/files/listing.py, which also leaves out what a .gitignore names). The title is the file's name.

Left out: judging code (generated, minified or copied files: filters do that), notebooks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from data_prep.files import licences
from data_prep.files.decoding import read_text
from data_prep.records import Document

LANGUAGES = {
    "Ada": ".adb .ads", "Assembly": ".asm .s", "Awk": ".awk", "Batchfile": ".bat .cmd", "C": ".c .h", "C#": ".cs",
    "C++": ".cc .cpp .cxx .hpp .hh .hxx .ipp", "CMake": ".cmake cmakelists.txt", "CSS": ".css",
    "Clojure": ".clj .cljs .cljc", "Common Lisp": ".lisp .lsp .cl", "Coq": ".v", "Crystal": ".cr", "Cuda": ".cu .cuh",
    "D": ".d", "Dart": ".dart", "Dockerfile": ".dockerfile dockerfile containerfile", "Elixir": ".ex .exs",
    "Elm": ".elm", "Emacs Lisp": ".el", "Erlang": ".erl .hrl", "F#": ".fs .fsi .fsx",
    "Fortran": ".f .f90 .f95 .f03 .for", "GLSL": ".glsl .vert .frag", "Go": ".go", "GraphQL": ".graphql .gql",
    "Groovy": ".groovy .gradle", "Haskell": ".hs .lhs", "Idris": ".idr", "Java": ".java",
    "JavaScript": ".js .jsx .mjs .cjs", "Julia": ".jl", "Kotlin": ".kt .kts", "Lean": ".lean", "Lua": ".lua",
    "Makefile": ".mk .mak makefile gnumakefile", "Mathematica": ".wl", "Nim": ".nim", "Nix": ".nix",
    "OCaml": ".ml .mli", "Objective-C": ".m .mm", "PHP": ".php", "Pascal": ".pas .pp", "Perl": ".pl .pm",
    "PowerShell": ".ps1 .psm1", "Prolog": ".pro", "Protocol Buffer": ".proto", "Python": ".py .pyi .pyw .pyx",
    "R": ".r", "Racket": ".rkt", "Ruby": ".rb .rake rakefile gemfile", "Rust": ".rs", "SCSS": ".scss .sass .less",
    "SQL": ".sql", "Scala": ".scala .sbt", "Scheme": ".scm .ss", "Shell": ".sh .bash .zsh .ksh", "Solidity": ".sol",
    "Standard ML": ".sml", "Starlark": ".bzl .star", "Svelte": ".svelte", "Swift": ".swift",
    "SystemVerilog": ".sv .svh", "Tcl": ".tcl", "TeX": ".tex .sty .cls", "Terraform": ".tf",
    "TypeScript": ".ts .tsx .mts .cts", "VHDL": ".vhd .vhdl", "Vim Script": ".vim", "Visual Basic": ".vb .bas",
    "Vue": ".vue", "Zig": ".zig",
}  # fmt: skip
BY_NAME = {name: language for language, names in LANGUAGES.items() for name in names.split()}
SUFFIXES = tuple(BY_NAME)
FREE = True
PROGRAMS = {
    "python": "Python", "sh": "Shell", "bash": "Shell", "zsh": "Shell", "ksh": "Shell", "dash": "Shell",
    "perl": "Perl", "ruby": "Ruby", "node": "JavaScript", "deno": "TypeScript", "php": "PHP", "lua": "Lua",
    "rscript": "R", "awk": "Awk", "tclsh": "Tcl", "wish": "Tcl", "julia": "Julia", "make": "Makefile",
    "groovy": "Groovy", "swift": "Swift",
}  # fmt: skip
_PROGRAM = re.compile(rb"#![ \t]*\S*?/?(?:env(?:[ \t]+-\S+)*[ \t]+)?([A-Za-z]+)[\d.]*(?:[ \t]|\r?$)")


def recognises(head: bytes) -> bool:
    """Tell a script by the program that its first line names."""
    return _script(head) is not None


def read(path: Path) -> Iterator[Document]:
    """Yield the file as one document."""
    text = read_text(path)
    name = path.name.removesuffix(".gz").removesuffix(".zst")
    suffix = Path(name).suffix.lower()
    language = BY_NAME.get(suffix) or BY_NAME.get(name.lower()) or _script(text[:200].encode()) or ""
    meta = {"programming_language": language} if language else {}
    yield Document("", text, "", title=name, license=licences.in_header(text[:2000]), meta=meta)


def _script(head: bytes) -> str | None:
    found = _PROGRAM.match(head.partition(b"\n")[0])
    if not found:
        return None
    program = found[1].decode("ascii").lower()
    return PROGRAMS.get(program)
