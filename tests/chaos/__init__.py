"""Attacks and failures, at full scale: ``make chaos``.

Each part is a function that takes its scale and returns a `Result`. Tests run the same parts at a
small scale.
"""
