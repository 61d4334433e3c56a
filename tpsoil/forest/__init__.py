"""Random forests at raster scale; knows no soil."""
