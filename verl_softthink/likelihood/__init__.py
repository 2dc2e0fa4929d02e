"""The likelihood of soft traces under a policy: verl's FSDP engine, fed mixtures and scored by the law.

fields.py           names and settings of what a batch carries
positions.py        the drawn positions of a micro-batch, flattened
soft_inputs.py      the input embeddings of soft positions
scoring.py          the log-density of every drawn position
head_in_pieces.py   the same where the logits are too many to be held at once
sequence_slice.py   the part of a micro-batch that one rank of Ulysses sequence parallelism computes
prefix_tree.py      rows that begin alike, laid out so that each distinct token is computed once
shared_prefix.py    the engine on such a layout
parameter_groups.py embedding table, layers, head
gradient_norms.py   the norm of each group's gradient, logged
checks.py           what the engine refuses, by name
engine.py           the verl engine that joins them
"""
