"""Whole sequences through one layer in one direction: the same signature in every kernel.

``interface`` says what goes in and comes out, ``reference`` is the slow and obvious kernel, ``stack`` runs all layers
and directions of an LSTM on a kernel.
"""
