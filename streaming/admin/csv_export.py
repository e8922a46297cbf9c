"""Rows for spreadsheets."""

import csv
from collections.abc import Iterable, Sequence

from django.http import HttpResponse


def csv_response(
    name: str, header: Sequence[str], rows: Iterable[Sequence[object]]
) -> HttpResponse:
    """Return a file of rows.

    Args:
        name: Of the file.
        header: Names of the columns.
        rows: Their values.
    """
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    writer = csv.writer(response)
    writer.writerow(header)
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return response


def _cell(value: object) -> object:
    """Text that a spreadsheet cannot take for a formula."""
    if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"}:
        return f"'{value}"
    return "" if value is None else value
