"""Scrapy's settings: what it may do is listed here; all else that it brings along is left out."""

from __future__ import annotations

from typing import Any

from curate.sources.crawl import CrawlJob
from curate.sources.urls import canonical, host_of

POLITE_DELAY = 0.25  # seconds between requests to a host; AutoThrottle makes it longer where a site is slow
POLITE_CONNECTIONS = 4  # to a host
LOCAL_CONNECTIONS = 16

_HTTP = "scrapy.core.downloader.handlers.http11.HTTP11DownloadHandler"


def delay_of(job: CrawlJob) -> float:
    """Seconds between two requests to a host: as the job says, none on this machine, else polite."""
    if job.delay is not None:
        return job.delay
    return 0.0 if is_local(job) else POLITE_DELAY


def connections_of(job: CrawlJob) -> int:
    """How many requests to one host are under way at once."""
    return LOCAL_CONNECTIONS if delay_of(job) == 0 else POLITE_CONNECTIONS


def is_local(job: CrawlJob) -> bool:
    """Whether only this machine is asked."""
    hosts = [host_of(canonical(url)) for url in job.urls]
    return bool(job.connect) or all(host == "localhost" or host.startswith("127.") for host in hosts)


def scrapy_settings(job: CrawlJob) -> dict[str, Any]:
    """Settings of the crawl. The `_BASE` dictionaries are replaced, so that nothing new comes in by itself.

    No proxies from the environment, cookies, redirects, retries, Referer, telnet or remote control:
    `spider` decides all that. Certificates are verified; only http and https have a handler.
    """
    delay = delay_of(job)
    compression = "scrapy.downloadermiddlewares.httpcompression.HttpCompressionMiddleware"
    throttle = "scrapy.extensions.throttle.AutoThrottle"
    return {
        "AUTOTHROTTLE_ENABLED": delay > 0,
        "AUTOTHROTTLE_START_DELAY": delay,
        "AUTOTHROTTLE_TARGET_CONCURRENCY": POLITE_CONNECTIONS,
        "CONCURRENT_ITEMS": 1,  # there are none; each would be a task per answer
        "CONCURRENT_REQUESTS": LOCAL_CONNECTIONS,
        "CONCURRENT_REQUESTS_PER_DOMAIN": connections_of(job),
        "DOWNLOADER_MIDDLEWARES_BASE": {compression: 590},
        "DOWNLOAD_DELAY": delay,
        "DOWNLOAD_HANDLERS_BASE": {"http": _HTTP, "https": _HTTP},
        "DOWNLOAD_MAXSIZE": job.max_bytes,
        "DOWNLOAD_TIMEOUT": job.timeout,
        "DOWNLOAD_VERIFY_CERTIFICATES": True,
        "DOWNLOAD_WARNSIZE": 0,
        "EXTENSIONS_BASE": {throttle: 0},
        "LOG_ENABLED": False,
        "SCHEDULER": "curate.sources.crawler.scheduler.FrontierScheduler",
        "SPIDER_MIDDLEWARES_BASE": {},
        "STATS_DUMP": False,
        "TELNETCONSOLE_ENABLED": False,
        "TWISTED_REACTOR": None,
        "WARN_ON_GENERATOR_RETURN_VALUE": False,
    }
