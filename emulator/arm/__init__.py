"""Azure Resource Manager: the plane on which everything is made, changed, listed and removed."""
