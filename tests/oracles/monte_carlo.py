"""Bounds in units of the standard error of a seeded Monte Carlo mean."""

import numpy as np


def mean_and_error(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over axis 0 and its standard error."""
    samples = np.asarray(samples, dtype=np.float64)
    return samples.mean(axis=0), samples.std(axis=0, ddof=1) / np.sqrt(samples.shape[0])


def deviation(samples: np.ndarray, truth: np.ndarray, truth_error: np.ndarray | float = 0.0) -> np.ndarray:
    """(mean - truth) in standard errors, elementwise. An entry that is constant and exact counts as 0."""
    mean, error = mean_and_error(samples)
    error = np.sqrt(error**2 + np.asarray(truth_error) ** 2)
    difference = mean - np.asarray(truth)
    exact = np.abs(difference) <= 1e-12
    return np.where(exact, 0.0, difference / np.where(exact, 1.0, error))
