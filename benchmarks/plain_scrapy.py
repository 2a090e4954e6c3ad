"""The peer of crawl.py: a spider as Scrapy's documentation writes one. `plain_scrapy.py URL OUT.jsonl`"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from scrapy.crawler import CrawlerProcess
from scrapy.linkextractors import LinkExtractor
from scrapy.spiders import CrawlSpider, Rule

URL, OUT = sys.argv[1:3]


class Pages(CrawlSpider):
    """Follows every link of the host and keeps what it finds."""

    name = "pages"
    start_urls = (URL,)
    allowed_domains = (urlsplit(URL).hostname,)
    rules = (Rule(LinkExtractor(), callback="keep", follow=True),)

    def parse_start_url(self, response: Any, **kwargs: Any) -> Any:
        return self.keep(response)

    def keep(self, response: Any) -> Iterator[dict[str, Any]]:
        yield {"url": response.url, "status": response.status, "html": response.text}


if __name__ == "__main__":
    process = CrawlerProcess({
        "CONCURRENT_REQUESTS": 16,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 16,
        "DOWNLOAD_DELAY": 0,
        "FEEDS": {OUT: {"format": "jsonlines"}},
        "LOG_ENABLED": False,
        "ROBOTSTXT_OBEY": True,
        "TELNETCONSOLE_ENABLED": False,
    })  # fmt: skip
    process.crawl(Pages)
    process.start()
