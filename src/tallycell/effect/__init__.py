"""What a unit is for: what a model says, and what in its past and in its cells made it say so.

``outputs`` are what the model says; ``account`` is the exact sum that one of them is, ``counterfactual`` what becomes
of it without a step or a unit; ``measuring`` holds each unit and says what a score loses.
"""
