"""What influence cannot be measured on is refused by name, and an error leaves transformers as it was."""

import pytest
import torch
from transformers.modeling_utils import AttentionInterface

from verl_softthink.methods.attnrl.influence import ForwardContextInfluence
from verl_softthink.methods.attnrl.steps import SteppedSequence
from verl_softthink.methods.attnrl.visibility import layer_attention, require_own_keys

from .models import VOCABULARY, make_model

LENGTHS = (4,) + (3,) * 8
IDS = torch.arange(sum(LENGTHS))[None] % VOCABULARY


WHOLE = (SteppedSequence(0, 0, LENGTHS),)


def run(model, sequences=WHOLE, ids=IDS, **inputs):
    before = AttentionInterface.get_interface
    try:
        with torch.no_grad(), ForwardContextInfluence(model, sequences):
            model(ids, **{"use_cache": False, **inputs})
    finally:
        assert AttentionInterface.get_interface is before


def test_attention_sinks():
    model = make_model("gpt_oss", "eager", num_local_experts=2, num_experts_per_tok=1)
    with pytest.raises(ValueError, match="GptOssAttention calls its attention with s_aux=a tensor of shape") as error:
        run(model)
    assert "set softthink.attnrl.branching=entropy and softthink.attnrl.attention_filter=false" in str(error.value)


def test_chunked_attention():
    model = make_model("llama")
    model.config.attention_chunk_size = 8
    with pytest.raises(ValueError, match="LlamaAttention: attention_chunk_size=8"):
        run(model)


def test_a_soft_cap_that_sdpa_leaves_out():
    with pytest.raises(ValueError, match="attn_implementation='sdpa' leaves out the soft-cap of 3.0"):
        run(make_model("gemma2"))


def test_training_mode_with_dropout():
    with pytest.raises(ValueError, match="dropout=0.1: call model.eval"):
        run(make_model("llama", attention_dropout=0.1).train())


def test_keys_of_an_earlier_call():
    model = make_model("llama")
    with torch.no_grad():
        cache = model(IDS, use_cache=True).past_key_values
    with pytest.raises(ValueError, match=f"LlamaAttention has {2 * IDS.shape[1]} keys for {IDS.shape[1]} queries"):
        run(model, past_key_values=cache, use_cache=True)


def test_a_sequence_that_is_not_where_it_is_said_to_be():
    model = make_model("llama", "eager")
    with pytest.raises(ValueError, match="the sequence at row 0, column 3: the layer's attention mask is not causal"):
        run(model, [SteppedSequence(0, 3, LENGTHS[:-1])])
    with pytest.raises(ValueError, match="ends at column 28, but the batch has 27 columns"):
        run(model, [SteppedSequence(0, 0, LENGTHS)], ids=IDS[:, :-1])


def test_a_window_that_the_layer_does_not_tell_of():
    model = make_model("llama", "eager")
    seen = torch.ones(1, 1, IDS.shape[1], IDS.shape[1], dtype=torch.bool).tril().triu(-6)
    with pytest.raises(ValueError, match="attention mask is not causal attention within the sequence"):
        run(model, attention_mask=torch.where(seen, 0.0, -torch.inf))


def test_a_model_without_the_models_attention():
    with pytest.raises(ValueError, match="Linear has no attention layers"):
        ForwardContextInfluence(torch.nn.Linear(2, 2), [])
    with pytest.raises(ValueError, match=r"layers=\[7\] are not in LlamaForCausalLM, which has 0-2"):
        ForwardContextInfluence(make_model("llama"), [], layers=[7])


def test_layers_that_were_never_asked():
    with (
        pytest.raises(ValueError, match=r"layers \[0, 1, 2\] did not ask"),
        ForwardContextInfluence(make_model("llama"), [SteppedSequence(0, 0, LENGTHS)]),
    ):
        pass


def test_an_encoder():
    module, heads = torch.nn.Identity(), torch.zeros(1, 2, 5, 4)
    with pytest.raises(ValueError, match="Identity is not causal"):
        layer_attention(module, heads, heads, {"is_causal": False})


@pytest.mark.parametrize(("start", "fits"), [(1, False), (2, True), (3, False)])
def test_a_padding_mask_leaves_the_columns_of_the_sequence(start, fits):
    # FlashAttention gets the mask of tokens itself: two columns of left padding, then the sequence.
    mask = torch.tensor([[0, 0, 1, 1, 1, 1, 1]])
    sequence = SteppedSequence(0, start, (2, 7 - start - 2))
    if fits:
        require_own_keys(mask, sequence, None, None, 7)
    else:
        with pytest.raises(ValueError, match=r"does not match attention_mask\[0\]: give the columns of its ones"):
            require_own_keys(mask, sequence, None, None, 7)


def test_a_packed_sequence_begins_at_position_0():
    positions = torch.tensor([[0, 1, 2, 0, 1, 2, 3]])
    require_own_keys(None, SteppedSequence(0, 3, (2, 2)), None, positions, 7)
    with pytest.raises(ValueError, match="column 2 starts with position id 2: packed sequences start at 0"):
        require_own_keys(None, SteppedSequence(0, 2, (2, 3)), None, positions, 7)
