"""The Kafka shell around the core: clients, worker loop, transactions, changelog, journal, trainers."""
