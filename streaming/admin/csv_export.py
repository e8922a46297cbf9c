"""Rows for spreadsheets, sent as the database yields them: there may be a million."""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from itertools import islice

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse

ROWS_AT_ONCE = 2_000

Row = Sequence[object]


def csv_response(name: str, header: Sequence[str], rows: Iterable[Row]) -> StreamingHttpResponse:
    """Return a file of rows.

    Args:
        name: Of the file.
        header: Names of the columns.
        rows: Their values; taken while the file is sent, in the thread of the request.
    """
    return StreamingHttpResponse(
        _blocks(header, iter(rows)),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


async def _blocks(header: Sequence[str], rows: Iterator[Row]) -> AsyncIterator[str]:
    block = _text([header])
    while block:
        yield block
        block = await sync_to_async(_next_block)(rows)


def _next_block(rows: Iterator[Row]) -> str:
    return _text(islice(rows, ROWS_AT_ONCE))


def _text(rows: Iterable[Row]) -> str:
    """Return lines; none for no rows."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return file.getvalue()


def _cell(value: object) -> object:
    """Text that a spreadsheet cannot take for a formula."""
    if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"}:
        return f"'{value}"
    return "" if value is None else value
