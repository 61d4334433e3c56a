"""The datacube: one chunked Zarr group that holds every covariate on one grid."""
