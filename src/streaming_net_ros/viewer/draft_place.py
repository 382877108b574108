"""Where in a text an error stands: from the place that a message names to a line.

Owns the walk from ``groups[1].edges[0].layers[2]``, or ``group stem: edge image -> stem:
layers[0]``, through the YAML as it is written. What was written out by ``repeat`` has no line of
its own: then the line of the repetition is told. Knows nothing of networks beyond those words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

_LINE = re.compile(r"\bline (\d+)")
_GROUP = re.compile(r"\bgroup ([A-Za-z]\w*)")
_EDGE = re.compile(r"\bedge (\w+) -> \w+")
_INDEX = re.compile(r"\[(\d+)\]")
_QUOTED = re.compile(r"'([^']+)'")


def line_of(text: str, message: str) -> int | None:
    """The line (from 1) that an error message is about; None if it is about the whole.

    Args:
        text: the network file.
        message: without the file's name: the place, a colon, what is wrong.
    """
    told = _LINE.match(message)
    if told:
        return int(told.group(1))
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError):
        return None
    if not isinstance(root, yaml.MappingNode):
        return None
    group = _group(root, message)
    if group is not None:
        return _line_in_group(group, message)
    place = message.partition(": ")[0].lstrip(".")
    found = _walked(root, place)
    return found if found is not None else _line_of_quoted(root, message)


def _line_in_group(group: yaml.MappingNode, message: str) -> int:
    """The line inside a group: of its edge, and of the layer in that."""
    node: yaml.MappingNode = group
    edge = _EDGE.search(message)
    if edge:
        edges = _value(group, "edges")
        for item in edges.value if isinstance(edges, yaml.SequenceNode) else ():
            if isinstance(item, yaml.MappingNode) and _is(_value(item, "source"), edge.group(1)):
                node = item
    rest = re.search(r"(?:: |\.)((?:layers|apply|shape|factory|args|merge)\b[^ ]*?):? ", message)
    found = _walked(node, rest.group(1)) if rest else None
    return found if found is not None else _line(node)


def _group(root: yaml.MappingNode, message: str) -> yaml.MappingNode | None:
    """The group that a message names, as it is written: ``h{i}`` stands for h1, h2, ..."""
    told = _GROUP.match(message)
    groups = _value(root, "groups")
    if told is None or not isinstance(groups, yaml.SequenceNode):
        return None
    waiting = list(groups.value)
    while waiting:
        item = waiting.pop(0)
        if not isinstance(item, yaml.MappingNode):
            continue
        items = _value(item, "items")
        if isinstance(items, yaml.SequenceNode):
            waiting += items.value
        name = _value(item, "name")
        if isinstance(name, yaml.ScalarNode) and _could_be(name.value, told.group(1)):
            return item
    return None


def _could_be(written: str, name: str) -> bool:
    parts = re.split(r"\{\w+(?:[+-]\d+)?\}", written)
    return re.fullmatch(r"\d+".join(map(re.escape, parts)), name) is not None


def _walked(node: yaml.Node, place: str) -> int | None:
    """The line of the deepest thing on a path; None if not even its first word is there."""
    line = None
    while place:
        if isinstance(node, yaml.MappingNode):
            step = _key(node, place)
            if step is None:
                return line
            key, node = step
            line = _line(key)
            place = place[len(key.value) :].removeprefix(".")
        elif isinstance(node, yaml.SequenceNode):
            index = _INDEX.match(place)
            if index is None or _is_repeated(node) or int(index.group(1)) >= len(node.value):
                return line
            node = node.value[int(index.group(1))]
            line = _line(node)
            place = place[index.end() :].removeprefix(".")
        else:
            return line
    return line


def _key(node: yaml.MappingNode, place: str) -> tuple[yaml.ScalarNode, yaml.Node] | None:
    """The key that a path goes on with; keys may have dots in them, so the longest one wins."""
    found = None
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        is_next = re.match(rf"{re.escape(key.value)}(?:$|[.\[])", place)
        if is_next and (found is None or len(key.value) > len(found[0].value)):
            found = key, value
    return found


def _is_repeated(node: yaml.SequenceNode) -> bool:
    """Whether the items as written are not those that were counted."""
    return any(
        _value(item, "repeat") is not None
        for item in node.value
        if isinstance(item, yaml.MappingNode)
    )


def _line_of_quoted(root: yaml.Node, message: str) -> int | None:
    """The line of the quoted word that is written least often: most likely the slip of the pen.

    Of several, the last: ``group 'head' hears 'stm'``.
    """
    lines: dict[str, list[int]] = {}
    for scalar in _scalars(root):
        lines.setdefault(scalar.value, []).append(_line(scalar))
    quoted = _QUOTED.findall(message.partition(";")[0])  # what follows is a remedy
    found = [lines[word] for word in reversed(quoted) if word in lines]
    return min(found, key=len)[0] if found else None


def _scalars(root: yaml.Node) -> Iterator[yaml.ScalarNode]:
    """All scalars, each alias looked at once."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            yield node
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            waiting += [part for pair in node.value for part in pair]


def _value(node: yaml.MappingNode, key: str) -> yaml.Node | None:
    for name, value in node.value:
        if _is(name, key):
            found: yaml.Node = value
            return found
    return None


def _is(node: yaml.Node | None, word: str) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.value == word


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
