"""Ulysses sequence parallelism: two ranks with half of every packed batch each compute what one process computes."""

import pytest
import torch
from support.ranks import run_on_ranks

from .runs import build, infer, train, weighted_log_probs
from .ulysses_ranks import LAWS, batch, run


def test_two_sequence_parallel_ranks_score_and_train_as_one(model_path, tmp_path):
    path = model_path("qwen2", tied=True)
    run_on_ranks(run, tmp_path / "store", path, tmp_path)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    # Padded, with another attention: nothing of the packed path is shared.
    engine = build(path, packed=False)
    for law in LAWS:
        data = batch(law, 4, packed=False)
        expected_loss, expected = train(engine, data, weighted_log_probs)
        scores = infer(engine, data)
        for records in ranks:
            for micro_batch in (1, 4):
                ours, loss, gradients = records[law, micro_batch]
                for one, other in zip(ours, scores, strict=True):
                    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
                assert loss == pytest.approx(expected_loss, rel=1e-5)
                assert gradients.keys() == expected.keys()
                for name, gradient in gradients.items():
                    size = expected[name].abs().max().item()
                    assert size > 0, name
                    torch.testing.assert_close(
                        gradient,
                        expected[name],
                        rtol=0,
                        atol=1e-5 * max(1.0, size),
                        msg=lambda text, where=(law, name): f"{where}: {text}",
                    )
