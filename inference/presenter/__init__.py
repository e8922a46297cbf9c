"""The shipped presenters, drawn by code alone.

Drawing them needs `requirements-drawing.txt`; showing them does not.
"""
