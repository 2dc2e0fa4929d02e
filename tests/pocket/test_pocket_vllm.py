"""vLLM serves the shipped checkpoint with the same greedy answers as Hugging Face."""

import json
import os
import subprocess
import sys

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from verl_softthink.pocket import checkpoint_path
from verl_softthink.pocket.evaluate import MAX_RESPONSE_LENGTH
from verl_softthink.pocket.tasks import generate

pytestmark = pytest.mark.vllm

PROBLEMS = 32
# A process of its own: the engine's environment and memory stay out of the other tests.
SERVE = """
import json, sys
from vllm import LLM, SamplingParams
prompts = json.load(sys.stdin)
llm = LLM(sys.argv[1], dtype="float32", enforce_eager=True, max_model_len=128, disable_log_stats=True)
outputs = llm.generate(
    [{"prompt_token_ids": prompt} for prompt in prompts], SamplingParams(temperature=0.0, max_tokens=int(sys.argv[2]))
)
json.dump([[output.outputs[0].text, list(output.outputs[0].token_ids)] for output in outputs], open(sys.argv[3], "w"))
"""


def test_vllm_serves_the_checkpoint(tmp_path):
    pytest.importorskip("vllm")
    path = str(checkpoint_path())
    tokenizer = AutoTokenizer.from_pretrained(path)
    chats = [[{"role": "user", "content": problem.question}] for problem in generate("val", PROBLEMS, seed=0)]
    prompts = tokenizer.apply_chat_template(chats, add_generation_prompt=True, return_dict=True)
    environment = os.environ | {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "HF_HUB_OFFLINE": "1",
    }
    subprocess.run(
        [sys.executable, "-c", SERVE, path, str(MAX_RESPONSE_LENGTH), str(tmp_path / "served.json")],
        input=json.dumps(prompts["input_ids"]),
        text=True,
        check=True,
        env=environment,
    )
    served = json.loads((tmp_path / "served.json").read_text())

    padded = tokenizer.pad(prompts, return_tensors="pt")
    model = AutoModelForCausalLM.from_pretrained(path)
    sequences = model.generate(**padded, do_sample=False, max_new_tokens=MAX_RESPONSE_LENGTH)
    responses = sequences[:, padded["input_ids"].shape[1] :]
    assert [text for text, _ in served] == tokenizer.batch_decode(responses, skip_special_tokens=True)
    assert all(ids[-1] == tokenizer.eos_token_id for _, ids in served)
