"""Actor losses that are registered with verl, one file per method."""
