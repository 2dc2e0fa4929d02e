"""verl's synchronous trainer with soft traces and the stages of methods; checks of a whole configuration; recipes."""
