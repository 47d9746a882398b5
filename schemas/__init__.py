"""The records on every topic: typed structs, their Avro schemas, and the codec between bytes and structs."""
