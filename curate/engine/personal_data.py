"""The check that no personal data is left in the product, once everything that should replace it has run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.engine.checks import Pinned, anonymize_steps
from curate.engine.session import Session
from curate.engine.stage import Batch, find_stage
from curate.lake.runs import Head
from curate.reports.numbers import plural
from curate.text.arrow import normalised
from schemas.checks import Check, judged

_ROWS = 1_000  # looked at together: the detectors hold many times their text


def personal_data_check(session: Session, base: Head, product: Pinned, columns: list[str]) -> list[Check]:
    """`no_personal_data`: every anonymize step finds nothing more in `text` and `columns` of the product.

    Where the product as it stood had passed, and the same steps made this one, only new files are looked at.
    """
    tables = [table for table in session.plan.tables if anonymize_steps([table])]
    if not tables:
        return []
    last = session.last_report(base, "corpus").check("no_personal_data")
    same = all(base.fingerprints.get(session.key(table.name)) == table.fingerprint for table in tables)
    passed = last is not None and last.passed and same
    seen = product.state.files(base.pins.get(session.key("corpus"))) if passed else set()
    files = product.state.files(product.version)
    options = [step.options.model_dump(mode="json") for step in anonymize_steps(tables)]
    tasks = [
        {"file": str(product.state.folder / name), "columns": columns, "steps": options}
        for name in sorted(files - seen)
    ]
    found = list(session.workers.map("curate.engine.personal_data:look_for_personal_data", tasks))
    hits = [hit for one in found for hit in one["found"]]
    numbers = {
        "rows": sum(pq.read_metadata(product.state.folder / name).num_rows for name in files),
        "looked_at": sum(one["rows"] for one in found),
        "found": sum(one["count"] for one in found),
    }
    first = f"{hits[0]['column']} of {hits[0]['id']}" if hits else ""
    message = f"Personal data is left in {plural(int(numbers['found']), 'value')}, the first is {first}."
    return [judged("no_personal_data", not hits, numbers, message)]


def look_for_personal_data(task: dict[str, Any]) -> dict[str, Any]:
    """Run the detectors over one file of the product, some rows at a time; never tells a value."""
    from curate.stages.anonymize import AnonymizeOptions, redact_strings

    run = find_stage("anonymize").run
    rows = count = 0
    found: list[dict[str, str]] = []
    file = pq.ParquetFile(Path(task["file"]))
    for batch in file.iter_batches(batch_size=_ROWS, columns=["id", "text", *task["columns"]]):
        rows += len(batch)
        for step in task["steps"]:
            options = AnonymizeOptions(**step)
            for column in ["text", *task["columns"]]:
                values = normalised(batch.column(column))
                if column == "text":
                    cleaned = run(Batch(values), options).text
                else:
                    cleaned = redact_strings(values, options)
                hits = pc.filter(batch.column("id"), pc.not_equal(values, cleaned)).to_pylist()
                count += len(hits)
                found += [{"id": hit, "column": column} for hit in hits[:1]]
    return {"rows": rows, "count": count, "found": found[:1]}
