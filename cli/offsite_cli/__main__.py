"""`python -m offsite_cli` is the command `offsite`."""

from offsite_cli.app import main

if __name__ == "__main__":  # workers import it too
    main()
