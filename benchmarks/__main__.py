"""`python -m benchmarks`: the budgets."""

from benchmarks.budgets import main

main()
