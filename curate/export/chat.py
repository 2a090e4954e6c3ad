"""Writes conversations as JSON lines, in OpenAI's form and in ShareGPT's.

Where a document's conversations come from, the first that gives any:

1. the column that `messages` names: a list of objects in either form, or such a list as JSON text
2. the columns `question` and `answer`
3. its text, if it is a dialogue or a page of questions and answers (see `dialogue`)
4. the templates `user` and `assistant`

A dialogue is one row; a page of questions and answers gives a row for each of its pairs, told apart by
`ordinal`. Rows have the keys id (of the document), ordinal, source, license, and then

openai     messages: role (system, user, assistant), content, weight
sharegpt   conversations: from (system, human, gpt), value, weight

`weight` is 1 where a model learns and 0 elsewhere: OpenAI's fine-tuning reads it so in answers; Axolotl does
with `message_field_training: weight`, in both forms.

Reasons for which a document is left out: bad_messages (its column holds no conversation that can be read, or
one with tools or pictures), empty_field (a template names what the document has not), no_dialogue (none of
the four gives anything).
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import polars as pl
import pyarrow as pa
from pydantic_core import from_json

from curate.engine.standing import own_column
from curate.export.dialogue import Conversation, Role, conversations_in, in_turn, may_hold
from curate.export.written import Written, add_up, counts
from schemas.errors import LakeError, RecipeError, did_you_mean
from schemas.export import ChatExport

if TYPE_CHECKING:
    from curate.engine.session import Session
    from curate.lake.runs import Head

COLUMNS = ("text", "title", "url", "date", "extra")

_FIELDS = ("text", "title", "url", "date", "language", "source", "license")
_SAMPLE = 1_000  # documents whose own columns are told when a name is unknown
_SLICE = 5_000  # documents in memory beside the shard itself
_ROLES: dict[object, Role] = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "model": "assistant",
}  # fmt: skip
_FORMS = {  # name of the list, of the role and of the text, and of each role
    "openai": ("messages", "role", "content", {}),
    "sharegpt": ("conversations", "from", "value", {"user": "human", "assistant": "gpt"}),
}
_SCHEMA = {"row": pl.UInt32(), "ordinal": pl.Int32(), "turn": pl.Int32(), "role": pl.String(), "content": pl.String()}  # fmt: skip


def prepare(session: Session, head: Head, options: ChatExport) -> dict[str, Any]:
    """Check the templates, and that every column that the options name is in the corpus.

    Raises:
        RecipeError: a template that cannot be read, or an unknown column.
    """
    export = next((name for name, found in session.plan.recipe.exports.items() if found == options), "chat")
    named = {
        key: getattr(options, key) for key in ("messages", "question", "answer") if getattr(options, key)
    }
    templates = ("user", "assistant") if options.user else ()
    wanted = [(f"[exports.{export}] {key}", name) for key, name in named.items()]
    for key in templates:
        where = f"[exports.{export}] {key}"
        wanted += [(where, name) for name in _fields(parse_template(getattr(options, key), where))]
    unknown = [(where, name) for where, name in wanted if name not in {*_FIELDS, *session.plan.keep}]
    if unknown:
        _find_columns(session, head, unknown)
    return {}


def _find_columns(session: Session, head: Head, wanted: Sequence[tuple[str, str]]) -> None:
    """Look for names among the columns that documents brought along."""
    try:
        extra = session.lake.read(session.name, "corpus", head).select("extra")
    except LakeError:
        return  # there is no corpus, and the export says so
    known = {*_FIELDS, *session.plan.keep}
    for text in extra.head(_SAMPLE).collect().get_column("extra"):
        known.update(from_json(text))
    for where, name in wanted:
        if name in known or extra.filter(own_column(name).is_not_null()).head(1).collect().height:
            continue
        raise RecipeError(
            f'{where} names the column "{name}", which no document of the corpus has.',
            hint=did_you_mean(name.split(".")[0], known),
        )


def parse_template(template: str, where: str) -> list[tuple[str, str]]:
    """A template as (text, field that follows it, or "").

    A field is the name of a column and nothing else: no attribute, index, conversion or format.

    Raises:
        RecipeError: a brace that stands alone, or a field that is no bare name.
    """
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise RecipeError(
            f"{where} is no template ({error}): {template!r}", hint="Write {{ and }} for braces themselves."
        ) from None
    for _, field, form, conversion in parts:
        if field is None:
            continue
        if not field.strip() or form or conversion or "[" in field or field != field.strip():
            written = field + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
            raise RecipeError(
                f"{where} has the field {{{written}}}; a field is the name of a column, nothing else.",
                hint="As in {title} or {text}. Write {{ and }} for braces themselves.",
            )
    return [(text, field or "") for text, field, _, _ in parts]


def _fields(parts: list[tuple[str, str]]) -> list[str]:
    return [field for _, field in parts if field]


def write(rows: pa.Table, options: ChatExport, out: Path, context: dict[str, Any]) -> Written:
    """Write one shard to OUT.openai.jsonl, OUT.sharegpt.jsonl or both; rows in the order given."""
    paths = {form: out.with_name(f"{out.name}.{form}.jsonl") for form in options.formats}
    with ExitStack() as stack:
        files: dict[str, BinaryIO] = {
            form: stack.enter_context(path.open("wb")) for form, path in paths.items()
        }
        parts = pl.DataFrame(pl.from_arrow(rows)).iter_slices(_SLICE)
        told = add_up(_write_part(part.with_row_index("row"), options, files) for part in parts)
    if not told.rows:
        for path in paths.values():
            path.unlink()  # `datasets` cannot load an empty file
    return told


def _write_part(frame: pl.DataFrame, options: ChatExport, files: dict[str, BinaryIO]) -> Written:
    ways, dropped = conversations(frame, options)
    turns = pl.concat([_with_system(way, options.system) for way in ways.values()])
    turns = turns.sort("row", "ordinal", "turn")
    for form, file in files.items():
        # Polars makes the text and Python writes it: its errors tell a full disk, Polars' do not.
        file.write(_lines(frame, turns, form, options.train_on).write_ndjson().encode())
    taken = frame.join(turns, on="row", how="semi")
    found = {f"conversations_{way}": float(_conversations(part)) for way, part in ways.items()}
    return Written(
        rows=_conversations(turns),
        taken=len(taken),
        dropped=dropped,
        numbers={
            **{name: number for name, number in found.items() if number},
            "messages": float(len(turns)),
            "messages_trained_on": float(turns.get_column("role").is_in(options.train_on).sum()),
        },
        languages=counts(taken.get_column("language").to_arrow()),
        sources=counts(taken.get_column("source").to_arrow()),
    )


def conversations(frame: pl.DataFrame, options: ChatExport) -> tuple[dict[str, pl.DataFrame], dict[str, int]]:
    """The messages of each way by which some were found, and how many documents were left out for what.

    Messages: row (of the frame), ordinal (of the conversation in its document), turn, role, content.
    """
    ways: dict[str, pl.DataFrame] = {}
    dropped: dict[str, int] = {}
    left = frame
    if options.messages:
        ways["columns"], tried = _from_messages(left, options.messages)
        left = left.filter(~pl.col("row").is_in(tried.implode()))
        dropped["bad_messages"] = len(tried) - ways["columns"].get_column("row").n_unique()
    if options.question:
        given = _pairs(left, {"user": _column(options.question), "assistant": _column(options.answer)})
        ways["columns"] = pl.concat([*([ways["columns"]] if "columns" in ways else []), given])
        left = _without(left, given)
    for form, found in _recognised(left).items():
        ways[form] = found
        left = _without(left, found)
    if options.user:
        contents = {"user": _filled(options.user), "assistant": _filled(options.assistant)}
        ways["template"] = _pairs(left, contents)
        dropped["empty_field"] = len(left) - ways["template"].get_column("row").n_unique()
    else:
        ways["template"] = pl.DataFrame(schema=_SCHEMA)
        dropped["no_dialogue"] = len(left)
    return ways, {reason: number for reason, number in dropped.items() if number}


def _without(frame: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    return frame.join(found, on="row", how="anti", maintain_order="left")


def _conversations(turns: pl.DataFrame) -> int:
    return int(turns.select(pl.struct("row", "ordinal").n_unique()).item())


# From columns


def _column(name: str) -> pl.Expr:
    """A column as text, "" where it is missing."""
    return (pl.col(name) if name in _FIELDS else own_column(name)).fill_null("")


def _from_messages(frame: pl.DataFrame, name: str) -> tuple[pl.DataFrame, pl.Series]:
    """Conversations of a column with messages, and the rows that have it."""
    given = frame.select("row", value=_column(name)).filter(pl.col("value").str.strip_chars() != "")
    read = ((row, read_messages(value)) for row, value in given.iter_rows())
    return _frame((row, [turns]) for row, turns in read if turns), given.get_column("row")


def read_messages(value: str) -> Conversation:
    """The conversation in a JSON list of {"role", "content"} or {"from", "value"}; [] if there is none.

    A content may be a list of parts, as OpenAI has it, if all of them are text.
    """
    try:
        messages = from_json(value)
    except ValueError:
        return []
    if isinstance(messages, dict):  # a whole row: {"messages": [...]}
        messages = messages.get("messages", messages.get("conversations"))
    if not isinstance(messages, list):
        return []
    turns = [_message(message) for message in messages]
    return in_turn(turn for turn in turns if turn) if all(turns) else []


def _message(message: Any) -> tuple[Role, str] | None:
    if not isinstance(message, dict):
        return None
    who = message.get("role", message.get("from"))
    role = _ROLES.get(who.strip().lower()) if isinstance(who, str) else None
    content = message.get("content", message.get("value"))
    if isinstance(content, list):
        texts = [part.get("text") if isinstance(part, dict) else None for part in content]
        content = "\n".join(filter(None, texts)) if all(isinstance(text, str) for text in texts) else None
    return (role, content) if role and isinstance(content, str) and not message.get("tool_calls") else None


def _pairs(frame: pl.DataFrame, contents: dict[str, pl.Expr]) -> pl.DataFrame:
    """Conversations of two messages, of the rows where both have text."""
    values = {role: content.str.strip_chars() for role, content in contents.items()}
    both = frame.select("row", **values).filter(pl.all_horizontal(pl.col(role) != "" for role in values))
    parts = [
        both.select(
            "row",
            pl.lit(0, pl.Int32()).alias("ordinal"),
            pl.lit(turn, pl.Int32()).alias("turn"),
            pl.lit(role).alias("role"),
            pl.col(role).alias("content"),
        )
        for turn, role in enumerate(values)
    ]
    return pl.concat(parts).sort("row", "turn")


def _filled(template: str) -> pl.Expr:
    """A template over the columns; "" where a field of it is empty."""
    parts = parse_template(template, "the template")
    filled = pl.concat_str(
        expr
        for text, field in parts
        for expr in ([pl.lit(text)] if text else []) + ([_column(field)] if field else [])
    )
    empty = [_column(field).str.strip_chars() == "" for field in _fields(parts)]
    return pl.when(pl.any_horizontal(*empty)).then(pl.lit("")).otherwise(filled) if empty else filled


# From texts


def _recognised(frame: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Conversations in texts by form; only candidates are looked at one by one."""
    found: dict[str, list[tuple[int, list[Conversation]]]] = {}
    for row, title, text in frame.filter(may_hold()).select("row", "title", "text").iter_rows():
        form, talks = conversations_in(title, text)
        if talks:
            found.setdefault(form, []).append((row, talks))
    return {form: _frame(found[form]) for form in sorted(found)}


def _frame(found: Iterable[tuple[int, list[Conversation]]]) -> pl.DataFrame:
    """(row, its conversations) as messages."""
    turns = [
        (row, ordinal, turn, role, content)
        for row, talks in found
        for ordinal, talk in enumerate(talks)
        for turn, (role, content) in enumerate(talk)
    ]
    return pl.DataFrame(turns, schema=_SCHEMA, orient="row")


# To files


def _with_system(turns: pl.DataFrame, system: str) -> pl.DataFrame:
    """The messages with the system message before each conversation that has none of its own."""
    if not system.strip():
        return turns
    own = turns.filter(pl.col("role") == "system")
    others = turns.unique(["row", "ordinal"], maintain_order=True).join(
        own, on=["row", "ordinal"], how="anti"
    )
    added = others.with_columns(
        turn=pl.lit(-1, pl.Int32()), role=pl.lit("system"), content=pl.lit(system.strip())
    )
    return pl.concat([turns, added])


def _lines(frame: pl.DataFrame, turns: pl.DataFrame, form: str, train_on: Sequence[str]) -> pl.DataFrame:
    """The rows of a file, in the order of the documents."""
    whole, role, content, names = _FORMS[form]
    message = pl.struct(
        pl.col("role").replace(names).alias(role),
        pl.col("content").alias(content),
        pl.col("role").is_in(list(train_on)).cast(pl.Int8()).alias("weight"),
    )
    talks = turns.group_by("row", "ordinal", maintain_order=True).agg(message.alias(whole))
    about = frame.select("row", "id", "source", "license")
    lines = talks.join(about, on="row", how="left", maintain_order="left")
    return lines.select("id", "ordinal", "source", "license", whole)
