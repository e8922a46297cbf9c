"""How the viseme net is made: speech with known phonemes, noise, a fit, and the report.

Nothing here runs in the server. torch, scipy, espeak-ng and flite are tools of training alone.
"""
