"""The application for a Ray cluster: `serve deploy deploy/serve.yaml` names `serving.cluster:build`.

On one machine `recsys serve` does the same by itself. How many replicas there are, and what each may use, stands in the
YAML, where Serve's operators look for it.
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from recsys.home import Home
from serving.ray_app import guard, open_home, replica, watched

if TYPE_CHECKING:
    from ray.serve import Application

CLUSTER_HOST = "0.0.0.0"
"""Where the proxies listen: never loopback, so that keys are asked for."""


class ClusterSettings(BaseModel):
    """Arguments of the application; an unknown key is refused."""

    model_config = ConfigDict(extra="forbid")

    home: Path  # the home folder, at the same path on every node that runs replicas (a shared file system)


def build(args: ClusterSettings) -> "Application":  # Serve reads the argument's type: no string there
    """The one deployment, bound to a home; log and states are those that RECSYS_LOG and RECSYS_STATE name."""
    home = Home.of(args.home)
    return replica().bind(partial(open_home, home.root), None, guard(home, CLUSTER_HOST), watched(home))
