"""Many runs of one command: planned, launched, tuned, summed up; and runs made again from their rows."""
