"""Rules: Polars SQL expressions that are checked before a document is read.

The check walks Polars' own parsed form and allows only the node names listed here. A list of what is
forbidden would not be sound: aggregates hide in plain functions (QUANTILE_CONT, RANK), and clocks leave
no node at all but a literal. What is not listed is refused, so a new Polars can only refuse too much,
and a test with all wanted forms says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from schemas.errors import RuleError, did_you_mean

MAX_CHARACTERS = 4096
MAX_NODES = 200

_COMPARISONS = {"Lt": "<", "LtEq": "<=", "Gt": ">", "GtEq": ">="}
_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}

# Structure of the parsed form, then operators and functions. All are element-wise, and none can make
# a value much longer than its input (REPLACE, CONCAT, LPAD and REPEAT can).
_ALLOWED = frozenset(
    [
        "BinaryExpr",
        "Function",
        "Ternary",
        "Cast",
        "Literal",
        "Column",
        "left",
        "right",
        "op",
        "input",
        "function",
        "options",
        "expr",
        "dtype",
        "predicate",
        "truthy",
        "falsy",
        "strict",
        "literal",
        "nulls_equal",
        "decimals",
        "n",
        "ignore_nulls",
        "Strict",
        "NonStrict",
        "Sql",
        "Binary",
        "Generic",
        "StringExpr",
        "StructExpr",
        "FieldByName",
        "Boolean",
        "Int8",
        "Int16",
        "Int32",
        "Int64",
        "Float32",
        "Float64",
        "String",
        "Eq",
        "NotEq",
        "EqValidity",
        "NotEqValidity",
        "Lt",
        "LtEq",
        "Gt",
        "GtEq",
        "And",
        "Or",
        "Not",
        "Plus",
        "Minus",
        "Mul",
        "Div",
        "IntDiv",
        "Rem",
        "IsIn",
        "IsNull",
        "IsNotNull",
        "Coalesce",
        "FillNull",
        "MaxHorizontal",
        "MinHorizontal",
        "Abs",
        "Round",
        "Floor",
        "Ceil",
        "Sqrt",
        "Ln",
        "Log",
        "Exp",
        "Pow",
        "Sign",
        "ToFloat",
        "HalfAwayFromZero",
        "HalfToEven",
        "mode",
        "Contains",
        "StartsWith",
        "EndsWith",
        "Find",
        "LenChars",
        "LenBytes",
        "Lowercase",
        "Uppercase",
        "StripChars",
        "StripCharsStart",
        "StripCharsEnd",
        "Slice",
    ]
)
_LITERALS = frozenset(
    [
        "Dyn",
        "Int",
        "Float",
        "Str",
        "Scalar",
        "Boolean",
        "Decimal",
        "String",
        "Null",
        "Int8",
        "Int16",
        "Int32",
        "Int64",
        "UInt8",
        "UInt16",
        "UInt32",
        "UInt64",
        "Float32",
        "Float64",
        "Series",
    ]
)


@dataclass(frozen=True)
class Limit:
    """One comparison with a number inside a rule: `column op value`."""

    column: str
    op: str
    value: float


@dataclass(frozen=True)
class Rule:
    """A checked rule."""

    sql: str
    expr: pl.Expr
    columns: frozenset[str]
    limits: tuple[Limit, ...]


def parse_rule(sql: str, schema: pl.Schema | dict[str, pl.DataType]) -> pl.Expr:
    """The expression of a rule over columns of `schema`.

    Raises:
        RuleError: it does not parse, names an unknown column, is not Boolean, is NULL for empty values,
            or holds anything but element-wise operations.
    """
    return read_rule(sql, schema).expr


def read_rule(sql: str, schema: pl.Schema | dict[str, pl.DataType]) -> Rule:
    """Like `parse_rule`, with the columns and limits that the rule names."""
    expr, tree = _checked(sql, schema)
    _try_sample(expr, pl.Schema(schema), sql, truth=True)
    return Rule(sql, expr, frozenset(_columns(tree)), tuple(_limits(tree)))


def read_value(sql: str, schema: pl.Schema | dict[str, pl.DataType]) -> pl.Expr:
    """An expression with the grammar of rules that gives a number or a text, not a truth, for each document.

    Raises:
        RuleError: as `parse_rule`, but for the type.
    """
    expr, _ = _checked(sql, schema)
    _try_sample(expr, pl.Schema(schema), sql, truth=False)
    return expr


def _checked(sql: str, schema: pl.Schema | dict[str, pl.DataType]) -> tuple[pl.Expr, Any]:
    """The expression and its parsed form, which holds nothing foreign and no unknown column."""
    if len(sql) > MAX_CHARACTERS or len(re.findall(r"\b(?:and|or)\b", sql, re.IGNORECASE)) > MAX_NODES:
        raise RuleError(
            f"The rule has {len(sql):,} characters; at most {MAX_CHARACTERS:,} and {MAX_NODES} operations are allowed.",
            hint="Write x IN (...) instead of a chain of OR, or split it into several reasons.",
        )
    try:
        expr = pl.sql_expr(sql)
    except Exception as error:  # noqa: BLE001 - Polars raises its own and, for odd input, a PanicException
        raise RuleError(
            f"The rule {sql!r} is no SQL expression: {_first_line(error)}", hint=_syntax_hint(sql)
        ) from None
    tree = json.loads(expr.meta.serialize(format="json"))
    _refuse_foreign(tree, sql)
    _refuse_unknown(frozenset(_columns(tree)), pl.Schema(schema), sql)
    return expr, tree


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:200]


def _syntax_hint(sql: str) -> str:
    if "==" in sql:
        return "SQL compares with a single =."
    if '"' in sql:
        return "Texts stand in single quotes: language = 'en'."
    return "A rule is true for what is dropped, for example: words < 50 OR language <> 'en'."


def _refuse_foreign(tree: Any, sql: str) -> None:
    names = list(_names(tree))
    if len(names) > MAX_NODES * 8:  # a comparison is about eight names
        raise RuleError(
            f"The rule {sql[:60]!r}... is too long to check.", hint=f"At most {MAX_NODES} operations."
        )
    for name in names:
        if name not in _ALLOWED:
            raise RuleError(
                f"The rule {sql!r} uses {name}, which rules may not.",
                hint="A rule looks at one document: comparisons, AND/OR/NOT, IN, BETWEEN, LIKE, ~, CASE, "
                "COALESCE, arithmetic, ABS, ROUND, GREATEST, LEAST, LENGTH, LOWER, SUBSTR, STARTS_WITH. "
                "Dates are texts: date >= '2024-01-01'.",
            )


def _names(node: Any) -> Iterator[str]:
    """Every name in the tree but column names and the values of literals."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield key
            if key in {"Column", "FieldByName", "decimals", "n"}:
                continue
            yield from _literal_names(value) if key == "Literal" else _names(value)
    elif isinstance(node, list):
        for item in node:
            yield from _names(item)
    elif isinstance(node, str):
        yield node


def _literal_names(node: Any) -> Iterator[str]:
    """The types of a literal, so that times (and clocks, folded to times when parsed) are refused."""
    kinds = []
    while isinstance(node, dict):
        kind, node = next(iter(node.items()))
        kinds.append(kind)
    for kind in kinds:
        yield "Literal" if kind in _LITERALS else kind


def _columns(node: Any) -> Iterator[str]:
    """Columns as written: `words`, `langid.score`."""
    if isinstance(node, dict):
        path = _path(node)
        if path:
            yield path
        else:
            for key, value in node.items():
                if key != "Literal":
                    yield from _columns(value)
    elif isinstance(node, list):
        for item in node:
            yield from _columns(item)


def _path(node: Any) -> str:
    """The dotted name that a node stands for, or "" if it is no column."""
    if not isinstance(node, dict):
        return ""
    if "Column" in node:
        return str(node["Column"])
    call = node.get("Function")
    if isinstance(call, dict) and isinstance(call.get("function"), dict) and "StructExpr" in call["function"]:
        base = _path(call["input"][0])
        return f"{base}.{call['function']['StructExpr']['FieldByName']}" if base else ""
    return ""


def _refuse_unknown(columns: frozenset[str], schema: pl.Schema, sql: str) -> None:
    known = {}
    for name, kind in schema.items():
        if isinstance(kind, pl.Struct):
            known.update({f"{name}.{field.name}": field.dtype for field in kind.fields})
        else:
            known[name] = kind
    for column in sorted(columns):
        if column in known:
            continue
        if isinstance(schema.get(column), pl.Struct):
            inner = ", ".join(name for name in known if name.startswith(f"{column}."))
            raise RuleError(
                f"The rule {sql!r} compares the whole step {column!r}.",
                hint=f"Name one of its measurements: {inner}.",
            )
        text = f"A text stands in single quotes: '{column}'. " if f'"{column}"' in sql else ""
        raise RuleError(
            f"The rule {sql!r} names {column!r}, which is no column here.",
            hint=text + did_you_mean(column, known),
        )


def _try_sample(expr: pl.Expr, schema: pl.Schema, sql: str, *, truth: bool) -> None:
    """Run on zeros and empty texts: finds type errors, results that are (no) truth values, and NULLs."""
    frame = pl.DataFrame({name: [_zero(kind)] for name, kind in schema.items()}, schema=schema)
    try:
        result = frame.select(pl.lit(1).alias("_row"), expr.alias("rule")).get_column("rule")
    except Exception as error:  # noqa: BLE001 - whatever Polars raises, the rule is at fault
        raise RuleError(
            f"The rule {sql!r} cannot be judged: {_first_line(error)}",
            hint="Compare numbers with numbers and texts with 'texts'.",
        ) from None
    if truth and result.dtype != pl.Boolean:
        raise RuleError(
            f"The rule {sql!r} gives {result.dtype}, not true or false.",
            hint="Write a comparison, such as words < 50.",
        )
    if not truth and not (result.dtype.is_numeric() or result.dtype == pl.String):
        raise RuleError(
            f"The expression {sql!r} gives {result.dtype}, not a number or a text.",
            hint="Name a measurement or a column, such as gopher_quality.words.",
        )
    if result.null_count():
        raise RuleError(
            f"The rule {sql!r} gives NULL for an empty document.",
            hint="Guard it: COALESCE(..., 0), an ELSE in CASE, or a test for zero before dividing.",
        )


def _zero(kind: pl.DataType) -> Any:
    if isinstance(kind, pl.Struct):
        return {field.name: _zero(field.dtype) for field in kind.fields}  # type: ignore[arg-type]
    if kind == pl.String:
        return ""
    if kind == pl.Boolean:
        return False
    return [] if isinstance(kind, pl.List) else 0


def _limits(node: Any) -> Iterator[Limit]:
    """Comparisons of a column with a number, in both forms in which Polars writes them."""
    if isinstance(node, dict):
        left, op, right = _comparison(node)
        if op:
            for column, sign, value in ((left, op, _number(right)), (right, _FLIPPED[op], _number(left))):
                if _path(column) and value is not None:
                    yield Limit(_path(column), sign, value)
        for value in node.values():
            yield from _limits(value)
    elif isinstance(node, list):
        for item in node:
            yield from _limits(item)


def _comparison(node: dict[str, Any]) -> tuple[Any, str, Any]:
    binary = node.get("BinaryExpr")
    if binary and binary["op"] in _COMPARISONS:
        return binary["left"], _COMPARISONS[binary["op"]], binary["right"]
    call = node.get("Function")
    function = call.get("function") if isinstance(call, dict) else None
    if isinstance(call, dict) and isinstance(function, dict) and isinstance(function.get("Sql"), dict):
        name = function["Sql"].get("Binary")
        if name in _COMPARISONS:
            return call["input"][0], _COMPARISONS[name], call["input"][1]
    return None, "", None


def _number(node: Any) -> float | None:
    """The value of a numeric literal: integers, floats, decimals as [digits, precision, scale]."""
    literal = node.get("Literal") if isinstance(node, dict) else None
    if not isinstance(literal, dict):
        return None
    value = next(iter(literal.values()))
    while isinstance(value, dict):
        value = next(iter(value.values()))
    if isinstance(value, list) and len(value) == 3 and "Scalar" in literal:
        return float(value[0]) / 10 ** float(value[2])
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
