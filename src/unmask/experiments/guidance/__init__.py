"""Unsupervised guidance: does it choose better answers than its compute alone, and than taking off their prior?"""
