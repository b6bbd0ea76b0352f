"""Languages on which LSTMs that count are tried, each as one small value.

``language`` says what one is, ``strings`` how strings are drawn, ``catalogue`` lists them all.
"""

from tallycell.learning.languages.catalogue import language, languages
from tallycell.learning.languages.language import Language, Sample, Source

__all__ = ["Language", "Sample", "Source", "language", "languages"]
