"""What each metric under ``softthink/`` means, what a healthy value looks like, and what to do otherwise.

``verl-softthink metrics`` prints the table; a test holds it against what the source emits, in both directions. The rows
of a method stand beside its code, and are listed here.
"""

import fnmatch

from verl_softthink.methods.attnrl import metric_docs as branching
from verl_softthink.methods.repro import metric_docs as process_reward
from verl_softthink.methods.variational import metric_docs as variational
from verl_softthink.report.metric_doc import PREFIX, MetricDoc
from verl_softthink.training import metric_docs as soft

METRICS: tuple[MetricDoc, ...] = (*soft.ROWS, *process_reward.ROWS, *variational.ROWS, *branching.ROWS)


def documentation(metric: str) -> MetricDoc | None:
    """The row of a metric's full name, or None."""
    name = metric.removeprefix(PREFIX)
    return next((row for row in METRICS if fnmatch.fnmatchcase(name, row.name)), None)
