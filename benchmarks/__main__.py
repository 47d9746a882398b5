"""`python -m benchmarks`: the budgets of an event and a decision, of the item index, and of mapped records.

The index has a process of its own: its memory is told by how much the process grows.
"""

import subprocess
import sys

from benchmarks import budgets

budgets.main()
as_json = ["--json"] if "--json" in sys.argv else []
for name in ("item_index", "mapping"):
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *as_json], check=True)
