"""The likelihood of soft traces under a policy: verl's FSDP engine, fed mixtures and scored by the law.

    fields.py      names and settings of what a batch carries
    positions.py   the drawn positions of a micro-batch, flattened
    mixture.py     the input embeddings of soft positions that mix tokens
    drawn_embedding.py, soft_inputs.py     those whose law draws an embedding; the choice between the two
    scoring.py     the log-density of every drawn position
    checks.py      what the engine refuses, by name
    prefix_tree.py, shared_prefix.py  rows that begin alike, computed once
    step_influence.py  forward context influence beside the old-log-prob pass
    engine.py      the verl engine that joins them
    divergence.py  what is compared between two policies, beside the density

Everything but the methods of engine.py, shared_prefix.py and step_influence.py needs torch only.
"""
