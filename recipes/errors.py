"""What a user is told when something is wrong: one line that says where, what, and what to write instead."""

from __future__ import annotations


class UserError(Exception):
    """A mistake that the user can put right; it is shown as one line and never as a traceback.

    `code` is the exit code: 2 when nothing had been started yet, 1 when it came up during the work.
    """

    code = 2

    def __init__(self, where: str, what: str, write: str) -> None:
        super().__init__(where, what, write)
        self.where = where
        self.what = what
        self.write = write

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.write}"


class RecipeError(UserError):
    """All mistakes of a recipe (or of all recipes of a pipeline) at once, one line each."""

    def __init__(self, problems: list[UserError]) -> None:
        first = problems[0]
        super().__init__(first.where, first.what, first.write)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)
