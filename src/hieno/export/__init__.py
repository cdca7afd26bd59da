"""Give a model version away: written in another form, opened again, asked, and compared."""
