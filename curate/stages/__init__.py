"""One file per stage. A stage measures, may rewrite, and never drops: see `curate.engine.stage`."""
