"""Open data: a catalogue of entries, windows of their files through a cache on the disk, and a lock file."""

from .cache import Cache, cache_folder
from .catalogue import Catalogue, Choice, Entry, choose, read_catalogue
from .files import fetch_file
from .plans import Plan, plan, read
from .regions import require_box
from .transfer import Client, OfflineError, Policy, SourceChangedError

__all__ = [
    "Cache",
    "Catalogue",
    "Choice",
    "Client",
    "Entry",
    "OfflineError",
    "Plan",
    "Policy",
    "SourceChangedError",
    "cache_folder",
    "choose",
    "fetch_file",
    "plan",
    "read",
    "read_catalogue",
    "require_box",
]
