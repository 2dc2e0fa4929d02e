"""The layout of sequences that begin alike."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from verl_softthink.likelihood.prefix_tree import PrefixTree

SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=7), min_size=1, max_size=6)


@settings(deadline=None)
@given(SEQUENCES)
def test_every_distinct_beginning_stands_once_and_sees_its_own(sequences):
    tree = PrefixTree.of([torch.tensor(sequence) for sequence in sequences])
    beginnings = {tuple(sequence[: end + 1]) for sequence in sequences for end in range(len(sequence))}
    assert len(tree) == len(beginnings)
    visible = tree.visible()
    before = {int(tree.entries[i]): int(tree.predecessors[i]) for i in range(len(tree.entries))}
    for sequence, path in zip(sequences, tree.paths, strict=True):
        assert tree.tokens[path].tolist() == sequence
        assert tree.depth[path].tolist() == list(range(len(sequence)))
        for depth, place in enumerate(path.tolist()):
            assert visible[place].nonzero()[:, 0].tolist() == sorted(path[: depth + 1].tolist())
            if depth:
                assert before.get(place, place - 1) == int(path[depth - 1])
