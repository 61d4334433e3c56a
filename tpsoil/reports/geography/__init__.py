"""Geographic context of a map: coast, borders, lakes, rivers and cities from a bundled extract of Natural Earth."""

from .placing import Context, Graticule, Plane, context_of, graticule_of
from .store import City, Geography, cities, geography

__all__ = ["City", "Context", "Geography", "Graticule", "Plane", "cities", "context_of", "geography", "graticule_of"]
