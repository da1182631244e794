"""`offsite frontier`: sweep emulator settings on this machine, and show what each is worth."""
