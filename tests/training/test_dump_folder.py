"""The folder of a run's dumps: resumed with the same model, data and settings, refused with others."""

import shutil

import pytest
from omegaconf import OmegaConf

from verl_softthink.config.settings import SoftThinkSettings
from verl_softthink.errors import FileError
from verl_softthink.pocket import checkpoint_path
from verl_softthink.training.dump_folder import dump_folder


@pytest.fixture
def config(tmp_path):
    shutil.copytree(checkpoint_path(), tmp_path / "model")
    (tmp_path / "train.parquet").write_bytes(b"rows")
    return OmegaConf.create(
        {
            "trainer": {"rollout_data_dir": str(tmp_path / "rollouts")},
            "actor_rollout_ref": {"model": {"path": str(tmp_path / "model")}},
            "data": {"train_files": str(tmp_path / "train.parquet")},
        }
    )


def test_a_run_is_resumed_and_another_one_refused(config, tmp_path):
    settings = SoftThinkSettings(law={"name": "gumbel"})
    with dump_folder(config, settings), pytest.raises(FileError, match="give another trainer.rollout_data_dir"):
        dump_folder(config, settings)
    dump_folder(config, SoftThinkSettings(law={"name": "gumbel"}, likelihood={"positions_at_once": 8})).close()
    with pytest.raises(FileError, match="softthink.law.tau was 0.1, now 0.5"):
        dump_folder(config, SoftThinkSettings(law={"name": "gumbel", "tau": 0.5}))
    (tmp_path / "train.parquet").write_bytes(b"other")
    with pytest.raises(FileError, match="train.parquet has other content"):
        dump_folder(config, settings)


def test_a_run_without_dumps_has_no_folder(config):
    config.trainer.rollout_data_dir = None
    assert dump_folder(config, SoftThinkSettings()) is None
