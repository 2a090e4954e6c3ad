"""Why a URL was never asked for, as far as the recipe and the log of answers tell."""

from __future__ import annotations

import json

import polars as pl

from curate.sources.crawler.scope import Scope, no_page, repeats
from curate.sources.urls import canonical, host_of
from schemas.recipe import Recipe
from schemas.source import Source


def why_unasked(recipe: Recipe, fetches: pl.LazyFrame, url: str, near: str) -> tuple[str, str]:
    """What kept a canonical URL from being asked for, and what to do so that it is; the recipe has a site.

    `fetches` has the columns of the table of that name; `near` is a sentence about similar URLs, or "".
    """
    sites = {name: source for name, source in recipe.sources.items() if source.url}
    for name, source in sites.items():
        if not left_out(source, url):
            return _within(name, source, fetches.filter(pl.col("source") == name), url, near)
    return _outside(*next(iter(sites.items())), url)


def left_out(source: Source, url: str) -> str:
    """What keeps a canonical URL out of a site as its recipe is now: "deny", "allow", "host", or ""."""
    return Scope(_starts(source), source.allow, source.deny).left_out(url)


def _starts(source: Source) -> list[str]:
    return [canonical(start) for start in source.url]


def _outside(name: str, source: Source, url: str) -> tuple[str, str]:
    by = left_out(source, url)
    if by == "deny":
        return (
            f"deny of [sources.{name}] leaves it out",
            f"Make its patterns narrower: deny = {json.dumps(source.deny)}",
        )
    if by == "allow":
        return (
            f"allow of [sources.{name}] does not name it",
            f"Add a pattern for it: allow = {json.dumps(source.allow)}",
        )
    hosts = " and ".join(sorted({host_of(start) for start in _starts(source)}))
    return (
        f"[sources.{name}] is limited to {hosts}",
        f"Give {host_of(url)} a source of its own, or name both hosts in allow under [sources.{name}].",
    )


def _within(name: str, source: Source, fetches: pl.LazyFrame, url: str, near: str) -> tuple[str, str]:
    """Why a URL that belongs to the source was not asked for."""
    if reason := no_page(url):
        return f"such URLs are not asked for ({reason})", "No reader would understand its answer."
    start = f'under [sources.{name}] url = ["{source.url[0]}", "{url}"] asks for it'
    page, depth = _first_link(fetches, url)
    if not page:
        named = "and no sitemap names it" if source.sitemap else "and sitemap = false"
        return (
            f"no page that was read links to it, {named}",
            f"{near or 'Is it spelt as on the site?'} If it is right, {start}.",
        )
    if not source.follow:
        return f"{page} links to it, but follow = false", f"A start of its own: {start}."
    if depth > source.max_depth:
        why = f"{page} links to it, {depth} links from the start, and max_depth = {source.max_depth}"
        return why, f"max_depth = {depth} under [sources.{name}] reaches it."
    if repeats(url):
        return f"{page} links to it, but its path repeats itself like a trap", f"A start of its own: {start}."
    why = f"{page} links to it, but the crawl ended before its turn"
    if source.max_pages:
        return f"{why} (max_pages = {source.max_pages})", f"Raise max_pages under [sources.{name}]."
    return f"{why} (by --limit, by Ctrl-C, or because the host stopped answering)", "curate run asks for it."


def _first_link(fetches: pl.LazyFrame, url: str) -> tuple[str, int]:
    """The page nearest to the start that leads to a URL, and how many links from the start that is; ("", 0)."""
    moved = pl.col("location") == url
    leads = fetches.filter(moved | pl.col("links").list.contains(url)).select(
        "url", far=pl.col("depth") + pl.when(moved).then(0).otherwise(1)
    )
    found = leads.sort("far", "url").head(1).collect().rows()
    return (str(found[0][0]), int(found[0][1])) if found else ("", 0)
