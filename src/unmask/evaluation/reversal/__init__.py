"""Questions about people in the direction that was trained and in the other, and how a model answers them."""
