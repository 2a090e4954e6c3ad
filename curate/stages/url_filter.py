"""What the URL of a document says about it: block lists of domains, pages and words.

No list is packaged: those that the field uses derive from the UT1 lists of the University of Toulouse
(https://dsi.ut-capitole.fr/blacklists/, CC BY-SA), which anyone may download and name here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib import metadata
from typing import Annotated, Any, Literal

import polars as pl
import pyarrow as pa
from pydantic import Field

from curate.engine.stage import BESIDE_RECIPE, Batch, Measured, Options, stage
from curate.sources.urls import host_name
from curate.text.entries import NONE, Entries, list_digest, open_entries, open_words
from schemas.errors import missing_extra

_LISTS = ("domains", "urls", "words", "soft_words", "sub_words")
_PARTS = r"^(?:(?:[A-Za-z][A-Za-z0-9+.\-]*:)?//)?(?<authority>[^/?\\]*)(?<rest>.*)$"
_LABEL = r"[a-z0-9_](?:[a-z0-9_\-]{0,61}[a-z0-9_])?"
_HOST = rf"^(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])$"
_ADDRESS = r"^\[|(?:^|\.)[0-9]+$"  # its parts are no domains
_MOST = 253  # characters of a host name (RFC 1035)

_MEASURES = pa.struct(
    [
        ("domain", pa.bool_()),
        ("host", pa.bool_()),
        ("page", pa.bool_()),
        ("hard_word", pa.bool_()),
        ("soft_words", pa.int32()),
        ("sub_word", pa.bool_()),
        ("malformed", pa.bool_()),
        ("matched", pa.string()),
    ]
)


class UrlFilterOptions(Options):
    """The lists, each a file with one entry a line (plain or .gz; `#` begins a comment), and how they are read."""

    domains: Annotated[str | None, BESIDE_RECIPE] = Field(None, description="list of domains and hosts")
    urls: Annotated[str | None, BESIDE_RECIPE] = Field(None, description="list of URLs of pages")
    words: Annotated[str | None, BESIDE_RECIPE] = Field(
        None, description="list of words of which one in a URL is enough"
    )
    soft_words: Annotated[str | None, BESIDE_RECIPE] = Field(
        None, description="list of words of which several in a URL tell"
    )
    sub_words: Annotated[str | None, BESIDE_RECIPE] = Field(
        None, description="list of letters in a row that tell wherever they stand, across punctuation too"
    )
    dialect: Literal["plain", "datatrove"] = Field(
        "plain", description="how URLs and entries are compared; `datatrove` as its `URLFilter` does"
    )


def _needs(options: UrlFilterOptions) -> tuple[str, ...]:
    """Digests of the lists, and the public suffix list; a missing one is told here, before the first document."""
    paths = (getattr(options, name) for name in _LISTS)
    digests = tuple(list_digest(path) if path else "" for path in paths)
    if options.dialect == "plain":
        return digests
    _extractor()
    return (*digests, f"tldextract {metadata.version('tldextract')}")


@stage(
    measures=_MEASURES,
    version=1,
    reads=("url",),
    libraries=("idna",),
    models=_needs,
)
def url_filter(batch: Batch, options: UrlFilterOptions) -> Measured:
    """Look a document's URL up in block lists.

    | measure | meaning | reason in datatrove |
    | --- | --- | --- |
    | `domain` | the host or a domain above it is in `domains` | `domain` |
    | `host` | the whole host is in `domains` | `subdomain` |
    | `page` | the URL is in `urls` | `url` |
    | `hard_word` | a word of the URL is in `words` | `hard_blacklisted` |
    | `soft_words` | how many different words of `soft_words` it has; two drop a document there | `soft_blacklisted` |
    | `sub_word` | an entry of `sub_words` stands in the URL without its punctuation | `blacklisted_subword` |
    | `malformed` | there is a URL, and no host can be read from it | |
    | `matched` | what was found first, in this order, as the list has it; "" if nothing | |

    Scheme, user, default port, fragment and trailing slashes do not count, hosts are compared in lower case and in
    ASCII (IDNA 2008 with UTS 46), words in lower case, and an entry of several words is found where they follow each
    other. Without a URL nothing matches and nothing is malformed: whether a document must have one is another rule
    (`url = ''`).

    `dialect = "datatrove"` is what `URLFilter` of datatrove 0.10 does (FineWeb, Penedo et al. 2024, arXiv:2406.17557):
    `domain` is the registered domain alone (public suffix list in the package tldextract), so a host below a listed
    host passes; nothing is folded but `sub_words`, so `/HARDWORD` and `http://BLOCKED.com` pass, and `/bad/` is not
    `/bad`.
    """
    urls = pl.Series("url", batch.columns["url"]).unique()
    found = _looked_up(urls, options)
    rows = pl.DataFrame({"url": pl.Series(batch.columns["url"])}).join(
        found, on="url", how="left", maintain_order="left"
    )
    return Measured(
        {field.name: rows.get_column(field.name).to_arrow().cast(field.type) for field in _MEASURES}
    )


def _looked_up(urls: pl.Series, options: UrlFilterOptions) -> pl.DataFrame:
    """The measures of distinct URLs: url, and one column each."""
    plain = options.dialect == "plain"
    parts = _plain_parts(urls) if plain else _datatrove_parts(urls)
    spelled, glued = (_spaced, _glued) if plain else (_datatrove_words, _datatrove_glued)
    domains = open_entries(options.domains, _domains if plain else _as_they_are)
    pages = open_entries(options.urls, _pages if plain else _as_they_are)
    hard, soft = (open_words(path, spelled[0]) for path in (options.words, options.soft_words))
    text = spelled[1](urls)
    parents = _listed_parents(parts, domains) if plain else _listed(parts.get_column("registered"), domains)
    listed = _listed(parts.get_column("host"), domains)
    page = _listed(parts.get_column("page"), pages)
    words = _words_in(text, hard)
    softs = _words_in(text, soft)
    inside = _first_of(glued(urls), open_words(options.sub_words, glued))
    matches = (parents, listed, page, words.list.first(), softs.list.join(" "), inside)
    return pl.DataFrame(
        {
            "url": urls,
            "domain": parents != "",
            "host": listed != "",
            "page": page != "",
            "hard_word": words.list.len() > 0,
            "soft_words": softs.list.len().cast(pl.Int32),
            "sub_word": inside != "",
            "malformed": (_hosts(urls) == "") & (urls.str.strip_chars() != ""),
            "matched": _first_match(matches),
        }
    )


def _first_match(found: tuple[pl.Series, ...]) -> pl.Series:
    frame = pl.DataFrame({str(number): values for number, values in enumerate(found)})
    return frame.select(
        pl.coalesce(pl.when(pl.col(name) != "").then(pl.col(name)) for name in frame.columns).fill_null("")
    ).to_series()


def _listed(keys: pl.Series, entries: Entries) -> pl.Series:
    """Each key that is an entry, else ""."""
    if entries is NONE:
        return pl.Series([""], dtype=pl.String).new_from_index(0, len(keys))
    return pl.select(pl.when(entries.has(keys)).then(keys).otherwise(pl.lit(""))).to_series()


def _listed_parents(parts: pl.DataFrame, entries: Entries) -> pl.Series:
    """The shortest listed domain that is the host or lies above it, else ""."""
    hosts = parts.get_column("host")
    if entries is NONE:
        return _listed(hosts, entries)
    address = hosts.str.contains(_ADDRESS)
    labels = pl.select(
        pl.when(address).then(pl.concat_list(hosts)).otherwise(hosts.str.split("."))
    ).to_series()
    found = _listed(hosts, NONE)
    for depth in range(1, max(labels.list.len().to_list(), default=0) + 1):
        above = labels.list.tail(depth).list.join(".")
        listed = _listed(above, entries)
        found = pl.select(pl.when(found != "").then(found).otherwise(listed)).to_series()
    return found


def _plain_parts(urls: pl.Series) -> pl.DataFrame:
    """`host` ("" if there is none) and `page`: host and what follows, without fragment and trailing slash."""
    bare = urls.str.strip_chars().str.replace(r"#.*$", "", literal=False)
    parts = bare.str.extract_groups(_PARTS).struct.unnest()
    authority = parts.get_column("authority").fill_null("").str.replace(r"^.*@", "")
    port = authority.str.extract(r":([0-9]+)$").fill_null("")
    host = _ascii(authority.str.replace(r":[0-9]*$", ""))
    port = pl.select(
        pl.when(port.is_in(["", "80", "443"])).then(pl.lit("")).otherwise(":" + port)
    ).to_series()
    rest = parts.get_column("rest").fill_null("").str.replace(r"/+$", "").str.replace(r"/+\?", "?")
    page = pl.select(pl.when(host != "").then(host + port + rest).otherwise(pl.lit(""))).to_series()
    return pl.DataFrame({"host": host, "page": page})


def _ascii(hosts: pl.Series) -> pl.Series:
    """Hosts in lower case and ASCII, without a final dot; "" for what is none."""
    lower = hosts.str.to_lowercase().str.strip_chars_end(".")
    foreign = lower.filter(lower.str.contains(r"[^\x00-\x7f]")).unique()
    if len(foreign):
        lower = lower.replace(
            foreign, pl.Series([_idna(host) for host in foreign.to_list()], dtype=pl.String)
        )
    fits = lower.str.contains(_HOST) & (lower.str.len_bytes() <= _MOST)
    return pl.select(pl.when(fits).then(lower).otherwise(pl.lit(""))).to_series()


def _idna(host: str) -> str:
    try:
        return host_name(host)
    except ValueError:  # idna's errors are ValueErrors
        return ""


def _hosts(entries: pl.Series) -> pl.Series:
    return _plain_parts(entries).get_column("host")


def _domains(entries: pl.Series) -> pl.Series:
    """The hosts of a list, in another order: most entries are spelled as they should be, and need no parsing."""
    fits = entries.str.contains(_HOST) & (entries.str.len_bytes() <= _MOST)
    return pl.concat([entries.filter(fits), _hosts(entries.filter(~fits))])


def _pages(entries: pl.Series) -> pl.Series:
    return _plain_parts(entries).get_column("page")


def _as_they_are(entries: pl.Series) -> pl.Series:
    return entries


def _words(texts: pl.Series) -> pl.Series:
    """Words in lower case with one space between them."""
    return texts.str.to_lowercase().str.replace_all(r"[^\p{L}\p{M}\p{N}]+", " ").str.strip_chars(" ")


def _glued(texts: pl.Series) -> pl.Series:
    return texts.str.to_lowercase().str.replace_all(r"[^\p{L}\p{M}\p{N}]+", "")


def _datatrove_glued(texts: pl.Series) -> pl.Series:
    return texts.str.replace_all(r"[^a-zA-Z0-9]+", "").str.to_lowercase()


def _datatrove_split(texts: pl.Series) -> pl.Series:
    return texts.str.replace_all(r"[^a-zA-Z0-9]+", " ").str.strip_chars(" ")


_Spelling = tuple[Callable[[pl.Series], pl.Series], Callable[[pl.Series], pl.Series]]
_spaced: _Spelling = (_words, _words)  # of entries, of URLs
_datatrove_words: _Spelling = (_datatrove_glued, _datatrove_split)


def _words_in(texts: pl.Series, words: tuple[str, ...]) -> pl.Series:
    """The different entries that stand in each text as whole words, list<string>, in order."""
    if not words:
        return pl.Series([[]], dtype=pl.List(pl.String)).new_from_index(0, len(texts))
    framed = pl.DataFrame({"text": " " + texts + " "})
    patterns = [f" {word} " for word in words]
    found = framed.select(pl.col("text").str.extract_many(patterns, overlapping=True)).to_series()
    return found.list.eval(pl.element().str.strip_chars(" ")).list.unique(maintain_order=True)


def _first_of(texts: pl.Series, words: tuple[str, ...]) -> pl.Series:
    """The entry that is found first in each text, as a part of it; else ""."""
    if not words:
        return _listed(texts, NONE)
    frame = pl.DataFrame({"text": texts})
    found = frame.select(pl.col("text").str.extract_many(list(words))).to_series()
    return found.list.first().fill_null("")


@lru_cache(maxsize=1)
def _extractor() -> Any:
    try:
        from tldextract import TLDExtract
    except ImportError:
        raise missing_extra("crawl", 'url_filter with dialect = "datatrove"', "tldextract") from None
    return TLDExtract(suffix_list_urls=(), cache_dir=None)  # the list in the package: no network


def _datatrove_parts(urls: pl.Series) -> pl.DataFrame:
    """`registered` domain and `host`, both as tldextract finds them, and the URL as `page`."""
    found = [_extractor()(url) for url in urls.to_list()]
    known = [bool(one.domain and one.suffix) for one in found]
    registered = [f"{one.domain}.{one.suffix}" if ok else "" for one, ok in zip(found, known, strict=True)]
    hosts = [
        ".".join(part for part in (one.subdomain, one.domain, one.suffix) if part) if ok else ""
        for one, ok in zip(found, known, strict=True)
    ]
    columns = {"registered": registered, "host": hosts, "page": urls.to_list()}
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
