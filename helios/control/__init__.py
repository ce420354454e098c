"""What flags, breakers, modules and rollouts share."""
