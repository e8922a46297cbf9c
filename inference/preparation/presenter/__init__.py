"""The shipped presenter, drawn by code alone. Needs `requirements-drawing.txt`; the server does not."""
