"""A corpus of any size, in blocks: the same sums to the last bit, whoever computes them and however often it is killed.

``identity`` says what bits depend on; ``plan`` fixes what is computed, of the files that ``corpus`` looks at;
``blocks`` sums over one block and is pure; ``tasks`` does some blocks and keeps their sums in the ``store``; ``local``
does tasks one by one, ``cluster`` on dask; ``run`` puts them together.
"""

from tallycell.survey.cluster import Cluster
from tallycell.survey.plan import Opened, Plan
from tallycell.survey.run import Sizes, Standing, Total, run_survey, survey_plan

__all__ = ["Cluster", "Opened", "Plan", "Sizes", "Standing", "Total", "run_survey", "survey_plan"]
