"""Which positions are written, how many a step, what is taken back, and guidance: small registered rules."""
