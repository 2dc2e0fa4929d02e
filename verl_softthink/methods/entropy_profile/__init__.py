"""The entropy profile of thinking as a metric of a run."""
