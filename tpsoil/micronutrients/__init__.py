"""The domain steps around the forest: samples, drivers, groups, maps."""
