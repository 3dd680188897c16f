"""Ways to spoil what a command reads: bytes, JSON and YAML values, Parquet tables."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

Draw = st.DrawFn

WORDS = st.sampled_from(
    [
        "",
        " ",
        ".",
        "..",
        "../../outside",
        "../../../../../../tmp/outside",
        "/tmp/outside",
        "a/b",
        "a\\b",
        "nul\0nul",
        "\x1b[2J\x1b]0;title\a",
        "line\nline\r\n\ttab",
        "\ud800",
        "\u202eevil",
        "é" * 300,
        "a" * 5000,
        "{0.__class__}",
        "%s%n",
        "$HOME `id` $(id)",
        "<script>alert(1)</script>",
        "=1+1",
        "nan",
        "-1",
        "1e999",
        "null",
        "s3://nowhere",
        "file:///tmp/outside",
    ]
)
NUMBERS = st.sampled_from(
    [0, -1, 1, 2, 3, 17, 255, 65536, 2**31, 2**32, 2**53 + 1, 2**63, 2**64, 10**30, -(2**63), 10**400]
) | st.sampled_from([0.0, -0.0, 0.5, -1.5, 1e-320, 1e308, float("inf"), float("-inf"), float("nan")])
LEAVES = st.none() | st.booleans() | NUMBERS | WORDS | st.text(max_size=8)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def spoilt_bytes(draw: Draw, content: bytes) -> bytes:
    """`content` cut, with bytes changed, with a stretch put in or taken out; or something else altogether."""
    how = draw(st.sampled_from(["change", "change", "cut", "insert", "remove", "repeat", "other"]))
    if how == "other" or not content:
        return draw(st.binary(max_size=64) | st.just(b"[" * 100_000) | st.just(b"{}") | st.just(b"PAR1"))
    place = st.integers(0, len(content) - 1)
    if how == "change":
        spoilt = bytearray(content)
        for _ in range(draw(st.integers(1, 4))):
            spoilt[draw(place)] = draw(st.integers(0, 255))
        return bytes(spoilt)
    at = draw(place)
    if how == "cut":
        return content[:at]
    if how == "insert":
        return content[:at] + draw(st.binary(min_size=1, max_size=16)) + content[at:]
    until = draw(st.integers(at, min(len(content), at + 64)))
    return content[:at] + content[until:] if how == "remove" else content[:until] + content[at:]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to everything inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for key, one in inside:
        found += [(*path, key), *places(one, (*path, key))]
    return found


@st.composite
def spoilt_value(draw: Draw, value: Any, most: int = 3) -> Any:
    """A JSON value of which some parts are taken away, put in or replaced."""
    spoilt = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(1, most))):
        paths = places(spoilt)
        if not paths:
            return draw(VALUES)
        *path, last = draw(st.sampled_from(paths))
        holder = spoilt
        for key in path:
            holder = holder[key]
        how = draw(st.sampled_from(["replace", "replace", "replace", "remove", "add"]))
        if how == "replace":
            holder[last] = draw(VALUES)
        elif how == "remove":
            del holder[last]
        elif isinstance(holder, dict):
            holder[draw(WORDS)] = draw(VALUES)
        else:
            holder.insert(last, draw(VALUES))
    return spoilt


@st.composite
def spoilt_json(draw: Draw, value: Any) -> bytes:
    """The text of a JSON value that is spoilt: as a value, or as text."""
    if draw(st.integers(0, 3)) == 0:
        return draw(spoilt_bytes(json.dumps(value).encode()))
    text = json.dumps(draw(spoilt_value(value)), ensure_ascii=draw(st.booleans()))
    return text.encode("utf-8", "surrogatepass")


@st.composite
def spoilt_parquet(draw: Draw, content: bytes) -> bytes:
    """A Parquet file that is spoilt: as a table, or as bytes."""
    if draw(st.integers(0, 3)) == 0:
        return draw(spoilt_bytes(content))
    table = pq.ParquetFile(pa.BufferReader(content)).read()
    how = draw(st.sampled_from(["drop", "rename", "text", "null", "numbers", "empty", "fewer", "twice", "metadata"]))
    position = draw(st.integers(0, table.num_columns - 1))
    name, column = table.column_names[position], table.column(position)
    if how == "drop":
        table = table.remove_column(position)
    elif how == "rename":
        table = table.rename_columns(
            {name: draw(st.text(max_size=8).filter(lambda text: text not in table.schema.names))}
        )
    elif how == "text":
        table = table.set_column(position, name, pa.array([draw(WORDS.filter(encodable))] * len(table), pa.string()))
    elif how == "null":
        table = table.set_column(position, name, pa.nulls(len(table), column.type))
    elif how == "numbers":
        number = draw(st.sampled_from([-1, 0, 2**31 - 1, -(2**31), 10**12]) | st.sampled_from([np.nan, np.inf, -1e30]))
        table = table.set_column(position, name, pa.array([number] * len(table)))
    elif how == "empty":
        table = table.slice(0, 0)
    elif how == "fewer":
        table = table.slice(draw(st.integers(0, len(table))))
    elif how == "twice":
        table = pa.concat_tables([table, table])
    else:
        pandas = draw(spoilt_json({"index_columns": ["id"], "columns": [{"name": name, "numpy_type": "object"}]}))
        table = table.replace_schema_metadata({"pandas": pandas})
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer)
    return buffer.getvalue().to_pybytes()


def encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
