"""YAML -> a checked recipe."""

from __future__ import annotations

from recipes.errors import RecipeError, UserError

__all__ = ["RecipeError", "UserError"]
