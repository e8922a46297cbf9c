"""``python -m inference.engines.musetalk.training.decoder --models DIR --avatars DIR``

Trains a decoder of half the channels, a quarter of the work, on the latents of prepared avatars and
the pictures that the real decoder makes of them, and writes it into the model tree with a report.
``MUSETALK_DECODER=narrow`` then uses it. ``--speech`` files make the faces speak, as in the stream:
minutes of several voices are worth giving. ``--evaluate`` only reports on the decoders that are
there, the tiny one among them.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from inference.engines.musetalk import networks
from inference.engines.musetalk.devices import find_device
from inference.engines.musetalk.nets.vae import Decoder, VaeShape
from inference.engines.musetalk.training import report
from inference.engines.musetalk.training.fitting import Progress, Recipe, TrainingFailed, fit
from inference.engines.musetalk.training.narrow_files import write_narrow_decoder
from inference.engines.musetalk.training.quality import Quality, compare
from inference.engines.musetalk.training.samples import (
    FaceLatents,
    Sampler,
    find_faces,
    speech_context,
    split,
)
from inference.engines.musetalk.weights import NARROW_FOLDER, ModelTree, find_tree
from inference.errors import AvatarInvalid, EngineUnavailable

log = logging.getLogger("decoder training")

JUDGED_IN_BATCHES_OF = 8


class Training:
    """The networks and the latents of one run."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.tree: ModelTree = find_tree(options.models)
        self.device = find_device(options.device)
        self.nets = networks.load_networks(self.tree).to(self.device, torch.float32)
        self.clips, self.held_out = split(find_faces(options.avatars))
        with torch.inference_mode():
            context = speech_context(self.nets.whisper, options.speech, self.device)
        # A tensor of inference mode cannot be part of a training step.
        self.context = None if context is None else context.clone()
        self.seed: int = options.seed

    def sampler(self, clips: Sequence[FaceLatents], seed: int) -> Sampler:
        """Draws from ``clips``."""
        return Sampler(
            clips, unet=self.nets.unet, context=self.context, device=self.device, seed=seed
        )

    def facts(self) -> list[str]:
        """Return what is trained and judged with, in words."""
        spoken = 0 if self.context is None else len(self.context)
        return [
            f"{sum(len(clip.frames) for clip in self.clips)} faces of {len(self.clips)} clips to "
            f"train with, {sum(len(clip.frames) for clip in self.held_out)} of "
            f"{len(self.held_out)} to judge with",
            f"{spoken / 25:.0f} s of speech" if spoken else "no speech: faces as they were filmed",
            f"on {self.device}, torch {torch.__version__}",
        ]

    def judge(self, pictures: int) -> list[Quality]:
        """Every decoder of the tree against the real one."""
        sampler = self.sampler(self.held_out, seed=self.seed + 1)
        sizes = [JUDGED_IN_BATCHES_OF] * (pictures // JUDGED_IN_BATCHES_OF) or [pictures]
        batches = [sampler.draw(size) for size in sizes]
        tree = find_tree(self.tree.root)  # a decoder may have been written since
        decoders: dict[str, Any] = {}
        if tree.narrow_weights is not None:
            decoders["narrow"] = networks.load_decoder(tree, "narrow")
        if tree.tiny_weights is not None:
            decoders["taesd"] = networks.load_decoder(tree, "taesd")
        real, encoder = self.nets.decoder, self.nets.encoder
        rows = [compare("sd, the real one", real, real, encoder, batches)]
        return rows + [
            compare(name, decoder.to(self.device), real, encoder, batches)
            for name, decoder in decoders.items()
        ]


def train(training: Training, recipe: Recipe, folder: Path, *, resumes: bool) -> Progress:
    """Train a narrow decoder and write it to ``folder``, now and then and at the end."""
    if resumes:
        student, shape = networks.load_narrow_decoder(find_tree(training.tree.root))
    else:
        shape = VaeShape.from_config(networks.read_config(training.tree.vae_config)).narrowed()
        torch.manual_seed(training.seed)
        student = Decoder(shape)
    student.to(training.device)

    def save(progress: Progress) -> None:
        write_narrow_decoder(folder, shape, student)
        log.info("step %d, loss %.4f, %.0f s", progress.step, progress.loss, progress.took_s)

    sampler = training.sampler(training.clips, training.seed)
    return fit(
        student, training.nets.decoder, training.nets.encoder, sampler.draw, recipe, save=save
    )


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    standard = Recipe()
    parser = argparse.ArgumentParser(prog="decoder training", description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="the model tree (MODEL_PATH)")
    parser.add_argument(
        "--avatars", type=Path, required=True, help="where clips were prepared (AVATARS_DIR)"
    )
    parser.add_argument("--speech", type=Path, nargs="*", default=[], help="sound files")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=standard.steps)
    parser.add_argument("--minutes", type=float, help="the most that the training may take")
    parser.add_argument("--batch", type=int, default=standard.batch)
    parser.add_argument("--rate", type=float, default=standard.rate)
    parser.add_argument("--pictures", type=int, default=64, help="to judge with")
    parser.add_argument("--report", type=Path, help="default: report.md beside the decoder")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--evaluate", action="store_true", help="train nothing")
    existing.add_argument("--resume", action="store_true", help="begin with the decoder there")
    existing.add_argument("--replace", action="store_true", help="replace the decoder there")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, report; SystemExit with the reason if that is not possible."""
    options = parsed(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = options.models / NARROW_FOLDER
    try:
        tree = find_tree(options.models)
        if tree.narrow_weights and not (options.evaluate or options.resume or options.replace):
            raise EngineUnavailable(
                f"{folder} holds a decoder already: --resume continues it, --replace writes "
                "another one, --evaluate reports on it"
            )
        training = Training(options)
        facts = training.facts()
        if not options.evaluate:
            limit = {} if options.minutes is None else {"limit_s": options.minutes * 60}
            recipe = Recipe(options.steps, options.batch, options.rate, **limit)
            done = train(training, recipe, folder, resumes=options.resume)
            facts.append(
                f"{done.step} steps of {recipe.batch} faces in {done.took_s:.0f} s, "
                f"last loss {done.loss:.4f}"
            )
        text = report.written(training.judge(options.pictures), facts)
    except (AvatarInvalid, EngineUnavailable, TrainingFailed) as error:
        raise SystemExit(f"Failed: {error}") from None
    except ModuleNotFoundError as error:  # soxr, for speech that is not at 16 kHz
        raise SystemExit(
            f"Failed: {error.name} is not installed: .venv/bin/pip install -r requirements-dev.txt"
        ) from None
    path = options.report or folder / "report.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{text}\n{path} is written\n")


if __name__ == "__main__":
    main()
