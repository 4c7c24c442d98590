"""Links and the lines that a page's template writes: what goes, what stays, and when a document goes."""

from __future__ import annotations

from typing import Any

import pytest

from data_prep import filters
from data_prep.filters import Drop, links, template_lines
from data_prep.records import Document


def check(name: str, text: str, **settings: Any) -> tuple[Drop | None, Document]:
    """Return what a filter says of a text, and the document as it left it."""
    module, document = filters.modules()[name], Document("id", text, "source")
    return module.build(module.Settings(**settings))(document), document


# --- links


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("See https://a.example/b?c=d#e, then go.", ["https://a.example/b?c=d#e"]),
        ("(https://en.wikipedia.org/wiki/Fern_(plant))", ["https://en.wikipedia.org/wiki/Fern_(plant)"]),
        ("WWW.Example.ORG/x. and ftp://f.example!", ["WWW.Example.ORG/x", "ftp://f.example"]),
        ("[a title](https://a.example/b) and <http://c.example>", ["https://a.example/b", "http://c.example"]),
        ("no link: a://b, www, http:// , awww.x", []),
    ],
)
def test_addresses_end_before_the_punctuation_behind_them(text: str, found: list[str]) -> None:
    assert links.addresses(text) == found


PROSE = "The fern is at https://a.example/fern and grows in the shade of tall trees."
MENU = ["- [Home](/index.html)", "* https://a.example/b", "1. [Care (all year)](https://a.example/c \"Care\")",
        "[Ferns](a.html) | [Lilies](b.html)", "  <https://a.example>", "![](leaf.png)",
        "[2]: https://a.example/d"]  # fmt: skip


@pytest.mark.parametrize("line", MENU)
def test_a_line_that_is_nothing_but_links_goes(line: str) -> None:
    drop, document = check("links", f"{PROSE}\n\n{line}\n\nThe end.")
    assert drop is None
    assert document.text == f"{PROSE}\n\nThe end."
    assert document.meta == {"link_lines_removed": 1, "links": 1 + len(links.addresses(line))}
    assert check("links", f"{PROSE}\n{line}", lines="keep")[1].text == f"{PROSE}\n{line}"


@pytest.mark.parametrize(
    "line",
    [PROSE, '    "https://a.example/data.zip",', "x = [a](b) + 1", "See [the list](a.html).", "- 3 www", "[a] [b]"],
)
def test_a_line_with_a_link_and_words_stays(line: str) -> None:
    text = f"A first line.\n{line}\nA last line."
    drop, document = check("links", text, max_link_characters=1)
    assert (drop, document.text) == (None, text)
    assert document.meta.get("links", 0) == len(links.addresses(line))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (PROSE, "The fern is at and grows in the shade of tall trees."),
        ("See the list (https://a.example/b).", "See the list."),
        ("    call [the docs](https://a.example/b) now", "    call the docs now"),
        ("[here](guide.html) stays", "[here](guide.html) stays"),
        ("Visit www.a.example, or not", "Visit, or not"),
    ],
)
def test_addresses_go_on_request_and_the_text_of_links_stays(before: str, after: str) -> None:
    long = "Its leaves lose their green with every cold night that passes."
    drop, document = check("links", f"{long}\n{before}\n{long}", addresses="remove")
    assert drop is None
    assert document.text == f"{long}\n{after}\n{long}"
    assert document.meta.get("lines_with_links_removed", 0) == (before != after)


def test_documents_that_are_mostly_links_go() -> None:
    listing = "\n".join([PROSE, "The end.", *MENU[:4]])
    assert check("links", listing)[0] == Drop("link_lines", "4 of 6 lines are nothing but links")
    assert check("links", listing, max_link_lines=0.7)[0] is None
    address = f"https://a.example/{'x' * 82}"
    assert check("links", f"See {address} for it.")[0] == Drop("link_characters", "100 of 112 characters are addresses")
    assert check("links", "https://a.example", max_link_lines=1, max_link_characters=1)[0] == Drop(
        "links", "nothing but links"
    )


# --- template lines


TEMPLATE = """\
© 2024 Botanical Garden of Somewhere
Copyright (c) 2019-2023 by Mara Holm. All rights reserved.
Botanical Garden, 2024. All Rights Reserved
Alle Rechte vorbehalten.
We use cookies to improve your experience on our website.
This website uses cookies. Read our policy to learn more.
By continuing to browse the site you agree to our use of cookies.
Accept all cookies
Cookie settings
Diese Website verwendet Cookies, um Ihnen den besten Service zu bieten.
Share this on Facebook, Twitter and Pinterest
Share this article
Tweet
Print | E-mail | Share
Follow us on Instagram
Read more »
→ Learn more
Skip to main content
Back to top
Subscribe to our weekly newsletter!
Sign up for our newsletter and never miss a fern
Advertisement
Sponsored content
Leave a comment
Your email address will not be published. Required fields are marked *
You must be logged in to post a comment.
Please enable JavaScript to view the comments.
Your browser does not support the video tag.
Proudly powered by WordPress
Click here to download
Page 3 of 12
Home | About us | Contact | Privacy policy
Impressum · Datenschutz""".splitlines()
ORDINARY = """\
The museum uses cookies baked after a recipe of 1890.
Read more books about ferns before you plant one.
Copyright law protects the drawings in this book for seventy years after the death of the artist.
The farmers share this field with the village, and they share the harvest.
Print is dead, they said.
All rights reserved for the crown were sold in 1650, as the charter says.
He went home | she stayed
Contact your doctor
Help
Back to the top of the hill they went.
Advertisement of plants by their scent is common.
Accept the cookies your aunt offers
Page 3 of 12 was missing from the book
1. Share your harvest
Search""".splitlines()


@pytest.mark.parametrize("line", TEMPLATE)
def test_a_templates_line_goes(line: str) -> None:
    drop, document = check("template_lines", f"The fern grows.\n\n{line}\n\nIt is cut in spring.")
    assert drop is None
    assert document.text == "The fern grows.\n\nIt is cut in spring."
    assert document.meta["template_lines_removed"] == 1


def test_ordinary_lines_stay_even_beside_templates() -> None:
    text = "\n".join(ORDINARY)
    assert check("template_lines", text)[1].text == text
    # With all templates in the same text, every pattern is tried on every line.
    assert check("template_lines", "\n".join([text, *TEMPLATE]))[1].text == text


def test_every_pattern_has_a_line_of_its_own_here() -> None:
    """A pattern whose guard is not in its own lines would never be tried."""
    import re

    lines = [*TEMPLATE, "Tous droits réservés", "Todos los derechos reservados", "Ce site utilise des cookies",
             "Este sitio utiliza cookies", "Like us on Facebook", "Artikel teilen", "Partager sur Facebook",
             "Compartir en Twitter", "Weiterlesen", "Zurück nach oben", "Print this page",
             "JavaScript is required"]  # fmt: skip
    for word, pattern in template_lines.PATTERNS:
        matched = [line for line in lines if re.fullmatch(rf"\W*(?:{pattern})[\s.!…»›>→]*", line.lower())]
        assert matched and all(word in line.lower() for line in matched), pattern


def test_more_patterns_and_long_lines() -> None:
    text = "The fern grows.\nWritten by Mara Holm"
    assert check("template_lines", text, patterns=[r"written by [\w ]+"])[1].text == "The fern grows."
    long = f"We use cookies {'and ferns ' * 15}"
    assert check("template_lines", f"{text}\n{long}", max_characters=100)[1].text == f"{text}\n{long}"
    assert check("template_lines", "Accept cookies\n\nBack to top")[0] == Drop(
        "template_lines", "every line is a template's"
    )
