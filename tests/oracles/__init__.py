"""Slow, obvious references in float64 (NumPy, SciPy, plain loops), written from the published formulas alone.

Nothing here imports the package under test.
"""
