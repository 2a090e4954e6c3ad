"""Between Scrapy's engine and our frontier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curate.sources.crawler.spider import SiteSpider


class FrontierScheduler:
    """What Scrapy's engine asks for requests."""

    def __init__(self, spider: SiteSpider) -> None:
        self.spider = spider

    @classmethod
    def from_crawler(cls, crawler: Any) -> FrontierScheduler:
        """Made by Scrapy once the spider is."""
        return cls(crawler.spider)

    def has_pending_requests(self) -> bool:
        """Whether the crawl goes on."""
        return self.spider.has_pending

    def enqueue_request(self, request: Any) -> bool:
        """A request that waited (see `SiteSpider._again`): its place comes next."""
        self.spider.frontier.waiting -= 1
        self.spider.frontier.back(request.meta["place"])
        return True

    def next_request(self) -> Any:
        """The next request, or None."""
        return self.spider.next_request()
