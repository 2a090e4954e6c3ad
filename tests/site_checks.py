"""What must be true of a crawled site, held against what is known about its pages.

Each check returns what is wrong, so that a test can name the few cases that it tolerates, with their reasons.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from curate.engine.plan import make_plan
from curate.engine.run import run_tables
from curate.lake.lake import Lake
from schemas.recipe import build_recipe
from schemas.report import RunReport
from tests.sites import Site

_NOT_KEPT = {"disallowed", "noindex", "redirect"}
_ADDRESS = re.compile(r"[^\s@<>]+@[\w-]+(?:\.[\w-]+)+")


@dataclass(frozen=True)
class Truth:
    """What is true of one page. `cluster`: pages of which one is enough; `secrets`: personal data on it."""

    path: str
    kind: str
    language: str
    cluster: str = ""
    secrets: tuple[str, ...] = ()
    chars: int = 1_000  # of its text


def run_site(site: Site, host: str, lake: Path, *, limit: int = 0, **source: Any) -> RunReport:
    """Crawl a served site as `host` and make the tables of the packaged recipe `docs`."""
    described = {"url": host, "connect": site.address, "license": "CC0-1.0", "access": "public", **source}
    recipe = build_recipe({"name": "site", "extends": "docs", "index": False, "sources": {"web": described}})
    return run_tables(make_plan(recipe), lake, limit=limit, workers=1)


@dataclass
class MadeSite:
    """A lake with one site in it, and the truth about the site."""

    lake: Path
    host: str
    truth: list[Truth]

    def path(self, url: str) -> str:
        """Path of a URL of the site, as in the truth."""
        return url.removeprefix(self.host)

    @cached_property
    def home(self) -> Lake:
        """The lake, opened."""
        return Lake(self.lake)

    @cached_property
    def answers(self) -> dict[str, dict[str, Any]]:
        """Path → the last answer."""
        rows = self.home.read("site", "fetches").sort("at").collect().to_dicts()
        return {self.path(row["url"]): row for row in rows}

    def verdicts(self, table: str) -> dict[str, dict[str, Any]]:
        """Path → verdict of one table."""
        places = self.home.read("site", "verdicts/documents").select("id", "place")
        rows = self.home.read("site", f"verdicts/{table}").join(places, on="id").collect()
        return {self.path(row["place"]): row for row in rows.to_dicts()}

    @cached_property
    def corpus(self) -> pl.DataFrame:
        """The product."""
        return self.home.read("site", "corpus").collect()

    @cached_property
    def kept(self) -> set[str]:
        """Paths of the documents of the corpus."""
        return {self.path(place) for place in self.corpus["place"]}

    def unfetched(self) -> set[str]:
        """Pages that may be fetched, and were not."""
        wanted = {page.path for page in self.truth if page.kind not in _NOT_KEPT}
        return {path for path in wanted if self.answers.get(path, {}).get("status") not in (200, 304)}

    def forbidden(self) -> dict[str, str]:
        """Path → where it leaked to, of pages that nobody may keep: only their answer is known."""
        leaks = {}
        for page in self.truth:
            if page.kind in {"disallowed", "noindex"}:
                answer = self.answers[page.path]
                if answer["status"] != 1 or answer["page"]:
                    leaks[page.path] = f"fetches: {answer}"
                for table in ("documents", "filtered", "deduplicated", "corpus"):
                    if page.path in self.verdicts(table):
                        leaks[page.path] = table
        return leaks

    def stored_texts(self) -> str:
        """All text and metadata of documents, kept or not, as extracted."""
        content = self.home.content("documents", self.home.head().fingerprints["site/documents"])
        columns = content.scan().select("title", "text", "extra").collect().get_columns()
        return "\n".join(value for column in columns for value in column)

    def bodies(self) -> bytes:
        """All stored bodies."""
        return b"\n".join(self.home.content("pages", "bodies").scan().select("body").collect()["body"])

    def wrong_languages(self) -> tuple[int, dict[str, str]]:
        """How many pages with text of over 200 characters were measured; path → language, where it is another."""
        content = self.home.content("filtered", self.home.head().fingerprints["site/filtered"]).scan()
        rows = self.home.read("site", "verdicts/filtered").select("id", "key")
        places = self.home.read("site", "verdicts/documents").select("id", "place")
        measured = rows.join(content.select("key", "langid"), on="key").join(places, on="id").unnest("langid")
        found = {
            self.path(place): language
            for place, language in measured.select("place", "language").collect().iter_rows()
        }
        told = [page for page in self.truth if page.language and page.chars > 200 and page.path in found]
        return len(told), {page.path: found[page.path] for page in told if found[page.path] != page.language}

    def miscounted_clusters(self) -> dict[str, list[str]]:
        """Cluster → the pages of it that are kept, where that is not exactly one."""
        members = defaultdict(list)
        for page in self.truth:
            if page.kind not in _NOT_KEPT:
                members[page.cluster or page.path].append(page.path)
        kept = {cluster: sorted(self.kept.intersection(paths)) for cluster, paths in members.items()}
        return {cluster: paths for cluster, paths in kept.items() if len(paths) != 1}

    def wrong_twins(self) -> dict[str, str]:
        """Removed copy → the page named for it, where that is not kept, not of its cluster, or not like it."""
        clusters = {page.path: page.cluster or page.path for page in self.truth}
        verdicts = self.verdicts("deduplicated")
        paths = {row["id"]: path for path, row in verdicts.items()}
        wrong = {}
        for path, row in verdicts.items():
            if row["kept"]:
                continue
            twin = paths[row["duplicate_of"]]
            if twin not in self.kept or clusters[twin] != clusters[path] or row["similarity"] < 0.8:
                wrong[path] = twin
        return wrong

    def personal_data_left(self) -> set[str]:
        """Planted values, and all else that looks like an e-mail address, in the corpus."""
        columns = self.corpus.select("title", "text", "url", "place", "extra").get_columns()
        words = "\n".join(value for column in columns for value in column)
        planted = {secret for page in self.truth for secret in page.secrets}
        squeezed = re.sub(r"[ ().-]", "", words)
        left = {secret for secret in planted if secret in words or re.sub(r"[ ().-]", "", secret) in squeezed}
        return left | set(_ADDRESS.findall(words))
