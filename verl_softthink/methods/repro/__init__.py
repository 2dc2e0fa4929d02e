"""RePro (arXiv 2512.01925): process rewards from the model's own confidence in the right answer.

A response is cut before some of its segments; after every cut the right answer is appended and scored by the policy
itself. How far and how steadily that score has risen is the score of the prefix, and the change over a piece of
reasoning is the reward of that piece.

Shapes: N responses with P points each (cuts, of which the first is 0: the bare prompt) and P - 1 pieces between them.
Rows are padded at the end, and ``counts`` [N] is the number of real points.
"""
