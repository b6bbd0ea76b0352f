"""Keras: whole models and weights alone, of Keras 2 and 3; and weights for its layers."""
