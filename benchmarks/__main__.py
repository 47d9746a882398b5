"""`python -m benchmarks`: the budgets of an event and a decision, and those of the item index.

The index has a process of its own: its memory is told by how much the process grows.
"""

import subprocess
import sys

from benchmarks import budgets

budgets.main()
as_json = ["--json"] if "--json" in sys.argv else []
sys.exit(subprocess.run([sys.executable, "-m", "benchmarks.item_index", *as_json], check=False).returncode)
