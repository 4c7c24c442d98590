"""The memory that a recipe needs on each device, its time, and what to change where it will not fit."""

from recipes.estimate.memory import LIBRARIES, Memory, Setting, needed
from recipes.estimate.shapes import Shape, parameters_in, shape_of
from recipes.estimate.table import Cost, cost, duration, report

__all__ = [
    "LIBRARIES",
    "Cost",
    "Memory",
    "Setting",
    "Shape",
    "cost",
    "duration",
    "needed",
    "parameters_in",
    "report",
    "shape_of",
]
