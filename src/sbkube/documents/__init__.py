"""YAML as Go reads it (what helm and kubectl see), with the line of every value."""

from sbkube.documents.document import Document, InvalidYaml, UnreadableFile
from sbkube.documents.reading import Keys, parse, parse_all, read, read_text
from sbkube.documents.scalars import describe, scalar
from sbkube.documents.writing import dump, merge, split_manifests

__all__ = [
    "Document",
    "InvalidYaml",
    "Keys",
    "UnreadableFile",
    "describe",
    "dump",
    "merge",
    "parse",
    "parse_all",
    "read",
    "read_text",
    "scalar",
    "split_manifests",
]
