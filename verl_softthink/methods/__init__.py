"""The methods that take part in a training step, one folder each, and the registry that lists them."""
