"""Every mistake in the settings as one line: key, value, fix.

A validator that knows better than pydantic raises `fault(...)`; `explain` makes the first mistake a `SettingsError`,
with the key named as the operator wrote it.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from thinbridge.errors import SettingsError

Location = tuple[int | str, ...]
"""Where in the settings: `("routes", 0, "mode")`."""

SHOWN: Final = 80
"""Characters of a bad value that are shown: enough to find it, short enough for a line."""

FIXES: Final = {
    "int_parsing": "use a whole number",
    "int_type": "use a whole number",
    "int_from_float": "use a whole number",
    "float_parsing": "use a number",
    "float_type": "use a number",
    "finite_number": "use a finite number",
    "bool_parsing": "use true or false",
    "bool_type": "use true or false",
    "string_type": "use text",
    "tuple_type": "use a list",
    "list_type": "use a list",
    "dict_type": "use a mapping of keys to values",
    "model_type": "use a mapping of keys to values",
    "dataclass_type": "use a mapping of keys to values",
    "too_short": "give at least one, such as coap://127.0.0.1:5683",
    "missing": "add it: this key has no default",
    "greater_than_equal": "use {ge:g} or more",
    "greater_than": "use more than {gt:g}",
    "less_than_equal": "use {le:g} or less",
    "enum": "use {expected}",
    "literal_error": "use {expected}",
}
"""pydantic's error types in the words of an operator; what is not here keeps pydantic's own words."""


DURATION: Final = re.compile(r"[0-9]+(\.[0-9]+)? ?(ms|s|sec|m|min|h)")
"""A time with its unit, as Go and Kubernetes write it; here all times are plain seconds."""


def fault(value: object, fix: str, *at: int | str) -> PydanticCustomError:
    """A mistake that a validator found; `at` is where, below what it validates."""
    return PydanticCustomError("setting", "{fix}", {"value": value, "fix": fix, "at": at})


def unknown(data: Mapping[Any, Any], known: Iterable[str], *at: int | str) -> PydanticCustomError | None:
    """The fault of the first key that is not known, with the nearest that is."""
    names = sorted(known)
    for key, value in data.items():
        if key not in names:
            return fault(value, f"unknown key; {nearest(str(key), names)}", *at, str(key))
    return None


def nearest(key: str, known: Iterable[str]) -> str:
    """A hint at what may have been meant."""
    names = sorted(known)
    close = get_close_matches(key, names, 1)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(names) or 'none'}"


def refault(error: ValidationError) -> PydanticCustomError:
    """The first mistake that an inner validation found, to be raised by the outer."""
    details = error.errors()[0]
    context = details.get("ctx", {})
    return fault(_value(details, context), _fix(details, context), *details["loc"], *context.get("at", ()))


def explain(error: ValidationError, name: Callable[[Location], str]) -> SettingsError:
    """The first mistake as one line; `name` says how the operator wrote the key."""
    details = error.errors()[0]
    context: dict[str, Any] = details.get("ctx", {})
    location = (*details["loc"], *context.get("at", ()))
    return SettingsError(name(location), shown(_value(details, context)), _fix(details, context))


def dotted(location: Location) -> str:
    """`routes[0].mode`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".")


def shown(value: object) -> str:
    """A value as text, on one line and not too long."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    text = "".join(character if character.isprintable() else "?" for character in text) or '""'
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _value(details: ErrorDetails, context: dict[str, Any]) -> object:
    return "(none)" if details["type"] in ("missing", "too_short") else context.get("value", details["input"])


def _fix(details: ErrorDetails, context: dict[str, Any]) -> str:
    if details["type"] not in FIXES:
        return str(context.get("fix") or context.get("error") or details["msg"])
    if details["type"] == "float_parsing" and DURATION.fullmatch(str(details["input"])):
        return "use a number of seconds, without a unit"
    return FIXES[details["type"]].format(**context).replace("'", "")
