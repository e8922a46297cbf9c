"""`manage.py prepare_avatar` says how far it is, also into a file."""

import io
import os
import signal
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError, OutputWrapper
from django.db import OperationalError

from avatars_app import asset_folders
from avatars_app.management.commands.prepare_avatar import _Progress
from avatars_app.models import Avatar
from inference.assets.writer import AssetWriter


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def progress(stream: io.StringIO) -> str:
    say = _Progress(OutputWrapper(stream))
    for stage, percent in (("analyze", 0.0), ("analyze", 20.4), ("encode", 44.0), ("encode", 100)):
        say(stage, percent)
    say.end()
    return stream.getvalue()


def test_a_pipe_gets_one_line_for_each_stage() -> None:
    assert progress(io.StringIO()) == "analyze ...\nencode ...\n"


def test_a_terminal_gets_one_line_that_is_written_over() -> None:
    said = progress(Terminal())
    assert said.count("\n") == 1
    assert said.startswith("\ranalyze   0 %\ranalyze  20 %\rencode   44 %")


@pytest.mark.django_db
def test_it_does_not_write_into_the_folder_of_another(avatars_dir, monkeypatch, tmp_path) -> None:
    (avatars_dir / "Case").mkdir(parents=True)
    monkeypatch.setattr(asset_folders, "ignores_case", lambda: True)
    with pytest.raises(CommandError, match="case would share its folder with another avatar"):
        call_command("prepare_avatar", "--user-id", "case", str(tmp_path))


def test_a_database_that_is_not_migrated_is_said(avatars_dir, monkeypatch, tmp_path) -> None:
    def refuse(**_: object) -> None:
        raise OperationalError("no such table: avatars_app_avatar")

    monkeypatch.setattr(Avatar.objects, "filter", refuse)
    with pytest.raises(
        CommandError, match=r"\(no such table: avatars_app_avatar\): is it migrated"
    ):
        call_command("prepare_avatar", "--user-id", "one", str(tmp_path))


@pytest.mark.django_db
def test_a_signal_that_ends_it_leaves_no_trace(avatars_dir, monkeypatch, tmp_path) -> None:
    def end(source: object, output: Path, *_: object, name: str) -> None:
        with AssetWriter(output, name=name, renderer="warp"):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("inference.preparation.prepare.prepare", end)
    (tmp_path / "me.mp4").touch()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with pytest.raises(SystemExit):
            call_command("prepare_avatar", "--user-id", "me", str(tmp_path / "me.mp4"))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert asset_folders.names() <= {".jobs"}
