"""Seeded requests whose prompt is computed in chunks, on a CPU.

vLLM samples after every chunk, throws the result away and rewinds the request's random generator by its offset; but
torch's CPU generators have no offset, and the engine dies with "CPU Generator does not use offset". While a step
discards a row, the row's generator is put aside, so that there is nothing to rewind.
"""

import functools

import numpy as np


def install(runner_class: type) -> None:
    """Wrap ``GPUModelRunner.sample_tokens``, which the CPU runner inherits; vLLM's plug-in does so in its processes."""
    sample_tokens = runner_class.sample_tokens

    @functools.wraps(sample_tokens)
    def without_discarded_generators(self, *args, **kwargs):
        generators = self.input_batch.generators
        discarded = np.nonzero(self.discard_request_mask.np[: self.input_batch.num_reqs])[0].tolist()
        aside = {row: generators.pop(row) for row in discarded if row in generators}
        output = sample_tokens(self, *args, **kwargs)
        generators.update(aside)
        return output

    runner_class.sample_tokens = without_discarded_generators
