"""Evenly spaced samples as packed text: few bytes a number, none of them lost. Pure.

Numbers are little-endian, in base64, sample by sample and within one channel by channel: a reader
that knows the type and the number of channels needs no more.
"""

import base64
import binascii
import sys
from array import array
from collections.abc import Sequence
from itertools import chain
from typing import Literal, get_args

SampleType = Literal["i2", "i4", "f4", "f8"]  # as NumPy names them, without the byte order

_CODES = {"i2": "h", "i4": "i", "f4": "f", "f8": "d"}
SAMPLE_TYPES: tuple[SampleType, ...] = get_args(SampleType)
Numbers = Sequence[float]


def flat(samples: Sequence[object], *, channel_count: int) -> list[float]:
    """The numbers of all samples, one after the other. Of one channel they may come bare.

    Raises: ValueError for a sample that does not hold one number a channel.
    """
    rows = [sample if isinstance(sample, list) else [sample] for sample in samples]
    if any(len(row) != channel_count for row in rows):
        raise ValueError("every sample has to hold one number a channel")
    return list(chain.from_iterable(rows))


def pack(numbers: Numbers) -> tuple[SampleType, str]:
    """The smallest type that holds each number exactly, and the numbers in it.

    Raises: ValueError for what is no number.
    """
    try:
        kind, values = _smallest(numbers)
    except (TypeError, OverflowError) as error:
        raise ValueError("samples have to be numbers") from error
    return kind, base64.b64encode(_little_endian(values).tobytes()).decode()


def unpack(text: str, kind: SampleType) -> "array[float] | array[int]":
    """The numbers that were packed.

    Raises: ValueError for text that is no such packing.
    """
    values = array(_CODES[kind])
    try:
        values.frombytes(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"samples are no base64 of {kind} numbers") from error
    return _little_endian(values)


def _smallest(numbers: Numbers) -> tuple[SampleType, "array[float] | array[int]"]:
    if all(isinstance(number, int) for number in numbers):
        for kind in ("i2", "i4"):
            try:
                return kind, array(_CODES[kind], numbers)
            except OverflowError:
                continue
    exact = array("d", numbers)
    try:
        short = array("f", numbers)
    except OverflowError:
        return "f8", exact
    return ("f4", short) if array("d", short) == exact else ("f8", exact)


def _little_endian(values: "array[float] | array[int]") -> "array[float] | array[int]":
    """The same, its bytes turned round where this machine keeps them the other way."""
    if sys.byteorder == "big":
        values.byteswap()
    return values
