"""The REST API's schema, generated once a process.

It is the same for everybody and takes a tenth of a second. The generator is not made for several
threads: it replaces parts of itself while it runs for the first time.
"""

from threading import Lock
from typing import Any

from drf_spectacular.generators import SchemaGenerator

_generating = Lock()
_generated: dict[str, Any] = {}


class SharedSchemaGenerator(SchemaGenerator):
    """Gives every view the same schema."""

    def get_schema(self, request: Any = None, public: bool = False) -> dict[str, Any]:
        """Generate the schema, or return it if that was done already.

        Args:
            request: Not asked: nothing in the schema depends on it.
            public: Likewise; all of it is public.

        Returns:
            The OpenAPI document, not to be changed.
        """
        with _generating:
            if not _generated:
                schema = super().get_schema(None, True)  # type: ignore[no-untyped-call]
                _generated.update(schema)
            return _generated
