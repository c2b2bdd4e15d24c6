"""Readable class names from the names of folders."""

from __future__ import annotations

from genrobust.data import readable_names


def test_folder_names_become_readable() -> None:
    given = {
        "n01440764": "tench",
        "n02012849": "crane bird",
        "n00007846": "person",
        "n02085620-Chihuahua": "Chihuahua",
        "001.Black_footed_Albatross": "Black footed Albatross",
        "GoldenRetriever": "Golden Retriever",
        "traffic-light": "traffic light",
        "4x4": "4x4",
        "747": "747",
        "a_b": "a_b",  # would share a name with the next
        "a-b": "a-b",
    }
    assert readable_names(list(given)) == given
