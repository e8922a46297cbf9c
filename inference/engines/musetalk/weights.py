"""Which weight files the engine needs, where they come from, and whether what is there is right.

The tree under MODEL_PATH is the one that users of the reference already have; a file that is
there is never fetched again. Where a repository publishes safetensors beside pickles, the former is
fetched and preferred. Revisions and SHA-256 are pinned: a file is exactly this one or it is wrong.

No torch here, and the hub library only while fetching: the commands that tell what is missing must
run on the lean default installation.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from inference.errors import EngineUnavailable

Decoder = Literal["sd", "taesd", "narrow"]
"""The published decoder, the tiny one, or one of half the channels that was trained here."""

MUSETALK = "TMElyralab/MuseTalk"
SD_VAE = "stabilityai/sd-vae-ft-mse"
WHISPER = "openai/whisper-tiny"
FACE_PARSING = "ManyOtherFunctions/face-parse-bisent"
TAESD = "madebyollin/taesd"

REVISIONS = {
    MUSETALK: "3ef28bc5cff08c90ad8178a25f1b570cd800170f",
    SD_VAE: "31f26fdeee1355a5c34592e401dd41e45d25a493",
    WHISPER: "169d4a4341b33bc18d8881c4b69c2e104e1cc0af",
    FACE_PARSING: "0073b233a5a3c4b1377d4dbf49245017938a72b5",
    TAESD: "614f76814bbe30edbe2e627ace1c2234c81a2c0e",
}

LICENSES = {
    MUSETALK: "weights: the repository's README allows any purpose, also commercial (code: MIT); "
    "their hub page says CreativeML OpenRAIL-M, which restricts some uses",
    SD_VAE: "MIT",
    WHISPER: "MIT (code and weights); the hub page says Apache-2.0",
    FACE_PARSING: "MIT (face-parsing.PyTorch); trained on CelebAMask-HQ, a data set for "
    "non-commercial research",
    TAESD: "MIT",
}


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One file of the tree: ``path`` below MODEL_PATH, ``name`` in its repository.

    ``size_bytes`` and ``sha256`` are None for small files whose content is checked by reading them.
    """

    path: str
    repository: str
    name: str
    size_bytes: int | None = None
    sha256: str | None = None
    need: Literal["engine", "preparation", "optional"] = "engine"


FILES: tuple[WeightFile, ...] = (
    WeightFile(
        "musetalkV15/musetalk.json",
        MUSETALK,
        "musetalkV15/musetalk.json",
        748,
        "5b6923aee04d71692e0e9846c471e0a4ea07a4f686d39545e472bd4ba17e1b47",
    ),
    WeightFile(
        "musetalkV15/unet.pth",
        MUSETALK,
        "musetalkV15/unet.pth",
        3_400_074_924,
        "7ebf6c98c181e20838e4c0054e96e944ac60d5d692cc01db42839fe11b787007",
    ),
    WeightFile(
        "sd-vae/config.json",
        SD_VAE,
        "config.json",
        547,
        "92d3dfb746fca211a2c9e019e285f8597412211728dce3c5bcf4eda0f2d62e7e",
    ),
    WeightFile(
        "sd-vae/diffusion_pytorch_model.safetensors",
        SD_VAE,
        "diffusion_pytorch_model.safetensors",
        334_643_276,
        "a1d993488569e928462932c8c38a0760b874d166399b14414135bd9c42df5815",
    ),
    WeightFile(
        "whisper/config.json",
        WHISPER,
        "config.json",
        1_983,
        "ffdccec4f3211f4c63310f2b7098f309fe70f3952cedc5e4d11e43f5b2379b98",
    ),
    WeightFile(
        "whisper/model.safetensors",
        WHISPER,
        "model.safetensors",
        151_061_672,
        "7ebd0e69e78190ffe1438491fa05cc1f5c1aa3a4c4db3bc1723adbb551ea2395",
    ),
    WeightFile(
        "face-parse-bisent/79999_iter.pth",
        FACE_PARSING,
        "79999_iter.pth",
        53_289_463,
        "468e13ca13a9b43cc0881a9f99083a430e9c0a38abd935431d1c28ee94b26567",
        need="preparation",
    ),
    WeightFile("taesd/config.json", TAESD, "config.json", need="optional"),
    WeightFile(
        "taesd/diffusion_pytorch_model.safetensors",
        TAESD,
        "diffusion_pytorch_model.safetensors",
        9_793_292,
        "db169d69145ec4ff064e49d99c95fa05d3eb04ee453de35824a6d0f325513549",
        need="optional",
    ),
)

_PICKLED_SHA256 = {
    "sd-vae/diffusion_pytorch_model.bin": (
        "1b4889b6b1d4ce7ae320a02dedaeff1780ad77d415ea0d744b476155c6377ddc"
    ),
    "whisper/pytorch_model.bin": (
        "9607f98a2b22d9e229ae43c52ecea79dcede9e0c5cfae67e8da6eda86d8aac1d"
    ),
}
"""Of files that existing trees hold in place of the safetensors."""


class _Place(NamedTuple):
    """Names under which one part of the tree may be found, preferred first."""

    folders: tuple[str, ...]
    names: tuple[str, ...]


_UNET_CONFIG = _Place(("musetalkV15", "unet"), ("musetalk.json", "config.json"))
_UNET = _Place(
    ("musetalkV15", "unet"),
    ("unet.safetensors", "diffusion_pytorch_model.safetensors", "unet.pth"),
)
_VAE_FOLDERS = ("sd-vae", "sd-vae-ft-mse", "vae")
_VAE_CONFIG = _Place(_VAE_FOLDERS, ("config.json",))
_VAE = _Place(_VAE_FOLDERS, ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"))
_WHISPER_FOLDERS = ("whisper", "whisper-tiny")
_WHISPER_CONFIG = _Place(_WHISPER_FOLDERS, ("config.json",))
_WHISPER = _Place(_WHISPER_FOLDERS, ("model.safetensors", "pytorch_model.bin"))
_PARSING = _Place(("face-parse-bisent", "face-parse-bisenet"), ("79999_iter.pth",))
_TINY_CONFIG = _Place(("taesd",), ("config.json",))
_TINY = _Place(("taesd",), ("diffusion_pytorch_model.safetensors",))

NARROW_FOLDER = "narrow-decoder"
"""Written by `inference.engines.musetalk.training.decoder`; nobody publishes it."""

NARROW_CONFIG, NARROW_WEIGHTS = "config.json", "decoder.safetensors"

_NARROW_CONFIG = _Place((NARROW_FOLDER,), (NARROW_CONFIG,))
_NARROW = _Place((NARROW_FOLDER,), (NARROW_WEIGHTS,))


@dataclass(frozen=True, slots=True)
class ModelTree:
    """Where the files are that the engine will read."""

    root: Path
    unet_config: Path
    unet_weights: Path
    vae_config: Path
    vae_weights: Path
    whisper_config: Path
    whisper_weights: Path
    face_parsing: Path | None = None
    tiny_config: Path | None = None
    tiny_weights: Path | None = None
    narrow_config: Path | None = None
    narrow_weights: Path | None = None

    @property
    def _weights(self) -> tuple[Path, ...]:
        optional = (self.face_parsing, self.tiny_weights, self.narrow_weights)
        needed = (self.unet_weights, self.vae_weights, self.whisper_weights)
        return *needed, *(path for path in optional if path is not None)

    @property
    def size_bytes(self) -> int:
        """Of all weight files."""
        return sum(path.stat().st_size for path in self._weights)

    @property
    def fingerprint(self) -> str:
        """Differs if other weight files are there."""
        states = ((path, path.stat()) for path in self._weights)
        return ", ".join(f"{path} {at.st_size} {at.st_mtime_ns}" for path, at in states)


def _find(root: Path, place: _Place) -> Path | None:
    for folder in place.folders:
        for name in place.names:
            if (root / folder / name).is_file():
                return root / folder / name
    return None


def find_tree(root: Path) -> ModelTree:
    """Return the tree under ``root``; EngineUnavailable lists what is missing and how to get it."""
    needed = {
        place: _find(root, place)
        for place in (_UNET_CONFIG, _UNET, _VAE_CONFIG, _VAE, _WHISPER_CONFIG, _WHISPER)
    }
    found = [path for path in needed.values() if path is not None]
    missing = [f"{place.folders[0]}/{place.names[0]}" for place, at in needed.items() if at is None]
    if missing:
        raise EngineUnavailable(
            f"weights missing under {root}: {', '.join(missing)} "
            "(`.venv/bin/python manage.py download_models` fetches them)"
        )
    return ModelTree(
        root=root,
        unet_config=found[0],
        unet_weights=found[1],
        vae_config=found[2],
        vae_weights=found[3],
        whisper_config=found[4],
        whisper_weights=found[5],
        face_parsing=_find(root, _PARSING),
        tiny_config=_find(root, _TINY_CONFIG),
        tiny_weights=_find(root, _TINY),
        narrow_config=_find(root, _NARROW_CONFIG),
        narrow_weights=_find(root, _NARROW),
    )


@dataclass(frozen=True, slots=True)
class FileState:
    """What `check_files` found of one file."""

    file: WeightFile
    state: Literal["ok", "present", "missing", "wrong"]
    """``present``: there, and not compared with the published checksum."""
    detail: str = ""


def sha256_of(path: Path, progress: Callable[[int], None] | None = None) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 22):
            digest.update(piece)
            if progress:
                progress(len(piece))
    return digest.hexdigest()


def _pickled(file: WeightFile) -> str | None:
    if file.repository == SD_VAE and file.name.endswith("safetensors"):
        return "sd-vae/diffusion_pytorch_model.bin"
    if file.repository == WHISPER and file.name.endswith("safetensors"):
        return "whisper/pytorch_model.bin"
    return None


def check_file(root: Path, file: WeightFile, *, checksum: bool) -> FileState:
    """Return the state of one file.

    With ``checksum`` its content is read (seconds per gigabyte).
    """
    path, wanted, size = root / file.path, file.sha256, file.size_bytes
    pickled = _pickled(file)
    if not path.is_file() and pickled and (root / pickled).is_file():
        path, wanted, size = root / pickled, _PICKLED_SHA256[pickled], None
    where = path.relative_to(root).as_posix()
    if not path.is_file():
        return FileState(file, "missing")
    found_size = path.stat().st_size
    if size is not None and found_size != size:
        return FileState(file, "wrong", f"{where}: {found_size:,} bytes, wanted {size:,}")
    if not checksum or wanted is None:
        return FileState(file, "present", where)
    found = sha256_of(path)
    if found != wanted:
        return FileState(file, "wrong", f"{where}: SHA-256 {found}, wanted {wanted}")
    return FileState(file, "ok", where)


def check_files(
    root: Path, files: Iterable[WeightFile] = FILES, *, checksum: bool = False
) -> list[FileState]:
    """Return the state of every file."""
    return [check_file(root, file, checksum=checksum) for file in files]


def chosen_files(*, tiny: bool = False) -> tuple[WeightFile, ...]:
    """Return the files to fetch: all but the optional ones, unless asked for."""
    return tuple(file for file in FILES if tiny or file.need != "optional")


def download(
    root: Path,
    files: Iterable[WeightFile],
    *,
    endpoint: str | None = None,
    say: Callable[[str], None] = print,
) -> list[FileState]:
    """Fetch what is missing or wrong; return the state of every file afterwards, checksums read.

    Interrupted downloads are taken up where they stopped. ``endpoint`` None: the hub library's own
    setting (``HF_ENDPOINT``), so mirrors work as everywhere. Raises EngineUnavailable where the
    library is missing or a file cannot be fetched.
    """
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError:
        raise EngineUnavailable(
            "huggingface_hub is not installed: .venv/bin/pip install -r requirements.txt"
        ) from None
    states = []
    for file in files:
        before = check_file(root, file, checksum=True)
        if before.state in ("ok", "present"):
            say(f"{file.path}: already there")
            states.append(before)
            continue
        say(f"{file.path}: fetching from {file.repository}")
        folder = root / file.path.removesuffix(file.name)
        try:
            hf_hub_download(
                file.repository,
                file.name,
                revision=REVISIONS[file.repository],
                local_dir=folder,
                endpoint=endpoint,
                force_download=before.state == "wrong",
            )
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise EngineUnavailable(f"{file.path} could not be fetched: {reason}") from error
        states.append(check_file(root, file, checksum=True))
    return states
