"""Filters: which rows a search may return. Equality, one-of and ranges, joined by `&`.

    (field("brand") == "acme") & (field("price") < 20) & field("colour").isin(["red", "pink"])

A filter is data, not text: `checked` compares it with the fields of an index, `mask` defines what it means,
`render` writes it for a database, with every value quoted.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Shaped

from geoclip_lite.index.errors import BadFilterError, BadInputError

Value = str | int | float | bool
RANGES = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
LARGEST = 2**53  # up to here an integer is the same in every store, as a float too
MAX_TEXT, MAX_VALUES = 4096, 10_000  # bytes of a text; values of a filter


class Condition(NamedTuple):
    """A field that is "in" its values, or in a range that the one value bounds."""

    field: str
    op: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Filter:
    """Rows that meet all conditions."""

    conditions: tuple[Condition, ...]

    def __and__(self, other: Filter) -> Filter:
        if not isinstance(other, Filter):
            raise BadFilterError(f"where is joined with {other!r}, no filter: compare a field to it first")
        return Filter(self.conditions + other.conditions)

    def __bool__(self) -> bool:
        raise BadFilterError("where is joined by & with brackets, not by and, or, not, != or a < b < c")


class field:
    """A field by its name; comparing it makes a filter: `field("price") < 20`."""

    def __init__(self, name: str):
        self.name = name

    def isin(self, values: Iterable[Value]) -> Filter:
        """Rows whose field is one of the values, of which there must be one at least."""
        if isinstance(values, str):
            raise BadFilterError(f"values of isin must be a list, got {values!r}: write [{values!r}]")
        return Filter((Condition(self.name, "in", tuple(values)),))

    def __eq__(self, value: Value) -> Filter:
        return self.isin([value])

    __lt__, __le__, __gt__, __ge__ = (
        lambda self, value, op=op: Filter((Condition(self.name, op, (value,)),)) for op in RANGES
    )
    __hash__ = None


def checked(where: Filter, columns: Mapping[str, type]) -> Filter:
    """The filter with plain values.

    Raises:
        BadFilterError: an unknown field, a value of another type than the field's, a range over texts or
            truth values, no values at all, more than 10,000 values.
    """
    if not isinstance(where, Filter):
        raise BadFilterError(f"where must be a filter, got {where!r}: write field('name') == value")
    if (size := sum(len(values) for _, _, values in where.conditions)) > MAX_VALUES:
        raise BadFilterError(f"where must hold at most {MAX_VALUES} values, got {size}: ask in several steps")
    conditions = []
    for name, op, values in where.conditions:
        if not isinstance(name, str) or name not in columns:
            raise BadFilterError(f"where names the field {name!r}, the index has {', '.join(columns)}")
        if op in RANGES and columns[name] in (str, bool):
            raise BadFilterError(f"where asks for {name!r} {op} a value: ranges are for numbers, use isin")
        if not values:
            raise BadFilterError(f"where needs a value at least, got none for {name!r}: leave the filter out")
        try:
            values = tuple(plain(value, columns[name], f"where, {name!r}") for value in values)
        except BadInputError as error:
            raise BadFilterError(str(error)) from error
        conditions.append(Condition(name, op, values))
    return Filter(tuple(conditions))


def plain(value: object, kind: type, name: str, most: int = MAX_TEXT) -> Value:
    """The value as Python's own str, int, float or bool, in the one form in which all stores agree.

    Args:
        name: how an error should call it.
        most: bytes of a text.

    Raises:
        BadInputError: another type, NaN, infinity, an integer beyond 2**53, a text too long or no UTF-8.
    """
    value = value.item() if hasattr(value, "item") else value  # of numpy or torch
    if kind is float and type(value) is int and abs(value) <= LARGEST:
        value = float(value)
    if type(value) is not kind:
        raise BadInputError(
            f"{name} must be of type {kind.__name__}, got {value!r}, a {type(value).__name__}"
        )
    if kind is float and not math.isfinite(value):
        raise BadInputError(f"{name} must be a finite number, got {value}")
    if kind is int and abs(value) > LARGEST:
        raise BadInputError(f"{name} must be within ±2**53, got {value}: keep such numbers as text")
    if kind is str:
        check_text(value, name, most)
    return value + 0.0 if kind is float else value  # some stores sort minus zero below zero


def check_text(text: str, name: str, most: int) -> None:
    """Raises BadInputError for what not every store can hold: lone surrogates, NUL, too many bytes."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise BadInputError(f"{name} must be valid Unicode, got {text!r}: {error.reason}") from error
    if size > most or "\0" in text:
        wanted = f"at most {most} bytes of UTF-8, without the character NUL"
        raise BadInputError(f"{name} must be {wanted}, got {size} bytes: {text[:40]!r}")


# --- what a filter means --------------------------------------------------------------------------


def mask(where: Filter, columns: Mapping[str, Shaped[np.ndarray, " rows"]]) -> Bool[np.ndarray, " rows"]:
    """Which rows pass, by the values of their fields."""
    return np.logical_and.reduce(
        [_passes(columns[name], op, wanted) for name, op, wanted in where.conditions]
    )


def _passes(values: Shaped[np.ndarray, " rows"], op: str, wanted: tuple) -> Bool[np.ndarray, " rows"]:
    if op in RANGES:
        return RANGES[op](values, wanted[0])
    if values.dtype == object:
        return np.fromiter(map(set(wanted).__contains__, values), bool, len(values))
    return np.isin(values, np.array(wanted))


def column(name: str) -> str:
    """A field's name in a database: prefixed, since a field may be called `order` or `vector`."""
    return name if name == "id" else f"f_{name}"


def render(where: Filter, literal: Callable[[Value], str], brackets: str) -> str:
    """The filter in the words of a database. Names and values come from `checked`."""
    parts = []
    for name, op, values in where.conditions:
        left, right = brackets if op == "in" else ("", "")
        parts.append(f"{column(name)} {op} {left}{', '.join(map(literal, values))}{right}")
    return " and ".join(parts)
