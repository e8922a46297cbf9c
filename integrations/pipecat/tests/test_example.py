import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
from avatar_server import ROOT, AvatarServer

FOLDER = Path(__file__).resolve().parent.parent


def test_a_text_file_is_spoken_into_a_video(
    avatar_server: AvatarServer, voice: object, tmp_path: Path
) -> None:
    """``voice`` is asked for so that the test is skipped without a synthesizer."""
    text, video = tmp_path / "text.txt", tmp_path / "out.mp4"
    text.write_text("Hello. I am an avatar, and this is my own server speaking.")
    subprocess.run(
        [
            sys.executable,
            FOLDER / "examples" / "speak_text.py",
            avatar_server.address,
            "example",
            text,
            video,
        ],
        env={
            **os.environ,
            "PYTHONPATH": f"{FOLDER / 'src'}:{ROOT / 'clients' / 'python' / 'src'}",
        },
        check=True,
        timeout=60,
    )
    with av.open(str(video)) as container:
        pictures = sum(1 for _ in container.decode(video=0))
    with av.open(str(video)) as container:
        sound = np.concatenate([one.to_ndarray()[0] for one in container.decode(audio=0)])
    assert pictures > 50
    assert np.sqrt(np.mean(sound**2)) > 0.02
