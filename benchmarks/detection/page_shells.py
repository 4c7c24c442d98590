"""Web pages with a known main text: Markdown documents in the page shells of common site generators.

The shells repeat the structure and the class names that each generator writes (Sphinx with the Read the Docs theme,
MkDocs Material, Docusaurus, a WordPress blog, an old site of nested tables and divs), with side bars, breadcrumbs,
cookie notices, related posts, comments and footers whose words come from other documents of the same collection.
"""

# ruff: noqa: E501
from __future__ import annotations

from collections.abc import Sequence

COOKIES = "We use cookies to improve your experience. Accept all cookies or read our privacy policy."


def pages(title: str, main: str, links: Sequence[str], comments: Sequence[str]) -> dict[str, str]:
    """Return the HTML of a page in each shell; `main` is the HTML of its main text."""
    items = "".join(f'<li class="{{}}"><a href="/p/{number}">{link}</a></li>' for number, link in enumerate(links))
    remarks = "".join(
        f"<div class='comment-body'><b>Reader {n}</b><p>{text}</p></div>" for n, text in enumerate(comments)
    )
    head = f"<!doctype html><html><head><title>{title}</title><style>p{{margin:0}}</style></head>"
    return {
        "sphinx": f"""{head}<body class="wy-body-for-nav"><div class="wy-grid-for-nav">
<nav data-toggle="wy-nav-shift" class="wy-nav-side"><div class="wy-side-scroll"><div class="wy-side-nav-search">
<a href="index.html" class="icon icon-home">Project docs</a><form><input type="text" placeholder="Search docs"></form></div>
<div class="wy-menu wy-menu-vertical"><p class="caption"><span>Contents</span></p><ul>{items.format(*["toctree-l1"] * len(links))}</ul></div></div></nav>
<section data-toggle="wy-nav-shift" class="wy-nav-content-wrap"><div class="wy-nav-content"><div class="rst-content">
<div role="navigation" aria-label="Page navigation"><ul class="wy-breadcrumbs"><li><a href="/">Home</a></li><li>{title}</li>
<li class="wy-breadcrumbs-aside"><a href="_sources/p.rst.txt">View page source</a></li></ul><hr></div>
<div role="main" class="document"><div itemprop="articleBody">{main}</div></div>
<footer><div class="rst-footer-buttons"><a class="btn" href="/n">Next</a><a class="btn" href="/p">Previous</a></div>
<div role="contentinfo"><p>Copyright 2024, the authors.</p></div>Built with Sphinx using a theme provided by Read the Docs.</footer>
</div></div></section></div></body></html>""",
        "mkdocs": f"""{head}<body dir="ltr"><div data-md-component="skip"><a href="#x" class="md-skip">Skip to content</a></div>
<header class="md-header"><nav class="md-header__inner md-grid"><span class="md-ellipsis">Project</span>
<label class="md-search__icon">Search</label></nav></header>
<div class="md-container"><nav class="md-tabs"><ul class="md-tabs__list">{items.format(*["md-tabs__item"] * len(links))}</ul></nav>
<main class="md-main"><div class="md-main__inner md-grid"><div class="md-sidebar md-sidebar--primary"><nav class="md-nav"><ul>
{items.format(*["md-nav__item"] * len(links))}</ul></nav></div><div class="md-sidebar md-sidebar--secondary"><nav class="md-nav">
<label class="md-nav__title">Table of contents</label><ul>{items.format(*["md-nav__item"] * len(links))}</ul></nav></div>
<div class="md-content"><article class="md-content__inner md-typeset"><a href="/edit" class="md-content__button">Edit this page</a>{main}</article></div>
</div></main><footer class="md-footer"><p>Made with Material for MkDocs</p></footer></div><div class="md-consent">{COOKIES}</div></body></html>""",
        "docusaurus": f"""{head}<body><div id="__docusaurus"><div role="region" aria-label="Skip to main content"><a href="#m">Skip to main content</a></div>
<nav class="navbar navbar--fixed-top"><a class="navbar__brand" href="/">Project</a><a class="navbar__item">Docs</a><a class="navbar__item">Blog</a></nav>
<div class="docsWrapper"><aside class="theme-doc-sidebar-container"><nav class="menu"><ul class="theme-doc-sidebar-menu">{items.format(*["menu__list-item"] * len(links))}</ul></nav></aside>
<main class="docMainContainer"><div class="container"><div class="row"><div class="col docItemCol"><div class="docItemContainer"><article>
<nav class="theme-doc-breadcrumbs"><ul class="breadcrumbs"><li>Docs</li><li>{title}</li></ul></nav>
<div class="theme-doc-markdown markdown">{main}</div><footer class="theme-doc-footer"><a href="/edit">Edit this page</a><span>Last updated on May 3, 2024</span></footer>
</article><nav class="pagination-nav"><a>Previous Overview</a><a>Next Details</a></nav></div></div>
<div class="col col--3"><div class="tableOfContents"><ul>{items.format(*["toc"] * len(links))}</ul></div></div></div></div></main></div>
<footer class="footer"><div class="footer__copyright">Copyright 2024 Project, Inc.</div></footer></div></body></html>""",
        "blog": f"""{head}<body class="single-post"><div id="page" class="site"><header id="masthead" class="site-header">
<p class="site-title">A blog about tools</p><nav class="main-navigation"><ul>{items.format(*["menu-item"] * len(links))}</ul></nav></header>
<div class="cookie-notice">{COOKIES}</div><div id="content" class="site-content"><div id="primary" class="content-area">
<article class="post hentry"><div class="entry-content">{main}</div><footer class="entry-footer"><span class="cat-links">Posted in Tools</span>
<div class="sharedaddy">Share this: <a>Twitter</a> <a>Facebook</a></div></footer></article>
<div id="comments" class="comments-area"><h2 class="comments-title">{len(comments)} thoughts</h2>{remarks}<form class="comment-form"><p>Leave a reply</p></form></div></div>
<div id="secondary" class="widget-area"><div class="widget"><h2>Recent posts</h2><ul>{items.format(*["recent"] * len(links))}</ul></div></div></div>
<footer id="colophon" class="site-footer"><div class="site-info">Proudly powered by WordPress</div></footer></div></body></html>""",
        "divs": f"""{head}<body><div id="wrapper"><div id="header"><div class="logo">Project</div><div class="topmenu">
<a href="/">Home</a> | <a href="/d">Downloads</a> | <a href="/c">Contact</a></div></div><div id="container"><div id="leftcolumn" class="sidebar"><ul>{items.format(*["link"] * len(links))}</ul></div>
<div id="main-content" class="content">{main}</div><div id="rightcolumn" class="sidebar ads"><p>Advertisement</p><p>Buy the book now with a discount of 20 percent!</p></div></div>
<div id="footer" class="footer">Copyright 2009. All rights reserved. <a href="/imprint">Imprint</a></div></div></body></html>""",
    }
