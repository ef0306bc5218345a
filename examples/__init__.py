"""Gallery scripts (``plot_*.py``), benchmarks, and the models and data they share."""
