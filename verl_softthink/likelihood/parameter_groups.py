"""The parameters of a causal language model in the groups whose gradients differ in kind.

table   the input embedding: mixtures are fed through it, a drawn embedding's density is measured in it
layers  everything else, norms included
head    the output embedding, where it is not the table itself
"""

from torch import nn

TABLE, LAYERS, HEAD = "table", "layers", "head"
#: The metric of each group's gradient norm.
METRICS = {group: f"softthink/grad_norm/{group}" for group in (TABLE, LAYERS, HEAD)}


def parameter_groups(module: nn.Module) -> dict[str, list[nn.Parameter]]:
    """All parameters of a model by group; a group without parameters is left out."""
    table, head = module.get_input_embeddings().weight, module.get_output_embeddings().weight
    groups: dict[str, list[nn.Parameter]] = {TABLE: [], LAYERS: [], HEAD: []}
    for parameter in module.parameters():
        group = TABLE if parameter is table else HEAD if parameter is head else LAYERS
        groups[group].append(parameter)
    return {name: parameters for name, parameters in groups.items() if parameters}
