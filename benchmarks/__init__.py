"""What is measured, never assumed: ``python -m benchmarks --help``, and the README beside this file.

One file a benchmark. Each has ``HELP`` (one line), ``add_arguments(parser)`` and ``run(arguments)``, which prints its
figures and returns them as a dict for ``--json``; :mod:`benchmarks.__main__` lists them. What a report shows of a dict
are its ``"answers"`` (lines) and ``"rows"`` (flat dicts).

Shared: ``grid`` (the cells), ``competitors`` (who runs, and that all compute the same), ``timing`` (medians in turn,
targets), ``race`` (the grid against torch), ``floor`` and ``probes`` (what the hardware allows), ``machine``. Of
``activations``: ``own`` (a user's own functions). Of ``horizon``: ``spoiled`` (machines that are spoiled on purpose).
Of ``squashing``: ``squashing_networks``, ``squashing_characters``, ``squashing_limits``, ``squashing_picture``. Of
``faithfulness``: ``attributions`` (the methods), ``decompositions`` (two of them, written for it), ``subjects``
(models and their decisions), ``curves`` (deletion and insertion), ``ground_truth`` (the true steps of machines). What
a library reads when it is loaded, such as its number of threads, is set first: benchmarks import NumPy and torch
late.
"""
