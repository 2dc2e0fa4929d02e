"""RePro (arXiv 2512.01925): process reward from the model's own confidence in the right answer.

A response is cut before some of its segments; at every cut the right answer is pasted and scored by the policy itself.
How far and how steadily that score rises is the score of the prefix, and what a piece of reasoning adds is its reward.

    delimiters.py   where text ends a segment, token by token, by a table over the vocabulary
    segments.py     the thinking region, and the places where a response may be cut
    selection.py    the k cuts of highest entropy
    magnitude.py    how far the answer's likelihood has risen
    stability.py    how steadily: Kendall's tau-a over the points so far
    score.py        the weighted sum, and the reward of each piece: the difference between neighbours
    placement.py    rewards on the last token of their pieces, and reward to go
    advantage.py    process advantages of GRPO, RLOO, REINFORCE++, REINFORCE++-baseline and GAE
    kept_keys.py    one forward pass keeps its keys and values; answers attend to prefixes of it
    answers.py      the likelihood of the answer after every cut
    engine.py       both as part of verl's old-log-prob pass
    settings.py, stage.py, metrics.py, fields.py   the recipe's side

All but the last two lines is pure torch. Shapes: N responses, P points each (cuts, the first one being 0: the bare
prompt), P - 1 pieces between them; rows are padded at their end and ``counts`` [N] says how many points are real.
"""
