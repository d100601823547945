"""Takes one file out of a wheel if it has the SHA-256 expected: unpack.py FOLDER-OF-WHEEL MEMBER SHA256 TARGET"""

import hashlib
import os
import pathlib
import sys
import zipfile

folder, member, expected, target = sys.argv[1:]
[wheel] = pathlib.Path(folder).glob("*.whl")
content = zipfile.ZipFile(wheel).read(member)
found = hashlib.sha256(content).hexdigest()
if found != expected:
    sys.exit(f"{member} has SHA-256 {found}, not {expected}")
partial = target + ".partial"
pathlib.Path(partial).write_bytes(content)
os.replace(partial, target)
