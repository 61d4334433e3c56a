"""Recipes, plans and tiles: the only place where stages meet."""
