"""Makes one C file of assets: embed.py OUTPUT ROOT FILE…; a file's name in the program is its path below ROOT."""

import hashlib
import sys
from pathlib import Path

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def array(number, data):
    lines = [data[i : i + 24] for i in range(0, len(data), 24)]
    text = "".join("        " + "".join(f"{byte}," for byte in line) + "\n" for line in lines)
    return f"static const unsigned char data_{number}[] = {{\n{text}        0,\n}};\n"


def main(output, root, *files):
    assets = sorted((Path(file).resolve().relative_to(Path(root).resolve()).as_posix(), Path(file)) for file in files)
    arrays, rows = [], []
    for number, (name, file) in enumerate(assets):
        data = file.read_bytes()
        tag = hashlib.sha256(data).hexdigest()[:20]
        arrays.append(array(number, data))
        rows.append(f'        {{ "{name}", "{TYPES[file.suffix]}", "\\"{tag}\\"", (const char *) data_{number}, {len(data)} }},\n')
    Path(output).write_text(
        '#include "web/asset.h"\n\n'
        + "\n".join(arrays)
        + "\nconst Asset asset_table[] = {\n"
        + "".join(rows)
        + "};\n"
        + f"const size_t asset_table_length = {len(assets)};\n"
    )


main(*sys.argv[1:])
