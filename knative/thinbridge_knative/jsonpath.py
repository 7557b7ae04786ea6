r"""JSONPath as `kubectl` and `kn` understand it after `-o jsonpath=`: `{.status.sinkUri}`, `{range .items[*]}…{end}`.

A template is text with expressions in braces. An expression is a path (`.a.b`, `['a.b']`, `[0]`, `[1:3]`, `[*]`,
`..name`, `[?(@.type=="Ready")]`) or a literal (`{"\n"}`). What is not there is nothing, as with kn's default
`--allow-missing-template-keys`.
"""

import json
import operator
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from thinbridge_knative.failures import Failure

PART: Final = re.compile(r"\{((?:[^{}'\"]|'[^']*'|\"(?:[^\"\\]|\\.)*\")*)\}|([^{}]+)")
STEP: Final = re.compile(
    r"\.\.(?P<deep>[\w-]+|\*)?"
    r"|\.(?P<key>(?:[\w/-]|\\.)+|\*)"
    r"|\[\?\((?P<filter>.*?)\)\]"
    r"|\['(?P<quoted>[^']*)'\]"
    r"|\[(?P<index>\*|-?\d+|-?\d*:-?\d*)\]"
)
FILTER: Final = re.compile(r"@(?P<path>[^=!<>\s]*)\s*(?:(?P<op>==|!=|<=|>=|<|>)\s*(?P<value>.+))?")
COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def render(template: str, value: object) -> str:
    """The template, filled in.

    Raises:
        Failure: it is no template.
    """
    parts = _parts(template)
    text = "".join(_render(parts, value))
    if next(parts, None) is not None:
        raise Failure(f"error parsing jsonpath {template}, not in range, nothing to end")
    return text


def find(path: str, value: object) -> list[Any]:
    """Every value that the path leads to.

    Raises:
        Failure: it is no path.
    """
    found: Iterable[Any] = [value]
    rest = path.removeprefix("$").removeprefix("@")
    if rest and rest[0] not in ".[":
        rest = f".{rest}"
    while rest and rest != ".":
        step = STEP.match(rest)
        if step is None:
            raise Failure(f"error parsing jsonpath {{{path}}}, unrecognized character at {rest[:20]}")
        found = [inner for one in found for inner in _step(step, one)]
        rest = rest[step.end() :]
    return list(found)


def values(template: str, value: object) -> list[Any]:
    """What all of the template's paths lead to, for `jsonpath-as-json`."""
    return [one for expression, _ in _parts(template) if expression for one in find(expression, value)]


def _parts(template: str) -> Iterator[tuple[str, str]]:
    """(expression, text), one of them empty; a template without braces is one path."""
    position = 0
    text = template if "{" in template else f"{{{template}}}"
    while position < len(text):
        part = PART.match(text, position)
        if part is None:
            raise Failure(f"error parsing jsonpath {template}, unclosed action")
        yield (part[1] or "").strip(), part[2] or ""
        position = part.end()


def _render(parts: Iterator[tuple[str, str]], value: object) -> Iterator[str]:
    for expression, text in parts:
        if expression == "end":
            return
        if expression.startswith("range "):
            body = list(_until_end(parts))
            for one in find(expression.removeprefix("range ").strip(), value):
                yield from _render(iter(body), one)
        elif expression[:1] in "'\"" and expression:
            yield _literal(expression)
        else:
            yield text or " ".join(_shown(one) for one in find(expression, value))


def _until_end(parts: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """A range's body, ranges inside it whole."""
    depth = 1
    for part in parts:
        depth += part[0].startswith("range ") - (part[0] == "end")
        if not depth:
            return
        yield part
    raise Failure("error parsing jsonpath, unclosed range: add {end}")


def _step(step: re.Match[str], value: Any) -> list[Any]:
    if step["filter"] is not None:
        return [one for one in _children(value) if _holds(step["filter"], one)]
    if step["index"] is not None:
        return _indexed(step["index"], value)
    if step["key"] is not None or step["quoted"] is not None:
        key = re.sub(r"\\(.)", r"\1", step["key"]) if step["key"] is not None else step["quoted"]
        if key == "*":
            return _children(value)
        return [value[key]] if isinstance(value, dict) and key in value else []
    everything = list(_everything(value))
    if step["deep"] in (None, "*"):
        return everything
    return [one[step["deep"]] for one in everything if isinstance(one, dict) and step["deep"] in one]


def _indexed(index: str, value: Any) -> list[Any]:
    if index == "*":
        return _children(value)
    if not isinstance(value, list):
        return []
    if ":" in index:
        start, _, end = index.partition(":")
        return value[int(start) if start else None : int(end) if end else None]
    return value[int(index) :][:1] if -len(value) <= int(index) < len(value) else []


def _holds(condition: str, value: Any) -> bool:
    test = FILTER.fullmatch(condition.strip())
    if test is None:
        raise Failure(f'error parsing jsonpath [?({condition})], use [?(@.key=="value")]')
    found = find(test["path"] or ".", value)
    if test["op"] is None:
        return bool(found)
    try:
        return any(COMPARE[test["op"]](one, _literal(test["value"].strip())) for one in found)
    except TypeError:
        return False  # a number and a word have no order


def _literal(text: str) -> Any:
    if text[:1] == "'":
        return text.strip("'").replace("\\n", "\n").replace("\\t", "\t")
    try:
        return json.loads(text)
    except ValueError:
        return text


def _children(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _everything(value: Any) -> Iterator[Any]:
    yield value
    for child in _children(value):
        yield from _everything(child)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
