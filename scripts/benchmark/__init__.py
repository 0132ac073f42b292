"""Measures Onlooker against py-spy, Austin and CPython 3.15's profiling.sampling, all in one run.

Standard library only; `scripts/bench` is the way in. Every figure that compares is a ratio of
things measured on the same machine with the agents taking turns, so that a noisy neighbour meets
all of them.
"""
