"""Look through built data: its statistics, and samples with their boxes drawn, on one page without network."""

from sdvlm.inspect.page import write_inspection
from sdvlm.inspect.statistics import Statistics, gather

__all__ = ["Statistics", "gather", "write_inspection"]
