"""How well personal data, languages, encodings and main text are told, next to the libraries that do the same.

    python benchmarks/quality_detection.py [--data ../shared/data] [--garden DIR] [--pages DIR] [--slow]
                                           [--tables personal_data languages encodings main_text]

`--data` is the folder of labelled sets (pii_presidio, udhr, mltool_docs, ...); `--garden` the result of
`tuneloop run recipes/quickstart/garden.yaml`; `--pages` a folder into which Debian's packages python3.11-doc,
postgresql-doc-15, git-doc, mkdocs-doc and doxygen-doc were unpacked (dpkg -x), for real pages; `--slow` asks the slow
language detectors, too. Peers that are not installed are left out, and said. Speeds are MB per CPU second, in one
process, and models are loaded before the clock starts.
"""

import argparse
from pathlib import Path

from detection import encodings, languages, main_text, personal_data

ROOT = Path(__file__).resolve().parents[1]
TABLES = ("personal_data", "languages", "encodings", "main_text")


def main() -> None:
    """Print the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES)
    parser.add_argument("--garden", type=Path)
    parser.add_argument("--pages", type=Path)
    parser.add_argument("--slow", action="store_true")
    asked = parser.parse_args()
    if not asked.data.is_dir():
        parser.error(f"--data {asked.data} is no folder; name the one that holds pii_presidio, udhr and mltool_docs")
    tables = {
        "personal_data": lambda: personal_data.table(asked.data),
        "languages": lambda: languages.table(asked.data, asked.slow),
        "encodings": lambda: encodings.table(asked.data),
        "main_text": lambda: main_text.table(asked.data, asked.garden, asked.pages),
    }
    for name in asked.tables:
        print(f"\n=== {name.replace('_', ' ')}")
        tables[name]()


if __name__ == "__main__":
    main()
