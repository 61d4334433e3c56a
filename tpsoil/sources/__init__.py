"""Open data: a catalogue of entries, windows of their files through a cache on the disk, and a lock file."""

from .cache import Cache, cache_folder
from .catalogue import Catalogue, Choice, Entry, choose, read_catalogue
from .regions import Plan, plan, read, require_box
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
    "plan",
    "read",
    "read_catalogue",
    "require_box",
]
