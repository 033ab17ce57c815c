"""Speed against quality: does a masked model write as well as its autoregressive twin, at no more time?"""
