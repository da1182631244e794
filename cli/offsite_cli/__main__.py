"""`python -m offsite_cli` is the command `offsite`."""

from offsite_cli.app import main

main()
