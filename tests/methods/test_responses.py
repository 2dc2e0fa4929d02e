"""What a check sees of responses, on a real tokenizer; and the sentences about texts that they lack."""

import pytest
import torch
from transformers import AutoTokenizer

from verl_softthink.methods.responses import Responses, unmarked, unwritten_answer
from verl_softthink.methods.settings import parse_node
from verl_softthink.pocket import checkpoint_path

MARKER = "</think>"
KEY, SLOT = "softthink.some.answer", "{answer}"


def responses(*texts, answers=None, scores=None, pieces=None) -> Responses:
    pieces = pieces or [list(text) for text in texts]
    return Responses(
        origin="of the first step",
        texts=texts,
        pieces=pieces,
        # Pieces are single characters where a text holds the marker.
        thought_lengths=[
            text.find(MARKER) if MARKER in text else len(row) for text, row in zip(texts, pieces, strict=True)
        ],
        marker=MARKER,
        answers=answers or ["4"] * len(texts),
        scores=None if scores is None else torch.tensor(scores),
    )


def test_token_ids_are_read_whole_and_up_to_the_marker():
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path())
    ids = tokenizer.encode("7+8=5</think>5", add_special_tokens=False)
    found = Responses.of_ids(
        tokenizer, [ids, ids[:2]], origin="of a test", marker=tokenizer.encode(MARKER), answers=[5, None]
    )
    assert found.texts[0].replace(" ", "") == "7+8=5</think>5" and found.marker == MARKER
    assert found.answers == ["5", None]
    assert [len(row) for row in found.thoughts] == [ids.index(tokenizer.encode(MARKER)[0]), 2]
    assert found.noun == "the 2 responses of a test"


def test_a_marker_is_missed_by_runs_of_discrete_tokens_alone():
    plain, soft = parse_node({"repro": {}}), parse_node({"law": {"name": "gumbel"}, "repro": {}})
    (sentence,) = unmarked(responses("a", "b"), plain, "all is thinking")
    assert sentence.startswith(f"softthink.phase.end_of_thinking={MARKER!r}: none of the 2 responses of the first step")
    assert "so all is thinking" in sentence
    assert unmarked(responses("a", f"b{MARKER}"), plain, "") == unmarked(responses("a"), soft, "") == []


BOXED = f"\\boxed{{{SLOT}}}"


@pytest.mark.parametrize(
    ("template", "shown", "sentence"),
    [
        (BOXED, responses("The answer is 4.", "4"), "contains '\\\\boxed{', so the likelihood"),
        (BOXED, responses("\\boxed{5}", "4"), None),
        (SLOT, responses("four", "five"), None),
        (SLOT, responses("4", answers=[None]), "none of the 1 responses of the first step has a right answer to put"),
        # Graded right in another form: enough of them, and scores that differ.
        (BOXED, responses(*["\\boxed{8/2}"] * 4, "\\boxed{9}", scores=[1.0] * 4 + [0.0]), "such as '\\\\boxed{4}'"),
        (BOXED, responses(*["\\boxed{8/2}"] * 3, "\\boxed{9}", scores=[1.0] * 3 + [0.0]), None),
        (BOXED, responses(*["\\boxed{8/2}"] * 4, scores=[1.0] * 4), None),
        (BOXED, responses(*["\\boxed{8/2}"] * 4, "\\boxed{4}", "", scores=[1.0] * 5 + [0.0]), None),
    ],
)
def test_the_form_of_an_answer_is_held_against_responses(template, shown, sentence):
    found = unwritten_answer(shown, KEY, template, SLOT)
    assert len(found) == (sentence is not None)
    assert all(text.startswith(f"{KEY}={template!r}: ") and sentence in text for text in found)
