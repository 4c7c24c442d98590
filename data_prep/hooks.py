"""Functions that a recipe names as `module:function`: checked before work starts, imported when it does.

The check imports nothing: the form must be right, and the module must be there, in the installed packages or in the
working folder. So a recipe on this floor can name a function of a higher one or of the user's own.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from recipes.errors import UserError

FUNCTION = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"


def known(name: str) -> str:
    """Return the name if it can be that of a function.

    Raises:
        ValueError: it has another form, or there is no such module.
    """
    if not re.fullmatch(FUNCTION, name):
        raise ValueError("does not name a function: write module:function")
    module = name.partition(":")[0]
    if not exists(module):
        raise ValueError(f"there is no module {module}; it may lie in the working folder")
    return name


Function = Annotated[str, AfterValidator(known)]  # the type of a recipe's key


def exists(module: str) -> bool:
    """Look for a module by its files: importing its packages could take seconds."""
    top, _, rest = module.partition(".")
    parts = rest.split(".") if rest else []
    for folder in _folders(top):
        path = folder.joinpath(*parts)
        if path.is_dir() or path.with_name(f"{path.name}.py").is_file() or any(path.parent.glob(f"{path.name}.*.so")):
            return True
    if parts:
        return False
    return os.path.isfile(f"{top}.py") or importlib.util.find_spec(top) is not None


def _folders(package: str) -> list[Path]:
    """Return the folders that a package's modules lie in."""
    here = Path(package)
    if here.is_dir():
        return [here]
    found = importlib.util.find_spec(package)
    return [Path(folder) for folder in (found.submodule_search_locations or ())] if found else []


def load(name: str, key: str) -> Callable[..., Any]:
    """Import `module:function`; modules are also looked for in the working folder.

    Raises:
        UserError: there is no such module or function.
    """
    module, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(key, f"{name} cannot be imported ({error})", "write module:function, both existing") from error
    if not callable(function):
        raise UserError(key, f"{name} is a {type(function).__name__}, not a function", "name a function")
    found: Callable[..., Any] = function
    return found


def number(function: Callable[..., Any], name: str, key: str, *arguments: Any) -> float:
    """Call a function that has to return a number.

    Raises:
        UserError: it fails, or returns something else.
    """
    try:
        value = float(function(*arguments))
    except UserError:
        raise
    except Exception as error:
        what = f"{name} failed with {type(error).__name__}: {error}; its text was {arguments[0][:80]!r}"
        raise UserError(key, what, "make it return a number for every text") from error
    if value != value:
        raise UserError(key, f"{name} returned NaN for {arguments[0][:80]!r}", "make it return a number for every text")
    return value
