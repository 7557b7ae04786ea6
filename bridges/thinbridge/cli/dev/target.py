"""Which function of a file is meant: found by its decorator, without importing the file into this process."""

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from thinbridge.errors import SettingsError

DECORATORS: Final = ("thinbridge_functions.handler", "thinbridge_functions.serving.handler", "functions_framework.")
"""Full names, or their beginnings, of what makes a function one that functions-framework serves."""


@dataclass(frozen=True, slots=True)
class Target:
    """What functions-framework is told to serve."""

    source: Path
    name: str
    asgi: bool
    """Whether it wants an event loop: the handler is async."""


def find(path: Path, name: str | None = None) -> Target:
    """The function that is meant by a path and, perhaps, a name.

    A file with a syntax error has a function too: starting it says what is wrong, better than we could.

    Raises:
        SettingsError: there is no such file, no such function, or more than one.
    """
    source = path / "main.py" if path.is_dir() else path
    if path.is_file() and path.suffix != ".py":
        raise SettingsError("PATH", path, "give a Python file, *.py, or a folder with a main.py")
    try:
        text = source.read_bytes()
    except OSError as error:
        raise SettingsError(
            "PATH", path, f"give a Python file, or a folder with a main.py: {error.strerror}"
        ) from error
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return Target(source, name or "handler", asgi=False)
    found = {node.name: node for node in _functions(tree, name)}
    if name is not None and name not in found:
        raise SettingsError("--target", name, f"use the name of a function in {source}")
    if not found:
        raise SettingsError("PATH", source, "decorate a function with @handler, or name one with --target")
    if len(found) > 1:
        raise SettingsError("PATH", source, f"choose one with --target: {', '.join(found)}")
    [(chosen, node)] = found.items()
    return Target(source, chosen, _is_async(node, _imports(tree)))


def mistake(file: Path) -> str:
    """What keeps Python from reading a file, in a line: `main.py:7: SyntaxError: invalid syntax`; empty: nothing."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of the user's code: its start shows them
            compile(file.read_bytes(), file.name, "exec", dont_inherit=True)
    except SyntaxError as error:
        return f"{file.name}:{error.lineno}: {type(error).__name__}: {error.msg}"
    except ValueError as error:  # a null byte, to Python 3.11
        return f"{file.name}: {error}"
    except OSError:  # an editor has it open, or it was deleted: nothing to say about Python
        pass
    return ""


Function = ast.FunctionDef | ast.AsyncFunctionDef


def _functions(tree: ast.Module, name: str | None) -> Iterator[Function]:
    """The functions of a module that are decorated, or that have the name."""
    imports = _imports(tree)
    for node in tree.body:
        if isinstance(node, Function):
            decorated = any(full.startswith(DECORATORS) for full in _decorators(node, imports))
            if node.name == name or (name is None and decorated):
                yield node


def _is_async(node: Function, imports: dict[str, str]) -> bool:
    """An async function; a decorator of `functions_framework.aio` serves sync ones by ASGI too."""
    return isinstance(node, ast.AsyncFunctionDef) or any(
        full.startswith("functions_framework.aio.") for full in _decorators(node, imports)
    )


def _decorators(node: Function, imports: dict[str, str]) -> Iterator[str]:
    """The full names of a function's decorators."""
    for decorator in node.decorator_list:
        dotted = ast.unparse(decorator.func if isinstance(decorator, ast.Call) else decorator)
        first, _, rest = dotted.partition(".")
        yield imports.get(first, first) + (f".{rest}" if rest else "")


def _imports(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for: `from thinbridge_functions import handler as h` makes h that handler."""
    names: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names
