"""The out-of-domain check: our task, what is read from the harness, and the harness itself where it is installed."""

import importlib.util
import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from verl_softthink.evaluation.out_of_domain import measure, right_choice_nll
from verl_softthink.evaluation.pocket_facts import NAME, questions, write_task
from verl_softthink.pocket import checkpoint_path
from verl_softthink.pocket.tasks import MIN_OPERATIONS

HARNESS = importlib.util.find_spec("lm_eval") is not None
needs_harness = pytest.mark.skipif(not HARNESS, reason="lm-eval is not installed: pip install 'verl-softthink[ood]'")


def test_questions_are_right_and_outside_the_training_problems():
    asked = questions()
    assert len({question["question"] for question in asked}) == len(asked) > 100
    for question in asked:
        expression = question["question"].removeprefix("<user>").partition("<assistant>")[0]
        assert 0 < sum(expression.count(operator) for operator in "+-*") < MIN_OPERATIONS
        first, rest = expression[:3], expression[3:]
        assert question["choices"][question["answer"]] == str(eval(f"(({first}) {rest}) % 10"))
        assert question["question"].endswith("=")
    # Every digit is asked for, and no choice is right much more often than the others.
    counts = np.bincount([question["answer"] for question in asked], minlength=10)
    assert counts.min() > 0 and counts.max() < len(asked) / 4


def test_a_choice_is_one_token_after_the_question():
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path())
    question = questions()[0]
    for choice in question["choices"]:
        whole = tokenizer.encode(question["question"] + choice, add_special_tokens=False)
        assert whole[:-1] == tokenizer.encode(question["question"], add_special_tokens=False)


def test_the_written_task_names_its_file(tmp_path):
    folder = write_task(tmp_path / "a folder: with 'signs'")
    lines = (folder / f"{NAME}.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == questions()


def test_the_right_choice_is_read():
    choices = [(-1.5, False), (-0.25, True), (-3.0, False)]
    samples = [{"target": 1, "filtered_resps": choices}, {"target": "2", "filtered_resps": choices}]
    assert right_choice_nll(samples).tolist() == [0.25, 3.0]
    with pytest.raises(ValueError, match="target 'yes' is not the number of one of its 3 choices"):
        right_choice_nll([{"target": "yes", "filtered_resps": choices}])


@pytest.mark.skipif(HARNESS, reason="lm-eval is installed")
def test_a_missing_harness_is_one_sentence(tmp_path):
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'verl-softthink\[ood\]'"):
        measure(checkpoint_path(), [NAME], tmp_path, limit=1, batch_size=1, seed=0)


@needs_harness
def test_harness_gives_the_models_own_likelihood(tmp_path):
    asked = 8
    measured = measure(checkpoint_path(), [NAME], tmp_path, limit=asked, batch_size=4, seed=0)[NAME]
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path())
    model = AutoModelForCausalLM.from_pretrained(checkpoint_path()).eval()
    nll, right = [], 0
    for question in questions()[:asked]:
        ids = tokenizer(question["question"], return_tensors="pt", add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            log_probs = model(ids).logits[0, -1].log_softmax(-1)
        digits = log_probs[tokenizer.convert_tokens_to_ids(question["choices"])]
        nll.append(-float(digits[question["answer"]]))
        right += int(digits.argmax()) == question["answer"]
    assert measured["questions"] == asked
    assert measured["nll"]["mean"] == pytest.approx(np.mean(nll), abs=1e-4)
    assert measured["accuracy"] == right / asked
