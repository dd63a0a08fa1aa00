"""Types of arguments that several commands share, with their limits."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

__all__ = ["Flag", "Minutes", "Port", "Rate", "Seconds", "Seed", "Symbols"]

Flag = Annotated[bool, Parameter(negative=())]
Minutes = Annotated[float, Parameter(validator=Number(gt=0, lte=1440))]
Port = Annotated[int, Parameter(validator=Number(gte=0, lte=65535))]
Rate = Annotated[float, Parameter(validator=Number(gt=0, lte=1_000_000))]
Seconds = Annotated[float, Parameter(validator=Number(gt=0, lte=31_536_000))]
Seed = Annotated[int, Parameter(validator=Number(gte=0))]
Symbols = Annotated[int, Parameter(validator=Number(gte=1, lte=5000))]
