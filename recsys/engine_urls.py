"""Which engines a home uses: the environment says, else the home's engines.json, else they are embedded.

{"log": "kafka://host:9092/events", "state": "redis://host:6379/0", "catalog": "postgresql+psycopg://..."}
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from recsys.errors import BadInput

VARIABLES = {"log": "RECSYS_LOG", "state": "RECSYS_STATE", "catalog": "RECSYS_CATALOG"}


class EngineUrls(BaseModel):
    """Where log, listener states and catalog are; an empty URL is the embedded engine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    log: str = ""
    state: str = ""
    catalog: str = ""

    @classmethod
    def of(cls, root: Path) -> EngineUrls:
        """Those of the home in this folder.

        Raises:
            BadInput: engines.json is not of this form.
        """
        path = root / "engines.json"
        try:
            written = cls.model_validate_json(path.read_bytes()) if path.exists() else cls()
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"])) or "the file"
            raise BadInput(f"{path}: {where}: {problem['msg']}; see docs/engines.md") from None
        given = {name: os.environ[variable] for name, variable in VARIABLES.items() if variable in os.environ}
        return written.model_copy(update={name: url for name, url in given.items() if url})
