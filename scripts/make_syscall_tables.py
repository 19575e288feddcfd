"""Write src/tracemend/trace/syscalls.json from the tables of the PyPI package ``system-calls`` (MIT).

That package is generated from the Linux sources at every release. Run: pip install system-calls, then this script.
"""

import importlib
import json
from pathlib import Path

from system_calls.linux_version import linux_version  # type: ignore[import-not-found]

ARCHITECTURES = {
    "x86_64": "x86_64",
    "i386": "i386",
    "aarch64": "arm64",
    "arm": "arm",
    "riscv64": "riscv64",
    "ppc64le": "powerpc64",
    "s390x": "s390x",
}
OUT = Path(__file__).parents[1] / "src" / "tracemend" / "trace" / "syscalls.json"

tables = {}
for name, module in ARCHITECTURES.items():
    table = getattr(importlib.import_module(f"system_calls.tables.{module}"), f"syscalls_{module}")
    tables[name] = dict(sorted(table.items(), key=lambda kv: kv[1]))
document = {"source": "system-calls (PyPI), generated from the Linux sources", "linux": linux_version, "tables": tables}
OUT.write_text(json.dumps(document, indent=0, separators=(",", ":")) + "\n")
print(OUT, {a: len(t) for a, t in tables.items()})
