"""Where documents come from: `[sources.NAME]` of a recipe."""

from __future__ import annotations

import difflib
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

# What a column may hold that every document has.
ROLES = ("text", "title", "url", "date", "author", "language")
_NEAR = 0.8  # similarity of names from which one is taken for a slip of the other: "titel", not "file"


class Source(BaseModel):
    """Where documents come from: a site (`url`), files, or a Python function (`loader`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: list[str] = Field([], description="start of a site, or a list of starts")
    files: list[str] = Field([], description="files, folders and globs, relative to the recipe")
    loader: str = Field("", description="package.module:function that yields dicts; runs code")
    license: str = Field("", description="carried to every document and chunk")
    access: str = Field("", description="access label, carried to every document and chunk")
    columns: dict[str, str] = Field(
        {},
        description="which column holds text, title, url, date, author, language, or a column of one's own "
        "that is kept; dots lead into nested ones",
    )
    keep: dict[str, Literal["string", "int", "float", "bool"]] = Field(
        {}, description="columns of one's own that reach corpus, with their type"
    )
    headers: dict[str, str] = Field(
        {}, description='sent to this site only; "${VAR}" comes from the environment'
    )
    cookies: dict[str, str] = Field(
        {}, description='sent to this site only; "${VAR}" comes from the environment'
    )
    connect: str = Field("", description="HOST:PORT that answers for this site's host name")
    allow_private: list[str] = Field([], description="private hosts or networks that may be reached")
    sitemap: bool = Field(True, description="read the sitemaps that the site names")
    follow: bool = Field(True, description="follow links")
    robots: bool = Field(True, description="obey robots.txt and noindex")
    allow: list[str] = Field([], description="only URLs that match one of these globs")
    deny: list[str] = Field([], description="no URL that matches one of these globs")
    max_depth: int = Field(20, ge=0, description="links followed from a start")
    max_pages: int = Field(0, ge=0, description="pages fetched in a run; 0: no limit")
    max_page_bytes: int = Field(10_000_000, ge=1_000, description="a longer page is skipped")
    delay: float | None = Field(
        None,
        ge=0,
        le=300,
        description="seconds between two requests to a host; not given: 0.25, none on loopback",
    )
    timeout: float = Field(30, gt=0, le=600, description="seconds for one page")
    user_agent: str = Field(
        "curate (+https://github.com/curate-data/curate)", description="how the crawler names itself"
    )

    @field_validator("url", "files", "allow_private", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        if value is True:
            return ["*"]
        return [value] if isinstance(value, str) else value

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, value: dict[str, str]) -> dict[str, str]:
        for key, column in value.items():
            if not key or not column:
                raise ValueError(f'columns say that "{key}" is in "{column}", and both need a name')
            near = [] if key in ROLES else difflib.get_close_matches(key, ROLES, n=1, cutoff=_NEAR)
            if near:
                raise ValueError(f'columns names "{key}", which is near to "{near[0]}"')
        return value

    @property
    def kept(self) -> dict[str, str]:
        """Columns of one's own → their type: what `keep` lists, and strings that `columns` names."""
        return {**{name: "string" for name in self.columns if name not in ROLES}, **self.keep}

    @model_validator(mode="after")
    def _one_kind(self) -> Source:
        kinds = [kind for kind in ("url", "files", "loader") if getattr(self, kind)]
        if len(kinds) != 1:
            found = " and ".join(kinds) or "none of them"
            raise ValueError(f"a source has exactly one of url, files, loader; found {found}")
        return self
