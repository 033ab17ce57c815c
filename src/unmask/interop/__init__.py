"""Published formats in and out: the only room that knows how others lay out their weights."""
