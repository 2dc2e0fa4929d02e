"""A dump holds what was put into it, for soft and for discrete responses, with what methods add to every position."""

import torch

from verl_softthink.config.settings import LawSettings
from verl_softthink.report.dump import DumpedResponse, dump_path, read_dump, write_dump
from verl_softthink.trace import SoftTrace


def test_a_discrete_response_and_its_extra_fields_come_back(tmp_path):
    log_prob = torch.tensor([-0.5, -1.25, 0.0])
    rewards = torch.tensor([0.0, 0.25, -0.125])
    response = DumpedResponse(
        key="a_0_0",
        prompt_ids=torch.tensor([1, 2]),
        response_ids=torch.tensor([3, 4, 5]),
        trace=SoftTrace.of_tokens(log_prob),
        reward=1.0,
        answer=None,
        extra={"softthink_process_reward": rewards},
    )
    path = dump_path(tmp_path, 3)
    write_dump([response], LawSettings(name="discrete").model_dump(), path)
    (read,), law = read_dump(path)
    assert law["name"] == "discrete"
    assert read.answer is None and read.reward == 1.0
    assert torch.equal(read.extra["softthink_process_reward"], rewards)
    assert torch.equal(read.trace.log_prob, log_prob)
    assert not read.trace.soft.any() and read.trace.entropy.isnan().all()
    assert [file.name for file in tmp_path.iterdir()] == ["traces-3.safetensors"]
