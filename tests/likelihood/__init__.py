"""The likelihood engine against verl's own engine and against a plain Hugging Face loop."""
