"""What ties this package to verl, vLLM and Hydra: registrations, the table of symbols, and the checks of both."""
