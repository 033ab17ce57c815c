"""The paper's findings on real data at our size, one command each."""
