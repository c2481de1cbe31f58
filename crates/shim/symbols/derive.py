"""Lists the entry points that NVIDIA's driver exports, by version of CUDA.

The names stand in `cuda.h`, which the runtime's Python packages carry. A header declares each name
in one of three ways, so it is preprocessed three times: as programs see it, as programs with a
default stream for each thread see it, and as the driver itself does, with all that became old.

Usage: python3 derive.py   (needs pip and a C compiler; writes cuda-*.txt beside itself)
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import zipfile

PACKAGES = {
    "11.8": "nvidia-cuda-runtime-cu11==11.8.89",
    "12.4": "nvidia-cuda-runtime-cu12==12.4.127",
    "12.9": "nvidia-cuda-runtime-cu12==12.9.79",
    "13.5": "nvidia-cuda-runtime==13.5.37",
}
MODES = [[], ["-DCUDA_API_PER_THREAD_DEFAULT_STREAM"], ["-D__CUDA_API_VERSION_INTERNAL"]]
DECLARED = re.compile(r"\bCUresult\s+(cu[A-Z]\w*)\s*\(")


def header(package: str, folder: pathlib.Path) -> pathlib.Path:
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
    subprocess.run([*download, package], check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("include/cuda.h")]
        return pathlib.Path(archive.extract(name, folder))


def names(path: pathlib.Path) -> set[str]:
    found = set()
    for mode in MODES:
        command = ["cc", "-E", "-P", *mode, "-x", "c", path]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found.update(DECLARED.findall(text))
    return found


def main() -> None:
    here = pathlib.Path(__file__).parent
    for version, package in PACKAGES.items():
        with tempfile.TemporaryDirectory() as folder:
            found = sorted(names(header(package, pathlib.Path(folder))))
        (here / f"cuda-{version}.txt").write_text("".join(f"{name}\n" for name in found))
        print(f"cuda-{version}.txt: {len(found)} names")


main()
