"""Whether each completion knows all verbs and options that the help has, and no others.

    check-completions.py WAKECTL FILE…
"""

import re
import subprocess
import sys
from pathlib import Path

text = subprocess.run([sys.argv[1], "--help"], check=True, capture_output=True, text=True).stdout
verbs, options = text.split("Verbs:\n")[1].split("\nOptions:\n")
wanted = set(re.findall(r"^  ([a-z]+) ", verbs, re.M)) | set(re.findall(r"^\s+(?:-\w )?--([a-z-]+)", options, re.M))
# What `logs` passes on.
wanted |= {"follow", "lines", "output", "reverse", "since"}

PATTERNS = {
    ".bash": r"^\s+\[([a-z]+)\]=|--([a-z-]+)",
    ".zsh": r"^\s+'([a-z]+):|--([a-z-]+)",
    ".fish": r"\$none -a ([a-z]+)|^complete .* -l ([a-z-]+)",
}
bad = 0
for path in map(Path, sys.argv[2:]):
    known = {a or b for a, b in re.findall(PATTERNS[path.suffix], path.read_text(), re.M)}
    for what, words in (("does not know", wanted - known), ("knows what there is not", known - wanted)):
        if words:
            print(f"{path.name} {what}: {' '.join(sorted(words))}")
            bad = 1
sys.exit(bad)
