"""Settings, from the environment (``FLOWKICK_…``) or a ``.env`` file."""

from __future__ import annotations

from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from flowkick.core.encryption import KeyRing, read_or_make_key_file
from flowkick.core.errors import SettingsError

Network = IPv4Network | IPv6Network


class Settings(BaseSettings):
    """Everything that can be set. Each field's description stands in the operators' docs."""

    model_config = SettingsConfigDict(
        env_prefix="FLOWKICK_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    database_url: str = Field(
        "sqlite:///flowkick.db", description="`sqlite:///PATH` or `postgresql://…`."
    )
    secret_key: str | None = Field(
        None,
        repr=False,
        description="Master keys that encrypt stored secrets, separated by commas; the first "
        "encrypts. With SQLite one is made once and kept in a 0600 file beside the database.",
    )
    data_dir: Path | None = Field(
        None,
        description="Where export files are kept. By default, a folder beside a SQLite database, "
        "and `flowkick-data` in the working directory with PostgreSQL.",
    )
    exports_url: str | None = Field(
        None,
        description="An object store for complete export files, such as `s3://bucket/prefix`, where"
        " several machines share them (`flowkick[objectstore]`). Without it, `FLOWKICK_DATA_DIR`.",
    )
    host: str = Field("127.0.0.1", description="Where the API listens.")
    port: int = Field(3000, ge=0, le=65535, description="Where the API listens.")
    trust_admin_header: bool = Field(
        False, description="Let `X-Admin-ID` alone identify the admin, behind a gateway."
    )
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = Field(
        (), description="Networks (CIDR) of the gateways that may use `X-Admin-ID` alone."
    )
    allowed_targets: Annotated[tuple[Network, ...], NoDecode] = Field(
        (), description="Networks (CIDR) that webhooks may reach although they are not public."
    )
    worker: bool = Field(True, description="Whether `serve` also runs the delivery engine.")
    concurrency: int = Field(
        100, ge=1, le=10_000, description="Requests in flight per worker process."
    )
    retention_days: int = Field(
        90,
        ge=1,
        le=36_500,
        description="Events, deliveries and attempts that are older, and finished, are removed.",
    )
    body_retention_days: int = Field(
        30,
        ge=1,
        le=36_500,
        description="Bodies of events and of receivers' answers that are older are removed before.",
    )
    lease_seconds: float = Field(
        30.0, ge=1, le=3600, description="How long a claimed delivery stays with a silent worker."
    )
    failing_after: int = Field(
        5,
        ge=1,
        le=1_000_000,
        description="Failed attempts in a row after which `subscription.failing` is told.",
    )
    breaker_failures: int = Field(
        20,
        ge=1,
        le=1_000_000,
        description="Attempts in a row with no answer, a 429 or a 5xx after which an endpoint is"
        " only probed.",
    )
    breaker_pause_seconds: float = Field(
        5.0,
        ge=0.1,
        le=3600,
        description="The pause before the first probe; each further one is twice as long.",
    )
    longest_pause_seconds: float = Field(
        300.0,
        ge=0.1,
        le=86_400,
        description="The longest pause between probes, and the longest that a `Retry-After` pauses"
        " a whole webhook.",
    )
    manychat_url: str = Field(
        "https://api.manychat.com", description="Where contacts are read, with a connection's key."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least severe log lines that are written."
    )
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="`auto` is readable on a terminal and JSON elsewhere."
    )

    @field_validator("trusted_proxies", "allowed_targets", mode="before")
    @classmethod
    def _split_networks(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        if value.startswith(("sqlite:///", "postgresql://", "postgres://")):
            return value
        raise ValueError("must begin with sqlite:/// or postgresql://")

    @field_validator("manychat_url")
    @classmethod
    def _http_address(cls, value: str) -> str:
        if value.startswith(("https://", "http://")):
            return value
        raise ValueError("must begin with https:// or http://")

    @property
    def sqlite_path(self) -> Path | None:
        """The database file, or None on PostgreSQL."""
        prefix = "sqlite:///"
        if not self.database_url.startswith(prefix):
            return None
        return Path(self.database_url.removeprefix(prefix))

    @property
    def data_folder(self) -> Path:
        """The folder for files, which is made when the first one is written."""
        if self.data_dir is not None:
            return self.data_dir
        path = self.sqlite_path
        return Path("flowkick-data") if path is None else path.with_name(path.name + ".data")

    @cached_property
    def key_ring(self) -> KeyRing:
        """The keys that encrypt stored secrets; makes the key file of a SQLite database once.

        Raises SettingsError where there is no key and none may be made.
        """
        if self.secret_key:
            return KeyRing([key.strip() for key in self.secret_key.split(",") if key.strip()])
        if self.sqlite_path is None:
            raise SettingsError(
                "FLOWKICK_SECRET_KEY is required with PostgreSQL: set it to the output of"
                " `openssl rand -hex 32`, the same for every process."
            )
        return KeyRing([read_or_make_key_file(self.key_file)])

    @property
    def key_file(self) -> Path:
        """Where the master key of a SQLite database is kept when none is set."""
        path = self.sqlite_path
        if path is None:
            raise SettingsError("Only a SQLite database keeps its key in a file beside it.")
        return path.with_name(path.name + ".key")

    def check_trust(self) -> None:
        """Refuse to trust `X-Admin-ID` from anybody on an open address.

        Raises SettingsError where the header would be believed from everywhere.
        """
        if self.trust_admin_header and not self.trusted_proxies and not _is_loopback(self.host):
            raise SettingsError(
                "FLOWKICK_TRUST_ADMIN_HEADER would let anyone who reaches"
                f" {self.host} act as any admin: listen on 127.0.0.1, or name the gateways in"
                " FLOWKICK_TRUSTED_PROXIES."
            )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def load_settings(**overrides: Any) -> Settings:
    """Settings of this process; `overrides` win over the environment.

    Raises SettingsError with one detail for each setting that is wrong.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        details = [
            {
                "setting": f"FLOWKICK_{'_'.join(map(str, item['loc'])).upper()}",
                "problem": item["msg"],
            }
            for item in error.errors(include_input=False, include_context=False)
        ]
        wrong = "; ".join(f"{detail['setting']}: {detail['problem']}" for detail in details)
        raise SettingsError(f"Settings are wrong. {wrong}", details=details) from None
