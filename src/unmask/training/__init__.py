"""From a recipe to a run: the loop, optimizer and schedule, checkpoints, validation, metrics."""
