"""`nextbest demo`: a broker for trying things out, a simulated shop and two real workers, in one process tree."""

from consumer.demo.run import run_demo

__all__ = ["run_demo"]
