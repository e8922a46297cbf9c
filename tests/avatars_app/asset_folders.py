"""Small asset folders: a manifest and files that pass every check, and no pictures."""

from pathlib import Path

from inference.assets import manifest
from inference.assets.manifest import ClipEntry, ClipState, Manifest, ProfileEntry
from inference.media.profile import DEFAULT_PROFILE

CLIPS: dict[str, ClipState] = {
    "idle_0": "idle",
    "idle_1": "idle",
    "speaking_0": "speaking",
    "action_1": "action",
}


def write_asset_folder(folder: Path, *, version: str) -> None:
    (folder / "clips").mkdir(parents=True)
    for name in CLIPS:
        manifest.clip_path(folder, name).write_bytes(bytes(50 * 100))
    profile = DEFAULT_PROFILE
    manifest.write(
        folder,
        Manifest(
            format=manifest.FORMAT,
            version=version,
            name=folder.name,
            renderer="drawn",
            profile=ProfileEntry(
                **{name: getattr(profile, name) for name in profile.__slots__}, codec="avc1.42C01E"
            ),
            clips=[
                ClipEntry(name=name, state=state, sizes=[100] * 50, idr=[0, 25], exits=[25, 50])
                for name, state in CLIPS.items()
            ],
        ),
    )
