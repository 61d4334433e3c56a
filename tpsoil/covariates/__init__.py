"""Terrain, flow, climate, erosion and weathering layers from layers."""
