"""A training step behind `unmask bench train`: how fast it is here; and `bench losses`: what bf16 does to the loss."""
