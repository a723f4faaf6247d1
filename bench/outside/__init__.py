"""What was made elsewhere, scored as a run's own: pictures and LoRA files."""
