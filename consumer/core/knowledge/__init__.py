"""What was learned from all customers: learners of each family, their snapshots, challengers, and what is in force."""
