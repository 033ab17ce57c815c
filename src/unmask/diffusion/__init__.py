"""The masking process: noise as a function of (seed, sample index), schedules, objectives."""
