"""The table of vLLM's sampling settings, against vLLM: it is complete, and refuses what it says by name."""

from pathlib import Path

import pytest
from vllm import SamplingParams
from vllm.sampling_params import StructuredOutputsParams

from verl_softthink.rollout.sampling_settings import FIELDS, REFUSED, check_sampling, sampling_table

pytestmark = pytest.mark.vllm

DOCUMENT = Path(__file__).parents[2] / "recipes" / "COMPATIBILITY.md"
BEGIN, END = "<!-- vLLM's sampling settings -->\n", "\n<!-- end -->"
SET = {
    "n": 2,
    "presence_penalty": 0.5,
    "frequency_penalty": -0.5,
    "repetition_penalty": 1.05,
    "min_tokens": 2,
    "logprobs": 3,
    "logprob_token_ids": [1, 2],
    "structured_outputs": StructuredOutputsParams(json={"type": "object", "title": "x" * 10**6}),
    "logit_bias": dict.fromkeys(range(10**5), 1.0),
    "allowed_token_ids": list(range(10**5)),
    "routed_experts_prompt_start": 4,
    "bad_words": ["w5"],
    "thinking_token_budget": 8,
    "trace_decode_token_ids": [1, 2],
}
#: What verl's server sends, with and without log-probs, in training and in validation.
OF_VERL = [
    {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0, "logprobs": 0, "ignore_eos": False},
    {"temperature": 0.0, "top_p": 0.95, "top_k": 20, "repetition_penalty": 1.0, "logprobs": None, "seed": 3},
]


def test_every_field_of_the_installed_release_has_a_row():
    missing = set(SamplingParams.__struct_fields__) - FIELDS.keys()
    assert not missing, "decide what a soft request does with each: honour it, or refuse it by name"


def test_the_table_in_the_document_is_up_to_date():
    written = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    assert written == sampling_table(), "put in what rollout.sampling_settings.sampling_table gives"


def test_each_refused_field_is_refused_by_name_and_alone():
    assert SET.keys() == {name for name, field in FIELDS.items() if field.use == REFUSED}
    for name in SET.keys() & set(SamplingParams.__struct_fields__):
        params = SamplingParams(temperature=1.0, **{name: SET[name]})
        with pytest.raises(ValueError, match=f"^{name}=.* in a soft request: .*; ") as caught:
            check_sampling(params)
        assert len(str(caught.value)) < 600


@pytest.mark.parametrize("sent", [{}, *OF_VERL])
def test_defaults_and_what_verl_sends_are_taken(sent):
    check_sampling(SamplingParams(max_tokens=20, **sent))
    check_sampling(SamplingParams.from_optional(max_tokens=20, **sent))
