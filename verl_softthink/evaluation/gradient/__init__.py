"""``verl-softthink bench gradient``: how much of a policy gradient is signal, by law and by group of parameters.

signal.py   the estimate, from gradients of independent batches
losses.py   advantage and loss of the recipes, at the on-policy point
batches.py  rollouts as batches of verl's engine
policy.py   gradients of a checkpoint by group of parameters
run.py      the whole measurement
report.py   its table
"""
