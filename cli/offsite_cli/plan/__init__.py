"""`offsite plan`: what a stage will need, before anything is loaded."""
