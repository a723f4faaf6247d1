"""Attacks on an erasure: what brings back what was erased, each with a control that costs as much."""
