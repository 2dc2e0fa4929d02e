"""Values and advantages of branched responses, from the leaves' token strings alone.

A token of a leaf belongs to the set of leaves of the prompt that agree with it up to and including that token; its
parent is the set that agrees up to the last token at which more leaves did.
"""

import math


def advantages(leaves: list[tuple[tuple, float]], counted: list[tuple[tuple, float]]) -> list[list[float]]:
    """Advantage of every token of every leaf of one prompt.

    Args:
        leaves: token sequence and value of every leaf that is trained; sequences differ where the tree branches.
        counted: leaves of responses that were not branched, which only count in the root.
    """
    everything = [value for _, value in leaves + counted]
    root = sum(everything) / len(everything)
    result = []
    for sequence, _ in leaves:
        row = []
        groups = []
        for position in range(1, len(sequence) + 1):
            groups.append([value for other, value in leaves if other[:position] == sequence[:position]])
        for position, group in enumerate(groups):
            value = sum(group) / len(group)
            larger = [earlier for earlier in groups[:position] if len(earlier) > len(group)]
            parent = sum(larger[-1]) / len(larger[-1]) if larger else root
            row.append(((value - root) + (value - parent)) / math.sqrt(len(group)))
        result.append(row)
    return result
