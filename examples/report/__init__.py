"""The report on spectral properties of networks, figure by figure (Ilieva, EPFL 2025)."""
