"""Published formats in: the only room that knows how others lay out their weights."""
