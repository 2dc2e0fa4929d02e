"""Make every YAML file of ``training/recipes`` selectable on verl's own entry point, and those of installed methods.

    python -m verl.trainer.main_ppo +softthink=soft_grpo ...
    python -m verl.trainer.main_ppo '+softthink=[cpu,soft_grpo]' ...

The files are put into Hydra's ConfigStore as group ``softthink`` with package ``_global_``: they are written like
verl's own configuration from its root, override it, and are overridden by later recipes and by the command line.

A recipe that chooses a law is completed with the parameters of all our laws, null where it does not set them: Hydra
then takes ``softthink.law.gamma=0.5`` without a ``+``, and a recipe with another law resets those of the one before.
"""

from importlib import resources
from importlib.resources.abc import Traversable
from types import ModuleType

from omegaconf import DictConfig, OmegaConf

from verl_softthink.laws import LAWS
from verl_softthink.methods import registry

GROUP = "softthink"


def recipe_names() -> list[str]:
    """Names that ``+softthink=`` accepts, sorted."""
    return sorted(_files())


def recipe_text(name: str) -> str:
    """The YAML text of a recipe, comments included."""
    return _files()[name].read_text(encoding="utf-8")


def register_recipes(config_store: ModuleType) -> None:
    """Store all recipes; ``config_store`` is the module ``hydra.core.config_store``."""
    store = config_store.ConfigStore.instance()
    for name in recipe_names():
        store.store(
            group=GROUP,
            name=name,
            node=_completed(OmegaConf.create(recipe_text(name))),
            package="_global_",
            provider="verl_softthink",
        )


def _completed(recipe: DictConfig) -> DictConfig:
    if OmegaConf.select(recipe, "softthink.law.name") is not None:
        for parameter in (parameter for law in LAWS.own for parameter in law.parameters):
            recipe.softthink.law.setdefault(parameter.name, None)
    return recipe


def _files() -> dict[str, Traversable]:
    """The file of each recipe by its name; an installed method cannot take the name of one of ours."""
    installed = {method.group: _file(method.recipe) for method in registry.usable() if method.recipe is not None}
    folder = resources.files("verl_softthink.training") / "recipes"
    own = {file.name.removesuffix(".yaml"): file for file in folder.iterdir() if file.name.endswith(".yaml")}
    return installed | own


def _file(recipe: str) -> Traversable:
    package, _, name = recipe.partition(":")
    return resources.files(package) / name
