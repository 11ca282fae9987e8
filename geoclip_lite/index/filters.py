"""Filters: which rows a search may return. One small language for all stores.

    (field("brand") == "acme") & (field("price") < 20) & ~field("colour").isin(["red", "pink"])

A filter is data, not text. It is checked against the fields of an index, and each store translates it:
`mask` evaluates it with numpy and defines what it means, `render` writes it for a database, with every name
prefixed and every value quoted, so that no value can be read as a part of the query.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Shaped

from geoclip_lite.index.errors import BadFilterError, BadInputError

Value = str | int | float | bool
Operator = Literal["==", "<", "<=", ">", ">="]
OPERATORS: dict[str, Callable] = {
    "==": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
LARGEST = 2**53  # up to here an integer is the same in every store, as a float too
MAX_TEXT = 4096  # bytes of a text
MAX_VALUES = 10_000  # of a filter, all together
MAX_DEPTH = 50


class Filter:
    """What all filters can do: `a & b`, `a | b`, `~a`."""

    def __and__(self, other: Filter) -> Filter:
        return AllOf((*_parts(self, AllOf), *_parts(other, AllOf)))

    def __or__(self, other: Filter) -> Filter:
        return AnyOf((*_parts(self, AnyOf), *_parts(other, AnyOf)))

    def __invert__(self) -> Filter:
        return Not(self)

    def __bool__(self) -> bool:
        raise BadFilterError("filters are joined by & | ~ with brackets, not by and, or, not or a < b < c")


@dataclass(frozen=True)
class Compare(Filter):
    """A field against a value. Ranges are for numbers."""

    field: str
    op: Operator
    value: Value


@dataclass(frozen=True)
class OneOf(Filter):
    """A field among values, of which there must be one at least."""

    field: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class AllOf(Filter):
    """Rows that pass all parts."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True)
class AnyOf(Filter):
    """Rows that pass one part or more."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True)
class Not(Filter):
    """Rows that do not pass."""

    part: Filter


def _parts(part: Filter, kind: type) -> tuple[Filter, ...]:
    """Keeps a | b | c | ... flat: a filter from a loop must not grow deep."""
    if not isinstance(part, Filter):
        raise BadFilterError(f"a filter is joined with a filter, got {part!r}: compare a field to it first")
    return part.parts if isinstance(part, kind) else (part,)


class Field:
    """A field by its name; comparing it makes a filter."""

    def __init__(self, name: str):
        self.name = name

    def __eq__(self, value: Value) -> Filter:
        return Compare(self.name, "==", value)

    def __ne__(self, value: Value) -> Filter:
        return Not(Compare(self.name, "==", value))

    def __lt__(self, value: Value) -> Filter:
        return Compare(self.name, "<", value)

    def __le__(self, value: Value) -> Filter:
        return Compare(self.name, "<=", value)

    def __gt__(self, value: Value) -> Filter:
        return Compare(self.name, ">", value)

    def __ge__(self, value: Value) -> Filter:
        return Compare(self.name, ">=", value)

    def isin(self, values: Iterable[Value]) -> Filter:
        """Rows whose field is one of the values."""
        if isinstance(values, str):
            raise BadFilterError(
                f"values of isin must be a list, got the text {values!r}: write [{values!r}]"
            )
        return OneOf(self.name, tuple(values))

    __hash__ = None


def field(name: str) -> Field:
    """The start of a filter: `field("price") < 20`."""
    return Field(name)


# --- values ---------------------------------------------------------------------------------------


def plain(value: object, kind: type, name: str) -> Value:
    """The value as Python's own str, int, float or bool, in the one form in which all stores agree.

    Args:
        name: how an error should call it.

    Raises:
        BadInputError: another type, NaN, infinity, an integer beyond 2**53, a text too long or no UTF-8.
    """
    value = value.item() if isinstance(value, np.generic) else value
    if kind is float and type(value) is int and abs(value) <= LARGEST:
        value = float(value)
    if type(value) is not kind:
        got = f"{value!r}, a {type(value).__name__}"
        raise BadInputError(f"{name} must be of type {kind.__name__}, got {got}")
    if kind is str:
        check_text(value, name, MAX_TEXT)
    if kind is float and not math.isfinite(value):
        raise BadInputError(f"{name} must be a finite number, got {value}")
    if kind is int and abs(value) > LARGEST:
        raise BadInputError(f"{name} must be within ±2**53, got {value}: keep such numbers as text")
    return value + 0.0 if kind is float else value  # minus zero, which some stores sort below zero, goes


def check_text(text: str, name: str, most: int) -> None:
    """Raises BadInputError for what not every store can hold: lone surrogates, NUL, too many bytes."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise BadInputError(f"{name} must be valid Unicode, got {text!r}: {error.reason}") from error
    if size > most:
        raise BadInputError(f"{name} must be at most {most} bytes of UTF-8, got {size}: {text[:40]!r}...")
    if "\0" in text:
        raise BadInputError(f"{name} must not hold the character NUL, got {text[:40]!r}")


def checked(where: Filter, columns: Mapping[str, type]) -> Filter:
    """The filter with plain values.

    Raises:
        BadFilterError: an unknown field, a value of another type than the field's, a range over texts or
            truth values, no values at all, more than 10,000 values, more than 50 levels.
    """
    try:
        checked, size = _checked(where, columns, MAX_DEPTH)
    except BadInputError as error:
        raise error if isinstance(error, BadFilterError) else BadFilterError(f"where: {error}") from error
    if size > MAX_VALUES:
        raise BadFilterError(f"where must hold at most {MAX_VALUES} values, got {size}: ask in several steps")
    return checked


def _checked(where: Filter, columns: Mapping[str, type], depth: int) -> tuple[Filter, int]:
    """The filter with plain values, and how many values it holds."""
    if not depth:
        raise BadFilterError(f"where must have at most {MAX_DEPTH} levels: use isin instead of nesting")
    match where:
        case Compare(name, op, value):
            return Compare(name, op, _operand(name, value, columns, op)), 1
        case OneOf(name, values) if values:
            return OneOf(name, tuple(_operand(name, value, columns, "==") for value in values)), len(values)
        case OneOf(name):
            raise BadFilterError(
                f"isin needs one value at least, got none for {name!r}: leave the filter out"
            )
        case Not(part):
            part, size = _checked(part, columns, depth - 1)
            return Not(part), size
        case AllOf(parts) | AnyOf(parts) if parts:
            parts, sizes = zip(*(_checked(part, columns, depth - 1) for part in parts), strict=True)
            return type(where)(parts), sum(sizes)
    raise BadFilterError(f"where must be a filter, got {where!r}: write field('name') == value")


def _operand(name: str, value: Value, columns: Mapping[str, type], op: str) -> Value:
    """The value, once the field exists and can be compared like this."""
    kind = columns.get(name) if isinstance(name, str) else None
    if kind is None:
        raise BadFilterError(f"where names the field {name!r}, the index has {', '.join(columns)}")
    if op not in OPERATORS:
        raise BadFilterError(f"where compares by {op!r}, known are {' '.join(OPERATORS)}")
    if op != "==" and kind in (str, bool):
        raise BadFilterError(f"where asks for {name!r} {op} a value, but ranges are for numbers: use isin")
    return plain(value, kind, f"the value for the field {name!r}")


# --- what they mean -------------------------------------------------------------------------------


def mask(where: Filter, columns: Mapping[str, Shaped[np.ndarray, " rows"]]) -> Bool[np.ndarray, " rows"]:
    """Which rows pass. This is what a filter means, in every store."""
    match where:
        case Compare(name, op, value):
            return np.asarray(OPERATORS[op](columns[name], value), dtype=bool)
        case OneOf(name, values) if columns[name].dtype == object:
            wanted = set(values)
            return np.fromiter((text in wanted for text in columns[name]), bool, len(columns[name]))
        case OneOf(name, values):
            return np.isin(columns[name], np.array(values))
        case AllOf(parts):
            return np.logical_and.reduce([mask(part, columns) for part in parts])
        case AnyOf(parts):
            return np.logical_or.reduce([mask(part, columns) for part in parts])
        case Not(part):
            return ~mask(part, columns)
    raise TypeError(f"no filter: {where!r}")


@dataclass(frozen=True)
class Dialect:
    """How a database writes names, values and words."""

    name: Callable[[str], str]
    literal: Callable[[Value], str]
    equal: str
    brackets: str


def render(where: Filter, dialect: Dialect) -> str:
    """The filter in the words of a database. Names and values come from `checked`."""
    match where:
        case Compare(name, op, value):
            sign = dialect.equal if op == "==" else op
            return f"({dialect.name(name)} {sign} {dialect.literal(value)})"
        case OneOf(name, values):
            left, right = dialect.brackets
            listed = ", ".join(dialect.literal(value) for value in values)
            return f"({dialect.name(name)} in {left}{listed}{right})"
        case AllOf(parts):
            return f"({' and '.join(render(part, dialect) for part in parts)})"
        case AnyOf(parts):
            return f"({' or '.join(render(part, dialect) for part in parts)})"
        case Not(part):
            return f"(not {render(part, dialect)})"
    raise TypeError(f"no filter: {where!r}")
