"""Many runs of one command: planned, launched, tuned, summed up."""
