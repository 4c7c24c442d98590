"""Main text of a page: the named content, or what rules find; notices, comments and navigation stay out."""

from __future__ import annotations

import time
from typing import Any

import pytest

from data_prep.files.decoding import Unreadable
from data_prep.readers import html

PARAGRAPHS = [
    f"The {plant} grows best in the shade of tall trees, where the earth stays moist, and gardeners water it early in "
    f"the morning before the sun reaches the {place} of the garden."
    for plant, place in [("fern", "wall"), ("moss", "pond"), ("lily", "gate"), ("rose", "path")]
]
MAIN = "".join(f"<p>{text}</p>" for text in PARAGRAPHS)
NAVIGATION = "<ul>" + "".join(f'<li><a href="/{name}">Page {name}</a></li>' for name in "abcdef") + "</ul>"


def _lines(body: str) -> list[str]:
    page = f"<!doctype html><html><head><title>T</title></head><body>{body}</body></html>"
    return [line for line in html.page(page.encode()).text.split("\n") if line.strip()]


@pytest.mark.parametrize(
    "content",
    ["<main>{}</main>", "<article>{}</article>", "<div role=main>{}</div>", '<div class="entry-content">{}</div>',
     '<div itemprop="articleBody">{}</div>', '<div id="content">{}</div>'],
)  # fmt: skip
def test_only_the_content_is_left(content: str) -> None:
    body = (
        f"<header><nav>{NAVIGATION}</nav></header><div class='cookie-notice'>We use cookies. Accept all of them.</div>"
        f"{content.format(MAIN)}<div class='sidebar'>{NAVIGATION}</div><footer>Copyright 2024</footer>"
    )
    assert _lines(body) == PARAGRAPHS


def test_inside_the_content_navigation_comments_and_notices_stay_out() -> None:
    body = (
        f"<main><nav>{NAVIGATION}</nav><h1>Ferns<a class='headerlink' href='#x'>¶</a></h1>{MAIN}"
        "<a class='edit-this-page' href='/e'>Edit this page</a><form>Subscribe<button>Go</button></form>"
        "<div id='comments'><p>First! What a fine text, more of it!</p></div><footer>Old</footer></main>"
    )
    assert _lines(body) == ["Ferns", *PARAGRAPHS]


def test_sections_whose_ids_sound_like_side_matter_are_content() -> None:
    """Class-name rules alone take `related` for a list of links to other pages."""
    sections = "".join(
        f"<section id='{name}'><p>{text}</p></section>"
        for name, text in zip(
            ("related-features", "sidebar-api", "share-of-water", "comments-on-moss"), PARAGRAPHS, strict=True
        )
    )
    assert _lines(f"<nav>{NAVIGATION}</nav><div role='main'>{sections}</div>") == PARAGRAPHS


def test_a_small_or_repeated_element_is_not_the_content() -> None:
    teasers = "<article>Read on</article>" * 3
    assert _lines(f"<div id='content'>{MAIN}</div>{teasers}")[:4] == PARAGRAPHS
    assert _lines(f"<article>Teaser</article><div id='content'>{MAIN}</div>")[-4:] == PARAGRAPHS


def test_a_page_inside_an_element_with_a_notices_name_is_not_lost() -> None:
    assert _lines(f"<div class='site with-cookie-banner'>{MAIN}</div>") == PARAGRAPHS


def test_code_and_lists_keep_their_shape() -> None:
    body = f"<main>{MAIN}<ol><li>one</li><li>two</li></ol><pre>def f():\n    return 1</pre></main>"
    assert _lines(body)[-4:] == ["  1. one", "  2. two", "def f():", "    return 1"]


@pytest.mark.parametrize("body", ["", "<nav>x</nav>", "<script>var a = 1</script>", "<main></main>"])
def test_a_page_without_text_says_so(body: str) -> None:
    with pytest.raises(Unreadable, match="a page without main text"):
        _lines(body)


@pytest.mark.parametrize("tag", ["div", "DIV", "div class=x"])
def test_elements_without_end_in_each_other_are_refused_at_once(tag: str) -> None:
    started = time.process_time()
    with pytest.raises(Unreadable, match="more than 2000 elements in each other"):
        _lines(f"<{tag}>{PARAGRAPHS[0]}" * 20_000)
    assert time.process_time() - started < 1  # 12 s when they are parsed
    rows = f"<div><DIV>{PARAGRAPHS[1]}</DIV></div>" * 3_000
    assert len(_lines(f"<main>{rows}</main>")) == 3_000


@pytest.mark.parametrize("read", [html.page, html.whole_text])
@pytest.mark.parametrize("tag", ["ul", "oL type=1"])
def test_lists_without_end_in_each_other_are_refused(read: Any, tag: str) -> None:
    page = f"<main><{tag}>{PARAGRAPHS[0]}" * 20_000  # 400 MB of indentation
    with pytest.raises(Unreadable, match="more than 100 elements in each other"):
        read(page.encode())
    assert len(_lines("<main>" + f"<ul><li>{PARAGRAPHS[0]}</ul>" * 500 + "</main>")) == 500
