"""The mass-balance model of solum thickness."""
