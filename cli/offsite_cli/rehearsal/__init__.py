"""The command `offsite evaluate`: rehearse an exchange, and show what it is worth."""
