"""State in files that survive the process: a journal that is the truth, and views of it for people."""

from .reader import FileReader as FileReader
from .store import FileStore as FileStore
