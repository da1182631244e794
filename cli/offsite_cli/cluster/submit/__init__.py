"""`offsite submit`: create jobs on a cluster, from flags or from files."""
