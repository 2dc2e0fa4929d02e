"""Does a checkpoint use its mixtures? Thoughts are drawn, changed, and handed back to be answered from."""
