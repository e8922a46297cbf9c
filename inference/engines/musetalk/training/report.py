"""The report of a training: every decoder that is there against the real one."""

from collections.abc import Sequence

from inference.engines.musetalk.training.quality import Quality


def table(rows: Sequence[Quality]) -> str:
    """Markdown."""
    lines = [
        "| decoder | PSNR dB | mouth PSNR dB | feature distance | mean, of 255 | largest | GFLOP |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.decoder} | {row.psnr_db:.2f} | {row.mouth_psnr_db:.2f} "
        f"| {row.feature_distance:.4f} | {row.mean:.2f} | {row.most} | {row.gflop:.1f} |"
        for row in rows
    ]
    return "\n".join(lines)


def written(rows: Sequence[Quality], facts: Sequence[str]) -> str:
    """Return the whole report.

    Args:
        rows: The decoders.
        facts: What they were measured on and how they were made, a sentence each.
    """
    return (
        "# Decoders against the SD VAE's\n\n"
        + "\n".join(f"- {fact}" for fact in facts)
        + f"\n\n{table(rows)}\n\n"
        "Pictures are compared with those that the SD VAE's decoder makes of the same latents,\n"
        "which were held out of the training. The feature distance is made like LPIPS, with the\n"
        "VAE's own encoder.\n"
    )
