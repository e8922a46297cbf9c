import numpy as np
import pytest

from inference.engines.viseme import net
from inference.engines.viseme.features import MELS
from inference.errors import EngineUnavailable


def mels(windows: int, frames: int, seed: int = 0) -> np.ndarray:
    shape = (windows, net.steps_needed(frames), MELS)
    return np.random.default_rng(seed).normal(-6, 3, shape).astype(np.float32)


def test_the_weights_are_small_and_hold_no_pickle():
    assert net.WEIGHTS_PATH.stat().st_size < 2_000_000
    with np.load(net.WEIGHTS_PATH, allow_pickle=False) as stored:
        assert all(stored[name].dtype in (np.float16, np.int32) for name in stored.files)


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_a_frame_needs_four_steps_more_than_the_one_before(frames):
    assert net.steps_needed(frames + 1) - net.steps_needed(frames) == 4
    assert net.Net()(mels(3, frames)).shape == (3, frames, net.OUTPUTS)


def test_a_frame_sounds_the_same_alone_and_among_others():
    heard = mels(2, 5)
    together = net.Net()(heard)
    for frame in range(5):
        alone = heard[1:, 4 * frame : 4 * frame + net.steps_needed(1)]
        np.testing.assert_allclose(net.Net()(alone)[0, 0], together[1, frame], atol=1e-3)


def test_a_frame_that_follows_another_sounds_as_it_does_alone():
    heard = mels(2, 6)
    trained = net.Net()
    together = trained(heard)
    first = net.steps_needed(1)
    said, memory = trained.begin(heard[:, :first])
    for frame in range(1, 6):
        np.testing.assert_allclose(said[:, 0], together[:, frame - 1], atol=1e-3)
        new = heard[:, first + 4 * (frame - 1) : first + 4 * frame]
        said, memory = trained.follow(new, memory)
    np.testing.assert_allclose(said[:, 0], together[:, 5], atol=1e-3)


def test_a_memory_is_left_as_it_was():
    trained = net.Net()
    _, memory = trained.begin(mels(1, 1))
    kept = [part.copy() for part in memory]
    new = mels(1, 1, seed=1)[:, :4]
    first, _ = trained.follow(new, memory)
    second, _ = trained.follow(new, memory)
    np.testing.assert_array_equal(first, second)
    for before, after in zip(kept, memory, strict=True):
        np.testing.assert_array_equal(before, after)


def test_missing_weights_are_reported(tmp_path):
    with pytest.raises(EngineUnavailable, match="cannot be used"):
        net.Net(tmp_path / "none.npz")


def test_weights_of_another_net_are_reported(tmp_path):
    with np.load(net.WEIGHTS_PATH) as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["kernel_0"] = arrays["kernel_0"][:, :50]
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(EngineUnavailable, match="another net"):
        net.Net(tmp_path / "other.npz")


def test_numpy_and_torch_agree(tmp_path):
    torch = pytest.importorskip("torch")
    from inference.engines.viseme.training import fit

    torch.manual_seed(3)
    trained = fit.TrainedNet(torch.full((MELS,), -6.0), torch.full((MELS,), 0.3))
    trained.train()
    heard = mels(4, 6)
    for seed in range(3):
        trained(torch.from_numpy(mels(4, 6, seed)))
    trained.eval()
    fit.export(trained, tmp_path / "weights.npz", 0)
    with torch.no_grad():
        wanted = trained(torch.from_numpy(heard)).numpy()
    heard_by_numpy = net.Net(tmp_path / "weights.npz")(heard)
    np.testing.assert_allclose(heard_by_numpy[..., : net.FITTED], wanted, atol=0.02)
    assert not heard_by_numpy[..., net.FITTED :].any()
