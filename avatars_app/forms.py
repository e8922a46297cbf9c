"""The form by which staff send what an avatar is made of."""

from pathlib import PurePath
from typing import Any

from django import forms

from avatars_app.models import Avatar
from avatars_app.uploads import storage


class _Files(forms.ClearableFileInput):
    allow_multiple_selected = True


class _FilesField(forms.FileField):
    widget = _Files

    def clean(self, data: Any, initial: Any = None) -> list[Any]:
        return [super(_FilesField, self).clean(file, initial) for file in data or ()]


class AvatarForm(forms.ModelForm):  # type: ignore[type-arg]  # takes none at run time
    video = forms.FileField(
        required=False, help_text="One person from the front, head and shoulders, 20 to 30 s."
    )
    image = forms.FileField(required=False, help_text="Or a picture, which is brought to life.")
    clips = _FilesField(
        required=False, help_text="Or videos named idle_0 to idle_6, speaking_0 ... action_2."
    )

    class Meta:
        model = Avatar
        fields = ("user_id",)

    def clean_clips(self) -> dict[str, Any]:
        files = self.cleaned_data["clips"]
        clips = {PurePath(file.name or "").stem: file for file in files}
        if len(clips) < len(files):
            raise forms.ValidationError("Two files are for the same clip: send one of each.")
        if wrong := sorted(set(clips) - set(storage.CLIP_NAMES)):
            raise forms.ValidationError(f"These are no names of clips: {', '.join(wrong)}.")
        return clips

    def clean(self) -> dict[str, Any] | None:
        sent = [kind for kind in storage.KINDS if self.cleaned_data.get(kind)]
        if len(sent) > 1 or (not sent and self.instance.pk is None and not self.errors):
            raise forms.ValidationError("Send a video, a picture, or clips.")
        if sent and self.instance.is_in_progress and self.instance.pk is not None:
            raise forms.ValidationError("It is being made just now: cancel that first.")
        if sent and self.instance.status == Avatar.Status.DISABLED:
            raise forms.ValidationError("It is disabled: enable it first.")
        return super().clean()

    @property
    def sent(self) -> tuple[storage.Kind, dict[str, Any]] | None:
        """What was sent, as `services.avatar_receive` takes it; None if nothing was."""
        for kind in storage.KINDS:
            if files := self.cleaned_data.get(kind):
                return kind, files if kind == "clips" else {kind: files}
        return None
