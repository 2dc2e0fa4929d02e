"""Settings are parsed once a process, however many agent loops verl makes of one configuration."""

from omegaconf import OmegaConf
from support.composing import composed
from verl.experimental.agent_loop.agent_loop import DictConfigWrap

from verl_softthink.config.base import ParsedOnce
from verl_softthink.config.settings import SoftThinkSettings
from verl_softthink.rollout.request import EXTRA_ARGS_KEY


def test_every_agent_loop_of_a_configuration_gets_the_same_settings():
    parsed = []

    def parse(node):
        parsed.append(node)
        return SoftThinkSettings.of_node(node)

    settings = ParsedOnce(parse)
    config = composed(["+softthink=[cpu,soft_grpo]"], "softthink.law.tau=0.2")
    # Each loop finds its rollout's configuration anew, through an interpolation.
    found = [settings(DictConfigWrap(config).config.actor_rollout_ref.rollout.custom[EXTRA_ARGS_KEY]) for _ in range(3)]
    assert len(parsed) == 1 and found[0] is found[1] is found[2]
    assert found[0].law.tau == 0.2


def test_another_node_is_parsed_for_itself():
    settings = ParsedOnce(SoftThinkSettings.of_node)
    nodes = [OmegaConf.create({"law": {"name": "gumbel", "tau": tau}}) for tau in (0.1, 0.3)]
    assert [settings(node).law.tau for node in (*nodes, nodes[0])] == [0.1, 0.3, 0.1]
