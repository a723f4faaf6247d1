"""What a command would make, take and cost, before it is begun."""
