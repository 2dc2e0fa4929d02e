"""Faults on request, in verl's synchronous trainer (as ``watched_sync``, with the watch) and in the plugin's own.

Loaded in every process with VERL_USE_EXTERNAL_MODULES=watched_trainer. FAULT=<step>:<when>:<process>:<signal> strikes
all processes of this run whose command line contains <process>: <when> is "rollout" (the requests are sent, and the
trainer starts to wait) or "sync" (just before the weights are sent).
"""

import os
import signal

import psutil

from verl_softthink.upstream.hooks import when_imported


@when_imported("verl.trainer.ppo.v1.trainer_sync")
def register(trainer_sync) -> None:
    from verl_softthink.liveness import guard

    @trainer_sync.register_trainer("watched_sync")
    class WatchedTrainer(trainer_sync.PPOTrainerSync):
        def __init__(self, config):
            config.trainer.v1.trainer_mode = "sync"
            super().__init__(config)

        def fit(self, agent_loop_manager):
            self.watch = guard.watch_of(self, agent_loop_manager)
            self.replay_buffer = guard.watched(self.replay_buffer, self.watch, poll_interval_s=0.1)
            super().fit(agent_loop_manager)

        def on_sample_begin(self):
            super().on_sample_begin()
            strike(self.global_steps, "rollout")

        def on_step_end(self):
            self.watch.require_alive()
            strike(self.global_steps, "sync")
            super().on_step_end()


@when_imported("verl_softthink.training.trainer")
def strike_the_plugins_own(trainer) -> None:
    stock = trainer.SoftThinkTrainer.on_sample_begin

    def on_sample_begin(self):
        stock(self)
        strike(self.global_steps, "rollout")

    trainer.SoftThinkTrainer.on_sample_begin = on_sample_begin


def strike(step: int, when: str) -> None:
    step_and_moment = f"{step}:{when}:"
    fault = os.environ.get("FAULT", "")
    if not fault.startswith(step_and_moment):
        return
    process, _, name = fault.removeprefix(step_and_moment).rpartition(":")
    raylet = psutil.Process(os.getppid())
    for child in raylet.children(recursive=True):
        if process in " ".join(child.cmdline()):
            child.send_signal(signal.Signals[name])
