"""Main text of web pages: word-level precision, recall and F1, and MB of HTML per CPU second, ours and the libraries'.

Three kinds of pages: the web pages of the embedded domain against its truth; Markdown documents of mltool_docs put into
the page shells of five site generators (see `page_shells`), against the text of the document; and, where a folder with
unpacked Debian packages of documentation is given, real pages of five generators, against the text of the element that
the generator puts the content in (`GENERATORS`). Our own rules were set with all of these pages in view, so they say
what is possible, not how a page of another kind fares. Words are compared as
multisets, in lower case; the mean over pages is given.
"""

from __future__ import annotations

import io
import json
import re
import statistics
import subprocess
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from data_prep.readers import html
from detection.measuring import f1, installed, timed
from detection.page_shells import pages

# Debian package: its pages, the element of their content, and what in it is no content.
GENERATORS = {
    "Sphinx: python3.11-doc": ("usr/share/doc/python3.11/html/*/*.html", "div.body", ".headerlink"),
    "DocBook: postgresql-doc-15": ("usr/share/doc/postgresql-doc-15/html/*.html", "body", ".navheader, .navfooter"),
    "AsciiDoc: git-doc": ("usr/share/doc/git-doc/git-*.html", "body", "#footer, #footnotes"),
    "MkDocs: mkdocs-doc": ("usr/share/doc/mkdocs/html/*/*.html", "[role=main]", ".headerlink"),
    "Doxygen: doxygen-doc": ("usr/share/doc/doxygen/html/*.html", "div.contents", ".toc"),
}
PAGES_OF_EACH = 30
WORD = re.compile(r"\w+")
DOCUMENTS = 60
Pages = list[tuple[str, str]]  # HTML and its main text


def table(data: Path, garden: Path | None, unpacked: Path | None) -> None:
    """Print the table of each set."""
    sets = shelled(data / "mltool_docs" / "docs.tar.zst")
    if unpacked and installed("selectolax"):
        sets.update({name: generated(unpacked, *rule) for name, rule in GENERATORS.items()})
    if garden:
        sets = {"embedded domain": embedded(garden), **sets}
    for name, found in sets.items():
        if not found:
            continue
        size = sum(len(page.encode()) for page, _ in found) / 1e6
        print(f"\n{name}: {len(found)} pages, {size:.2f} MB     precision recall F1    MB/CPU-s")
        for extractor, extract in extractors().items():
            texts, seconds = timed(extract, [page for page, _ in found], at_least=0)
            scores = [_score(text, truth) for text, (_, truth) in zip(texts, found, strict=True)]
            means = " ".join(f"{statistics.fmean(column):.3f}" for column in zip(*scores, strict=True))
            print(f"  {extractor:34}{means}   {size / seconds:8.1f}")


def _score(text: str, truth: str) -> tuple[float, float, float]:
    found, wanted = Counter(WORD.findall(text.lower())), Counter(WORD.findall(truth.lower()))
    return f1((found & wanted).total(), found.total(), wanted.total())


def embedded(garden: Path) -> Pages:
    """Return the good web pages of the embedded domain but those with encodings damaged or personal data planted."""
    truth = json.loads((garden / "truth.json").read_text(encoding="utf-8"))
    planted = {item["path"] for item in truth["planted"] if item["defect"] in ("encoding", "personal_data")}
    return [
        ((garden / "raw" / item["path"]).read_text(encoding="utf-8"), f"{item['title']} {item['text']}")
        for item in truth["good"]
        if item["path"].endswith(".html") and item["path"] not in planted
    ]


def generated(folder: Path, pattern: str, root: str, dropped: str) -> Pages:
    """Return pages of a generator, spread over all of them, with the text of their content element."""
    from selectolax.lexbor import LexborHTMLParser

    paths = sorted(folder.glob(pattern))
    found: Pages = []
    for path in paths[:: max(len(paths) // PAGES_OF_EACH, 1)]:
        page = path.read_text(encoding="utf-8", errors="replace")
        tree = LexborHTMLParser(page)
        content = tree.css_first(root)
        for node in tree.css(f"script, style, {dropped}"):
            node.decompose()
        text = content.text(separator=" ") if content else ""
        if len(WORD.findall(text)) >= 100:
            found.append((page, text))
    return found


def shelled(archive: Path) -> dict[str, Pages]:
    """Return Markdown documents in each shell."""
    if not installed("markdown_it"):
        return {}
    from markdown_it import MarkdownIt

    documents = list(_markdown(archive))
    titles = [_plain(source.lstrip("# ").splitlines()[0]) for source in documents]
    render = MarkdownIt("commonmark", {"html": False}).enable("table").render
    found: dict[str, Pages] = {}
    for number, source in enumerate(documents):
        links = [titles[(number + step) % len(titles)] for step in range(1, 15)]
        comments = [_plain(documents[(number + step) % len(documents)])[200:400] for step in (7, 11)]
        main = render(source)
        truth = _plain_html(main)
        for shell, page in pages(titles[number], main, links, comments).items():
            found.setdefault(shell, []).append((page, truth))
    return found


def _markdown(archive: Path) -> Iterator[str]:
    """Yield English Markdown documents of some length that begin with a heading."""
    unpacked = subprocess.run(["zstd", "-dc", archive], check=True, capture_output=True).stdout
    count = 0
    with tarfile.open(fileobj=io.BytesIO(unpacked)) as tar:
        for member in sorted(tar.getmembers(), key=lambda item: item.name):
            if count == DOCUMENTS or not member.name.endswith(".md") or re.search(r"zh|_ZH|README", member.name):
                continue
            stream = tar.extractfile(member)
            source = stream.read().decode("utf-8", errors="replace") if stream else ""
            if source.startswith("# ") and 1500 < len(source) < 30_000 and "<" not in source[:200]:
                count += 1
                yield source


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[<>&#*`\[\]|]", " ", text).split())


def _plain_html(main: str) -> str:
    """Return the words of HTML that holds nothing but main text."""
    import html as entities

    return entities.unescape(re.sub(r"<[^>]+>", " ", main))


def extractors() -> dict[str, Callable[[str], str]]:
    """Return ours and what is installed."""
    found: dict[str, Callable[[str], str]] = {"ours": _ours}
    if installed("resiliparse"):
        found["resiliparse main_content"] = _resiliparse
    if installed("trafilatura"):
        import trafilatura

        found["trafilatura"] = lambda page: trafilatura.extract(page, include_comments=False) or ""
        found["trafilatura, fast"] = lambda page: trafilatura.extract(page, include_comments=False, fast=True) or ""
    if installed("justext"):
        import justext

        stop = justext.get_stoplist("English")
        found["justext"] = lambda page: "\n".join(
            item.text for item in justext.justext(page.encode(), stop) if not item.is_boilerplate
        )
    if installed("selectolax"):
        found["selectolax, whole text (no rule)"] = _selectolax
    return found


def _ours(page: str) -> str:
    try:
        return html.page(page.encode()).text
    except html.Unreadable:
        return ""


def _resiliparse(page: str) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    text: str = extract_plain_text(page, main_content=True)
    return text


def _selectolax(page: str) -> str:
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(page)
    tree.strip_tags(["script", "style", "head"])
    return tree.body.text(separator=" ") if tree.body else ""
