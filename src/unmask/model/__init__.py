"""One Transformer, causal or not; the paper's sizes; the model folder."""
