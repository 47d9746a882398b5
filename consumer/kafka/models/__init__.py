"""Models on their way through Kafka: trainers, snapshots, what is in force, and learning anew."""
