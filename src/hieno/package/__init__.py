"""Make a model ready to be served: merge, write MLflow's format, convert, reopen."""
