"""YAML as a grid file may hold it: each key once, and no more than a page of it."""

from collections.abc import Hashable
from typing import Any

import yaml

LARGEST_CONTENT = 50_000  # values, each as often as aliases repeat it


class UniqueKeys(yaml.SafeLoader):
    """Safe YAML in which a key that stands twice is an error, not silently the last one, and aliases make no more of
    a page than a page."""

    def get_single_node(self) -> yaml.Node | None:
        """The document, refused where its aliases make too much of it."""
        node = super().get_single_node()
        if node is not None:
            _count_nodes(node, {})
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping. Raises ConstructorError where a key stands twice."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", node.start_mark)
                seen.add(key)
        return super().construct_mapping(node, deep)


def _count_nodes(node: yaml.Node, known: dict[int, int]) -> int:
    """The nodes in `node`, each as often as it stands there. Raises ComposerError for too many, or for endlessly many.

    `known` are those that were counted, by id; 0 for those of which the count is not finished.
    """
    if id(node) not in known:
        known[id(node)] = 0
        inside = [one for pair in node.value for one in pair] if isinstance(node, yaml.MappingNode) else node.value
        children = inside if isinstance(node, yaml.CollectionNode) else ()
        known[id(node)] = 1 + sum(_count_nodes(child, known) for child in children)
    count = known[id(node)]
    if count == 0 or count > LARGEST_CONTENT:
        size = f"more than {LARGEST_CONTENT:,} values" if count else "itself as a part of it"
        raise yaml.composer.ComposerError(None, None, f"aliases make this {size}", node.start_mark)
    return count
