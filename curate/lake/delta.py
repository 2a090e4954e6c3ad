"""One Delta table: open it, list its files, and the one function that commits.

Delta-rs commits files that we have written; it never writes data itself, for its writer makes files that
other readers cannot filter. A commit is a compare-and-swap on the version that it was decided upon.
"""

from __future__ import annotations

import json
import time
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from curate.lake.mirror import mirror_of
from schemas.errors import LakeError

# Old versions stay readable for as long as their files do: ten years of log.
_CONFIGURATION = {"delta.logRetentionDuration": "interval 3650 days", "delta.dataSkippingNumIndexedCols": "0"}
_LOG_FILES = "[0-9]" * 20 + ".json"


class ConflictError(Exception):
    """Another process committed first."""


def open_table(folder: Path, version: int | None = None) -> DeltaTable | None:
    """The table at a version (newest by default), or None where none stands."""
    mirror = mirror_of(folder)
    try:
        if mirror is not None:
            return DeltaTable(mirror.url_of(folder), version=version, storage_options=mirror.delta_options)
        return DeltaTable(str(folder), version=version) if (folder / "_delta_log").is_dir() else None
    except TableNotFoundError:
        return None
    except Exception as error:
        if mirror is not None:
            raise mirror.error(error) from None
        raise LakeError(
            f"The table {folder} cannot be opened: {error}", hint="curate lake verify tells what is damaged."
        ) from error


def read_table(folder: Path, version: int | None = None) -> DeltaTable | None:
    """`open_table` for who only reads: others hold the same table, and nobody may move it to another version.

    It is opened once while its log is the same: a run asks a hundred times, mostly what it asked before.
    """
    log = folder / "_delta_log"
    if mirror_of(folder) is not None:
        return open_table(folder, version)
    if version is None:
        version = max((int(file.stem) for file in log.glob(_LOG_FILES)), default=None)
    if version is None:
        return open_table(folder)
    try:
        found = (log / f"{version:020}.json").stat()
    except OSError:  # its log was cut short
        return open_table(folder, version)
    return _opened(folder, version, found.st_ino, found.st_mtime_ns)


@lru_cache(maxsize=64)
def _opened(folder: Path, version: int, inode: int, changed: int) -> DeltaTable | None:
    """A version, known by its log file: a folder may go, and another table be made there."""
    return open_table(folder, version)


def create_table(folder: Path, schema: pa.Schema) -> DeltaTable:
    """The table, made empty if it is not there; several processes may do so at once."""
    table = open_table(folder)
    if table is not None:
        return table
    folder.mkdir(parents=True, exist_ok=True)
    mirror = mirror_of(folder)
    try:
        # Delta knows one kind of string; the files may hold either.
        return DeltaTable.create(
            mirror.url_of(folder) if mirror else str(folder),
            schema=plain_schema(schema),
            mode="ignore",
            configuration=_CONFIGURATION,
            storage_options=mirror.delta_options if mirror else None,
        )
    except CommitFailedError:  # another process made it first
        created = open_table(folder)
    if created is None:
        raise LakeError(
            f"The table {folder} could not be made.", hint="Is the disk full, or the folder read-only?"
        )
    return created


def widen(table: DeltaTable, schema: pa.Schema) -> None:
    """Add the columns of `schema` that a table does not have; older files read as NULL there."""
    have = set(pa.schema(table.schema().to_arrow()).names)
    more = [field for field in plain_schema(schema) if field.name not in have]
    if more:
        table.alter.add_columns(Schema.from_arrow(pa.schema(more)).fields)
        table.update_incremental()


def file_names(table: DeltaTable) -> set[str]:
    """Names of the files of this version, relative to the table's folder."""
    return {Path(uri.removeprefix("file://")).name for uri in table.file_uris()}


def local_files(table: DeltaTable, folder: Path) -> list[Path]:
    """The files of this version, sorted; those of an object store are brought here."""
    files = [folder / name for name in sorted(file_names(table))]
    mirror = mirror_of(folder)
    if mirror is not None:
        mirror.fetch(files)
    return files


def commit(
    table: DeltaTable, folder: Path, add: set[str], remove: set[str], *, data_change: bool = True
) -> int:
    """Add and remove files on top of the version that `table` holds; returns the new version.

    Afterwards `table` stands at the newest version, which may be later than the one returned.

    Raises:
        ConflictError: the table has moved on.
        LakeError: a file's schema is not the table's (delta-rs would accept it without a word).
    """
    actions: list[AddAction | RemoveAction] = [
        _add(table, folder / name, data_change) for name in sorted(add)
    ]
    mirror = mirror_of(folder)
    if mirror is not None:
        mirror.send(folder / name for name in sorted(add))
    now = int(time.time() * 1000)
    actions += [RemoveAction(name, data_change, now, None, {}) for name in sorted(remove)]
    made: int = table.version() + 1
    try:
        table.create_write_transaction(
            actions,
            mode="append",
            schema=table.schema(),
            commit_properties=CommitProperties(max_commit_retries=0),
        )
    except CommitFailedError as error:
        raise ConflictError(str(error)) from None
    table.update_incremental()
    return made


def _add(table: DeltaTable, path: Path, data_change: bool) -> AddAction:
    found, wanted = plain_schema(pq.read_schema(path)), pa.schema(table.schema().to_arrow())
    # A table may have columns that its older files lack (widen), never a file one that the table lacks.
    types = {field.name: _plain(field.type) for field in wanted}
    if any(types.get(field.name) != _plain(field.type) for field in found):
        raise LakeError(
            f"{path.name} has columns {found.names}, the table has {wanted.names}.",
            hint="This is a fault of curate: please report it.",
        )
    stats = json.dumps({"numRecords": pq.read_metadata(path).num_rows})
    stat = path.stat()
    return AddAction(path.name, stat.st_size, {}, int(stat.st_mtime * 1000), data_change, stats)


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Columns with the types that Delta and Parquet tell apart: two schemas are alike if these are equal."""
    return pa.schema([pa.field(field.name, _plain(field.type)) for field in schema])


def _plain(kind: pa.DataType) -> pa.DataType:
    """One form for types that Delta does not tell apart."""
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind):
        return pa.binary()
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _plain(field.type)) for field in kind])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_plain(kind.value_type))
    if pa.types.is_map(kind):
        return pa.map_(_plain(kind.key_type), _plain(kind.item_type))
    return kind
