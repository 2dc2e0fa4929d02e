"""No run waits forever: a dead or hung process ends it within a bound, with one error that says which and why.

weight_transfer.py  every wait of trainer and vLLM for each other while weights are handed over
weight_sync.py      the whole weight sync, seen from the trainer
watch.py            vLLM servers and agent workers while the trainer waits for a rollout
guard.py            the watch put into verl's replay buffer: what a trainer calls
"""
