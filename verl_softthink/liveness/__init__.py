"""No run waits forever: a dead or hung process ends it within a bound, with one error that says which and why.

    registrations.py    what replaces classes of verl's: only where VERL_SOFTTHINK_BOUNDED_WAITS=1
    limits.py           the bounds, in seconds
    weight_transfer.py  every wait of trainer and vLLM for each other while weights are handed over
    weight_sync.py      the whole weight sync, seen from the trainer
    watch.py            vLLM servers and agent workers while the trainer waits for a rollout
    guard.py            the watch in verl's replay buffer

The last three act in trainers that use them: those of ``training`` do.
"""
