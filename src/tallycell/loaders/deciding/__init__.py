"""From a model to a recogniser: what stands around its LSTM, and how it decides.

``decisions`` says what its outputs mean, ``parts`` puts a recogniser together, ``loaded`` takes the parts from a file,
``live`` from a module of torch, by running it.
"""
