"""One pass of the network: what it is run on, caches, guidance, and the tokens drawn from it."""
