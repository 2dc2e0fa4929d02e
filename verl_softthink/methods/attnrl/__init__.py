"""Attention-guided tree branching (AttnRL, arXiv 2509.26628), pure functions first, verl last.

    steps.py        a response's steps, from the text of its tokens
    reduction.py    forward context influence of one layer, without its attention matrix
    influence.py    the same for a whole model, beside its forward pass
    visibility.py   what of a model's attention is covered, and what is refused; sequences.py: steps within a batch
    points.py       where a response is cut; entropy.py: the same by entropy (TreeRL)
    expansion.py    how many and which responses of a prompt are branched
    selection.py    which prompts are kept;  batch_size.py: how many are sampled
    plan.py         the above for one prompt: which continuations to sample, and the tree of their results
    tree.py         values and advantages of the nodes;  rows.py: the training rows of the leaves

    settings.py     the ``softthink.attnrl`` group;  check.py: what it cannot be combined with
    reading.py      from tokens to what the plan reads;  samples.py, leaves.py: rows of verl's queue, before and after
    scoring.py      one pass: old log-probs, influence, plan;  rollout.py, agent_loop.py: prompts and continuations
    schedule.py     when each happens, one step off policy too;  batching.py: sizes;  stage.py: all of it in a step

The engine's side is ``likelihood/step_influence.py`` (influence beside the old log-probs) and
``likelihood/shared_prefix.py`` (what rows share is computed once).
"""
