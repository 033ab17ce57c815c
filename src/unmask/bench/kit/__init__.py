"""What every measurement here shares: the clock, turns whose order moves, medians with quartiles, sizes by name."""
