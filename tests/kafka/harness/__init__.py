"""What the tests of the worker share: a made-up stream, a worker process, and readers of what came out."""
