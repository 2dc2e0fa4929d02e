"""Attention-guided tree branching (AttnRL, arXiv 2509.26628), with TreeRL's branching by entropy as its control.

Pure functions: ``steps`` splits a response, ``influence`` measures its steps (``reduction`` per layer, ``visibility``
refuses what it does not cover), ``points`` and ``plan`` choose the branches, ``tree`` values the results.

In a training step: ``stage`` runs ``scoring``, ``rollout`` and ``agent_loop`` in the order of ``schedule`` and puts
``training_rows`` in place of the initial responses; ``engine`` measures influence in the workers.
"""
