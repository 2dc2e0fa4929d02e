"""verl's agent loops without their workers."""


def agent_loop(kind: type, config, server, tokenizer):
    """A loop of class ``kind`` under verl's whole configuration, whose requests ``server`` answers."""
    from verl.experimental.agent_loop.agent_loop import DictConfigWrap
    from verl.utils.dataset.rl_dataset import RLHFDataset

    return kind(
        trainer_config=DictConfigWrap(config),
        server_manager=server,
        tokenizer=tokenizer,
        processor=None,
        dataset_cls=RLHFDataset,
        data_config=DictConfigWrap(config.data),
        hf_model_type="llama",
    )
