"""Whose weights drew what, by hand: a response of one policy, and one that went on under the next."""

import pytest
from tensordict import TensorDict

from training.test_metrics import jagged
from verl_softthink.rollout.fields import VERSION
from verl_softthink.training.version_metrics import version_metrics


def batch() -> TensorDict:
    rows = {
        VERSION: [[3, 3], [1, 1, 2, 3]],
        "response_mask": [[1, 1], [1, 1, 0, 1]],
        "old_log_probs": [[-1.0, -2.0], [-1.0, -1.0, -9.0, -4.0]],
        "rollout_log_probs": [[-1.0, -2.5], [-2.0, -4.0, -1.0, -4.0]],
    }
    return TensorDict({name: jagged(columns) for name, columns in rows.items()}, batch_size=[2])


def test_versions_and_lags_by_hand():
    found = {name.removeprefix("softthink/"): value for name, value in version_metrics(batch(), step=4).items()}
    assert (found["versions/mean"], found["versions/max"], found["resumed_responses"]) == (2, 3, 1)
    assert found["lag_0/share"] == pytest.approx(3 / 6) and found["lag_0/log_prob_gap"] == pytest.approx(0.5 / 3)
    assert found["lag_2/share"] == pytest.approx(2 / 6) and found["lag_2/log_prob_gap"] == pytest.approx(2)
    # A forced position, which is not in the loss.
    assert found["lag_1/share"] == pytest.approx(1 / 6) and "lag_1/log_prob_gap" not in found
