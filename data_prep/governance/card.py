"""A corpus's data card: what a reader of the data set must know, from what was counted and from the recipe alone.

Headings follow Datasheets for Datasets (Gebru et al. 2021, https://arxiv.org/abs/1803.09010), with the facts that Data
Cards (Pushkarna et al. 2022, https://arxiv.org/abs/2204.01075) put first: sources, licences, what was done, known
limits. The head is YAML as the Hugging Face hub reads it. What only people know (why it was made, whom to write to) is
left open and said to be open; nothing is made up. The card holds no times, and no paths but those of the inputs: equal
corpora have equal cards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import exp
from typing import Any

from data_prep.governance.demographics import associations, summed
from data_prep.governance.tally import NOT_STATED, bin_of

MOST = 50  # rows of a table
OPEN = "*Not recorded: to be filled in by whoever publishes this corpus.*"
# Identifiers that the hub knows (https://huggingface.co/docs/hub/repositories-licenses); any other is `other`.
HUB_LICENSES = frozenset(
    "afl-3.0 agpl-3.0 apache-2.0 artistic-2.0 bsd bsd-2-clause bsd-3-clause bsl-1.0 cc cc0-1.0 cc-by-2.0 cc-by-3.0 "
    "cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 "
    "cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-permissive-1.0 cdla-permissive-2.0 "
    "cdla-sharing-1.0 ecl-2.0 epl-1.0 epl-2.0 eupl-1.1 eupl-1.2 gfdl gpl gpl-2.0 gpl-3.0 isc lgpl lgpl-2.1 lgpl-3.0 "
    "mit mpl-2.0 ms-pl ncsa odbl odc-by ofl-1.1 osl-3.0 pddl postgresql unlicense wtfpl zlib".split()
)
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"),
          (10**8, "10M<n<100M"), (10**9, "100M<n<1B"), (10**10, "1B<n<10B"), (10**11, "10B<n<100B"),
          (10**12, "100B<n<1T"))  # fmt: skip


def page(summary: Mapping[str, Any], recipe: Mapping[str, Any]) -> str:
    """Return the card of a corpus; `recipe` has every default filled in, as a manifest holds it."""
    parts = (
        _head(summary), "# Data card of a text corpus\n", *_warnings(summary, recipe),
        "## Motivation\n", OPEN, "## Composition\n", *_composition(summary),
        "## Collection process\n", *_collection(summary, recipe),
        "## Preprocessing, cleaning and labelling\n", *_processing(summary, recipe),
        "## Uses\n", OPEN, *_uses(summary),
        "## Distribution\n", *_distribution(summary), "## Maintenance\n", *_maintenance(summary, recipe),
        "## Known limits\n", _listed(_limits(summary, recipe)),
    )  # fmt: skip
    return "\n".join(part.rstrip("\n") + "\n" for part in parts if part)


def _head(summary: Mapping[str, Any]) -> str:
    import yaml

    documents = _documents(summary)
    licenses = [one for one in summary.get("licenses", {}) if one != NOT_STATED]
    known = sorted({one.lower() if one.lower() in HUB_LICENSES else "other" for one in licenses})
    known += ["unknown"] if NOT_STATED in summary.get("licenses", {}) else []
    languages = [one for one in summary.get("languages", {}) if one not in (NOT_STATED, "unknown", "not asked")]
    head: dict[str, Any] = {}
    if known:
        head["license"] = known[0] if len(known) == 1 else known
    if languages:
        head["language"] = languages
    head["size_categories"] = [next((text for most, text in _SIZES if documents < most), "n>1T")]
    head["task_categories"] = ["text-generation"]
    files = [{"split": side, "path": f"{side}.jsonl"} for side, size in summary["sides"].items() if size["documents"]]
    head["configs"] = [{"config_name": "default", "data_files": files}]
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n"


def _documents(summary: Mapping[str, Any]) -> int:
    return sum(size["documents"] for size in summary["sides"].values())


def _warnings(summary: Mapping[str, Any], recipe: Mapping[str, Any]) -> Iterable[str]:
    if unstated := summary.get("licenses", {}).get(NOT_STATED, 0):
        yield (
            f"> **WARNING: {unstated:,} of {_documents(summary):,} documents state no licence.** "
            "Nobody has said that they may be used or passed on.\n"
        )
    if not recipe.get("decontaminate"):
        yield "> **WARNING: no evaluation set was named.** Test questions may be in this corpus.\n"
    if not recipe.get("filters", {}).get("personal_data"):
        yield "> **WARNING: personal data were not looked for.** They stand in the text as they stood in the sources.\n"
    elif left := sum(_left_in(summary).values()):
        yield f"> **WARNING: {left:,} personal data were found and left in the text.**\n"


def _left_in(summary: Mapping[str, Any]) -> dict[str, int]:
    """Return personal data that were found and left, by kind."""
    found: dict[str, int] = summed([tally["left_in"] for tally in summary.get("tally", {}).values()])
    return found


def _composition(summary: Mapping[str, Any]) -> Iterable[str]:
    columns = ", ".join(f"`{one}`" for one in ("id", "text", "source", "title", "url", "license", "meta"))
    yield f"Each instance is one document of running text, one JSON object a line: {columns}.\n"
    sides = summary["sides"]
    whole = {name: sum(size[name] for size in sides.values()) for name in ("documents", "words", "bytes")}
    rows = [(name, *(f"{size[key]:,}" for key in whole)) for name, size in [*sides.items(), ("all", whole)]]
    yield _table(("side", "documents", "words", "bytes of text"), rows)
    if said := _lengths(summary.get("lengths", {})):
        yield said
    yield "### Licences\n"
    yield _counts(summary.get("licenses", {}), ("licence", "documents"))
    yield "### Languages\n"
    yield _counts(summary.get("languages", {}), ("language", "documents"))
    yield "### Time span and formats\n"
    yield _years(_by(summary, "year"))
    yield _counts(_by(summary, "format"), ("file format", "documents"))
    yield "### Whom the text speaks of\n"
    yield from _people(summary.get("tally", {}))


def _lengths(lengths: Mapping[str, int]) -> str:
    """Return the median's bin: a histogram knows no more."""
    total = sum(lengths.values())
    seen = 0
    for place, count in sorted((int(place), count) for place, count in lengths.items()):
        seen += count
        if 2 * seen >= total:
            low, high = bin_of(place)
            return f"Half of the documents have up to {low:,} to {high:,} words (bins of half an octave).\n"
    return ""


def _by(summary: Mapping[str, Any], name: str) -> dict[str, int]:
    named = summed([tally["by"][name]["named"] for tally in summary.get("tally", {}).values()])
    return {one: size[0] for one, size in named.items()}


def _years(found: Mapping[str, int]) -> str:
    known = {int(year): count for year, count in found.items() if year.isdigit()}
    if not known:
        return "No document states a year.\n"
    return (
        f"Years from {min(known)} to {max(known)}, stated by {sum(known.values()):,} documents; "
        f"{found.get(NOT_STATED, 0):,} state none.\n"
    )


def _people(tallies: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    sides = {side: tally["demographics"] for side, tally in tallies.items() if tally["documents"]}
    if not sides:
        yield "Not counted.\n"
        return
    whole = summed(list(sides.values()))
    yield (
        "Documents that use a word of a short English list (`data_prep/governance/demographic_terms.yaml`, SHA-256 "
        f"`{whole['list'][:16]}…`); a word cannot tell who is meant.\n"
    )
    rows = [
        (axis, group, f"{said['documents']:,}",
         *(f"{row['groups'][axis][group]['documents']:,}" for row in sides.values()))
        for axis, groups in whole["groups"].items()
        for group, said in groups.items()
        if said["documents"]
    ]  # fmt: skip
    yield _table(("axis", "group", "documents", *sides), rows) if rows else "No word of the list was found.\n"
    found = associations(whole)
    clear = [one for one in found if one.clear]
    yield (
        f"Words beside groups: {len(found):,} comparisons with the other groups of an axis, {len(clear):,} whose 95 % "
        "interval (Bonferroni over the axis) leaves out 1 in at least five documents"
        + (":\n" if clear else ".\n")
    )  # fmt: skip
    if clear:
        rows = [
            (f"{one.group} + {one.word}", f"{exp(one.log_odds):.1f} ({exp(one.low):.1f} to {exp(one.high):.1f})",
             f"{one.sentences:,}", f"{one.documents:,}")
            for one in clear[:20]
        ]  # fmt: skip
        yield _table(("group + word", "odds ratio", "sentences", "documents"), rows)


def _collection(summary: Mapping[str, Any], recipe: Mapping[str, Any]) -> Iterable[str]:
    rows = []
    for item in recipe["inputs"]:
        place = item.get("path") or item.get("dataset")
        called = item.get("name") or place.rstrip("/").rpartition("/")[2]
        rows.append((f"`{place}`", called, item.get("license") or "none given"))
    yield _table(("input", "called", "licence for documents that name none"), rows)
    yield "### Sources\n"
    sources = summary.get("sources", {})
    order = sorted(sources.items(), key=lambda item: (-item[1]["words"], item[0]))
    yield _table(
        ("source", "documents read", "documents kept", "words kept"),
        [(name, f"{one['read']:,}" if "read" in one else "", f"{one['documents']:,}", f"{one['words']:,}")
         for name, one in order[:MOST]],
    ) + (f"\n{len(order) - MOST:,} further sources are in `funnel.json`.\n" if len(order) > MOST else "")  # fmt: skip
    if unreadable := summary.get("unreadable"):
        yield "### Not readable\n"
        yield _counts(unreadable, ("reason", "files or rows"))


def _processing(summary: Mapping[str, Any], recipe: Mapping[str, Any]) -> Iterable[str]:
    yield "In this order; what each step took is counted by reason.\n"
    rows = []
    for step in summary["steps"]:
        dropped = ", ".join(f"{reason} {count:,}" for reason, count in step["dropped"].items())
        sizes = (f"{step['documents_in']:,}", f"{step['documents_out']:,}")
        changed = f"{step['changed']:,}" if step["changed"] else ""
        rows.append((f"`{step['name']}`", _settings(step["name"], recipe), *sizes, dropped, changed))
    yield _table(("step", "settings", "documents in", "out", "dropped, by reason", "repaired"), rows)
    yield "### Personal data\n"
    yield _personal(summary, recipe)
    yield "### Duplicates\n"
    yield _duplicates(summary.get("duplicates") or {}, recipe.get("deduplicate"))
    yield "### Evaluation sets kept out\n"
    yield _decontaminated(summary.get("contamination", {}), recipe)
    yield "### Split\n"
    split = recipe.get("split", {})
    yield (
        f"Validation {split.get('validation', 0):g}, test {split.get('test', 0):g}, by a hash of the cluster of "
        f"near-duplicates{' and source' if split.get('by') == 'source' else ''} with seed {recipe.get('seed')}.\n"
    )


def _settings(step: str, recipe: Mapping[str, Any]) -> str:
    found = recipe.get("filters", {}).get(step)
    if not isinstance(found, Mapping):
        return ""
    return ", ".join(f"{name} {_value(value)}" for name, value in found.items() if value is not None)


def _value(value: Any) -> str:
    if isinstance(value, list):
        shown = " ".join(str(one) for one in value[:8])
        return shown + (f" and {len(value) - 8} more" if len(value) > 8 else "") if value else "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _personal(summary: Mapping[str, Any], recipe: Mapping[str, Any]) -> str:
    settings = recipe.get("filters", {}).get("personal_data")
    if not settings:
        return "Not looked for.\n"
    looked = _settings("personal_data", recipe)
    found = summary.get("redacted", {})
    left = _left_in(summary)
    tables = _counts(found, ("kind", "replaced")) if found else "None was replaced in what was kept.\n"
    tables += "\n" + _counts(left, ("kind", "found and left in the text")) if left else ""
    return f"Looked for with: {looked}.\n\n{tables}"


def _duplicates(found: Mapping[str, Any], settings: Mapping[str, Any] | None) -> str:
    if not settings:
        return "Not removed.\n"
    said = (
        f"MinHash over shingles of {settings['shingle']} words, {settings['permutations']} permutations; documents "
        f"with a Jaccard index of {settings['threshold']:g} or more are near-duplicates, of which the "
        f"{settings.get('keep', 'longest')} is kept."
    )
    if found:
        said += f" Removed: {found.get('exact', 0):,} exact copies and {found.get('near', 0):,} near-duplicates"
        said += f", in {found.get('clusters', 0):,} clusters."
        if largest := found.get("largest"):
            said += f" The largest cluster has {largest[0]['size']:,} documents."
        if paragraphs := found.get("paragraphs"):
            count = paragraphs.get("exact", 0) + paragraphs.get("near", 0)
            said += f" {count:,} paragraphs that stand in other documents were taken away."
    return said + "\n"


def _decontaminated(found: Mapping[str, Any], recipe: Mapping[str, Any]) -> str:
    if "questions" not in found:
        return "None was named.\n"
    files = "".join(f"- `{path}`\n" for path in recipe["decontaminate"])
    return (
        f"{files}\n{found['questions']:,} questions were looked for (runs of {recipe['decontaminate_ngram']} words, "
        f"shorter questions whole; {found['too_short_to_search_for']:,} too short to be looked for). "
        f"{found['found']:,} hits; the documents with them were left out.\n"
    )


def _uses(summary: Mapping[str, Any]) -> Iterable[str]:
    if "questions" in summary.get("contamination", {}):
        yield "Models trained on it can be judged on the evaluation sets named above; on others only after a search.\n"


def _distribution(summary: Mapping[str, Any]) -> Iterable[str]:
    yield "Each document keeps the licence of its source (column `license`). No licence is granted by this card.\n"
    if unstated := summary.get("licenses", {}).get(NOT_STATED, 0):
        yield f"**{unstated:,} documents state none: ask before they are passed on.**\n"


def _maintenance(summary: Mapping[str, Any], recipe: Mapping[str, Any]) -> Iterable[str]:
    import yaml

    from recipes import __version__

    yield f"Contact: {OPEN}\n"
    if forgotten := summary.get("reasons", {}).get("forgotten", 0):
        documents = "document was" if forgotten == 1 else "documents were"
        yield f"{forgotten:,} {documents} left out on request (block list `{recipe['forget']}`).\n"
    yield (
        "To remove a document, a source or a person's texts: `tuneloop forget RESULT --document ID`, `--source NAME` "
        "or `--match TEXT`; it also lists the checkpoints that saw them.\n"
    )
    yield f"To rebuild it: `tuneloop run recipe.yaml` with tuneloop {__version__}, the same inputs and\n"
    whole = {key: value for key, value in _without_none(recipe).items() if key not in ("engine", "output_dir")}
    whole["inputs"] = [_as_written(item) for item in whole["inputs"]]
    yield f"```yaml\n{yaml.safe_dump(whole, sort_keys=False, allow_unicode=True)}```\n"


def _as_written(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an input without what its recipe need not say, and would not take back: a path has no split."""
    return {key: value for key, value in item.items() if value and (key != "split" or "dataset" in item)}


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _without_none(item) for name, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value


def _limits(summary: Mapping[str, Any], recipe: Mapping[str, Any]) -> Iterable[str]:
    """Yield what follows from what was not done, and what no step of this kind can do."""
    chosen = recipe.get("filters", {})
    if not chosen.get("language"):
        yield "Languages were not identified."
    if chosen.get("personal_data"):
        yield "Rules find personal data by their form; what has none (a name, an unusual address) may be left."
    if not recipe.get("deduplicate"):
        yield "Copies were not removed."
    if not any(chosen.get(name) for name in ("gopher_quality", "c4_quality", "fineweb_quality")):
        yield "No quality rules were applied."
    if not chosen.get("inappropriate"):
        yield "Inappropriate content was not looked for."
    if recipe.get("decontaminate"):
        yield "Evaluation questions in other words, and their answers, are not found."
    if unreadable := sum(summary.get("unreadable", {}).values()):
        yield f"{unreadable:,} files or rows could not be read and are missing."
    yield "Licences are those that the sources state; nobody has checked them."
    yield "Whether what the documents say is true was not checked."


def _listed(lines: Iterable[str]) -> str:
    return "".join(f"- {line}\n" for line in lines)


def _counts(found: Mapping[str, int], heads: Sequence[str]) -> str:
    if not found:
        return "Not known.\n"
    order = sorted(found.items(), key=lambda item: (item[0] != NOT_STATED, -item[1], item[0]))
    rows = [(f"**{name}**" if name == NOT_STATED else name, f"{count:,}") for name, count in order[:MOST]]
    rest = sum(count for _, count in order[MOST:])
    rows += [(f"{len(order) - MOST:,} others", f"{rest:,}")] if rest else []
    return _table(heads, rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def _cell(value: object) -> str:
    """Return a text that stays in its cell and makes no markup of its own."""
    text = " ".join(str(value).encode("utf-8", "replace").decode().split())
    return text.replace("|", "\\|").replace("<", "&lt;")
