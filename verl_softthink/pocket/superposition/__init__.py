"""Tasks whose best thought holds several states at once, so that a mixture can do the work of many tokens.

A problem carries a set of states through T steps, and asks which of C listed states is in the last set. A thought is
the set after one step. A chain of tokens can follow one state alone: chosen without knowledge of the answer, it ends
in the listed state with probability 1 / |last set|, and otherwise only a guess is left (``problem.py``).
"""
