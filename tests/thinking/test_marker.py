"""The end of thinking in tokens of published tokenizers, against string search; and that nothing else looks for it."""

import ast
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.real_tokenizers import MAKERS, real_tokenizer

import verl_softthink
from verl_softthink.config.settings import PhaseSettings
from verl_softthink.methods.attnrl.response_steps import ResponseParser
from verl_softthink.methods.repro.preparation import Preparation
from verl_softthink.methods.repro.settings import ReproSettings
from verl_softthink.rollout.phase.markers import text_marker_table
from verl_softthink.thinking import EndOfThinking, begun_part, token_bytes, token_finder, token_writer

MARKERS = ("</think>", "The final answer is:", "</思考>", "aa")
BEFORE = ("", "x", "x ", "x.", "x\n", "(", "</think", "aThe final")
BEHIND = ("", "\n\n", "The", ">", " x", ":", "ab")


def by_string_search(pieces: list[bytes], marker: bytes) -> tuple[int, int] | None:
    """The definition, one token after another: the first text that holds the marker, and what lies before it whole."""
    for end in range(1, len(pieces) + 1):
        text = b"".join(pieces[:end])
        if marker in text:
            return max(n for n in range(end) if len(b"".join(pieces[:n])) <= text.index(marker)), end
    return None


@st.composite
def responses(draw, tokenizer, marker: str) -> list[int]:
    """A text that holds the marker or comes near, as the tokenizer encodes it, or cut into tokens at random places."""
    near = st.sampled_from([marker, marker[:-1], marker[1:], marker[: len(marker) // 2], *BEFORE, *BEHIND])
    text = "".join(draw(st.lists(near, max_size=6)))
    if draw(st.booleans()):
        return tokenizer.encode(text, add_special_tokens=False)
    find, rest, ids = token_finder(tokenizer), text.encode(), []
    while rest:
        lengths = [count for count in range(1, min(len(rest), 12) + 1) if find(rest[:count]) is not None]
        if not lengths:
            return ids
        count = draw(st.sampled_from(lengths))
        ids.append(find(rest[:count]))
        rest = rest[count:]
    return ids


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=80, deadline=None)
@given(marker=st.sampled_from(MARKERS), data=st.data())
def test_a_text_is_found_wherever_tokens_begin_and_end(name, marker, data):
    tokenizer = real_tokenizer(name)
    ids = data.draw(responses(tokenizer, marker))
    pieces = [*map(token_writer(tokenizer), ids)]
    end = EndOfThinking(tokenizer, marker)
    found = end.find(torch.tensor(ids, dtype=torch.int64))
    assert (found and (found.start, found.end)) == by_string_search(pieces, marker.encode())
    if found is None:
        text = b"".join(pieces)
        parts = [n for n in range(len(marker.encode())) if text.endswith(marker.encode()[:n])]
        assert end.begun(ids) == max(parts)


@pytest.mark.parametrize("name", MAKERS)
def test_the_rollout_s_tables_end_thinking_at_the_same_token(name):
    tokenizer = real_tokenizer(name)
    for marker in MARKERS[:2]:
        table = text_marker_table(marker.encode(), token_bytes(tokenizer, len(tokenizer)))
        end = EndOfThinking(tokenizer, marker)
        for before in BEFORE:
            for behind in BEHIND:
                ids = tokenizer.encode(before + marker + behind, add_special_tokens=False)
                state = count = 0
                while state < len(marker.encode()):
                    assert state == end.begun(ids[:count])
                    state, count = int(table[state, ids[count]]), count + 1
                assert count == end.find(ids).end
                assert (table[state] == state).all(), "complete for good"


def test_qwen_s_kinds_of_merges_are_among_them():
    """What hides a marker from its ids: tokens that reach over its beginning and its end."""
    tokenizer = real_tokenizer("tekken")
    merged = {}
    for text in ("a </think>", "x.</think>", "</think>\n\n", "The final answer is:\n"):
        marker = text.strip(" ax.\n")
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert EndOfThinking(tokenizer, marker, "tokens").find(ids) is None
        merged[text] = EndOfThinking(tokenizer, marker).find(ids)
    assert [(span.start, span.end) for span in merged.values()] == [(1, 5), (1, 5), (0, 4), (0, 5)]


@pytest.mark.parametrize("name", MAKERS)
def test_methods_end_thinking_where_the_rollout_does(name):
    tokenizer = real_tokenizer(name)
    repro = Preparation(tokenizer, ReproSettings(delimiters=("\n",)), "</think>")
    attnrl = ResponseParser(tokenizer, ("\n",), "</think>")
    for before in BEFORE:
        for behind in BEHIND:
            response = torch.tensor(tokenizer.encode(before + "</think>" + behind, add_special_tokens=False))
            span = EndOfThinking(tokenizer, "</think>").find(response)
            assert repro.thinking(response).length == attnrl.end_of_thinking(response) == span.start


@given(marker=st.lists(st.integers(0, 1), min_size=1, max_size=4), ids=st.lists(st.integers(0, 1), max_size=12))
def test_ids_are_compared_as_they_are(marker, ids):
    found = EndOfThinking(None, marker).find(ids)
    starts = [at for at in range(len(ids)) if ids[at : at + len(marker)] == marker]
    assert (found and (found.start, found.end)) == ((starts[0], starts[0] + len(marker)) if starts else None)
    assert begun_part(ids, marker) == max(n for n in range(len(marker)) if ids[len(ids) - n :] == marker[:n])


def test_a_text_is_matched_as_one_unless_the_settings_say_otherwise():
    assert PhaseSettings().marker_text == "</think>"
    assert PhaseSettings(match="tokens").marker_text == PhaseSettings(end_of_thinking=[3]).marker_text == ""


def test_no_second_place_looks_for_the_marker():
    """Whoever searches for the marker must read the setting; these do, and hand it to what is tested above."""
    root = Path(verl_softthink.__file__).parent
    readers = {}
    for file in root.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                given = [*node.args, *(keyword.value for keyword in node.keywords)]
                if any(isinstance(value, ast.Attribute) and value.attr == "end_of_thinking" for value in given):
                    readers.setdefault(str(file.relative_to(root)), set()).add(ast.unparse(node.func))
    assert readers == {
        "config/settings.py": {"isinstance", "shown"},
        "doctor/written.py": {"Responses.of_ids"},
        "evaluation/gradient/run.py": {"require_open_turn"},
        "evaluation/audit/run.py": {"EndOfThinking", "require_open_turn"},
        "evaluation/run.py": {"require_open_turn"},
        "methods/attnrl/scoring.py": {"ResponseParser"},
        "methods/repro/check.py": {"Preparation"},
        "methods/repro/stage.py": {"Preparation"},
        "methods/variational/agent_loop.py": {"EndOfThinking"},
        "methods/variational/offline/stages.py": {"EndOfThinking", "require_open_turn"},
        "rollout/request.py": {"_tokens"},
        "training/first_step.py": {"Responses.of_ids"},
    }
