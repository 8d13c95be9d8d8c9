"""Settings: what an operator, a repository and a login decide, and where each value came from."""
