"""Everything the service can be told from outside: FRAZIL_* environment variables, or the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read from FRAZIL_* variables; the command line overrides a few."""

    model_config = SettingsConfigDict(env_prefix="FRAZIL_", frozen=True)

    database_url: str | None = Field(
        None, description="A PostgreSQL 18 URL; without one an embedded server is started in the data folder."
    )
    data_dir: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("frazil")),
        description="Where the embedded server lives.",
    )
    host: str = Field("127.0.0.1", description="The address to bind; only loopback until accounts exist.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(8000, description="The port to bind; 0 takes a free one.")
    engine: Literal["local", "remote"] = Field(
        "local", description="Who computes model-based suggestions: this process's workers, or `frazil-server worker`."
    )
    engine_workers: Annotated[int, Field(ge=1, le=256)] = Field(1, description="Worker processes of the engine.")
    engine_recycle: Annotated[int, Field(ge=1)] = Field(
        200, description="Fits after which a worker process is replaced."
    )
    engine_prewarm: bool = Field(True, description="Start the worker processes with the server, not at the first fit.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where models are fitted: `auto` takes a GPU, if there is one, for what is large enough."
    )
    pool_size: Annotated[int, Field(ge=2, le=200)] = Field(
        12, description="Database connections of one process, beside one for each of its engine workers."
    )
    max_losses: Annotated[int, Field(ge=1)] = Field(
        3, description="A trial that loses its worker this often in a row, without progress, is FAILED."
    )
    sweep_seconds: Annotated[float, Field(gt=0)] = Field(
        5.0, description="How often leases that ran out are collected."
    )
    max_body_bytes: Annotated[int, Field(ge=1024)] = Field(8 * 2**20, description="The largest request body accepted.")
    log_format: Literal["console", "json"] = Field("console", description="How log lines are written.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The lowest level logged.")
