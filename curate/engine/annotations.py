"""Labels as files: our own labels.jsonl, and the JSON that Argilla and Label Studio exchange.

Argilla: a list of records for `dataset.records.log(...)` of a dataset with a field `text`, a question `label` and any
metadata; read back from `records.to_list()` or `to_json()`, flattened or not. Label Studio: a list of tasks, read back
from its JSON export; the labelling interface has `<Text name="text" value="$text"/>` and
`<Choices name="label" toName="text">` with the choices keep and drop.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal

from curate.engine.labels import LABELS, OPERATORS, Case, Labelled
from schemas.errors import UsageError

Format = Literal["argilla", "label-studio"]
_EXPORTED = "Export it from Argilla or Label Studio as JSON; curate label --export makes what they take."
_HINT = 'Labels are lines of JSON as curate label writes them: {"id": ..., "text": ..., "label": "keep", "rule": ...}'
_KINDS = {field.name: float if field.type == "float" else str for field in fields(Case)}


def read_labels(path: Path) -> list[Labelled]:
    """The labels in a file; none if there is no file. Lines of other labels (text and label alone) are left out.

    Raises:
        UsageError: a line is no JSON object.
    """
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if line.strip():
            row = _json(line, f"{path}, line {number}", _HINT)
            if not isinstance(row, dict):
                raise UsageError(f"{path}, line {number} is no JSON object.", hint=_HINT)
            made = _labelled(row, row.get("label"))
            found += [made] if made else []
    return found


def append_labels(path: Path, labels: Iterable[Labelled]) -> int:
    """Write labels below those that are there; returns how many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(one.row(), ensure_ascii=False) + "\n" for one in labels]
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.writelines(lines)
    return len(lines)


def export_cases(path: Path, cases: Sequence[Case], kind: Format) -> None:
    """Write cases for a labelling tool.

    Raises:
        UsageError: the file is there.
    """
    if path.exists():
        raise UsageError(f"{path} is there.", hint="Name another file, or delete it first.")
    made = _argilla(cases) if kind == "argilla" else [{"data": asdict(case)} for case in cases]
    path.write_text(json.dumps(made, ensure_ascii=False, indent=1) + "\n", "utf-8")


def _argilla(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """One record for each case; a document may stand at two rules, so its id alone names none."""
    return [{**asdict(case), "id": f"{case.id}:{case.rule}", "document": case.id} for case in cases]


def import_labels(path: Path) -> tuple[list[Labelled], int]:
    """The labels in a file of Argilla or Label Studio, and how many of its records have none.

    Raises:
        UsageError: the file cannot be read as either.
    """
    try:
        data = _json(path.read_text("utf-8"), str(path), _EXPORTED)
    except FileNotFoundError:
        raise UsageError(
            f"There is no file {path}.", hint="curate label --export makes one to label."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}.", hint=_EXPORTED) from None
    if not isinstance(data, list) or not all(isinstance(record, dict) for record in data):
        raise UsageError(f"{path} is no list of records.", hint=_EXPORTED)
    made = [_from_label_studio(record) if "data" in record else _from_argilla(record) for record in data]
    labels = [one for one in made if one]
    return labels, len(made) - len(labels)


def _from_label_studio(task: Mapping[str, Any]) -> Labelled | None:
    """The last annotation that was not cancelled."""
    label = None
    for annotation in task.get("annotations") or []:
        if not annotation.get("was_cancelled"):
            for result in annotation.get("result") or []:
                label = next(iter(result.get("value", {}).get("choices") or []), label)
    return _labelled(task["data"], label)


def _from_argilla(record: Mapping[str, Any]) -> Labelled | None:
    """The last response to the question `label`; fields and metadata may be nested or flat."""
    flat: dict[str, Any] = {key.removeprefix("metadata."): value for key, value in record.items()}
    for part in ("fields", "metadata"):
        flat |= record.get(part) or {}
    responses = record.get("label.responses") or (record.get("responses") or {}).get("label") or []
    values = [response.get("value") if isinstance(response, dict) else response for response in responses]
    document = flat.get("document") or str(flat.get("id", "")).partition(":")[0]
    return _labelled({**flat, "id": document}, values[-1] if values else None)


def _labelled(row: Mapping[str, Any], label: Any) -> Labelled | None:
    """A label with all that a report needs of it; None where something is missing."""
    try:
        values: dict[str, Any] = {name: kind(row[name]) for name, kind in _KINDS.items()}
    except (KeyError, TypeError, ValueError):
        return None
    return Labelled(**values, label=label) if label in LABELS and values["op"] in OPERATORS else None


def _json(text: str, where: str, hint: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where} is no JSON: {error}.", hint=hint) from None
