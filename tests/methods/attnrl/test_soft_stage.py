"""A whole step of soft tree branching on the driver: the engine's own soft step and replay, around transformers."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from verl.workers.rollout.replica import TokenOutput

from verl_softthink.laws import LAWS, Action, candidate_log_probs
from verl_softthink.likelihood.fields import DRAWN, IDS, SOFT, VALUES
from verl_softthink.methods.attnrl.fields import BRANCH, INFLUENCE, NODE, STEPS
from verl_softthink.methods.attnrl.influence import ForwardContextInfluence
from verl_softthink.methods.attnrl.steps import SteppedSequence
from verl_softthink.rollout.agent_loop import SoftAgentLoopOutput, attach_trace, soft_sampling
from verl_softthink.rollout.embedding import TableEmbedding, mixture_embeddings
from verl_softthink.rollout.fields import FORCED, OCCURRENCE, ROWS_FIELD
from verl_softthink.rollout.phase.lead_in import lead_ins_of
from verl_softthink.rollout.phase.markers import text_marker_table
from verl_softthink.rollout.prefix import load_prefix
from verl_softthink.rollout.request import resolve
from verl_softthink.rollout.state import SoftState
from verl_softthink.rollout.step import soft_step
from verl_softthink.thinking import token_bytes

from .driver import Driver, check_advantages, on_driver, rows_of_prompts

WIDTH, ROOM = 5, 40
#: fp32, a pass at a time against whole rows.
GAP = 1e-3


class SoftDriver(Driver):
    """Rollouts by ``soft_step``, one request at a time; old log-probs on the mixtures, written out."""

    def _session(self, row):
        if BRANCH in row:
            # The trainer numbers equal prompts; here all differ.
            return super()._session(row | {"session_id": 0, OCCURRENCE: 0})
        prompt = self.tokenizer.apply_chat_template(
            row["raw_prompt"], add_generation_prompt=True, tokenize=True, return_dict=False
        )
        self._asked += 1
        sampling = soft_sampling(self.softthink, seed=self._asked)
        ids, log_probs, rows = self._rolled_out(prompt, ROOM, sampling["extra_args"]["softthink"])
        output = SimpleNamespace(
            prompt_ids=prompt,
            response_ids=ids,
            response_mask=[1] * len(ids),
            response_logprobs=log_probs,
            num_turns=2,
            metrics={},
            extra_fields={ROWS_FIELD: rows},
        )
        output.model_fields_set = set(vars(output))
        output = attach_trace(output, self.softthink.law, self._asked)
        assert isinstance(output, SoftAgentLoopOutput)
        return output.as_dict()

    async def generate(self, request_id, prompt_ids, sampling_params, priority):
        values = sampling_params["extra_args"]["softthink"]
        ids, log_probs, rows = self._rolled_out(prompt_ids, sampling_params["max_tokens"], values)
        return TokenOutput(token_ids=ids, log_probs=log_probs, stop_reason="completed", extra_fields={ROWS_FIELD: rows})

    @torch.no_grad()
    def _rolled_out(self, prompt, room, values):
        known = values["prefix"]["length"] if values["prefix"] else 0
        stop = self.tokenizer.eos_token_id
        request = resolve(
            values,
            max_tokens=room + known,
            width=WIDTH,
            stop=stop,
            tokenize=self.tokenizer.encode,
            spell=partial(lead_ins_of, self.tokenizer),
        )
        state = SoftState(slots=1, length=ROOM + 1, width=WIDTH, device=torch.device("cpu"))
        texts = token_bytes(self.tokenizer, len(self.tokenizer))
        state.markers.add(request.marker_text, text_marker_table(request.marker_text.encode(), texts))
        state.add("r", request)
        slot = torch.tensor([state.slot("r")])
        embedding = TableEmbedding(self.model.get_input_embeddings().weight)
        fed = self.model.get_input_embeddings()(torch.tensor(prompt))
        if known:
            load_prefix(state, int(slot), request, prompt)
            mixed, soft = mixture_embeddings(state, slot.expand(known), torch.arange(known), embedding)
            fed[-known:] = torch.where(soft[:, None], mixed, fed[-known:])
        ids, log_probs, rows, past = [], [], [], None
        for position in range(known, known + room):
            index = torch.tensor([position])
            output = self.model(inputs_embeds=fed[None], past_key_values=past, use_cache=True)
            logits, past = output.logits[0, -1:], output.past_key_values
            step = soft_step(state, logits, slot, index, embedding)
            token, log_prob = step.token, step.log_prob
            if not step.overrides[0]:
                token = logits.softmax(-1).multinomial(1)[:, 0]
                log_prob = logits.log_softmax(-1).gather(-1, token[:, None])[:, 0]
            mixed, soft = mixture_embeddings(state, slot, index, embedding)
            fed = torch.where(soft[:, None], mixed, self.model.get_input_embeddings()(token))
            ids.append(int(token))
            log_probs.append(float(log_prob))
            rows.append(step.rows)
            if ids[-1] == stop:
                break
        return ids, log_probs, torch.cat(rows).numpy()

    @torch.no_grad()
    def old_log_probs(self, batch, metrics):
        law = LAWS[self.softthink.law.name]
        for key in batch.keys:
            row = self.queue.rows[key]
            prompt, ids, length = len(row["prompts"]), row["responses"], len(row["responses"])
            table = self.model.get_input_embeddings().weight
            fed = table[row["input_ids"]].clone()
            padding = not row["response_mask"].any()
            if padding:
                row |= {"old_log_probs": torch.zeros(length), "entropy": torch.zeros(length)}
                row |= {INFLUENCE: torch.zeros(len(row[STEPS]))} if STEPS in row else {}
                continue
            action = Action(ids=row[IDS].long(), values=row[VALUES])
            parameters = self.softthink.law.columns(length)
            weights = law.weights(action, parameters)
            for place in row[SOFT].nonzero()[:, 0].tolist():
                used = action.ids[place] >= 0
                fed[prompt + place] = weights[place, used] @ table[action.ids[place, used]]
            if STEPS in row:
                sequence = SteppedSequence(0, 0, (prompt, *row[STEPS].tolist()))
                with ForwardContextInfluence(self.model, [sequence]) as influence:
                    logits = self.model(inputs_embeds=fed[None]).logits[0, prompt - 1 : -1]
                row[INFLUENCE] = influence.values[0][1:]
            else:
                logits = self.model(inputs_embeds=fed[None]).logits[0, prompt - 1 : -1]
            scores = candidate_log_probs(logits, action.ids, normalise_over="candidates")
            slot = (action.ids == ids[:, None]).int().argmax(-1)
            found = logits.log_softmax(-1).gather(-1, ids[:, None])[:, 0]
            found = torch.where(row[DRAWN], law.token_log_prob(action, slot, scores, parameters), found)
            row["old_log_probs"] = torch.where(row[SOFT], law.log_prob(action, scores, parameters), found)
            row["entropy"] = torch.special.entr(logits.softmax(-1)).sum(-1)
        return batch


@pytest.fixture
def driver(monkeypatch):
    sizes = [f"data.max_response_length={ROOM}", "data.train_batch_size=2", "actor_rollout_ref.rollout.n=2"]
    tree = [
        *("softthink.phase.budget=30", "softthink.attnrl.points=1"),
        *(f"softthink.attnrl.{name}_filter=false" for name in ("attention", "zero_advantage")),
    ]
    return partial(on_driver, SoftDriver, monkeypatch, "soft_grpo,attnrl", *sizes, *tree)


def check_trees(run, batch):
    """Trees of what was fed, with their advantages; the densities of every position are the policy's."""
    shared = 0
    for rows in rows_of_prompts(run, batch):
        at: dict[tuple, list] = {}
        for row in rows:
            names = ("responses", SOFT, DRAWN, FORCED, IDS, VALUES, "rollout_log_probs")
            for place, node in enumerate(row[NODE].tolist()):
                position = [row[name][place].tolist() for name in names]
                shared += (node, place) in at and bool(row[SOFT][place])
                assert at.setdefault((node, place), position) == position
            difference = (row["rollout_log_probs"] - row["old_log_probs"]).abs()
            assert difference[~row[FORCED]].max() < GAP
        check_advantages(rows)
    return shared


def test_a_step_trains_trees_of_what_was_fed(driver):
    run, metrics = driver(), {}
    assert check_trees(run, run.step(metrics)) > 10
    assert metrics["softthink/attnrl/log_prob_lag"] < 1e-5 and metrics["softthink/attnrl/aborted"] == 0
    assert metrics["softthink/attnrl/tokens/distinct"] < metrics["softthink/attnrl/tokens/trained"]


def test_one_step_off_policy_a_prefix_is_fed_again_by_the_moved_policy(driver):
    run = driver("softthink.attnrl.off_policy=1")
    first, second = {}, {}
    batch = run.step(first)
    check_trees(run, batch)
    run.queue.kv_clear(batch.keys, "train")
    run.nudge()
    assert check_trees(run, run.step(second)) > 10
    assert first["softthink/attnrl/log_prob_lag"] < 1e-5 and second["softthink/attnrl/log_prob_lag"] > 1e-4
