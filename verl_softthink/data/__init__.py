"""Models and data sets for the recipes: everything a run needs, made by a command that anybody can repeat."""
