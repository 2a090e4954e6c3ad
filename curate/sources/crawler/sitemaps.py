"""Sitemaps (sitemaps.org): URLs that a site names by itself."""

from __future__ import annotations

from lxml.etree import XMLSyntaxError
from scrapy.utils.gz import gunzip
from scrapy.utils.sitemap import Sitemap

MAX_BYTES = 64_000_000  # the protocol allows 50 MB


def read_sitemap(body: bytes) -> tuple[bool, list[str]]:
    """Whether it is a sitemap of sitemaps, and the addresses in it, as they stand.

    Scrapy's parser expands no entities and loads nothing.

    Raises:
        ValueError: no sitemap.
    """
    try:
        sitemap = Sitemap(gunzip(body, max_size=MAX_BYTES) if body.startswith(b"\x1f\x8b") else body)
        if sitemap.type not in ("urlset", "sitemapindex"):
            raise ValueError(f"not a sitemap: its first element is <{sitemap.type[:40]}>")
        return sitemap.type == "sitemapindex", [entry["loc"] for entry in sitemap]
    except (XMLSyntaxError, StopIteration, OSError, EOFError) as error:
        raise ValueError(f"not a sitemap: {error}") from error
