"""Nodes: made so that Undo takes them back, removed without leftovers. MRML, no Qt."""

from __future__ import annotations

from typing import Any

import slicer


def nodes_of_class(scene: Any, kind: str) -> list[Any]:
    """The nodes of a class and of those derived from it, in the scene's order."""
    found = scene.GetNodesByClass(kind)
    # Python owns the collection as well; without this, it and its nodes would never be freed.
    found.UnRegister(scene)
    return list(found)


def new_node(scene: Any, kind: str, name: str) -> Any:
    """A node of a class with a name of its own; it takes part in Undo where that is switched on."""
    node = scene.AddNewNodeByClass(kind, scene.GenerateUniqueName(name))
    node.SetUndoEnabled(True)
    return node


def add_display(node: Any) -> None:
    """Default display nodes, which go when the node goes."""
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetUndoEnabled(True)


def put_beside(scene: Any, node: Any, volume_node: Any) -> None:
    """Give a node the volume's place in the subject hierarchy."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    volume_item = 0 if tree is None else tree.GetItemByDataNode(volume_node)
    if not volume_item:
        return
    parent = tree.GetItemParent(volume_item)
    item = tree.GetItemByDataNode(node)
    if item:
        tree.SetItemParent(item, parent)
    else:
        tree.CreateItem(parent, node)


def remove_nodes(scene: Any, nodes: list[Any]) -> None:
    """Remove nodes, with what displays and stores them; None is nothing."""
    for node in nodes:
        if node is None:
            continue
        is_shown = node.IsA("vtkMRMLDisplayableNode")
        helpers = [node.GetDisplayNode() if is_shown else None, node.GetStorageNode()]
        scene.RemoveNode(node)
        for helper in helpers:
            if helper is not None:
                scene.RemoveNode(helper)
