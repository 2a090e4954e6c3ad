"""A check: a named condition with numbers. A blocking check of an index is a gate."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


class Check(BaseModel):
    """A condition that was tested, whether it held, and the numbers that say why."""

    name: str
    passed: bool
    severity: Literal["warning", "blocking"] = "warning"
    numbers: dict[str, float] = {}
    message: str = ""
