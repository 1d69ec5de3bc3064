"""Parquet: money and ratios as exact decimals, times in UTC, row groups of a bounded size.

Its rows lie in columns, so a group has to be whole before it is written: that is what is kept in memory, and no more.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from analytics.reports.columns import Column, Row, Table, Type

ROWS_OF_A_GROUP = 20_000
_PRECISION, _PLACES = 38, 12
"""Of decimals: twelve places are what money has, and 26 digits before them are more than there is."""


class _Sink(io.RawIOBase):
    """Where the writer writes to; what it wrote is taken away as it comes."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._written

    def write(self, piece: Any) -> int:
        data = bytes(piece)
        self._pieces.append(data)
        self._written += len(data)
        return len(data)

    def take(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data


def write(table: Table) -> Iterator[bytes]:
    import pyarrow.parquet as parquet  # 50 MB that only whoever asks for Parquet needs

    schema, sink = _schema(table.columns), _Sink()
    writer = parquet.ParquetWriter(sink, schema, compression="zstd")
    yield sink.take()
    group: list[Any] = []
    for page in table.pages:
        group.append(_batch(page, table.columns, schema))
        if sum(batch.num_rows for batch in group) >= ROWS_OF_A_GROUP:
            _write_group(writer, group, schema)
            yield sink.take()
    _write_group(writer, group, schema)
    writer.close()
    yield sink.take()


def _write_group(writer: Any, group: list[Any], schema: Any) -> None:
    import pyarrow

    rows = pyarrow.Table.from_batches(group, schema)
    group.clear()
    if rows.num_rows:
        writer.write_table(rows, row_group_size=max(rows.num_rows, ROWS_OF_A_GROUP))


def _schema(columns: tuple[Column, ...]) -> Any:
    import pyarrow

    types = {
        Type.TEXT: pyarrow.string(),
        Type.INTEGER: pyarrow.int64(),
        Type.DECIMAL: pyarrow.decimal128(_PRECISION, _PLACES),
        Type.TIME: pyarrow.timestamp("us", tz="UTC"),
        Type.BOOLEAN: pyarrow.bool_(),
        Type.TEXTS: pyarrow.list_(pyarrow.string()),
    }
    return pyarrow.schema([(column.name, types[column.type]) for column in columns])


def _batch(page: list[Row], columns: tuple[Column, ...], schema: Any) -> Any:
    import pyarrow

    arrays = []
    for number, column in enumerate(columns):
        values = [row[number] for row in page]
        if column.type is Type.DECIMAL:
            values = [None if value is None else Decimal(value) for value in values]
        arrays.append(pyarrow.array(values, type=schema.field(number).type))
    return pyarrow.record_batch(arrays, schema=schema)
