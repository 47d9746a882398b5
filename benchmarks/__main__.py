"""`python -m benchmarks`: the budgets of an event and a decision, and those of the item index."""

from benchmarks import budgets, item_index

budgets.main()
item_index.main([])
