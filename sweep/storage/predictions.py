"""What a stage predicts, and the Parquet file it is kept in."""

import io
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.arrays import Bools, Floats, Ints
from data_prep.checked import list_values, read_table

PREDICTION_TYPES = {"utterance": pa.int32(), "segment": pa.int32(), "test": pa.bool_()}


@dataclass(frozen=True)
class Predictions:
    """What a stage predicts: for each of S segments its `utterance` (row of the corpus's utterances), `segment` number,
    whether it is of a `test` utterance, and `q` float32 [S, K]."""

    utterance: Ints
    segment: Ints
    test: Bools
    q: Floats


def decode_predictions(content: bytes) -> Predictions:
    """The predictions in a stage's Parquet file. Raises ValueError where they are not, or are no probabilities."""
    table = read_table(content)
    types = {name: table.schema.field(name).type for name in table.column_names if name in PREDICTION_TYPES}
    q_type = table.schema.field("q").type if table.column_names.count("q") == 1 else pa.null()
    if types != PREDICTION_TYPES or not pa.types.is_fixed_size_list(q_type) or q_type.value_type != pa.float32():
        raise ValueError(f"columns are {', '.join(map(str, table.schema))}")
    if not len(table) or not q_type.list_size or any(column.null_count for column in table.columns):
        raise ValueError("values are missing")
    q = list_values(table["q"]).reshape(len(table), -1)
    if table["utterance"].to_numpy().min() < 0 or table["segment"].to_numpy().min() < 0:
        raise ValueError("numbers below 0")
    if not np.isfinite(q).all() or (q < 0).any() or not np.allclose(q.sum(axis=1), 1, atol=1e-3):
        raise ValueError("they are no probabilities")
    return Predictions(
        utterance=table["utterance"].to_numpy(),
        segment=table["segment"].to_numpy(),
        test=table["test"].to_numpy(),
        q=q,
    )


def encode_predictions(predictions: Predictions) -> bytes:
    """The Parquet file of a stage's predictions."""
    q = pa.FixedSizeListArray.from_arrays(pa.array(predictions.q.ravel()), predictions.q.shape[1])
    table = pa.table(
        {
            **{name: pa.array(getattr(predictions, name), kind) for name, kind in PREDICTION_TYPES.items()},
            "q": q,
        }
    )
    return as_parquet(table, coded=["utterance"])


def as_parquet(table: pa.Table, coded: bool | list[str] = True) -> bytes:
    """A Parquet file, with dictionaries for the columns `coded`, or for all."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", use_dictionary=coded)  # type: ignore[arg-type]  # or names
    return buffer.getvalue()
