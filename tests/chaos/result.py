"""What a part of the chaos found."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Result:
    """One row of the table."""

    name: str
    wanted: str
    measured: str
    escapes: list[str] = field(default_factory=list)
    """What should not have happened, each with how to repeat it."""

    @property
    def holds(self) -> bool:
        """Nothing happened that should not."""
        return not self.escapes

    def __str__(self) -> str:
        return f"{self.name:<44} {self.wanted:<30} {self.measured:<44} " + (
            "holds" if self.holds else "FAILS"
        )
