"""What goes by age: events with their deliveries and attempts, bodies, answers, keys, jobs."""
