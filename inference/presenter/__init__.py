"""The shipped presenter, drawn by code alone.

Drawing her needs `requirements-drawing.txt`; showing her does not.
"""
