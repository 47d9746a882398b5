"""What all models are made of: linear models as plain data, and drift."""
