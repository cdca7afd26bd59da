"""Fine-tuning: a base model and a dataset in, an adapter with its metrics out."""
