"""The crawler: a process of its own, told by one JSON line what to fetch (see `curate.sources.crawl`).

    __main__    reads the job, watches for the end of stdin, runs the reactor
    spider      turns answers into rows
    scope       which URLs belong to the source
    frontier    which URL is next: order, traps, patience with each host
    guard       which addresses may be connected to
    robots      what robots.txt says
    page        what a body is, and what it links to
    known       what the last crawl knew
    writer      rows to Parquet shards
    report      one JSON line per event on stdout, without secrets
    outcome     what the user is told at the end

Scrapy (over Twisted) fetches; all that decides what is fetched, and with which headers, is here.
"""
