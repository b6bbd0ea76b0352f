"""What is measured, never assumed: ``python -m benchmarks --help``.

One file a benchmark. Each has ``HELP`` (one line), ``add_arguments(parser)`` and ``run(arguments)``, which prints its
figures and returns them as a dict for ``--json``; :mod:`benchmarks.__main__` lists them.
"""
