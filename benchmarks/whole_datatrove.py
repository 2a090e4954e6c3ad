"""FineWeb by datatrove from Parquet to Parquet: python whole_datatrove.py INPUT_FOLDER WORK_FOLDER LID_176

As in its examples/fineweb.py, one process: language, the four filters, then MinHash in its four steps and the
replacing of personal data. Files between the steps are Parquet, which costs less than the compressed JSON lines of
the example. Prints JSON: documents after the filters, and after MinHash.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import datatrove.utils.lid
import pyarrow.parquet as pq
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    LanguageFilter,
)
from datatrove.pipeline.formatters import PIIFormatter
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter
from datatrove.utils.hashing import HashConfig


def main() -> None:
    """Run the five pipelines one after the other."""
    given, work, model = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    datatrove.utils.lid.cached_asset_path_or_download = lambda *_, **__: model  # its own is a download
    # 14 bands of 8 hashes of 5-grams by sha1: the example's
    config = MinhashConfig(
        hash_config=HashConfig(hash_fc="sha1", precision=64),
        num_buckets=14,
        hashes_per_bucket=8,
        n_grams=5,
    )
    folders = {name: str(work / name) for name in ("kept", "signatures", "buckets", "remove", "out")}
    run(
        work / "logs" / "filters",
        ParquetReader(given),
        LanguageFilter(languages=["en"]),
        GopherRepetitionFilter(),
        GopherQualityFilter(),
        C4QualityFilter(filter_no_terminal_punct=False),
        FineWebQualityFilter(),
        ParquetWriter(folders["kept"]),
    )
    filtered = rows(folders["kept"])
    if not filtered:  # MinHash would fail
        print(json.dumps({"filtered": 0, "kept": 0}))
        return
    run(
        work / "logs" / "signatures",
        ParquetReader(folders["kept"]),
        MinhashDedupSignature(folders["signatures"], config),
    )
    run(
        work / "logs" / "buckets",
        MinhashDedupBuckets(folders["signatures"], folders["buckets"], config=config),
        tasks=config.num_buckets,
    )
    run(work / "logs" / "cluster", MinhashDedupCluster(folders["buckets"], folders["remove"], config))
    run(
        work / "logs" / "out",
        ParquetReader(folders["kept"]),
        MinhashDedupFilter(folders["remove"]),
        PIIFormatter(),
        ParquetWriter(folders["out"]),
    )
    print(json.dumps({"filtered": filtered, "kept": rows(folders["out"])}))


def run(logs: Path, *steps: object, tasks: int = 1) -> None:
    """One pipeline, in this process."""
    LocalPipelineExecutor(pipeline=list(steps), tasks=tasks, workers=1, logging_dir=str(logs)).run()


def rows(folder: str) -> int:
    """Rows of all Parquet files of a folder."""
    return sum(pq.ParquetFile(file).metadata.num_rows for file in Path(folder).glob("*.parquet"))


if __name__ == "__main__":
    main()
