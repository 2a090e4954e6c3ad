"""`python -m curate.sources.crawler`: one job from stdin, events to stdout, shards into a folder.

Stops within ten seconds, its shard written, when stdin closes or SIGTERM comes.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from typing import Any, NoReturn

from scrapy import signals
from scrapy.crawler import CrawlerRunner
from scrapy.settings import Settings
from twisted.internet import reactor
from twisted.internet.task import LoopingCall
from twisted.python.log import PythonLoggingObserver

from curate.resident import peak_resident
from curate.sources.crawl import CrawlJob
from curate.sources.crawler.frontier import Frontier
from curate.sources.crawler.guard import Guard
from curate.sources.crawler.known import Known
from curate.sources.crawler.outcome import failure, notes
from curate.sources.crawler.report import Reporter, log_to_stderr, masker
from curate.sources.crawler.scope import Scope
from curate.sources.crawler.settings import connections_of, scrapy_settings
from curate.sources.crawler.spider import SiteSpider
from curate.sources.crawler.writer import ShardWriter
from curate.sources.urls import canonical, host_of

GRACE = 5.0  # seconds that requests under way get when the crawl is to stop
DEADLINE = 10.0  # seconds after which the process ends, whatever holds it up
MEMORY = 2 << 30  # bytes of resident memory at which the crawl stops by itself
ADDRESS_SPACE = 4 << 30  # bytes that the process can map: the last line


class Run:
    """One crawl: the spider, its timers, and the end."""

    def __init__(self, job: CrawlJob, reporter: Reporter) -> None:
        self.job = job
        self.reporter = reporter
        self.reason = "finished"
        own_hosts = frozenset(host_of(canonical(url)) for url in job.urls)
        host, _, port = job.connect.rpartition(":")
        self.guard = Guard(
            job.allow_private, own_hosts, (host.strip("[]"), int(port)) if job.connect else None
        )
        self.guard.install(reactor)
        known = Known(job.known)
        self.frontier = Frontier(
            Scope([canonical(url) for url in job.urls], job.allow, job.deny),
            known,
            max_depth=job.max_depth,
            follow=job.follow,
            per_origin=connections_of(job),
            ask_robots=job.robots or job.sitemap,
            patience=2 * job.timeout,
        )
        self.writer = ShardWriter(job.folder, known.pages, lambda **shard: reporter.say("shard", **shard))
        self.crawler = CrawlerRunner(Settings(scrapy_settings(job))).create_crawler(SiteSpider)
        self.crawler.signals.connect(self._crashed, signals.spider_error)

    def start(self) -> None:
        """Run until the end of the crawl; does not return."""
        finished = self.crawler.crawl(
            job=self.job,
            frontier=self.frontier,
            writer=self.writer,
            reporter=self.reporter,
            guard=self.guard,
        )
        finished.addCallback(lambda _: self.finish()).addErrback(self._crashed)
        LoopingCall(self._tick).start(1.0, now=False).addErrback(self._crashed)
        reactor.run(installSignalHandlers=False)

    def _tick(self) -> None:
        self.writer.flush_if_old()
        if self.crawler.spider is not None:  # also where no answer comes: a driver that is to stop looks then
            self.reporter.progress(**self.crawler.spider.progress)
        if peak_resident() > MEMORY:
            self.stop("memory")

    def stop(self, reason: str) -> None:
        """Ask for nothing more; end when all answers are there, or after the grace."""
        if self.reason != "finished":
            return
        self.reason = reason
        if self.crawler.spider is not None:
            self.crawler.spider.stopping = True
        end = time.monotonic() + GRACE

        def end_if_idle() -> None:
            if time.monotonic() >= end or self.frontier.under_way == 0:
                self.finish()

        LoopingCall(end_if_idle).start(0.1, now=True).addErrback(self._crashed)

    def finish(self) -> NoReturn:
        """Write the last shard, tell the end, leave."""
        spider = self.crawler.spider
        self.writer.flush()
        if spider.full:
            self.reason = "max_pages"
        turned_away, mask, failed = self.guard.turned_away, spider.mask, None
        if self.reason == "finished" and not self.frontier.resumed:
            failed = failure(self.job, spider.tally, turned_away)
        if self.reason == "finished" and any(one.lost for one in self.frontier.origins.values()):
            self.reason = "lost"
        if failed:
            self.reporter.say("failed", message=mask(failed[0]), hint=failed[1])
        else:
            said = notes(self.job, spider.tally, self.frontier.left_out, turned_away)
            self.reporter.say("progress", **spider.progress)
            self.reporter.say(
                "end",
                reason=self.reason,
                statuses=dict(spider.tally.statuses),
                left_out=dict(self.frontier.left_out),
                refused=turned_away,
                notes=[mask(note) for note in said],
                sitemap_urls=spider.tally.sitemap_urls,
                sitemaps_unread=spider.tally.sitemaps_unread + self.frontier.sitemaps_waiting,
            )
        self.reporter.close()
        os._exit(0)  # threads may hang in name look-ups

    def _crashed(self, failure: Any, **_: Any) -> NoReturn:
        """A full disk or a bug: end at once and loudly, for rows are lost."""
        logging.getLogger(__name__).error("%s", failure.getTraceback())
        os._exit(1)


def limit_memory() -> None:
    """Make the process fail rather than the machine swap; Linux only, elsewhere the limit means little."""
    if sys.platform == "linux":
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        limit = ADDRESS_SPACE if hard == resource.RLIM_INFINITY else min(ADDRESS_SPACE, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def watch(run: Run) -> None:
    """Thread: wait for the end of stdin, then stop the crawl, and the process if that does not help."""
    sys.stdin.buffer.read()
    reactor.callFromThread(run.stop, "stopped")
    time.sleep(DEADLINE)
    os._exit(1)


def main() -> None:
    """Read the job and crawl."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the driver too, which closes stdin
    reporter = Reporter()
    job = CrawlJob(**json.loads(sys.stdin.buffer.readline()))
    log_to_stderr(masker(job.secrets))
    PythonLoggingObserver("twisted").start()
    limit_memory()
    run = Run(job, reporter)
    signal.signal(signal.SIGTERM, lambda *_: run.stop("stopped"))
    threading.Thread(target=watch, args=(run,), daemon=True).start()
    run.start()


if __name__ == "__main__":
    main()
